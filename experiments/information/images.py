"""Study of pairs of real images: classifiers and critics where the information is known.

The classifier tells the second image's class from the first image; critics score both images. See
`image_pairs` for why all have one truth, and what that assumes.
"""

import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.information import bounds, image_pairs, learner, seed_devices, summary
from experiments.information.study import Study, check_numbers, estimate
from softmax_research import data, functional, nn
from softmax_research.reporting import note

CLASSIFIER = "classifier, plug-in"
_WIDTHS = (256, 256)
_PEAK_RATE = 1e-3
_LOOK_EVERY = 50
#: Batches of pairs on which an estimate is taken, in validation and in the test.
_BATCHES = {"validation": 20, "test": 80}
#: How near the truth a mean estimate has to be, in nats, not to be called broken.
_NEAR = 0.05


class Settings(NamedTuple):
  """Hold the study's settings.

  Attributes:
    dataset: where the images are from.
    errors: chances that the channel changes a class.
    seeds: of a cell, trained together.
    steps: of a training.
    batch_size: pairs of a step.
  """

  dataset: str = "mnist"
  errors: tuple[float, ...] = (0.0, 0.1, 0.3, 0.6)
  seeds: int = 6
  steps: int = 600
  batch_size: int = 128


def check(settings: Settings) -> None:
  """Raise an error for settings that are none, or data that cannot be had."""
  check_numbers("errors", settings.errors, 0, 1)
  check_numbers("seeds", [settings.seeds], 2)
  check_numbers("batch_size", [settings.batch_size], 3)
  check_numbers("steps", [settings.steps], _LOOK_EVERY)
  if settings.steps % _LOOK_EVERY:
    raise ValueError(
      f"Got --steps={settings.steps}; it must be a multiple of {_LOOK_EVERY}, after which the "
      "validation split is looked at."
    )
  _load(settings.dataset)


def cells(settings: Settings) -> list[dict[str, Any]]:
  """Return the study's cells, those of one program after one another."""
  return [
    {"objective": objective, "error": error}
    for objective in ("classifier", *bounds.OBJECTIVES)
    for error in settings.errors
  ]


def measure(settings: Settings, cell: dict[str, Any]) -> list[dict[str, Any]]:
  """Train the networks of a cell; return a run for each estimator and seed."""
  objective, error, seeds = cell["objective"], cell["error"], settings.seeds
  pools = _load(settings.dataset)
  classes = len(pools.train.rows)
  net = (pools.train.pixels.shape[1], classes, objective == "classifier")
  scaling = (pools.mean, pools.std)
  # The same pairs for all objectives.
  generator = np.random.default_rng([round(1000 * error), 1])

  def drawn(name):
    shape = (_BATCHES[name], seeds, settings.batch_size)
    pool = getattr(pools, name)
    pairs = image_pairs.draw(generator, pool, shape, error)
    return pool.pixels, seed_devices.divide(pairs, axis=1)

  validation, test = drawn("validation"), drawn("test")
  rates = learner.cosine(_PEAK_RATE, settings.steps).reshape(-1, _LOOK_EVERY)
  shape = (_LOOK_EVERY, seeds, settings.batch_size)
  looks = (
    (seed_devices.divide(image_pairs.draw(generator, pools.train, shape, error), axis=1), at)
    for at in rates
  )

  def train(state, look):
    return _train(state, *look, pools.train.pixels, scaling, objective=objective, net=net)

  def validate(params):
    images, pairs = validation
    return _evaluate(params, pairs, images, scaling, objective=objective, net=net)[0]

  keys = seed_devices.divide(jax.random.split(jax.random.key(0), seeds))
  states = _start(keys, net=net)
  best = learner.fit(states, looks, train, validate)
  images, pairs = test
  _, terms = _evaluate(best, pairs, images, scaling, objective=objective, net=net)
  truth = image_pairs.true_information(classes, error)
  return [
    {"estimator": name, "seed": seed, "truth": truth} | estimate(of_seed)
    for name, values in terms.items()
    for seed, of_seed in enumerate(np.asarray(values))
  ]


@functools.cache
def _load(name: str) -> image_pairs.Pools:
  if name not in data.NUM_CLASSES:
    raise ValueError(f"Got --dataset={name}; there are {', '.join(data.NUM_CLASSES)}.")
  return image_pairs.load(name)


class _Classifier(nnx.Module):
  """Score the classes of an image."""

  def __init__(self, size, classes, *, rngs):
    self.hidden = nn.MLP((size,), widths=_WIDTHS, rngs=rngs)
    self.logits = nnx.Linear(_WIDTHS[-1], classes, rngs=rngs)

  def __call__(self, images):
    return self.logits(self.hidden(images, train=False))


def _make(size: int, classes: int, classifier: bool, rngs: nnx.Rngs) -> nnx.Module:
  if classifier:
    return _Classifier(size, classes, rngs=rngs)
  return nn.SeparableCritic(size, size, widths=_WIDTHS, rngs=rngs)


@functools.cache
def _structure(net):
  return nnx.split(nnx.eval_shape(lambda: _make(*net, nnx.Rngs(0))))[0]


def _outputs(net, params, images, rows, scaling):
  """Return the logits `[B, K]` of the classifier, or the scores `[B, B]` of the critic."""
  mean, std = scaling
  network = nnx.merge(_structure(net), params, copy=True)
  first, second = ((images[rows[:, side]].astype(jnp.float32) - mean) / std for side in (0, 1))
  return network(first) if net[-1] else network(first, second)


def _loss(objective, outputs, labels, average):
  if objective == "classifier":
    return jnp.mean(functional.cross_entropy(outputs, labels)), average
  return bounds.OBJECTIVES[objective](outputs, average)


def _terms(objective, outputs, labels) -> dict[str, jax.Array]:
  """Return the terms of a batch's estimates: of each pair for the classifier, else of the batch."""
  if objective == "classifier":
    # The noisy class is uniform, so its entropy is log K.
    return {CLASSIFIER: jnp.log(outputs.shape[-1]) - functional.cross_entropy(outputs, labels)}
  return {bound.name: bound.estimate(outputs) for bound in bounds.of_objective(objective)}


@functools.partial(jax.jit, static_argnames="net")
def _start(keys, *, net):
  def one_seed(key):
    return learner.start(nnx.split(_make(*net, nnx.Rngs(key)))[1], averaged=True)

  return jax.vmap(one_seed)(keys)


@functools.partial(jax.jit, static_argnames=("objective", "net"), donate_argnums=0)
def _train(states, pairs, rates, images, scaling, *, objective, net):
  def one_seed(state, pairs):
    def step(state, batch):
      pairs, rate = batch

      def loss(params, average):
        outputs = _outputs(net, params, images, pairs.rows, scaling)
        value, average = _loss(objective, outputs, pairs.labels, average)
        return value, (average, None)

      return learner.step(state, loss, rate)

    return jax.lax.scan(step, state, (pairs, rates))[0]

  return jax.vmap(one_seed, in_axes=(0, 1))(states, pairs)


@functools.partial(jax.jit, static_argnames=("objective", "net"))
def _evaluate(params, pairs, images, scaling, *, objective, net):
  """Return each seed's mean objective over batches, `[S]`, and its terms `[S, M]`."""

  def one_seed(params, pairs):
    def one_batch(pairs):
      outputs = _outputs(net, params, images, pairs.rows, scaling)
      value, _ = _loss(objective, outputs, pairs.labels, jnp.float32(-jnp.inf))
      return value, _terms(objective, outputs, pairs.labels)

    values, terms = jax.lax.map(one_batch, pairs)
    return jnp.mean(values), {name: of.reshape(-1) for name, of in terms.items()}

  return jax.vmap(one_seed, in_axes=(0, 1))(params, pairs)


def claims(settings: Settings, runs: list[dict[str, Any]]) -> str:
  """State for each estimator where its mean estimate is near the truth, and where it breaks."""
  found = summary.group(runs, ("estimator", "error"))
  lines = []
  for name in _names():
    broken = []
    for error in settings.errors:
      bias = summary.describe(found[name, error])["bias"]
      if not abs(bias.mean) <= _NEAR:
        truth = next(run["truth"] for run in runs if run["error"] == error)
        broken.append(f"{bias.mean:+.3f} at error {error:g} (truth {truth:.3f})")
    near = len(settings.errors) - len(broken)
    text = f"{name}: within {_NEAR} nats of the truth at {near} of {len(settings.errors)} errors"
    lines.append(text + (f"; off by {', '.join(broken)}" if broken else ""))
  return "\n".join(f"- {line}." for line in lines)


def report(
  workdir: pathlib.Path, settings: Settings, runs: list[dict[str, Any]], facts: dict[str, Any]
) -> pathlib.Path:
  """Write the report of the runs."""
  found = summary.group(runs, ("estimator", "error"))
  truths = {run["error"]: run["truth"] for run in runs}
  errors = sorted(truths)
  limits = (-1.2 * max(truths.values()), 0.6)
  panel = summary.bias_panel(
    "Bias, nats",
    "chance that the channel changes a class",
    _names(),
    errors,
    lambda name, error: found[name, error],
    scale="linear",
    limits=limits,
  )
  blocks = [
    f"Pairs of images of {settings.dataset}: the class of the second is what a symmetric channel "
    "makes of the class of the first. Where an image determines its class, the information between "
    "the images is that between the classes, and so is that between the first image and the "
    "second's class. This assumption makes the truth exact; wrong or ambiguous labels of the data "
    "set would lower it and are neglected.",
    "The classifier and the embeddings of the separable critics are MLPs on pixels with two "
    f"layers of 256, trained for {settings.steps:,} steps of {settings.batch_size} pairs; "
    f"{settings.seeds} seeds. A tenth of the training images chooses the step; the numbers are of "
    "pairs of test images. Pairs share images, so the intervals behind coverage are somewhat "
    "too narrow.",
    summary.METHOD,
    claims(settings, runs),
    summary.plot("bias", "Bias by the channel's error", [panel]),
    f"What lies beyond {limits[0]:.1f} or {limits[1]} nats is cut off.",
  ]
  for error in errors:
    blocks.append(f"**Error {error:g}**: the truth is {truths[error]:.6f} nats.")
    blocks.append(summary.table({name: found[name, error] for name in _names()}))
  title = f"Mutual information of pairs of images, {settings.dataset}"
  return note.write_note(workdir, title=title, blocks=blocks, facts=facts)


def _names() -> list[str]:
  return [CLASSIFIER, *(bound.name for bound in bounds.BOUNDS)]


STUDY = Study(Settings, check, cells, measure, report)
