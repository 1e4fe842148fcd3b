"""Instance discrimination: each training image, in each of its rotations, is a class of its own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.many.equal_time import Task, in_batches, make_backbone
from softmax_research import data

#: The length of the features in front of the output layer. Left free, they shrink to nothing: with
#: a class for each image almost every gradient pushes away.
_LENGTH = 10.0
# Principal components to cut along, and images they are computed of; so few are left in any order.
_COMPONENTS, _SAMPLE, _FEW = 16, 20_000, 4


def make(config: ConfigDict) -> Task:
  """Make the task of `configs/many_classes_images.py`.

  It is judged by nearest neighbours: how often the image whose features have the largest cosine
  with a test image's, among reference images, is of the same true class. Classes are ordered by the
  look of their images, so that parts of a tree are clusters.

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
  turned = turned[order(turned)]
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


def order(images: np.ndarray) -> np.ndarray:
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
