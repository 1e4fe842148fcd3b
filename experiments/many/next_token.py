"""Next-token prediction: a token of a text from the few before it."""

import functools
import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.many.equal_time import Task, in_batches, make_backbone
from softmax_research import data, heads, training
from softmax_research.functional.arrays import check_integer


def make(config: ConfigDict) -> Task:
  """Make the task of `configs/many_classes_words.py`.

  The embeddings of the tokens before are joined and go through a network. A batch's embeddings
  alone are updated, so that the vocabulary costs nothing there. The task is judged by the
  perplexity of test tokens that training has seen; it and the NLL are None where they are infinite,
  as a sparse head can make them by a probability of 0. Of the first `rank_of` of them the rank of
  the matrix of log-probabilities is recorded.

  Raises:
    ValueError: an option is out of range, or the text cannot be had.
  """
  for key in ("context", "embedding"):
    check_integer(key, config[key])
  rank_of = config.get("rank_of", 0)  # Configurations that ask for no rank lack it.
  check_integer("rank_of", rank_of, 0, remedy="Pass 0 for no rank.")
  text = data.encode_text(data.read_text(config.text, unit=config.unit))
  if config.context >= len(text.test):
    raise ValueError(
      f"Got context={config.context} for a test part of {len(text.test)} tokens; it must be "
      "smaller. Give a smaller one, or a longer text."
    )
  num_classes = len(text.vocabulary)
  # One row more, for tokens that are not in the vocabulary.
  num_rows = num_classes + 1
  shape = (config.context * config.embedding,)
  backbone, state, num_features = make_backbone(config.backbone, shape)

  def init(key):
    net_key, table_key = jax.random.split(key)
    table = jax.random.normal(table_key, (num_rows, config.embedding))
    return {"net": backbone.init(net_key, shape)[0], "table": table}

  def rows(inputs):
    distinct = jnp.unique(inputs, size=min(inputs.size, num_rows), fill_value=num_rows)
    return {"net": training.ALL_ROWS, "table": distinct}

  def features(params, rows, inputs, key):
    if rows is not None:
      inputs = jnp.searchsorted(rows["table"], inputs)
    embedded = params["table"].at[inputs].get(mode="clip").reshape(len(inputs), -1)
    return backbone.apply(params["net"], state, embedded, train=key is not None, key=key)[0]

  inputs, labels = _windows(text.train, config.context)
  test_inputs, test_labels = _windows(text.test, config.context)
  known = test_labels != num_classes
  if not np.any(known):
    raise ValueError(
      f"Got text={config.text!r}, of whose test part training has seen no token; give a text "
      "whose tokens occur more than once."
    )
  # Spread over the whole test part.
  chosen = np.flatnonzero(known)
  chosen = chosen[:: max(1, len(chosen) // config.num_test)][: config.num_test]

  @functools.partial(jax.jit, static_argnums=1)
  def judge(params, log_prob, head_params, inputs, labels):
    log_probs = log_prob(head_params, features(params, None, inputs, None))
    of_label = jnp.take_along_axis(log_probs, labels[:, None], axis=1)[:, 0]
    best = jax.lax.top_k(log_probs, min(5, num_classes))[1] == labels[:, None]
    return of_label, best[:, 0], jnp.any(best, axis=1)

  def evaluate(params, head, head_params) -> dict[str, float | None]:
    of_label, right, in_five = in_batches(
      lambda *batch: judge(params, head.log_prob, head_params, *batch),
      test_inputs[chosen],
      test_labels[chosen],
    )
    nll = -np.mean(of_label, dtype=np.float64)
    with np.errstate(over="ignore"):
      numbers = {"nll": nll, "perplexity": np.exp(nll)}
    # JSON has no infinity.
    finite = {name: float(n) if np.isfinite(n) else None for name, n in numbers.items()}
    finite |= {"accuracy": float(np.mean(right)), "top_5_accuracy": float(np.mean(in_five))}
    if not rank_of:
      return finite
    found = features(params, None, test_inputs[chosen[:rank_of]], None)
    return finite | {"rank": rank(head, head_params, found)}

  unseen = 1 - float(np.mean(known))
  return Task(
    name=f"{config.text}, {len(text.train):,} tokens ({unseen:.1%} of the test part unseen)",
    class_counts=text.counts,
    inputs=inputs,
    labels=labels,
    init=init,
    num_features=num_features,
    features=features,
    evaluate=evaluate,
    measure="nll",
    num_test=len(chosen),
    rows=rows,
    # Of the numbers alone: it is they that are learnt, whatever words they stand for.
    fingerprint=hashlib.sha256(text.train.tobytes() + text.test.tobytes()).hexdigest()[:12],
  )


def rank(head: heads.Head, params: Any, features: jax.Array) -> int | None:
  """Return the rank of the log-probabilities of all classes, in double precision.

  One softmax on D features has D + 2 at most, which Yang et al. 2018 call its bottleneck (arXiv
  1711.03953). None where a probability is 0.
  """
  with jax.enable_x64(True):
    wide = jax.tree.map(lambda array: np.asarray(array, np.float64), (params, features))
    log_probs = np.asarray(jax.jit(head.log_prob)(*wide))
  return int(np.linalg.matrix_rank(log_probs)) if np.all(np.isfinite(log_probs)) else None


def _windows(tokens: np.ndarray, context: int) -> tuple[np.ndarray, np.ndarray]:
  """Return the tokens before each, `[N, context]`, and the tokens themselves, `[N]`."""
  windows = np.lib.stride_tricks.sliding_window_view(tokens, context + 1)
  return np.ascontiguousarray(windows[:, :-1]), np.ascontiguousarray(windows[:, -1])
