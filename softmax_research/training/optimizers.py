"""Optimisers and learning-rate schedules by name: all of optax, and a user's own."""

import fnmatch
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from softmax_research.functional.arrays import check_at_least, check_fraction
from softmax_research.registry import Registry

# What optax calls the rate at the top of a schedule, and the schedule's length.
_RATES, _LENGTHS = ("peak_value", "init_value", "value"), ("decay_steps", "transition_steps")
# These take a rate that is a number; others take a schedule.
_OF_CONSTANT_RATE = ("optimistic_adam", "rprop", "sm3")


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
  return inspect.signature(function).parameters


def _functions(module: Any, wanted: Callable[[list[str]], bool]) -> dict[str, Callable[..., Any]]:
  """Return a module's public functions whose parameters are as wanted."""
  functions = {n: f for n, f in vars(module).items() if n[0] != "_" and inspect.isfunction(f)}
  return {n: f for n, f in functions.items() if wanted(list(_parameters(f)))}


def _matrices(params: Any) -> Any:
  """Mark the parameters that decay: kernels, but neither biases nor normalisation scales."""
  return jax.tree.map(lambda param: param.ndim > 1, params)


def _sgd(
  rate: Any,
  *,
  momentum: float | None = 0.9,
  nesterov: bool = False,
  weight_decay: float = 0.0,
  decoupled: bool = False,
) -> optax.GradientTransformation:
  # Coupled decay, as in the papers: the penalty's gradient passes through the momentum. Decoupled,
  # weights shrink by the rate times the decay.
  decay = optax.add_decayed_weights(weight_decay, mask=_matrices)
  if not decoupled:
    return optax.chain(decay, optax.sgd(rate, momentum=momentum or None, nesterov=nesterov))
  moving = optax.trace(momentum, nesterov) if momentum else optax.identity()
  return optax.chain(moving, decay, optax.scale_by_learning_rate(rate))


def _make_schedule(
  schedule: Callable[..., optax.Schedule],
  options: dict[str, Any],
  learning_rate: float,
  num_steps: int,
) -> optax.Schedule:
  """Call a schedule with the rate and the steps, which each of optax's has other names for."""
  if not schedule.__module__.startswith("optax."):
    return schedule(learning_rate, num_steps, **options)
  parameters = _parameters(schedule)
  ends = {n: 0.0 for n in ("init_value", "end_value") if n in parameters}
  filled = {n: v for n, v in ends.items() if parameters[n].default is inspect.Parameter.empty}
  filled |= {next(name for name in _RATES if name in parameters): learning_rate}
  filled |= {name: num_steps for name in _LENGTHS if name in parameters}
  try:
    return schedule(**(filled | options))
  except Exception as error:  # What they do with a value that is none of theirs may be anything.
    what = str(error).rstrip(".")
    raise ValueError(f"Got the schedule {schedule.__name__!r}, but {what}.") from None


def _check_rate(schedule: str, rate: optax.Schedule) -> None:
  """Raise a ValueError unless a schedule returns a number: a wrong option shows only there."""
  try:
    shape = jax.eval_shape(rate, jax.ShapeDtypeStruct((), "int32")).shape
  except Exception as error:
    raise ValueError(f"Got the schedule {schedule!r}, whose rate cannot be had: {error}") from None
  if shape:
    raise ValueError(f"Got the schedule {schedule!r}, whose rate has the shape {shape}, not ().")


def _steps(
  learning_rate: float, num_steps: int, *, boundaries: Any = (0.5, 0.75), factor: float = 0.1
) -> optax.Schedule:
  """Multiply the rate by a factor at fractions of the run, or at steps if they exceed 1."""
  numbers = isinstance(boundaries, list | tuple) and [
    b for b in boundaries if isinstance(b, int | float) and 0 < b < math.inf
  ]
  if not numbers or len(numbers) < len(boundaries):
    raise ValueError(
      f"Got boundaries={boundaries!r} for the schedule 'steps'; they must be fractions of the run "
      "or steps, all above 0, as boundaries=(0.5,0.75)."
    )
  steps = [round(b * num_steps) if b <= 1 else int(b) for b in boundaries]
  # In a short run two fractions may be of one step.
  factors = {step: factor ** steps.count(step) for step in steps}
  return optax.piecewise_constant_schedule(learning_rate, factors)


def _inverse_time(learning_rate: float, num_steps: int, *, decay: float = 1e-6) -> optax.Schedule:
  """Divide the rate by 1 + decay * step, as Keras' `decay` argument did."""
  check_at_least("decay", decay, 0, "Pass 0 for a constant rate.")
  return lambda step: learning_rate / (1 + decay * step)


#: Learning-rate schedules by name, those of optax included; one of your own is a function of the
#: rate, the number of steps and its options.
SCHEDULES = Registry(
  "schedule",
  {
    **_functions(optax.schedules, lambda names: not set(_RATES).isdisjoint(names)),
    "constant": optax.constant_schedule,
    "cosine": optax.cosine_decay_schedule,
    "inverse_time": _inverse_time,
    "linear": optax.linear_schedule,
    "steps": _steps,
  },
  example="exponential_decay:decay_rate=0.9",
  given=("learning_rate", "num_steps"),
  build=_make_schedule,
  contract="takes the rate and the number of steps and returns a function of the step",
  accepts=callable,
)


def scale_rates(factors: Mapping[str, float]) -> optax.GradientTransformation:
  """Multiply the updates of groups of parameters by factors of their own.

  As each optimiser's update is proportional to its rate, a group then has a rate of its own; with
  the factor 0 it stays as it is.

  Args:
    factors: by pattern, as of file names, of a parameter's path, `*/norm/bias` for instance. Of
      several patterns that fit a path the longest counts, whatever their order, which a ConfigDict
      does not keep; what none fits keeps its rate.

  Returns:
    A transformation whose `init` raises a ValueError for a pattern that fits no parameter.

  Example:
    >>> frozen = scale_rates({"first/*": 0.0})
    >>> params = {"first": {"kernel": jnp.ones(1)}, "last": {"kernel": jnp.ones(1)}}
    >>> updates, _ = frozen.update(params, frozen.init(params))
    >>> [float(updates[name]["kernel"][0]) for name in ("first", "last")]
    [0.0, 1.0]
  """

  def labels(params: Any) -> Any:
    """Return for each parameter the pattern that counts, empty where none fits."""
    paths = jax.tree_util.tree_map_with_path(
      lambda path, _: jax.tree_util.keystr(path, simple=True, separator="/"), params
    )
    for pattern in factors:
      if not fnmatch.filter(jax.tree.leaves(paths), pattern):
        raise ValueError(
          f"Got the rates {dict(factors)}, whose pattern {pattern!r} fits no parameter; there are "
          f"{', '.join(jax.tree.leaves(paths))}."
        )
    fitting = sorted(factors, key=lambda pattern: (len(pattern), pattern), reverse=True)
    return jax.tree.map(
      lambda path: next((of for of in fitting if fnmatch.fnmatchcase(path, of)), ""), paths
    )

  scales = {pattern: optax.scale(factor) for pattern, factor in factors.items()}
  return optax.partition({"": optax.identity(), **scales}, labels)


class AverageState(NamedTuple):
  """Hold the number of updates made, and the mean of the parameters after those that count."""

  step: jax.Array
  mean: Any


def average_last(num_averaged: int, num_steps: int) -> optax.GradientTransformation:
  r"""End a run at the average of its last parameters, in place of the last of them.

  .. math:: \bar\theta = \frac1n \sum_{t=T-n+1}^{T} \theta_t

  The last update leads from the parameters to that average, so whatever reads the parameters after
  the run has it, and nothing else needs to know. Statistics of batch norm are the last ones.

  Args:
    num_averaged: n, at least 1.
    num_steps: T, the updates of the whole run.

  Example:
    >>> optimizer = optax.chain(optax.sgd(1.0), average_last(2, 3))
    >>> params, state = jnp.zeros(()), optimizer.init(jnp.zeros(()))
    >>> for _ in range(3):
    ...   updates, state = optimizer.update(jnp.ones(()), state, params)
    ...   params = params + updates
    >>> float(params)
    -2.5

  Reference:
    Polyak and Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging".
  """

  def init(params: Any) -> AverageState:
    return AverageState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params))

  def update(updates: Any, state: AverageState, params: Any = None) -> tuple[Any, AverageState]:
    step = state.step + 1
    count, last = step - (num_steps - num_averaged), step == num_steps
    # No sum, which would lose digits, and move parameters that stay as they are.
    share = jnp.where(count > 0, 1 / jnp.maximum(count, 1), 0)
    mean = jax.tree.map(
      lambda m, p, u: m + share.astype(m.dtype) * (p + u - m).astype(m.dtype),
      state.mean,
      params,
      updates,
    )
    updates = jax.tree.map(
      lambda m, p, u: jnp.where(last, m - p, u).astype(u.dtype), mean, params, updates
    )
    return updates, AverageState(step, mean)

  return optax.GradientTransformation(init, update)


def _make_optimizer(
  optimizer: Callable[..., optax.GradientTransformation],
  options: dict[str, Any],
  num_steps: int,
  *,
  learning_rate: float,
  schedule: str = "constant",
  schedule_options: Mapping[str, Any] | None = None,
  warmup: float = 0.0,
  clip_norm: float | None = None,
  rates: Mapping[str, float] | None = None,
  average: float = 0.0,
) -> optax.GradientTransformation:
  check_at_least("learning_rate", learning_rate, 0, "Try 1e-3 for adam.", strict=True)
  check_fraction("warmup", warmup)
  check_fraction("average", average)
  for option in {"weight_decay", "eps"} & set(options):
    if options[option] is not None:
      check_at_least(option, options[option], 0, "Pass 0 to switch it off.")
  for option in {"momentum", "b1", "b2", "b3"} & set(options):
    if options[option] is not None:
      check_fraction(option, options[option])
  warmup_steps = round(warmup * num_steps)
  rate = SCHEDULES.make(
    schedule, learning_rate, num_steps - warmup_steps, **dict(schedule_options or {})
  )
  _check_rate(schedule, rate)
  if warmup_steps:
    rise = optax.linear_schedule(0.0, learning_rate, warmup_steps)
    rate = optax.join_schedules([rise, rate], [warmup_steps])
  if optimizer.__module__.startswith("optax."):
    masks = {"mask", "weight_decay_mask"} & set(_parameters(optimizer))
    options = options | dict.fromkeys(masks, _matrices)
    if optimizer.__name__ in _OF_CONSTANT_RATE:
      optimizer = optax.inject_hyperparams(optimizer)
  parts = [optimizer(rate, **options)]
  if clip_norm is not None:
    check_at_least("clip_norm", clip_norm, 0, "Pass None for no clipping.", strict=True)
    parts = [optax.clip_by_global_norm(clip_norm), *parts]
  if rates:
    for pattern, factor in dict(rates).items():
      check_at_least(f"rates[{pattern!r}]", factor, 0, "Pass 0 to keep parameters as they are.")
    if clip_norm is not None:  # What stays as it is has no part in the norm.
      parts = [scale_rates({pattern: float(of > 0) for pattern, of in rates.items()}), *parts]
    parts.append(scale_rates(dict(rates)))
  if average:
    parts.append(average_last(max(1, round(average * num_steps)), num_steps))
  return optax.chain(*parts) if len(parts) > 1 else parts[0]


#: Optimisers by name: those of optax that need nothing but the gradient, of which `sgd` decays
#: weights too; one of your own is a function of a schedule and its options. Biases and scales do
#: not decay, but with `novograd`, which takes no mask.
OPTIMIZERS = Registry(
  "optimizer",
  {
    # The line search of L-BFGS asks for the loss again.
    **{
      name: optimizer
      for name, optimizer in _functions(optax, lambda names: names[:1] == ["learning_rate"]).items()
      if not name.startswith("scale_by_") and name != "lbfgs"
    },
    "sgd": _sgd,
  },
  example="adam:learning_rate=0.001",
  given=("learning_rate", "rate", "mask", "weight_decay_mask", "trust_ratio_mask"),
  build=_make_optimizer,
  contract="takes a schedule and returns an optax.GradientTransformation",
  accepts=lambda made: isinstance(made, optax.GradientTransformation),
)


def make(
  name: str | Mapping[str, Any], *, num_steps: int, **options: Any
) -> optax.GradientTransformation:
  """Build an optimiser with its schedule.

  Args:
    name: a key of `OPTIMIZERS` or the path of a function of your own, alone or with options, as
      `lion:learning_rate=1e-4:b1=0.95`; or a dictionary of a `name` and options.
    num_steps: number of updates of the whole run.
    **options: the optimiser's own options, and those that all share: `learning_rate`, at the top of
      the schedule; `schedule="constant"`, a key of `SCHEDULES` or a function of your own, with
      `schedule_options`; `warmup=0.0`, the fraction of the run in [0, 1) during which the rate
      rises linearly from 0, after which the schedule begins, its steps and fractions counted from
      there; `clip_norm=None`, a bound on the global norm of the gradient;
      `rates=None`, factors of the rate by patterns of parameters' paths, see `scale_rates`;
      `average=0.0`, the fraction of the run at its end whose parameters are averaged, see
      `average_last`.

  Returns:
    An optax gradient transformation.

  Raises:
    ValueError: a name or an option is unknown (the message lists those that exist), or a number
      is out of range.

  Example:
    >>> optimizer = make("sgd:learning_rate=0.1:momentum=0.9", num_steps=100, schedule="cosine")
    >>> type(optimizer).__name__
    'GradientTransformationExtraArgs'
  """
  return OPTIMIZERS.make(name, num_steps, **options)
