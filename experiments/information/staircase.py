"""Study of the staircase: correlated Gaussian vectors whose information rises step by step.

A critic trains on fresh pairs throughout, without a fresh start where the information rises. Its
bounds are taken on each batch before the critic is trained on it, so on pairs it never saw.
"""

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.information import estimates, estimators
from experiments.ledger import study_claims
from softmax_research import information, nn, study
from softmax_research.information import fitting
from softmax_research.study.blocks import table_of

_CRITICS = {"separable": nn.SeparableCritic, "joint": nn.JointCritic}
_TRANSFORMS = ("linear", "cubic")
_WIDTHS = (256, 256)
#: Places of a stair's curve; each is a mean over as many batches as there are between two.
_PLACES = 10
_METHOD = (
  "Each estimate is of one batch that its critic had not seen. Over the second half of each stair: "
  "bias is the mean error, variance that of the estimates about their seed's mean, MSE the mean "
  "squared error, all averaged over the seeds. Where some seeds' estimates are not finite, the "
  "figures have no point, and the table averages over the other seeds and says how many they are "
  "(n); – stands where there are none."
)


class Settings(NamedTuple):
  """Hold the study's settings.

  Attributes:
    nats: information at each step of the staircase.
    dimension: dimension of either vector.
    steps: steps of a training; of the staircase those of a stair, for separable critics.
    joint_steps: steps of a stair for joint critics, which score each pair by a pass of its own.
    batch_size: examples, or pairs, of a training step.
    seeds: seeds of a cell, trained together.
    critics: kinds of critics.
    transforms: transforms of y, by component; none changes the information.
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
  rates = {"rate": (1e-6, 1), "joint_rate": (1e-6, 1)}
  study.check_numbers(settings, nats=0, dimension=1, seeds=2, batch_size=3, **rates)
  known = {"critics": tuple(_CRITICS), "transforms": _TRANSFORMS, "joint_transforms": _TRANSFORMS}
  for name, values in known.items():
    chosen = getattr(settings, name)
    if not chosen or not set(chosen) <= set(values):
      raise ValueError(f"Got --{name}={','.join(chosen)}; there are {', '.join(values)}.")
  for name in ("steps", "joint_steps"):
    value = getattr(settings, name)
    if value < 2 * _PLACES or value % _PLACES:
      raise ValueError(
        f"Got --{name}={value}; it must be a multiple of {_PLACES}, the places of a stair's curve, "
        f"and at least {2 * _PLACES}."
      )


def of_critic(settings: Settings, critic: str) -> tuple[tuple[str, ...], int, float]:
  """Return the transforms, the steps of a stair and the rate for a kind of critic."""
  if critic == "joint":
    return settings.joint_transforms, settings.joint_steps, settings.joint_rate
  return settings.transforms, settings.steps, settings.rate


def cells(settings: Settings) -> list[dict[str, Any]]:
  """Return the study's cells, those of one program after one another."""
  return [
    {"critic": critic, "objective": objective, "transform": transform}
    for critic in settings.critics
    for objective in estimators.OBJECTIVES
    for transform in of_critic(settings, critic)[0]
  ]


def run(cell: dict[str, Any], context: study.Context) -> Iterator[list[dict[str, Any]]]:
  """Train the critics of a cell up the stairs; yield the records of its seeds."""
  settings, seeds = context.settings, context.seeds
  climb = functools.partial(_climb, cell, settings)
  correlations = [information.gaussian_correlation(n, settings.dimension) for n in settings.nats]
  # Of each seed the estimates `[stairs, steps, estimators]`.
  found, compiling = estimators.run_seeds(climb, seeds, shared=np.array(correlations, np.float32))

  def summarise(curves):
    stairs = enumerate(zip(settings.nats, curves, strict=True))
    return {"stairs": [{"stair": i} | summarise_stair(*stair) for i, stair in stairs]}

  critics = estimators.of_objective(cell["objective"])
  summaries = [
    {critic.name: summarise(of_seed[..., i]) for i, critic in enumerate(critics)}
    for of_seed in found.astype(np.float64)
  ]
  yield estimates.records(context, compiling, summaries)


def _climb(cell, settings, key, correlations) -> jax.Array:
  """Train a critic of one seed up the stairs; return the estimates of each batch."""
  shape = (2, settings.batch_size, settings.dimension)
  init, score = estimators.make_network(_CRITICS[cell["critic"]], *shape[2:] * 2, widths=_WIDTHS)
  _, steps, rate = of_critic(settings, cell["critic"])
  own = estimators.of_objective(cell["objective"])
  optimizer = optax.adam(rate)

  def step(correlation, state, key):
    x, noise = jax.random.normal(key, shape)
    y = correlation * x + jnp.sqrt(1 - correlation**2) * noise
    y = y**3 if cell["transform"] == "cubic" else y

    def loss(params, average):
      scores = score(params, x, y)
      loss, average = own[0].loss(scores, average)
      return loss, (average, scores)

    state, scores = fitting.step(optimizer, state, loss)
    return state, jnp.concatenate([critic.terms(scores) for critic in own])

  def climb_one(state, stair):
    number, correlation = stair
    keys = jax.random.split(jax.random.fold_in(key, 1 + number), steps)
    return jax.lax.scan(functools.partial(step, correlation), state, keys)

  stairs = jnp.arange(len(correlations)), correlations
  return jax.lax.scan(climb_one, fitting.start(optimizer, init(key)), stairs)[1]


def summarise_stair(truth: float, curve: np.ndarray) -> dict[str, Any]:
  """Summarise the estimates of a stair's batches, `[T]`; None is what is not finite.

  Mean, variance and mean squared error are of the second half; the curve has the means of tenths.
  """
  late = curve[len(curve) // 2 :]
  with np.errstate(invalid="ignore", over="ignore"):  # An untrained critic's NWJ is often infinite.
    found = {
      "truth": truth,
      "estimate": np.mean(late),
      "variance": np.var(late),
      "squared_error": np.mean((late - truth) ** 2),
      "largest": np.max(curve),
    }
    tenths = curve.reshape(_PLACES, -1).mean(1)
  return {k: _number(v) for k, v in found.items()} | {"curve": list(map(_number, tenths))}


def _number(value) -> float | None:
  return float(value) if np.isfinite(value) else None  # JSON has no others.


def report(records: Sequence[dict[str, Any]], settings: Settings) -> Iterator[study.Block]:
  yield "# Estimates of mutual information up a staircase"
  kinds = {critic: of_critic(settings, critic) for critic in settings.critics}
  yield (
    f"X and Y are normal in {settings.dimension} dimensions, correlated component by component; "
    "cubic means that the components of Y are cubed, which leaves the information as it is. "
    f"Batches of {settings.batch_size} pairs, {settings.seeds} seeds, "
    "critics with two layers of 256. "
    + " ".join(
      f"Each stair has {steps:,} steps of Adam at {rate:g} for {critic} critics."
      for critic, (_, steps, rate) in kinds.items()
    )
    + " The papers' protocol has 4,000 at 5e-4 for both kinds; with fewer, a critic has less time "
    "to come near the truth. SMILE and JS share a critic trained by the Jensen-Shannon objective; "
    "I-alpha has no baseline."
  )
  yield _METHOD
  records = [record for record in records if record["status"] == "finished"]
  for critic, (transforms, steps, _) in kinds.items():
    yield f"## {critic.capitalize()} critic"
    for transform in transforms:
      cell = {"critic": critic, "transform": transform}
      if made := [record for record in records if cell.items() <= record["cell"].items()]:
        yield from _of_transform(made, settings.nats, steps, critic, transform)


def _of_transform(records, nats, steps, critic, transform) -> Iterator[study.Block]:
  most, what = max(nats), f"{critic}, {transform}"
  yield study.curves(
    list(_climbs(records, nats, steps)),
    panels={f"{what}: nats": "estimate"},
    by="estimator",
    x="step",
    name=f"climb_{critic}_{transform}",
    heading=f"Estimates over time, {what}",
    caption="Means over tenths of a stair, too; what lies beyond the axis is cut off.",
    scales=("linear", "linear"),
    limits=(-1.0, 1.4 * most),
  )
  rows = estimates.by_estimator(records)
  yield estimates.plot(
    rows,
    x="nats",
    name=f"bias_{critic}_{transform}",
    heading=f"Bias by information, {what}",
    limits=(-most, 0.5 * most),
  )
  yield f"**{critic} critic, {transform}**: bias / variance / MSE, in nats."
  yield table(rows, nats, f"{critic}_{transform}")


def _climbs(records, nats, steps) -> Iterator[dict[str, Any]]:
  """Yield the truth, and a record of each estimator and seed, with what they are over time."""
  # A stair ends where the next begins; places are told apart by a little.
  ends = np.ravel([(i * steps + 0.01, (i + 1) * steps) for i in range(len(nats))])
  curves = {"step": ends.tolist(), "estimate": np.repeat(nats, 2).tolist()}
  yield records[0] | {"cell": {"estimator": "truth"}, "curves": curves}
  tenths = (np.arange(_PLACES * len(nats)) + 0.5) * steps / _PLACES
  for record in records:
    for name, found in record["measured"]["estimators"].items():
      values = [value for stair in found["stairs"] for value in stair["curve"]]
      curves = {"step": tenths.tolist(), "estimate": values}
      yield record | {"cell": {"estimator": name}, "curves": curves}


def table(rows: Sequence[dict[str, Any]], nats: Sequence[float], name: str) -> study.Table:
  """Tabulate bias, variance and mean squared error of each estimator at each stair."""

  def cell(of, stair):
    own = [row["measured"] for row in of if row["cell"]["nats"] == stair]
    finite = [found for found in own if found["estimate"] is not None]
    if not finite:
      return "–"
    bias, variance, squared = (
      np.mean([math.nan if found[key] is None else found[key] for found in finite])
      for key in ("error", "variance", "squared_error")
    )
    form = "+.2f" if abs(bias) < 1000 else "+.2g"
    some = f" (n = {len(finite)} of {len(own)})" if len(finite) < len(own) else ""
    return f"{bias:{form}} / {variance:.3g} / {squared:.3g}{some}"

  by_name: dict[str, list[dict[str, Any]]] = {}
  for row in rows:
    by_name.setdefault(row["cell"]["estimator"], []).append(row)
  found = [(k, {f"{n:g} nats": cell(of, n) for n in nats}) for k, of in by_name.items()]
  return table_of(found, "estimator", name)


def _shorten(settings: Settings, cell: dict[str, Any]) -> dict[str, Any]:
  name = "joint_steps" if cell["critic"] == "joint" else "steps"
  return {"nats": settings.nats[:1], name: min(20 * _PLACES, getattr(settings, name))}


STUDY = study.Study(
  Settings,
  cells,
  run,
  report,
  name="mutual_information.staircase",
  check=check,
  selects=("critics", "transforms", "joint_transforms", "seeds"),
  estimate=estimates.estimate_by_short_run(run, _shorten),
  claims=lambda settings: study_claims.of_staircase(settings.batch_size, settings.nats),
)
