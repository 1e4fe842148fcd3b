"""Classes: output layers of very many classes, against our plain form, PyTorch and each other.

`linear` is one loss and its gradients. `memory` is the same at a size whose logits would take
8.6 GB, beside a process that holds inputs and gradients alone: the difference of the peaks is what
the loss takes. `tree` is a step of training: loss, gradients, and Adam's update of the rows that
the batch touches and of the features, which stand for the network below. Its peer is a step of a
dense layer. The Huffman tree's peers are balanced trees, one of classes numbered by frequency,
which so has the frequent ones side by side, one at random.
"""

import functools
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.benchmarks import losses, pytorch
from experiments.benchmarks.timing import OURS, Case, Run
from softmax_research import functional, training

#: Examples, classes and features of a dense layer.
LINEAR = (2048, 32_000, 512)
MEMORY = (8192, 262_144, 512)
#: Examples and features of a tree; the numbers of classes; up to how many it has a dense peer.
TREE = (512, 128)
TREE_CLASSES = tuple(2**k for k in range(10, 23, 2))
DENSE_AT_MOST = 2**20
#: Classes of the Huffman tree; their frequencies fall as 1 / rank.
ZIPF_CLASSES = 2**17
#: The name of the trees' peer.
DENSE = "dense layer"


def cases() -> list[Case]:
  return [
    _linear("float32"),
    _linear("bfloat16"),
    _memory(),
    *map(_tree, TREE_CLASSES),
    _huffman(),
    losses.adaptive_case(),
  ]


def tree_name(num_classes: int) -> str:
  """Name the case of a balanced tree.

  Example:
    >>> tree_name(1024)
    'tree of 1024 classes, 512 x 128'
  """
  return "tree of {} classes, {} x {}".format(num_classes, *TREE)


def _linear(dtype: str) -> Case:
  def plain(features, kernel, labels):
    return functional.cross_entropy(features @ kernel, labels)

  side = functools.partial(pytorch.linear_side, LINEAR, dtype)
  sides = {
    OURS: functools.partial(_dense_loss, LINEAR, functional.linear_cross_entropy, dtype),
    "our plain form": functools.partial(_dense_loss, LINEAR, plain, dtype),
    "PyTorch": side,
  }
  if dtype == "bfloat16" and pytorch.device() == "cuda":
    fused = [peer for peer, module in pytorch.FUSED.items() if find_spec(module)]
    sides |= {peer: functools.partial(side, peer) for peer in fused}
  return Case(f"linear {list(LINEAR)}" + (f" {dtype}" if dtype != "float32" else ""), sides)


def _memory() -> Case:
  return Case(
    f"memory {list(MEMORY)}",
    {
      OURS: functools.partial(_dense_loss, MEMORY, functional.linear_cross_entropy),
      "inputs and gradients alone": functools.partial(_inputs_and_gradients, MEMORY),
    },
  )


def _tree(num_classes: int) -> Case:
  def side(num_classes):
    labels = functools.partial(pytorch.draw_labels, (TREE[0], num_classes), "index")
    return functools.partial(
      _tree_step, functools.partial(functional.balanced_tree, num_classes), labels
    )

  if num_classes <= DENSE_AT_MOST:
    peer = {DENSE: functools.partial(_dense_step, num_classes)}
  else:
    peer = {tree_name(TREE_CLASSES[0]): side(TREE_CLASSES[0])}
  return Case(tree_name(num_classes), {OURS: side(num_classes)} | peer)


def _huffman() -> Case:
  labels = functools.partial(pytorch.draw_zipf_labels, TREE[0], ZIPF_CLASSES)

  def huffman():
    return functional.huffman_tree(1 / np.arange(1, ZIPF_CLASSES + 1))

  def balanced():
    return functional.balanced_tree(ZIPF_CLASSES)

  def shuffled_labels():
    return np.random.default_rng(0).permutation(ZIPF_CLASSES)[labels()]

  return Case(
    "Huffman tree of {} classes, Zipf labels, {} x {}".format(ZIPF_CLASSES, *TREE),
    {
      OURS: functools.partial(_tree_step, huffman, labels),
      "balanced tree by frequency": functools.partial(_tree_step, balanced, labels),
      "balanced tree at random": functools.partial(_tree_step, balanced, shuffled_labels),
    },
  )


def _dense_inputs(sizes: tuple[int, int, int], dtype: str = "float32") -> tuple[jax.Array, ...]:
  """Make features, kernel and labels on the device, and wait until that is their only place."""
  examples, classes, size = sizes
  inputs = (
    pytorch.draw_features(examples, size).astype(dtype),
    pytorch.draw_kernel(size, classes).astype(dtype),
    pytorch.draw_labels((examples, classes), "index"),
  )
  return jax.block_until_ready(jax.device_put(inputs))


def _dense_loss(sizes: tuple[int, int, int], loss: losses.Loss, dtype: str = "float32") -> Run:
  derivatives = jax.value_and_grad(lambda *inputs: jnp.mean(loss(*inputs)), argnums=(0, 1))
  return losses.repeat(derivatives, *_dense_inputs(sizes, dtype))


def _inputs_and_gradients(sizes: tuple[int, int, int]) -> Run:
  features, kernel, _ = _dense_inputs(sizes)
  gradients = jax.block_until_ready((jnp.copy(features), jnp.copy(kernel)))
  return losses.repeat(lambda features, *rest: jnp.sum(features), features, kernel, gradients)


def _tree_step(make_tree: Callable[[], functional.Tree], make_labels: Callable[[], Any]) -> Run:
  tree, (examples, size), optimizer = make_tree(), TREE, optax.adam(1e-3)
  labels = jnp.asarray(make_labels())

  def step(params, moments, labels):
    rows = functional.tree_label_rows(tree, labels)

    def loss(some):
      log_prob = functional.tree_label_log_prob(some["features"], some, tree, labels, rows=rows)
      return -jnp.mean(log_prob)

    which = {"kernel": rows, "bias": rows, "features": training.ALL_ROWS}
    return training.update_rows(optimizer, loss, params, moments, which)[1:]

  params = functional.tree_init(jax.random.key(0), size, tree)
  params["features"] = jnp.asarray(pytorch.draw_features(examples, size))
  return losses.repeat_step(step, params, optimizer.init(params), labels)


def _dense_step(num_classes: int) -> Run:
  (examples, size), optimizer = TREE, optax.adam(1e-3)
  features, kernel, labels = _dense_inputs((examples, num_classes, size))

  def step(params, moments, labels):
    def loss(params):
      return jnp.mean(functional.linear_cross_entropy(*params, labels))

    updates, moments = optimizer.update(jax.grad(loss)(params), moments)
    return optax.apply_updates(params, updates), moments

  params = features, kernel
  return losses.repeat_step(step, params, optimizer.init(params), labels)
