"""Eager calls: what has loops or branches is compiled once, and not anew in every call."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research import functional

_LOWERED = "/jax/core/compile/jaxpr_to_mlir_module_duration"
_LOGITS, _LABELS = np.linspace(-1, 1, 20).reshape(4, 5).astype(np.float32), np.arange(4)
_HEADS = np.linspace(-1, 1, 64).reshape(1, 8, 2, 4).astype(np.float32)
_TREE = functional.huffman_tree([5, 1, 2, 1, 3])
_PARAMS = {"kernel": np.eye(4, 5, dtype=np.float32), "bias": np.zeros(4, np.float32)}
_KEY = jax.random.key(0)


def _of_logits(function, *others, **options):
  return lambda: function(_LOGITS, *others, **options)


def _of_tree(function, *others, **options):
  return lambda: function(_LOGITS, _PARAMS, _TREE, *others, **options)


def _of_heads(function, **options):
  return lambda: function(_HEADS, _HEADS, _HEADS, **options)


CALLS = {
  "ev_softmax": _of_logits(functional.ev_softmax),
  "r_softmax": _of_logits(functional.r_softmax),
  "logit_norm": _of_logits(functional.logit_norm),
  "entmax": _of_logits(functional.entmax),
  "tempered_softmax": _of_logits(functional.tempered_softmax, t=1.7),
  "squared error": _of_logits(functional.squared_error_loss, _LABELS),
  "smoothing": _of_logits(functional.cross_entropy, _LABELS, label_smoothing=0.1),
  "tree": _of_tree(functional.tree_label_log_prob, _LABELS),
  "tree_top_k": _of_tree(functional.tree_top_k, k=2),
  "tree_sample": lambda: functional.tree_sample(_KEY, _LOGITS, _PARAMS, _TREE),
  "attention": _of_heads(functional.attention, causal=True),
  "gradient of attention": lambda: jax.grad(
    lambda query: jnp.sum(functional.attention(query, _HEADS, _HEADS, causal=True))
  )(_HEADS),
  "taylor_attention": _of_heads(functional.taylor_attention),
  "causal taylor_attention": _of_heads(functional.taylor_attention, causal=True),
}


@pytest.fixture
def lowered():
  """A list that grows by a number with every program that is made."""
  found = []

  def listen(event, duration, **_):
    found.extend([duration] * (event == _LOWERED))

  jax.monitoring.register_event_duration_secs_listener(listen)
  yield found
  jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("name", CALLS)
def test_a_second_call_compiles_nothing(name, lowered):
  jax.jit(lambda x: x + 1)(1.0)
  assert lowered  # What is counted is seen.
  CALLS[name]()
  lowered.clear()
  CALLS[name]()
  assert not lowered
