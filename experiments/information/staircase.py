"""Study of the staircase: correlated Gaussian vectors whose information rises step by step.

A critic trains on fresh pairs throughout, without a fresh start where the information rises. Its
bounds are taken on each batch before the critic is trained on it, so on pairs it never saw.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.information import bounds, learner, seed_devices, staircase_report
from experiments.information.study import Study, check_numbers
from softmax_research import information, nn

_CRITICS = {"separable": nn.SeparableCritic, "joint": nn.JointCritic}
_TRANSFORMS = ("linear", "cubic")
_WIDTHS = (256, 256)
#: Places of a stair's curve; each is a mean over as many batches as there are between two.
_PLACES = 10


class Settings(NamedTuple):
  """Hold the study's settings.

  Attributes:
    nats: the information at each stair.
    dimension: of either vector.
    steps: of a stair, for separable critics.
    joint_steps: of a stair, for joint critics, which score each pair by a pass of its own.
    batch_size: pairs of a step.
    seeds: of a cell, trained together.
    critics: which of the two.
    transforms: of y, by component; none changes the information.
    joint_transforms: those for joint critics.
    rate: Adam's learning rate, for separable critics.
    joint_rate: the same for joint critics, which have fewer steps.
  """

  nats: tuple[float, ...] = (2.0, 4.0, 6.0, 8.0, 10.0)
  dimension: int = 20
  steps: int = 4000
  joint_steps: int = 200
  batch_size: int = 64
  seeds: int = 6
  critics: tuple[str, ...] = tuple(_CRITICS)
  transforms: tuple[str, ...] = _TRANSFORMS
  joint_transforms: tuple[str, ...] = _TRANSFORMS
  rate: float = 5e-4
  joint_rate: float = 2e-3


def check(settings: Settings) -> None:
  """Raise a ValueError for settings that are none."""
  check_numbers("nats", settings.nats, 0)
  check_numbers("dimension", [settings.dimension], 1)
  check_numbers("seeds", [settings.seeds], 2)
  check_numbers("batch_size", [settings.batch_size], 3)
  known = {"critics": tuple(_CRITICS), "transforms": _TRANSFORMS, "joint_transforms": _TRANSFORMS}
  for name, values in known.items():
    chosen = getattr(settings, name)
    if not chosen or not set(chosen) <= set(values):
      raise ValueError(f"Got --{name}={','.join(chosen)}; there are {', '.join(values)}.")
  for name in ("rate", "joint_rate"):
    check_numbers(name, [getattr(settings, name)], 1e-6, 1)
  for name in ("steps", "joint_steps"):
    value = getattr(settings, name)
    if value < 2 * _PLACES or value % _PLACES:
      raise ValueError(
        f"Got --{name}={value}; it must be a multiple of {_PLACES}, the places of a stair's curve, "
        f"and at least {2 * _PLACES}."
      )


def cells(settings: Settings) -> list[dict[str, Any]]:
  """Return the study's cells, those of one program after one another."""
  return [
    {"critic": critic, "objective": objective, "transform": transform}
    for critic in settings.critics
    for objective in bounds.OBJECTIVES
    for transform in staircase_report.transforms_of(settings, critic)
  ]


def measure(settings: Settings, cell: dict[str, Any]) -> list[dict[str, Any]]:
  """Train the critics of a cell up the stairs; return a run for each bound, seed and stair."""
  options = {"objective": cell["objective"], "critic": cell["critic"]}
  options |= {"dimension": settings.dimension}
  joint = cell["critic"] == "joint"
  steps = settings.joint_steps if joint else settings.steps
  keys = seed_devices.divide(jax.random.split(jax.random.key(0), settings.seeds))
  states = _start(keys, critic=cell["critic"], dimension=settings.dimension)
  runs = []
  for stair, nats in enumerate(settings.nats):
    states, estimates = _climb(
      states,
      jax.vmap(lambda key, stair=stair: jax.random.fold_in(key, 1 + stair))(keys),
      information.gaussian_correlation(nats, settings.dimension),
      cell["transform"] == "cubic",
      settings.joint_rate if joint else settings.rate,
      steps=steps,
      batch_size=settings.batch_size,
      **options,
    )
    for number, bound in enumerate(bounds.of_objective(cell["objective"])):
      for seed, curve in enumerate(np.asarray(estimates[..., number], np.float64)):
        run = {"estimator": bound.name, "seed": seed, "stair": stair, "truth": nats}
        runs.append(run | summarise_curve(curve, nats))
  return runs


def summarise_curve(curve: np.ndarray, truth: float) -> dict[str, Any]:
  """Summarise a stair's estimates, one for each batch.

  Args:
    curve: the estimates `[T]`.
    truth: the information.

  Returns:
    The mean, the variance and the mean squared error of the estimates in the second half, the
    largest of all, and means over tenths of the stair; None for what is not finite.

  Example:
    >>> found = summarise_curve(np.array([0.0] * 10 + [2.0] * 5 + [4.0] * 5), 2.0)
    >>> found["estimate"], found["variance"], found["squared_error"], found["largest"]
    (3.0, 1.0, 2.0, 4.0)
  """
  late = curve[len(curve) // 2 :]
  with np.errstate(invalid="ignore", over="ignore"):  # An untrained critic's NWJ is often infinite.
    found = {
      "estimate": np.mean(late),
      "variance": np.var(late),
      "squared_error": np.mean((late - truth) ** 2),
      "largest": np.max(curve),
    }
    places = curve.reshape(_PLACES, -1).mean(1)
  return {k: _number(v) for k, v in found.items()} | {"curve": [_number(v) for v in places]}


def _number(value) -> float | None:
  return float(value) if np.isfinite(value) else None  # JSON has no others.


def _make(critic: str, dimension: int, rngs: nnx.Rngs):
  return _CRITICS[critic](dimension, dimension, widths=_WIDTHS, rngs=rngs)


@functools.cache
def _structure(critic: str, dimension: int):
  return nnx.split(nnx.eval_shape(lambda: _make(critic, dimension, nnx.Rngs(0))))[0]


@functools.partial(jax.jit, static_argnames=("critic", "dimension"))
def _start(keys, *, critic, dimension):
  def one_seed(key):
    _, params = nnx.split(_make(critic, dimension, nnx.Rngs(key)))
    return learner.start(params, averaged=False)

  return jax.vmap(one_seed)(keys)


@functools.partial(
  jax.jit,
  static_argnames=("objective", "critic", "dimension", "steps", "batch_size"),
  donate_argnums=0,
)
def _climb(
  states, keys, correlation, cubic, rate, *, objective, critic, dimension, steps, batch_size
):
  """Train through a stair; return the states and the bounds' estimates `[S, steps, bounds]`."""
  structure = _structure(critic, dimension)

  def step(state, key):
    x, noise = jax.random.normal(key, (2, batch_size, dimension))
    y = correlation * x + jnp.sqrt(1 - correlation**2) * noise
    y = jnp.where(cubic, y**3, y)

    def loss(params, average):
      scores = nnx.merge(structure, params, copy=True)(x, y)
      loss, average = bounds.OBJECTIVES[objective](scores, average)
      return loss, (average, scores)

    state, scores = learner.step(state, loss, rate)
    return state, bounds.estimate_all(objective, scores)

  def one_seed(state, key):
    return jax.lax.scan(step, state, jax.random.split(key, steps))

  return jax.vmap(one_seed)(states, keys)


STUDY = Study(Settings, check, cells, measure, staircase_report.write)
