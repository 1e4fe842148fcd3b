"""Instance discrimination: each training image, in each of its rotations, is a class of its own."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.many import similar
from experiments.many.task import Task, in_batches
from softmax_research import data, nn, training

#: The length of the features in front of the output layer. Left free, they shrink to nothing: with
#: a class for each image almost every gradient pushes away.
_LENGTH = 10.0


def make(config: ConfigDict) -> Task:
  """Make the task.

  Args:
    config: with `dataset`, `data_dir`, `cache_dir`, `num_images` (0 for all), `rotations` (1 to
      4 quarter turns), `augment`, `backbone`, `imprint` (the length of the class vectors, which
      start as the untrained net's features; 0 to start at random), `num_reference`, `num_test` and
      `split`: judge on `test`, or on so many training images left out, as `validation`.

  Returns:
    The task. It is judged by nearest neighbours: how often the image whose features have the
    largest cosine with a test image's, among reference images, is of the same true class. Classes
    are ordered by the look of their images, so that parts of a tree are clusters.

  Raises:
    ValueError: an option is out of range.
    Errors of `data.load`.

  Reference:
    Wu, Xiong, Yu & Lin 2018, "Unsupervised Feature Learning via Non-Parametric Instance
    Discrimination" (arXiv 1805.01978).
  """
  if config.rotations not in (1, 2, 3, 4):
    raise ValueError(f"Got rotations={config.rotations!r}; there are 1 to 4 quarter turns.")
  if config.split not in ("test", "validation"):
    raise ValueError(f"Got split={config.split!r}; judge on 'test' or 'validation'.")
  if not config.imprint >= 0:
    raise ValueError(f"Got imprint={config.imprint!r}; a length is at least 0.")
  dataset = data.load(
    config.dataset, data_dir=config.data_dir or None, cache_dir=config.cache_dir or None
  )
  train, judged = dataset.train, dataset.test
  if config.split == "validation":
    train, judged = data.split_train_validation(train, num_validation=config.num_test, seed=0)
  images = np.asarray(train.images[: config.num_images or None])
  true_labels = np.asarray(train.labels[: len(images)])
  augment = data.augment.make(config.augment)
  backbone = nn.make(config.backbone)
  params, state = jax.eval_shape(
    lambda key: backbone.init(key, images.shape[1:]), jax.random.key(0)
  )
  if jax.tree.leaves(state):
    raise ValueError(
      "Got a backbone with a state of its own, as batch statistics; here choose one without, as "
      "batch_norm=False."
    )
  mean, std = data.channel_statistics(images)
  standardise = functools.partial(data.standardise, mean=mean, std=std)

  def features(params, rows, inputs, key):
    del rows
    augment_key, dropout_key = jax.random.split(key)
    inputs = standardise(augment(augment_key, inputs))
    return _LENGTH * direction(
      backbone.apply(params, state, inputs, train=True, key=dropout_key)[0]
    )

  @jax.jit
  def directions(params, inputs):
    return (direction(backbone.apply(params, state, standardise(inputs), train=False)[0]),)

  reference = images[: config.num_reference]
  test = np.asarray(judged.images[: config.num_test])
  test_labels = np.asarray(judged.labels[: config.num_test])

  def evaluate(params, head, head_params) -> dict[str, float]:
    del head, head_params
    (known,) = in_batches(functools.partial(directions, params), reference)
    (unknown,) = in_batches(functools.partial(directions, params), test)
    nearest = np.argmax(unknown @ known.T, axis=1)
    return {"accuracy": float(np.mean(true_labels[nearest] == test_labels))}

  shape = jax.eval_shape(
    lambda p, x: backbone.apply(p, state, x, train=False)[0],
    params,
    jax.ShapeDtypeStruct((1, *images.shape[1:]), jnp.float32),
  )
  turned = np.concatenate(
    [np.rot90(images, turns, axes=(1, 2)) for turns in range(config.rotations)]
  )
  turned = turned[similar.order(turned)]

  def class_vectors(params):
    return config.imprint * in_batches(functools.partial(directions, params), turned)[0]

  return Task(
    name=f"{config.dataset}, {len(images):,} images in {config.rotations} rotations",
    num_classes=len(turned),
    class_counts=np.ones(len(turned), np.int64),
    inputs=turned,
    labels=np.arange(len(turned), dtype=np.int32),
    init=lambda key: backbone.init(key, images.shape[1:])[0],
    num_features=shape.shape[-1],
    rows=_whole,
    features=features,
    evaluate=evaluate,
    measure="accuracy",
    num_test=len(test),
    class_vectors=class_vectors if config.imprint else None,
  )


def direction(features: jax.Array) -> jax.Array:
  """Scale features to unit length, the nought vector to itself.

  Example:
    >>> direction(jnp.array([3.0, 4.0])).round(1).tolist()
    [0.6000000238418579, 0.800000011920929]
  """
  squares = jnp.sum(features**2, axis=-1, keepdims=True)
  return features * jax.lax.rsqrt(jnp.maximum(squares, 1e-12))


def _whole(inputs: jax.Array) -> Any:
  del inputs
  return training.ALL_ROWS
