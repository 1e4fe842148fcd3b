"""Whitening: a convolution whose filters are computed from images and never trained."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from softmax_research.functional.arrays import check_epsilon, check_integer
from softmax_research.nn.convolution import conv
from softmax_research.nn.layer import check_floating

# Images whose patches stand in memory at a time.
_CHUNK = 100


class Frozen(nnx.Variable):
  """Hold an array that belongs to a network's state and is no parameter: nothing trains it."""


class Whitening(nnx.Module):
  r"""Convolve, without padding, with the filters of `whitening_filters` and with their negatives.

  With both signs an activation after it loses nothing. The kernel is no parameter.

  Args:
    size: of the patches.
    channels: of the images.
    images: `[N, H, W, C]`, whose patches are to become white; without them the filters are random
      and orthogonal, for a network whose state comes from elsewhere.
    rngs: the key of random filters.
  """

  def __init__(self, size: int, channels: int, *, images: np.ndarray | None = None, rngs: nnx.Rngs):
    if images is None:
      count = size * size * channels
      filters = jax.random.orthogonal(rngs.params(), count, dtype=jnp.float32)
      filters = filters.reshape(size, size, channels, count)
    else:
      if np.shape(images)[-1:] != (channels,):
        raise ValueError(
          f"Got examples of shape {np.shape(images)} for images of {channels} channels; pass some "
          "of the images that the network is to take."
        )
      filters = jnp.asarray(whitening_filters(images, size))
    self.kernel = Frozen(jnp.concatenate([filters, -filters], axis=-1))
    self.strides, self.padding = (1, 1), "VALID"

  def __call__(self, images: jax.Array) -> jax.Array:
    kernel = self.kernel[...].astype(images.dtype)
    numbers = ("NHWC", "HWIO", "NHWC")
    return conv(images, kernel, self.strides, self.padding, dimension_numbers=numbers)


def whitening_filters(images: np.ndarray, size: int, *, epsilon: float = 5e-4) -> np.ndarray:
  r"""Compute the filters that make patches white: uncorrelated and of variance one.

  .. math:: w_i = v_i / \sqrt{\lambda_i + \epsilon}

  for the eigenvalues and eigenvectors of the covariance of all patches of the images, the largest
  eigenvalue first.

  Args:
    images: floats `[N, H, W, C]`, as a network takes them.
    size: the patches' height and width s.
    epsilon: keeps directions in which nothing varies from being blown up.

  Returns:
    float32 `[s, s, C, s * s * C]`, a convolution's kernel.

  Raises:
    TypeError: the images are no floats.
    ValueError: they are not `[N, H, W, C]`, smaller than a patch, or not finite.

  Example:
    >>> whitening_filters(np.random.default_rng(0).normal(size=(4, 8, 8, 3)), 2).shape
    (2, 2, 3, 12)

  Reference:
    Page 2019, "How to Train Your ResNet"; Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single
    GPU" (arXiv 2404.00498).
  """
  check_integer("size", size)
  check_epsilon(epsilon, typical=5e-4)
  images = np.asarray(images)
  shape = images.shape
  if len(shape) != 4 or 0 in shape or min(shape[1:3]) < size:
    raise ValueError(
      f"Got images of shape {shape} for patches of {size} by {size}; they must be [N, H, W, C] and "
      "no smaller than a patch."
    )
  check_floating(images)
  count, total, products = 0, 0.0, 0.0
  for start in range(0, len(images), _CHUNK):
    windows = np.lib.stride_tricks.sliding_window_view(
      images[start : start + _CHUNK].astype(np.float64), (size, size), axis=(1, 2)
    )
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, size * size * shape[3])
    count, total = count + len(patches), total + patches.sum(0)
    products = products + patches.T @ patches
  if not np.isfinite(products).all():
    raise ValueError("Got images with numbers that are not finite; leave these images out.")
  mean = total / count
  values, vectors = np.linalg.eigh(products / count - np.outer(mean, mean))
  filters = (vectors / np.sqrt(np.maximum(values, 0) + epsilon))[:, ::-1]
  return filters.reshape(size, size, shape[3], -1).astype(np.float32)
