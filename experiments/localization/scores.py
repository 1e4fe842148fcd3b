"""Scores: how well boxes of maps cover the true ones, at thresholds chosen on validation."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from softmax_research import information

#: Overlaps from which a box counts as found.
LEVELS = (0.3, 0.5, 0.7)
#: Thresholds to choose from, as fractions of a map's maximum.
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
#: The paper's.
PAPERS_THRESHOLD = 0.2
#: Where a threshold comes from.
RULES = ("chosen", "paper")


def overlaps(
  maps: np.ndarray, boxes: np.ndarray, thresholds: Sequence[float] = THRESHOLDS
) -> np.ndarray:
  """Compute the overlap of the box at each threshold with the true one.

  Args:
    maps: `[N, S, S]`.
    boxes: true ones, `[N, 4]`.
    thresholds: T of them.

  Returns:
    Intersections over unions, `[N, T]`.

  Example:
    >>> overlaps(np.array([[[0.0, 1.0], [0.0, 0.5]]]), np.array([[0, 1, 2, 2]]), (0.4, 0.9))
    array([[1. , 0.5]])
  """
  return np.array(
    [
      [
        information.intersection_over_union(
          information.bounding_box(activation, threshold=threshold), information.Box(*box)
        )
        for threshold in thresholds
      ]
      for activation, box in zip(maps, np.asarray(boxes).tolist(), strict=True)
    ]
  ).reshape(len(maps), len(thresholds))


def box_accuracy(found: np.ndarray) -> np.ndarray:
  """Compute the share of overlaps `[N, ...]` that reach each level, `[levels, ...]`.

  Example:
    >>> box_accuracy(np.array([0.2, 0.5])).tolist()
    [0.5, 0.5, 0.0]
  """
  return np.array([np.mean(found >= level, axis=0) for level in LEVELS])


def choose(validation: np.ndarray) -> list[float]:
  """Choose for each level the threshold that finds most boxes; of several the smallest.

  Args:
    validation: overlaps at `THRESHOLDS` on validation scenes, `[N, T]`.

  Returns:
    A threshold for each level.
  """
  return [THRESHOLDS[int(np.argmax(row))] for row in box_accuracy(validation)]


def score(
  validation_maps: np.ndarray,
  validation_boxes: np.ndarray,
  test_maps: np.ndarray,
  test_boxes: np.ndarray,
  correct: np.ndarray,
) -> dict[str, Any]:
  """Score one kind of maps; thresholds are chosen on validation scenes.

  Args:
    validation_maps: of the true classes, `[M, S, S]`.
    validation_boxes: `[M, 4]`.
    test_maps: `[N, S, S]`.
    test_boxes: `[N, 4]`.
    correct: which test scenes are classified right, `[N]`.

  Returns:
    For JSON: `validation_curve`, the box accuracy at each level and threshold; and for each rule,
    level by level, `thresholds`, `known` (the share of boxes found, the class being given),
    `top_1` (the share found of which the class was right too); `by_size`, the share found at an
    overlap of 0.5 among the third of smallest objects, the middle and the largest.
  """
  validation = overlaps(validation_maps, validation_boxes)
  results: dict[str, Any] = {"validation_curve": box_accuracy(validation).tolist()}
  rules = {"chosen": choose(validation), "paper": [PAPERS_THRESHOLD] * len(LEVELS)}
  thresholds = sorted({threshold for values in rules.values() for threshold in values})
  at = dict(zip(thresholds, overlaps(test_maps, test_boxes, thresholds).T, strict=True))
  for rule, values in rules.items():
    hits = [at[value] >= level for value, level in zip(values, LEVELS, strict=True)]
    results[rule] = {
      "thresholds": values,
      "known": [float(np.mean(hit)) for hit in hits],
      "top_1": [float(np.mean(hit & correct)) for hit in hits],
      "by_size": _by_size(hits[LEVELS.index(0.5)], test_boxes),
    }
  return results


def fixed_box(validation_boxes: np.ndarray, test_boxes: np.ndarray) -> list[float]:
  """Compute the box accuracy of validation's mean box, which looks at no image.

  Example:
    >>> fixed_box(np.array([[0, 0, 2, 2]]), np.array([[0, 0, 2, 2], [0, 0, 1, 2]]))
    [1.0, 1.0, 0.5]
  """
  mean = information.Box(*np.mean(validation_boxes, axis=0))
  found = [information.intersection_over_union(mean, information.Box(*b)) for b in test_boxes]
  return [float(share) for share in box_accuracy(np.array(found))]


def _by_size(hits: np.ndarray, boxes: np.ndarray) -> list[float | None]:
  """Average hits over the third of smallest boxes, the middle and the largest, by area."""
  areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
  first, second = np.quantile(areas, [1 / 3, 2 / 3])
  # Objects of few sizes make the parts unequal, and may leave one empty.
  parts = (areas <= first, (areas > first) & (areas <= second), areas > second)
  return [float(np.mean(hits[part])) if part.any() else None for part in parts]
