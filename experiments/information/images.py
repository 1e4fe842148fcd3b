"""Study of pairs of real images: classifiers and critics where the information is known.

The classifier tells the second image's class from the first image; critics score both images. See
`image_pairs` for why all have one truth, and what that assumes.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.information import bounds, estimates, image_pairs, learner, seed_devices
from softmax_research import data, functional, nn, study

CLASSIFIER = "classifier, plug-in"
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


def check(settings: Settings) -> None:
  """Raise a ValueError for settings that are none."""
  study.check_numbers("errors", settings.errors, 0, 1)
  for name, least in (("seeds", 2), ("batch_size", 3), ("steps", 1)):
    study.check_numbers(name, getattr(settings, name), least)
  if settings.dataset not in data.NUM_CLASSES:
    raise ValueError(f"Got --dataset={settings.dataset}; there are {', '.join(data.NUM_CLASSES)}.")


def cells(settings: Settings) -> list[dict[str, Any]]:
  """Return the study's cells, those of one program after one another."""
  return [
    {"objective": objective, "error": error}
    for objective in ("classifier", *bounds.OBJECTIVES)
    for error in settings.errors
  ]


def prepare(settings: Settings, cells: Sequence[dict[str, Any]]) -> image_pairs.Pools:
  """Load the images."""
  del cells
  return image_pairs.load(settings.dataset)


def run(cell: dict[str, Any], context: study.Context) -> Iterator[list[dict[str, Any]]]:
  """Train the networks of a cell; yield the records of its seeds."""
  began, settings, pools = time.perf_counter(), context.settings, context.prepared
  error, classes = cell["error"], len(pools.train.rows)
  task = _make_task(cell["objective"], pools.train.pixels.shape[1], classes)
  # The same pairs for all objectives.
  generators = [np.random.default_rng([seed, round(1000 * error), 1]) for seed in context.seeds]
  pairs, images = {}, {}
  for split, number in {**_BATCHES, "train": settings.steps}.items():
    pool = getattr(pools, split)
    pairs[split] = image_pairs.draw(generators, pool, (number, settings.batch_size), error)
    images[split] = (pool.pixels, pools.mean, pools.std)

  def fit(key, pairs, images):
    return learner.fit(task, key, pairs, images, rate=_RATE, look_every=_LOOK_EVERY)

  terms, compiling = seed_devices.run(fit, context.seeds, pairs, shared=images)
  measured = {"truth": image_pairs.true_information(classes, error)}
  yield estimates.records(context, began, compiling, terms, measured)


class _Classifier(nnx.Module):
  """Score the classes of an image."""

  def __init__(self, size, classes, *, rngs):
    self.hidden = nn.MLP((size,), widths=_WIDTHS, rngs=rngs)
    self.logits = nnx.Linear(_WIDTHS[-1], classes, rngs=rngs)

  def __call__(self, images):
    return self.logits(self.hidden(images, train=False))


def _make_task(objective: str, pixels: int, classes: int) -> learner.Task:
  """Return a task whose outputs are logits `[B, K]` of a classifier, or scores `[B, B]`."""
  classifies = objective == "classifier"
  if classifies:
    net = learner.make_network(lambda rngs: _Classifier(pixels, classes, rngs=rngs))
  else:
    net = learner.make_network(
      lambda rngs: nn.SeparableCritic(pixels, pixels, widths=_WIDTHS, rngs=rngs)
    )

  def take(data, pairs):
    images, mean, std = data
    first, second = (images[pairs.rows[:, side]].astype(jnp.float32) for side in (0, 1))
    return (first - mean) / std, (second - mean) / std, pairs.labels

  def outputs(params, batch):
    first, second, _ = batch
    return net.apply(params, first) if classifies else net.apply(params, first, second)

  def loss(outputs, batch, average):
    if classifies:
      return jnp.mean(functional.cross_entropy(outputs, batch[-1])), average
    return bounds.OBJECTIVES[objective](outputs, average)

  def terms(outputs, batch):
    if classifies:  # The noisy class is uniform, so its entropy is log K.
      return {CLASSIFIER: jnp.log(classes) - functional.cross_entropy(outputs, batch[-1])}
    return {b.name: b.estimate(outputs)[None] for b in bounds.of_objective(objective)}

  return learner.Task(net.init, take, outputs, loss, terms)


def report(records: Sequence[dict[str, Any]], settings: Settings) -> Iterator[study.Block]:
  """Yield the blocks of the report."""
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
  if not rows:
    return
  yield estimates.near(rows, _NEAR)
  limits = (-1.2 * max(row["measured"]["truth"] for row in rows), 0.6)
  heading = "Bias by the channel's error"
  yield estimates.plot(rows, "error", name="bias", heading=heading, limits=limits)
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
  estimate=estimates.estimate_by_short_run(run, estimates.fewer_steps(2 * _LOOK_EVERY)),
)
