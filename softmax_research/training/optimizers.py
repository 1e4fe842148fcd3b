"""Optimisers and learning-rate schedules by name, made of optax's."""

from collections.abc import Callable
from typing import Any

import jax
import optax

from softmax_research.functional.arguments import check_at_least, check_fraction


def _matrices(params: Any) -> Any:
  """Mark the parameters that decay: kernels, but neither biases nor normalisation scales."""
  return jax.tree.map(lambda param: param.ndim > 1, params)


def _sgd(rate, *, momentum=0.9, nesterov=False, weight_decay=0.0):
  # Coupled decay, as in the papers: the penalty's gradient passes through the momentum.
  return optax.chain(
    optax.add_decayed_weights(weight_decay, mask=_matrices),
    optax.sgd(rate, momentum=momentum or None, nesterov=nesterov),
  )


def _adam(rate, *, b1=0.9, b2=0.999, eps=1e-8):
  return optax.adam(rate, b1=b1, b2=b2, eps=eps)


def _adamw(rate, *, b1=0.9, b2=0.999, eps=1e-8, weight_decay=1e-4):
  return optax.adamw(rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay, mask=_matrices)


def _adagrad(rate, *, eps=1e-7):
  return optax.adagrad(rate, eps=eps)


def _rmsprop(rate, *, decay=0.9, eps=1e-8, momentum=0.0):
  return optax.rmsprop(rate, decay=decay, eps=eps, momentum=momentum or None)


#: Optimisers by name, each a function of the learning rate and its own options.
OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
  "adagrad": _adagrad,
  "adam": _adam,
  "adamw": _adamw,
  "rmsprop": _rmsprop,
  "sgd": _sgd,
}


def _constant(learning_rate, num_steps):
  return optax.constant_schedule(learning_rate)


def _cosine(learning_rate, num_steps):
  return optax.cosine_decay_schedule(learning_rate, num_steps)


def _linear(learning_rate, num_steps):
  return optax.linear_schedule(learning_rate, 0.0, num_steps)


def _steps(learning_rate, num_steps, *, boundaries=(0.5, 0.75), factor=0.1):
  """Multiply the rate by a factor at fractions of the run, or at steps if they exceed 1."""
  steps = [round(b * num_steps) if b < 1 else int(b) for b in boundaries]
  return optax.piecewise_constant_schedule(learning_rate, {step: factor for step in steps})


def _inverse_time(learning_rate, num_steps, *, decay=1e-6):
  """Divide the rate by 1 + decay * step, as Keras' `decay` argument did."""
  return lambda step: learning_rate / (1 + decay * step)


#: Learning-rate schedules by name, each a function of the rate, the steps and its own options.
SCHEDULES: dict[str, Callable[..., optax.Schedule]] = {
  "constant": _constant,
  "cosine": _cosine,
  "inverse_time": _inverse_time,
  "linear": _linear,
  "steps": _steps,
}


def make(
  name: str,
  *,
  learning_rate: float,
  num_steps: int,
  schedule: str = "constant",
  schedule_options: dict[str, Any] | None = None,
  warmup: float = 0.0,
  clip_norm: float | None = None,
  **options: Any,
) -> optax.GradientTransformation:
  """Build an optimiser with its schedule.

  Args:
    name: a key of `OPTIMIZERS`.
    learning_rate: the rate at the top of the schedule.
    num_steps: number of updates of the whole run.
    schedule: a key of `SCHEDULES`.
    schedule_options: the schedule's own options.
    warmup: fraction of the run in [0, 1) during which the rate rises linearly from 0.
    clip_norm: bound on the global norm of the gradient; none by default.
    **options: the optimiser's own options.

  Returns:
    An optax gradient transformation.

  Raises:
    ValueError: a name or an option is unknown (the message lists those that exist), or a number
      is out of range.

  Example:
    >>> optimizer = make("sgd", learning_rate=0.1, num_steps=100, schedule="cosine", momentum=0.9)
    >>> type(optimizer).__name__
    'GradientTransformationExtraArgs'
  """
  check_at_least("learning_rate", learning_rate, 0, "Try 1e-3 for adam.", strict=True)
  check_fraction("warmup", warmup)
  build = _look_up("optimizer", name, OPTIMIZERS, options)
  schedule_options = dict(schedule_options or {})
  build_schedule = _look_up("schedule", schedule, SCHEDULES, schedule_options)
  for option in ("weight_decay", "momentum", "eps"):
    if option in options:
      check_at_least(option, options[option], 0, "Pass 0 to switch it off.")
  warmup_steps = round(warmup * num_steps)
  rate = build_schedule(learning_rate, num_steps - warmup_steps, **schedule_options)
  if warmup_steps:
    rise = optax.linear_schedule(0.0, learning_rate, warmup_steps)
    rate = optax.join_schedules([rise, rate], [warmup_steps])
  optimizer = build(rate, **options)
  if clip_norm is None:
    return optimizer
  check_at_least("clip_norm", clip_norm, 0, "Pass None for no clipping.", strict=True)
  return optax.chain(optax.clip_by_global_norm(clip_norm), optimizer)


def _look_up(kind: str, name: str, table: dict[str, Callable], options: dict[str, Any]) -> Callable:
  if name not in table:
    raise ValueError(f"Got the {kind} {name!r}; the {kind}s are {', '.join(sorted(table))}.")
  known = table[name].__kwdefaults__ or {}
  for option in options:
    if option not in known:
      listed = ", ".join(sorted(known)) or "none"
      raise ValueError(f"Got option {option!r} for the {kind} {name!r}; its options are {listed}.")
  return table[name]
