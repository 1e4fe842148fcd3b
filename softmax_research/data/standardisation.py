"""Pixels to network inputs: zero mean and unit variance a channel, by training statistics."""

import jax
import jax.numpy as jnp
import numpy as np

# Images summed at a time; the float64 copy of so many CIFAR images takes 25 MB.
_CHUNK = 1024


def standardise(images: jax.Array, mean: jax.Array, std: jax.Array) -> jax.Array:
  r"""Subtract the mean and divide by the standard deviation, channel by channel.

  .. math::

    y = \frac{x / 255 - \mu}{\sigma}

  Points (``float32``) are taken as they are, without the division by 255. Made for the inside
  of a jitted step, so that images stay ``uint8`` in memory and on their way to the device.

  Args:
    images: ``uint8 [..., C]``, or floating ``[..., C]``.
    mean: ``[C]``, on the scale where 255 is 1; from ``channel_statistics``.
    std: ``[C]``, positive, likewise.

  Returns:
    ``float32 [..., C]``.

  Raises:
    TypeError: if the images are integers of another type, whose scale is unknown.

  Example:
    >>> import jax.numpy as jnp
    >>> standardise(jnp.array([[0], [255]], jnp.uint8), 0.5, 0.25).ravel()
    Array([-2.,  2.], dtype=float32)
  """
  images = jnp.asarray(images)
  if images.dtype == jnp.uint8:
    pixels = images.astype(jnp.float32) / 255
  elif jnp.issubdtype(images.dtype, jnp.floating):
    pixels = images.astype(jnp.float32)
  else:
    raise TypeError(f"images must be uint8 or floating; got {images.dtype}")
  mean, std = (jnp.broadcast_to(jnp.asarray(x, jnp.float32), pixels.shape) for x in (mean, std))
  return (pixels - mean) / std


def channel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Compute each channel's mean and standard deviation, over examples and positions.

  Call it on the training split alone: statistics of validation or test images would leak them
  into training.

  Args:
    images: ``uint8 [N, H, W, C]`` or ``float32 [N, C]``; may be memory-mapped.

  Returns:
    ``(mean, std)``, ``float32 [C]`` each, ``uint8`` images counted on the scale where 255 is 1.
    A channel that never varies gets the standard deviation 1, so that it standardises to 0.

  Example:
    >>> import numpy as np
    >>> channel_statistics(np.array([[1.0, 5.0], [3.0, 5.0]], np.float32))
    (array([2., 5.], dtype=float32), array([1., 1.], dtype=float32))
  """
  scale = 255.0 if images.dtype == np.uint8 else 1.0

  def average(function):
    chunks = (images[i : i + _CHUNK] for i in range(0, len(images), _CHUNK))
    # Over the examples first: a sum along rows of three channels alone is 10 times slower.
    total = sum(function(chunk.astype(np.float64)).sum(axis=0) for chunk in chunks)
    return (total / len(images)).reshape(-1, images.shape[-1]).mean(axis=0)

  # Two passes: the mean square minus the squared mean would cancel where std is far below mean.
  mean = average(lambda chunk: chunk)
  centre = np.ascontiguousarray(np.broadcast_to(mean, images.shape[1:]))
  std = np.sqrt(average(lambda chunk: (chunk - centre) ** 2))
  # What a constant float32 channel shows beside 0 is rounding.
  std = np.where(std > 1e-6 * np.abs(mean), std, scale)
  return (mean / scale).astype(np.float32), (std / scale).astype(np.float32)
