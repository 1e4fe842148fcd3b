"""Boxes: where a map is high, and how well that covers what was to be found."""

from typing import NamedTuple

import numpy as np
import scipy.ndimage


class Box(NamedTuple):
  """Hold a rectangle of positions; the end of either axis is outside of it.

  Attributes:
    top: the first row.
    left: the first column.
    bottom: one past the last row.
    right: one past the last column.
  """

  top: float
  left: float
  bottom: float
  right: float


def bounding_box(activation: np.typing.ArrayLike, *, threshold: float = 0.2) -> Box:
  r"""Bound the largest connected region in which a map is high.

  .. math:: R = \{ u : M(u) \ge \tau \max_v M(v) \}

  Positions that touch at a side or a corner are connected. Of regions of equal size the first in
  reading order counts.

  Args:
    activation: a map M, `[H, W]`.
    threshold: tau, a fraction of the map's maximum.

  Returns:
    The box. A map without a positive value has the whole image's.

  Raises:
    ValueError: the map is not `[H, W]` or not finite, or the threshold is not in (0, 1].

  Example:
    >>> bounding_box([[0.0, 1.0, 0.9], [0.0, 0.5, 0.0], [0.3, 0.0, 0.0]], threshold=0.4)
    Box(top=0, left=1, bottom=2, right=3)

  Reference:
    Zhou et al. 2016 (arXiv 1512.04150), section 3.2, whose threshold is 0.2.
  """
  activation = np.asarray(activation, np.float64)
  if activation.ndim != 2 or not activation.size or not np.all(np.isfinite(activation)):
    raise ValueError(
      f"Got a map of shape {activation.shape}; it must be [H, W] and finite. Pass one at a time."
    )
  if not 0 < threshold <= 1:
    raise ValueError(f"Got threshold={threshold}; it is a fraction of the maximum, in (0, 1].")
  highest = activation.max()
  if highest <= 0:
    return Box(0, 0, *activation.shape)
  regions, _ = scipy.ndimage.label(activation >= threshold * highest, structure=np.ones((3, 3)))
  largest = np.argmax(np.bincount(regions.ravel())[1:])
  rows, columns = scipy.ndimage.find_objects(regions)[largest]
  return Box(rows.start, columns.start, rows.stop, columns.stop)


def scale_box(box: Box, shape: tuple[int, int], to_shape: tuple[int, int]) -> Box:
  """Carry a box from a map over to an image of another size.

  Args:
    box: a box on the map.
    shape: the map's height and width.
    to_shape: the image's.

  Returns:
    The box on the image.

  Raises:
    ValueError: the box is not inside the map.

  Example:
    >>> scale_box(Box(0, 1, 2, 3), (4, 4), (32, 16))
    Box(top=0.0, left=4.0, bottom=16.0, right=12.0)
  """
  height, width = shape
  if not (0 <= box.top < box.bottom <= height and 0 <= box.left < box.right <= width):
    raise ValueError(
      f"Got {box} on an image of {height} rows and {width} columns; a box has an area and lies "
      "inside the image. Check its units, and that its axes are not swapped."
    )
  down, across = to_shape[0] / height, to_shape[1] / width
  return Box(box.top * down, box.left * across, box.bottom * down, box.right * across)


def intersection_over_union(first: Box, second: Box) -> float:
  r"""Compute how much two boxes have in common.

  .. math:: \mathrm{IoU} = \frac{|A \cap B|}{|A \cup B|}

  Args:
    first: a box.
    second: another one, on the same image.

  Returns:
    A number from 0, apart, to 1, equal.

  Raises:
    ValueError: a box has no area.

  Example:
    >>> intersection_over_union(Box(0, 0, 2, 2), Box(1, 0, 3, 2))
    0.3333333333333333
  """
  for box in (first, second):
    if not (box.top < box.bottom and box.left < box.right):
      raise ValueError(f"Got {box}, which has no area; the top lies above the bottom.")
  height = min(first.bottom, second.bottom) - max(first.top, second.top)
  width = min(first.right, second.right) - max(first.left, second.left)
  shared = max(height, 0) * max(width, 0)
  return float(shared / (_area(first) + _area(second) - shared))


def _area(box: Box) -> float:
  return (box.bottom - box.top) * (box.right - box.left)
