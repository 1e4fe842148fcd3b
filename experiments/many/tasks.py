"""Tasks of many classes: which training image an image is, and which token of a text is next."""

import functools
import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments import assembly
from experiments.many.equal_time import Task, in_batches, make_backbone
from softmax_research import data, heads, training
from softmax_research.functional.arrays import check_integer

#: The length of the features in front of the output layer. Left free, they shrink to nothing: with
#: a class for each image almost every gradient pushes away.
_LENGTH = 10.0
# Principal components to cut along, and images they are computed of; so few are left in any order.
_COMPONENTS, _SAMPLE, _FEW = 16, 20_000, 4


def instances(config: ConfigDict) -> Task:
  """Make the task of `configs/many_classes_images.py`, where each rotated image is a class.

  It is judged by nearest neighbours: how often the image whose features have the largest cosine
  with a test image's, among reference images, is of the same true class. Classes are ordered by the
  look of their images, so that parts of a tree are clusters.

  Reference:
    Wu, Xiong, Yu & Lin 2018, "Unsupervised Feature Learning via Non-Parametric Instance
    Discrimination" (arXiv 1805.01978).
  """
  check_integer("rotations", config.rotations, 1, 4)
  if config.split not in ("test", "validation"):
    raise ValueError(f"Got split={config.split!r}; judge on 'test' or 'validation'.")
  if not config.imprint >= 0:
    raise ValueError(f"Got imprint={config.imprint!r}; a length is at least 0.")
  dataset = assembly.load_dataset(config)
  assembly.check_classes(dataset)
  train, judged = dataset.train, dataset.test
  if config.split == "validation":
    train, judged = data.split_train_validation(train, num_validation=config.num_test, seed=0)
  images = np.asarray(train.images[: config.num_images or None])
  true_labels = np.asarray(train.labels[: len(images)])
  test = np.asarray(judged.images[: config.num_test])
  test_labels = np.asarray(judged.labels[: config.num_test])
  augment = data.augment.make(config.augment)
  mean, std = data.channel_statistics(images)
  standardise = functools.partial(data.standardise, mean=mean, std=std)
  shape = images.shape[1:]
  backbone, state, num_features = make_backbone(config.backbone, shape)

  def features(params, rows, inputs, key):
    del rows
    augment_key, dropout_key = jax.random.split(key)
    inputs = standardise(augment(augment_key, inputs))
    return _LENGTH * direction(
      backbone.apply(params, state, inputs, train=True, key=dropout_key)[0]
    )

  @jax.jit
  def directions_of_batch(params, inputs):
    return (direction(backbone.apply(params, state, standardise(inputs), train=False)[0]),)

  def directions(params, images):
    return in_batches(functools.partial(directions_of_batch, params), images)[0]

  def evaluate(params, head, head_params) -> dict[str, float]:
    del head, head_params
    known = directions(params, images[: config.num_reference])
    nearest = np.argmax(directions(params, test) @ known.T, axis=1)
    return {"accuracy": float(np.mean(true_labels[nearest] == test_labels))}

  turned = np.concatenate([np.rot90(images, turns, (1, 2)) for turns in range(config.rotations)])
  turned = turned[order_images(turned)]
  return Task(
    name=f"{config.dataset}, {len(images):,} images in {config.rotations} rotations",
    class_counts=np.ones(len(turned), np.int64),
    inputs=turned,
    labels=np.arange(len(turned), dtype=np.int32),
    init=lambda key: backbone.init(key, shape)[0],
    num_features=num_features,
    features=features,
    evaluate=evaluate,
    measure="accuracy",
    num_test=len(test),
    class_vectors=(lambda params: config.imprint * directions(params, turned))
    if config.imprint
    else None,
  )


def direction(features: jax.Array) -> jax.Array:
  """Scale features to unit length, the nought vector to itself."""
  squares = jnp.sum(features**2, axis=-1, keepdims=True)
  return features * jax.lax.rsqrt(jnp.maximum(squares, 1e-12))


def order_images(images: np.ndarray) -> np.ndarray:
  """Order images so that the nodes of a balanced binary tree over them are clusters.

  The images of each node are cut in two along the principal component in which they differ most,
  as many to the left as the node's left child has. Labels are not looked at. What is returned is
  each place's image, `[N]`.

  Reference:
    Bentley 1975, "Multidimensional Binary Search Trees Used for Associative Searching"; Mnih &
    Hinton 2008, "A Scalable Hierarchical Distributed Language Model", for trees of the data.
  """
  points = images.reshape(len(images), -1)
  sample = points[:: -(-len(points) // _SAMPLE)].astype(np.float32)
  axes = np.linalg.eigh(np.cov(sample, rowvar=False))[1][:, -_COMPONENTS:].astype(np.float32)
  axes *= np.where(axes.sum(axis=0) < 0, -1, 1)  # Their signs are up to the solver.
  points = np.concatenate([part @ axes for part in np.array_split(points, 100)])

  def cut(members):
    if len(members) <= _FEW:
      return members
    widest = np.argmax(np.var(points[members], axis=0))
    # Of a balanced tree the leaves below the root's first child.
    half = 1 << (len(members).bit_length() - 2)
    left = half + min(half, len(members) - 2 * half)
    members = members[np.argpartition(points[members, widest], left)]
    return np.concatenate([cut(members[:left]), cut(members[left:])])

  return cut(np.arange(len(points)))


def next_token(config: ConfigDict) -> Task:
  """Make the task of `configs/many_classes_words.py`: a token of a text from the few before it.

  The embeddings of the tokens before are joined and go through a network. A batch's embeddings
  alone are updated, so that the vocabulary costs nothing there. The task is judged by the
  perplexity of `num_test` test tokens that training has seen: every n-th, n rounded down, so that
  less than half of the test part, at its end, may be left out. It and the NLL are None where they
  are infinite, as a sparse head can make them by a probability of 0. Of the first `rank_of` tokens
  the rank of the matrix of log-probabilities is recorded.

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
  # Spread to the end, other tokens would be judged than those of the committed records.
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
