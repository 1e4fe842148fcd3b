"""Study of pairs of real images whose classes are joined by a noisy channel: the truth is known.

The class of the first image is uniform, and that of the second is what a symmetric channel makes of
it; the images are drawn from their classes. So X1 - Y1 - Y2 - X2 is a Markov chain, and where an
image determines its class, I(X1; X2) = I(X1; Y2) = I(Y1; Y2), a sum over pairs of classes. That an
image determines its class is an assumption: wrong or ambiguous labels in the data set make the
information smaller than this truth, by what is neglected here.

The classifier tells the second image's class from the first image; critics score both images.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments.information import estimates, estimators
from softmax_research import data, information, nn, study
from softmax_research.information import fitting

_WIDTHS = (256, 256)
_RATE = 1e-3
_LOOK_EVERY = 50
#: Batches of pairs on which an estimate is taken, in validation and in the test.
_BATCHES = {"validation": 20, "test": 80}
# How near the truth a mean estimate counts as near, in nats.
_NEAR = 0.05


class Settings(NamedTuple):
  """Hold the study's settings.

  Attributes:
    dataset: where the images are from: mnist, cifar10 and others.
    errors: chances that the channel changes a class.
    seeds: seeds of a cell, trained together.
    steps: steps of a training.
    batch_size: examples, or pairs, of a training step.
  """

  dataset: str = "mnist"
  errors: tuple[float, ...] = (0.0, 0.1, 0.3, 0.6)
  seeds: int = 6
  steps: int = 600
  batch_size: int = 128


class Images(NamedTuple):
  """Hold the pixels `[N, P]` of a data set, and by split the rows of each class's images.

  A tenth of the training images is for validation; mean and deviation are of those to train on.
  """

  pixels: np.ndarray
  rows: dict[str, tuple[np.ndarray, ...]]
  mean: float
  std: float


def check(settings: Settings) -> None:
  study.check_numbers(settings, errors=(0, 1), seeds=2, batch_size=3, steps=1)
  if settings.dataset not in data.NUM_CLASSES:
    raise ValueError(f"Got --dataset={settings.dataset}; there are {', '.join(data.NUM_CLASSES)}.")


def cells(settings: Settings) -> list[dict[str, Any]]:
  return [
    {"objective": objective, "error": error}
    for objective in ("classifier", *estimators.OBJECTIVES)
    for error in settings.errors
  ]


def prepare(settings: Settings, cells: Sequence[dict[str, Any]]) -> Images:
  dataset = data.load(settings.dataset)
  if dataset.train.images.ndim != 4:
    raise ValueError(
      f"Got --dataset={settings.dataset}, which has points in place of images; try mnist."
    )
  train, validation = data.split_train_validation(dataset.train, fraction=0.1, seed=0)
  pixels, rows, start = [], {}, 0
  for name, split in (("train", train), ("validation", validation), ("test", dataset.test)):
    pixels.append(np.asarray(split.images).reshape(len(split.images), -1))
    classes = range(dataset.num_classes)
    rows[name] = tuple(start + np.flatnonzero(split.labels == k) for k in classes)
    start += len(split.labels)
  return Images(np.concatenate(pixels), rows, float(pixels[0].mean()), float(pixels[0].std()))


def draw(
  generators: Sequence[np.random.Generator],
  by_class: Sequence[np.ndarray],
  shape: tuple[int, ...],
  error: float,
) -> tuple[np.ndarray, np.ndarray]:
  """Draw rows of pairs `[S, *shape, 2]`, and the classes of the second ones `[S, *shape]`.

  Error is the chance that the channel changes a class.
  """
  classes, counts = len(by_class), np.array([len(rows) for rows in by_class])
  rows, starts = np.concatenate(by_class), np.cumsum(counts) - counts

  def draw_one(generator):
    first = generator.integers(classes, size=shape)
    moved = first + generator.integers(1, classes, size=shape)  # To any other class alike.
    second = np.where(generator.random(shape) < error, moved % classes, first)
    labels = np.stack([first, second], axis=-1)
    places = (generator.random(labels.shape) * counts[labels]).astype(np.int64)
    return rows[starts[labels] + places].astype(np.int32), second.astype(np.int32)

  images, classes_of = zip(*map(draw_one, generators), strict=True)
  return np.stack(images), np.stack(classes_of)


def true_information(classes: int, error: float) -> float:
  """Return the information between the images of a pair, in nats."""
  channel = data.flip_probabilities(classes, flips="symmetric", rate=error)
  return information.discrete_information(channel / classes)


def run(cell: dict[str, Any], context: study.Context) -> Iterator[list[dict[str, Any]]]:
  settings, images = context.settings, context.prepared
  error, classes = cell["error"], len(images.rows["train"])
  task = _make_task(cell["objective"], images.pixels.shape[1], classes)
  # The same pairs for all objectives.
  generators = [np.random.default_rng([seed, round(1000 * error), 1]) for seed in context.seeds]
  pairs = {
    split: draw(generators, images.rows[split], (number, settings.batch_size), error)
    for split, number in {**_BATCHES, "train": settings.steps}.items()
  }

  def fit(key, pairs, pixels):
    def take(pairs):
      rows, labels = pairs
      sides = (pixels[rows[:, side]].astype(jnp.float32) for side in (0, 1))
      return *((side - images.mean) / images.std for side in sides), labels

    options = {"rate": _RATE, "look_every": _LOOK_EVERY}
    return fitting.fit(*task, key=key, places=pairs, take=take, **options)

  terms, compiling = estimators.run_seeds(fit, context.seeds, pairs, shared=images.pixels)
  measured = {"truth": true_information(classes, error)}
  yield estimates.records(context, compiling, estimates.intervals(terms), measured)


def _make_task(objective: str, pixels: int, classes: int):
  if objective == "classifier":
    # The noisy class is uniform, so its entropy is log K.
    log_prior = np.full(classes, -np.log(classes), np.float32)
    softmax = information.ESTIMATORS.make("softmax")
    own = [estimators.Named("classifier, plug-in", objective, softmax.loss, softmax.terms)]
    init, logits = estimators.make_network(estimators.ClassScores, pixels, classes, widths=_WIDTHS)
    return estimators.task(
      init, lambda params, batch: (logits(params, batch[0]), batch[2], log_prior), own
    )
  init, scores = estimators.make_network(nn.SeparableCritic, pixels, pixels, widths=_WIDTHS)
  own = estimators.of_objective(objective)
  return estimators.task(init, lambda params, batch: (scores(params, *batch[:2]),), own)


def report(records: Sequence[dict[str, Any]], settings: Settings) -> Iterator[study.Block]:
  yield f"# Mutual information of pairs of images, {settings.dataset}"
  yield (
    f"Pairs of images of {settings.dataset}: the class of the second is what a symmetric channel "
    "makes of the class of the first. Where an image determines its class, the information between "
    "the images is that between the classes, and so is that between the first image and the "
    "second's class. This assumption makes the truth exact; wrong or ambiguous labels of the data "
    "set would lower it and are neglected."
  )
  yield (
    "The classifier and the embeddings of the separable critics are MLPs on pixels with two "
    f"layers of 256, trained for {settings.steps:,} steps of {settings.batch_size} pairs; "
    f"{settings.seeds} seeds. A tenth of the training images chooses the step; the numbers are of "
    "pairs of test images. Pairs share images, so the intervals behind coverage are somewhat "
    "too narrow."
  )
  yield estimates.METHOD
  rows = estimates.by_estimator(records)
  yield estimates.near(rows, _NEAR)
  limits = (-1.2 * max(row["measured"]["truth"] for row in rows), 0.6)
  heading = "Bias by the channel's error"
  yield estimates.plot(rows, x="error", name="bias", heading=heading, limits=limits)
  yield f"What lies beyond {limits[0]:.1f} or {limits[1]} nats is cut off."
  yield from estimates.tables(rows, lambda cell: f"Error {cell['error']:g}")


STUDY = study.Study(
  Settings,
  cells,
  run,
  report,
  name="mutual_information.images",
  check=check,
  prepare=prepare,
  selects=("errors", "seeds"),
  estimate=estimates.estimate_by_short_run(
    run, lambda settings, cell: {"steps": min(settings.steps, 2 * _LOOK_EVERY)}
  ),
)
