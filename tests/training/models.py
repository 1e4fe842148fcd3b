"""A tiny model and data for tests of training: fast to compile, and quick to learn."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from softmax_research import heads, nn, training
from softmax_research.data import Split

SHAPE = (4, 4, 1)


def bare_backbone():
  """One hidden layer in bare JAX."""

  def init(key, input_shape):
    return {"w": jax.random.normal(key, (int(np.prod(input_shape)), 6)) / 4}, {}

  def apply(params, state, images, *, train, key=None):
    return jax.nn.relu(images.reshape(len(images), -1) @ params["w"]), state

  return nn.Backbone(init, apply)


def tiny_programs(
  backbone=None,
  head=None,
  augment=lambda key, images: images,
  optimizer=None,
  axis_name=None,
  ignore_label=None,
  mesh=None,
  numbers=None,
):
  """The programs of a tiny model with three classes."""
  return training.make_programs(
    backbone or bare_backbone(),
    head or heads.make("sm_taylor", 3),
    optimizer or optax.adam(1e-2),
    input_shape=SHAPE,
    preprocess=lambda images: images.astype(jnp.float32) / 255,
    augment=augment,
    axis_name=axis_name,
    ignore_label=ignore_label,
    mesh=mesh,
    numbers=numbers,
  )


def bright_rows(num_examples=96, seed=0):
  """Images in which the class is a bright row."""
  rng = np.random.default_rng(seed)
  labels = rng.integers(0, 3, num_examples)
  images = rng.integers(0, 60, (num_examples, *SHAPE)).astype(np.uint8)
  images[np.arange(num_examples), labels] += 150
  return Split(images, labels)
