"""Random flips and crops of a batch of images, for the inside of a jitted step.

Pixels are moved, never computed with, so images keep their type: augment ``uint8`` images, then
``standardise`` them. The border of a crop is black, which is 0 before standardising and not after.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from softmax_research.registry import Registry

Augmentation = Callable[[jax.Array, jax.Array], jax.Array]


def make(text: str, **options: Any) -> Augmentation:
  """Return the augmentation that a text names.

  Args:
    text: `none`, `flip`, `crop`, or `flip_crop` for both; `crop:padding=2` moves images by up to
      two pixels. Or the path of a function of your own that returns an augmentation.
    **options: further options.

  Returns:
    A function ``(key, images [B, H, W, C]) -> images [B, H, W, C]``.

  Raises:
    ValueError: if the name or an option is unknown or the padding negative.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from softmax_research.data import augment
    >>> images = jnp.arange(4, dtype=jnp.uint8).reshape(1, 2, 2, 1)
    >>> augment.make("none")(jax.random.key(0), images).ravel()
    Array([0, 1, 2, 3], dtype=uint8)
  """
  return AUGMENTATIONS.make(text, **options)


def _moves(*, flip: bool = False, padding: int | None = None) -> Augmentation:
  if padding is not None:
    _check_padding(padding)

  def apply(key, images):
    flip_key, crop_key = jax.random.split(key)
    # This order: a flip after a crop makes XLA:CPU gather twice, at 2 to 6 times the cost.
    images = random_flip(flip_key, images) if flip else images
    return images if padding is None else random_crop(crop_key, images, padding=padding)

  return apply


#: Augmentations by name, each a function of its options.
AUGMENTATIONS = Registry(
  "augmentation",
  {
    "none": lambda: _moves(),
    "flip": lambda: _moves(flip=True),
    "crop": lambda *, padding=4: _moves(padding=padding),
    "flip_crop": lambda *, padding=4: _moves(flip=True, padding=padding),
  },
  example="crop:padding=2",
  contract="takes its options by keyword and returns a function (key, images) -> images",
  accepts=callable,
)


def random_flip(key: jax.Array, images: jax.Array) -> jax.Array:
  """Mirror each image left to right with probability one half.

  Args:
    key: PRNG key.
    images: ``[B, H, W, C]``.

  Returns:
    ``[B, H, W, C]``, of the same type.

  Raises:
    ValueError: if the images are not ``[B, H, W, C]``.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> images = jnp.tile(jnp.array([1, 2, 3])[:, None], (4, 1, 1, 1))
    >>> random_flip(jax.random.key(0), images)[:, 0, 0, 0]
    Array([1, 1, 3, 3], dtype=int32)
  """
  _check_images(images)
  flipped = jax.random.bernoulli(key, shape=images.shape[:1])
  return jnp.where(flipped[:, None, None, None], images[:, :, ::-1], images)


def random_crop(key: jax.Array, images: jax.Array, *, padding: int) -> jax.Array:
  """Pad each image with zeros and cut a window of its own size at a random place.

  Args:
    key: PRNG key.
    images: ``[B, H, W, C]``.
    padding: zeros on each side; each image moves by up to so many pixels along each axis.

  Returns:
    ``[B, H, W, C]``, of the same type.

  Raises:
    ValueError: if the images are not ``[B, H, W, C]``, or the padding is negative.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> images = jnp.ones((2, 8, 8, 3))
    >>> random_crop(jax.random.key(0), images, padding=1).shape
    (2, 8, 8, 3)
  """
  _check_images(images)
  _check_padding(padding)
  batch, *window = images.shape
  offsets = jax.random.randint(key, (batch, 2), 0, 2 * padding + 1)
  border = (padding, padding)
  padded = jnp.pad(images, ((0, 0), border, border, (0, 0)))
  # One gather of whole windows. Measured on two CPU cores inside lax.scan, uint8 [128, 32, 32, 3],
  # ms a batch on jax 0.10 and 0.12: this 0.2 and 0.3; take_along_axis of rows, then of columns,
  # 0.4 and 0.6; one-hot products 1.1 and 1.8.
  return jax.vmap(
    lambda image, offset: jax.lax.dynamic_slice(image, (offset[0], offset[1], 0), window)
  )(padded, offsets)


def _check_images(images: jax.Array) -> None:
  if images.ndim != 4:
    raise ValueError(
      f"flips and crops need images [B, H, W, C]; got {images.shape}: for points, use 'none'"
    )


def _check_padding(padding: int) -> None:
  if padding < 0:
    raise ValueError(f"padding counts pixels and must not be negative; got {padding}")
