"""Tree softmax in float64 NumPy, by recursion over nested lists of classes: an oracle for tests."""

import itertools

import numpy as np

#: An uneven tree with nodes of two, three and four children, and one of two children at most.
UNEVEN = [3, [0, [4, 1, 9, 10], [11, 2]], [[5]], [6, 7, 8]]
BINARY = [[[6, 0], [1, [4, 2]]], [3, 5]]


def nest(tree, node=0):
  """Returns the nested lists of a tree's classes."""
  if tree.classes[node] >= 0:
    return int(tree.classes[node])
  return [nest(tree, child) for child in range(tree.first_child[node], tree.first_child[node + 1])]


def example(num_rows, *, batch=(5,), num_features=4, scale=2.0, seed=0):
  """Returns random features `[..., D]` and parameters, exact in bfloat16 too."""
  rng = np.random.default_rng(seed)

  def draw(*shape):
    return np.round(32 * rng.normal(size=shape)).clip(-127, 127) / 32

  params = {"kernel": scale * draw(num_rows, num_features), "bias": draw(num_rows)}
  return draw(*batch, num_features), params


def log_probs_and_gradients(nested, features, params, weights):
  """Returns log-probabilities `[N, K]`, and gradients of their sum with weights `[N, K]`.

  Args:
    nested: lists of lists and classes.
    features: `[N, D]`.
    params: `{"kernel": [R, D], "bias": [R]}`.
    weights: `[N, K]`.
  """
  nested = _skip_only_children(nested)
  parts = [nested]
  for part in parts:  # Level by level, as the rows of the parameters are.
    parts.extend(part if isinstance(part, list) else [])
  inner = [part for part in parts if isinstance(part, list)]
  binary = all(len(part) == 2 for part in inner)
  sizes = [1 if binary else len(part) for part in inner]
  log_probs = np.zeros(weights.shape)
  feature_gradient = np.zeros(features.shape)
  gradient = {name: np.zeros(value.shape) for name, value in params.items()}
  for part, stop in zip(inner, itertools.accumulate(sizes), strict=True):
    rows = slice(stop - (1 if binary else len(part)), stop)
    logits = features @ params["kernel"][rows].T + params["bias"][rows]
    if binary:
      logits = np.concatenate([logits, np.zeros_like(logits)], axis=-1)
    choices = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    chosen = np.zeros(logits.shape)
    for place, child in enumerate(part):
      classes = _classes(child)
      log_probs[:, classes] += choices[:, [place]]
      chosen[:, place] = weights[:, classes].sum(-1)
    slope = chosen - np.exp(choices) * chosen.sum(-1, keepdims=True)
    slope = slope[:, : rows.stop - rows.start]
    feature_gradient += slope @ params["kernel"][rows]
    gradient["kernel"][rows] += slope.T @ features
    gradient["bias"][rows] += slope.sum(0)
  return log_probs, feature_gradient, gradient


def _skip_only_children(nested):
  while isinstance(nested, list) and len(nested) == 1:
    nested = nested[0]
  return [_skip_only_children(part) for part in nested] if isinstance(nested, list) else nested


def _classes(nested):
  if not isinstance(nested, list):
    return [nested]
  return list(itertools.chain.from_iterable(map(_classes, nested)))
