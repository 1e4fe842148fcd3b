"""Maps: class activation maps of a network, and how well their boxes cover the true ones."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import assembly, classifiers
from experiments.many.equal_time import in_batches
from softmax_research import information, nn, training
from softmax_research.study import record

#: Kinds of maps; the first is the one to compare with.
KINDS = ("CAM", "infoCAM", "infoCAM+", "sliding window")
#: Maps as they are, and averaged over the paper's window of 4 by 4 positions.
SMOOTHINGS = ("plain", "smoothed")
#: Overlaps from which a box counts as found.
LEVELS = (0.3, 0.5, 0.7)
#: The place among them of the level that is reported most.
HALF = LEVELS.index(0.5)
#: Thresholds to choose from, as fractions of a map's maximum.
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
#: The paper's.
PAPERS_THRESHOLD = 0.2

_NUM_EXAMPLES = 6


class _LastMaps(nn.CNN):
  """A CNN that returns its last maps, position by position, in place of features."""

  def __call__(self, images, *, train, rngs=None):
    maps = self.maps(images, train=train, rngs=rngs)
    return maps.reshape(maps.shape[0], -1)


def make_mapper(
  options: dict[str, Any], preprocess: Callable, log_prob: Callable
) -> Callable[..., jax.Array]:
  """Make the function that computes maps, from the CNN's options and what preprocesses its images.

  The sliding window's probabilities are those of the head whose `log_prob` is given.

  Returns:
    A jitted function `(params, model_state, images [B, S, S, C], labels [B], log_probs [B, K])`,
    whose output is `[B, kinds, smoothings, S, S]`: maps of the labels' classes, smoothed where
    they are small, as in the paper, and then enlarged bilinearly. The sliding window's are those of
    `slide` for windows of half the side, a quarter of a window apart.
  """
  # Maps are of float32, whatever the network was trained in.
  options = {name: value for name, value in options.items() if name != "dtype"}
  backbone = nn.from_nnx(lambda input_shape, *, rngs: _LastMaps(input_shape, **options, rngs=rngs))

  def last_maps(params, model_state, images):
    flat, _ = backbone.apply(params["backbone"], model_state, preprocess(images), train=False)
    depth = params["head"]["kernel"].shape[0]
    # Canvases are square, and so are their maps.
    side = round((flat.shape[1] / depth) ** 0.5)
    return flat.reshape(-1, side, side, depth)

  @jax.jit
  def compute(params, model_state, images, labels, log_probs):
    kernel = params["head"]["kernel"]
    last = last_maps(params, model_state, images)

    def label_prob(windows):
      features = last_maps(params, model_state, windows).mean((1, 2))
      probs = jnp.exp(log_prob(params["head"], features))
      return jnp.take_along_axis(probs, labels[:, None], axis=1)[:, 0]

    window = images.shape[1] // 2
    slid = slide(label_prob, images, window=window, stride=max(1, window // 4))
    small = jnp.stack(
      [
        information.cam(last, kernel, labels),
        information.info_cam(last, kernel, labels),
        information.info_cam_plus(last, kernel, labels, log_probs),
        jax.image.resize(slid, last.shape[:3], "bilinear"),
      ],
      axis=1,
    )
    both = jnp.stack([small, information.smooth(small, window=min(4, last.shape[1]))], axis=2)
    return jax.image.resize(both, (*both.shape[:3], *images.shape[1:3]), "bilinear")

  return compute


def slide(
  score: Callable[[jax.Array], jax.Array], images: jax.Array, *, window: int, stride: int
) -> jax.Array:
  """Average at each position the scores of the windows that it lies in.

  Args:
    score: of windows `[B, window, window, C]`, `[B]`, which does not need to know their size.
    images: `[B, S, S, C]`.
    window: the windows' side.
    stride: how far apart they are; the last ones end at the border.

  Returns:
    Maps `[B, S, S]`.
  """
  side = images.shape[1]
  starts = sorted({*range(0, side - window + 1, stride), side - window})
  corners = jnp.array([(top, left) for top in starts for left in starts])

  def add(sums, corner):
    top, left = corner
    total, cover = sums
    cut = jax.lax.dynamic_slice_in_dim(images, top, window, axis=1)
    found = score(jax.lax.dynamic_slice_in_dim(cut, left, window, axis=2))
    rows, columns = ((jnp.arange(side) >= at) & (jnp.arange(side) < at + window) for at in corner)
    inside = (rows[:, None] & columns[None, :]).astype(jnp.float32)
    return (total + found[:, None, None] * inside[None], cover + inside), None

  start = jnp.zeros(images.shape[:3], jnp.float32), jnp.zeros(images.shape[1:3], jnp.float32)
  (total, cover), _ = jax.lax.scan(add, start, corners)
  return total / cover[None]


def check_head(name: str, params: Any, num_classes: int) -> None:
  """Raise a ValueError unless a head is a linear layer, whose kernel `[D, K]` gives the maps."""
  linear = isinstance(params, dict) and {"kernel"} <= set(params) <= {"kernel", "bias"}
  if not linear or any(leaf.shape[-1] != num_classes for leaf in params.values()):
    raise ValueError(
      f"Got the head {name!r}, which is not a linear layer; class activation maps need its kernel. "
      "Take softmax or pc_softmax."
    )


def mean_share(kernel: np.ndarray) -> float:
  """Compute the length of a kernel's mean column over the columns' mean length.

  At 0 infoCAM is CAM times K / (K - 1), and both bound the same boxes.
  """
  kernel = np.asarray(kernel, np.float64)
  return float(np.linalg.norm(kernel.mean(1)) / np.linalg.norm(kernel, axis=0).mean())


def judge(
  mapper: Callable[..., Any],
  splits: assembly.Splits,
  state: training.TrainState,
  predictions: classifiers.Predictions,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
  """Judge the maps of one seed's network; return the localisation and examples, for a record."""
  validation, test = splits.validation, splits.test

  def maps_of(scenes, log_probs):
    def batch(*arrays):
      return (mapper(state.params, state.model_state, *arrays),)

    return in_batches(batch, scenes.images, scenes.labels, log_probs)[0]

  predicted = np.argmax(predictions.test, axis=1)
  validation_maps = maps_of(validation, predictions.validation)
  test_maps = maps_of(test, predictions.test)
  score_of = functools.partial(
    score,
    validation_boxes=validation.boxes,
    test_boxes=test.boxes,
    correct=predicted == test.labels,
  )
  scored = {
    kind: {
      smoothing: score_of(validation_maps[:, i, j], test_maps[:, i, j])
      for j, smoothing in enumerate(SMOOTHINGS)
    }
    for i, kind in enumerate(KINDS)
  }
  localisation = {
    "levels": list(LEVELS),
    "thresholds": list(THRESHOLDS),
    "maps": scored,
    "fixed_box": fixed_box(validation.boxes, test.boxes),
    "mean_share": mean_share(state.params["head"]["kernel"]),
  }
  return localisation, _examples(splits, predicted, test_maps[:, :, 0], scored)


def _examples(splits, predicted, test_maps, scored) -> list[dict[str, Any]]:
  """Return the first test scenes with their maps, and the boxes found in these, for a record."""
  cuts = [scored[kind]["plain"]["chosen"]["thresholds"][HALF] for kind in KINDS]
  test, names = splits.test, splits.class_names
  return [
    {
      "image": record.to_text(test.images[i].squeeze()),
      "label": names[test.labels[i]],
      "predicted": names[predicted[i]],
      "box": list(map(float, test.boxes[i])),
      "maps": [record.to_text(_as_bytes(activation)) for activation in test_maps[i]],
      "found": [
        list(map(float, information.bounding_box(activation, threshold=cut)))
        for activation, cut in zip(test_maps[i], cuts, strict=True)
      ],
    }
    for i in range(min(_NUM_EXAMPLES, len(test.labels)))
  ]


def _as_bytes(activation: np.ndarray) -> np.ndarray:
  """Return a map's positive part in 256 steps of its maximum, which a picture cannot tell apart."""
  positive = np.maximum(activation, 0)
  return np.round(255 * positive / max(positive.max(), np.finfo(np.float32).tiny)).astype(np.uint8)


def overlaps(
  activations: np.ndarray, boxes: np.ndarray, thresholds: Sequence[float] = THRESHOLDS
) -> np.ndarray:
  """Compute the overlaps `[N, T]` of true boxes with those of maps `[N, S, S]` at T thresholds."""
  found = [
    information.intersection_over_union(
      information.bounding_box(activation, threshold=threshold), information.Box(*box)
    )
    for activation, box in zip(activations, np.asarray(boxes).tolist(), strict=True)
    for threshold in thresholds
  ]
  return np.reshape(found, (len(activations), len(thresholds)))


def box_accuracy(found: np.ndarray) -> np.ndarray:
  """Compute the share of overlaps `[N, ...]` that reach each level, `[levels, ...]`."""
  return np.array([np.mean(found >= level, axis=0) for level in LEVELS])


def score(
  validation_maps: np.ndarray,
  test_maps: np.ndarray,
  *,
  validation_boxes: np.ndarray,
  test_boxes: np.ndarray,
  correct: np.ndarray,
) -> dict[str, Any]:
  """Score one kind of maps `[N, S, S]` by true boxes `[N, 4]`, and say which scenes are right.

  Returns:
    For JSON: `validation_curve`, the box accuracy at each level and threshold; and for each rule,
    `chosen` (the threshold that finds most validation boxes, of several the smallest) and `paper`,
    level by level, `thresholds`, `known` (the share of boxes found, the class being given),
    `top_1` (the share found of which the class was right too); `by_size`, the share found at an
    overlap of 0.5 among the third of smallest objects, the middle and the largest.
  """
  curve = box_accuracy(overlaps(validation_maps, validation_boxes))
  results: dict[str, Any] = {"validation_curve": curve.tolist()}
  chosen = [THRESHOLDS[place] for place in np.argmax(curve, axis=1)]
  for rule, values in (("chosen", chosen), ("paper", [PAPERS_THRESHOLD] * len(LEVELS))):
    hits = overlaps(test_maps, test_boxes, values).T >= np.array(LEVELS)[:, None]
    results[rule] = {
      "thresholds": values,
      "known": [float(np.mean(hit)) for hit in hits],
      "top_1": [float(np.mean(hit & correct)) for hit in hits],
      "by_size": _by_size(hits[HALF], test_boxes),
    }
  return results


def fixed_box(validation_boxes: np.ndarray, test_boxes: np.ndarray) -> list[float]:
  """Compute the box accuracy of validation's mean box, which looks at no image."""
  mean = information.Box(*np.mean(validation_boxes, axis=0))
  found = [information.intersection_over_union(mean, information.Box(*b)) for b in test_boxes]
  return [float(share) for share in box_accuracy(np.array(found))]


def _by_size(hits: np.ndarray, boxes: np.ndarray) -> list[float | None]:
  areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
  first, second = np.quantile(areas, [1 / 3, 2 / 3])
  # Objects of few sizes make the parts unequal, and may leave one empty.
  parts = (areas <= first, (areas > first) & (areas <= second), areas > second)
  return [float(np.mean(hits[part])) if part.any() else None for part in parts]
