"""The heads by name: one function and one line in `HEADS` make a new variant."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from softmax_research.functional import soft_margin, taylor_score
from softmax_research.functional.arguments import check_at_least
from softmax_research.heads import specification
from softmax_research.heads.dense import dense
from softmax_research.heads.head import Head


def _softmax(num_classes: int, *, temperature: float = 1.0, **layer: Any) -> Head:
  check_at_least("temperature", temperature, 0, "Pass 1.0 for plain softmax.", strict=True)
  return dense(num_classes, score=lambda logits: logits / temperature, **layer)


def _taylor(num_classes: int, *, order: int = 2, **layer: Any) -> Head:
  return dense(num_classes, score=_taylor_score(order), **layer)


def _sm(num_classes: int, *, margin: float = 0.6, **layer: Any) -> Head:
  return dense(num_classes, margin=_soft_margin(margin), **layer)


def _sm_taylor(num_classes: int, *, order: int = 2, margin: float = 0.6, **layer: Any) -> Head:
  return dense(num_classes, score=_taylor_score(order), margin=_soft_margin(margin), **layer)


def _taylor_score(order: int) -> Callable:
  taylor_score(0.0, order=order)  # A bad order fails here rather than in a traced step.
  return functools.partial(taylor_score, order=order)


def _soft_margin(margin: float) -> Callable:
  check_at_least("margin", margin, 0, "Pass 0 for no margin.")
  return lambda logits, labels, geometry: soft_margin(logits, labels, margin=margin)


HEADS: dict[str, Callable[..., Head]] = {
  "softmax": _softmax,
  "taylor": _taylor,
  "sm": _sm,
  "sm_taylor": _sm_taylor,
}


def make(name: str, num_classes: int, **options: Any) -> Head:
  """Build a head from its name and options.

  Args:
    name: a key of `HEADS`, or a whole specification as `sm_taylor:order=4:margin=0.6`.
    num_classes: K.
    **options: the head's own options and those of its layer, as `bias` or `label_smoothing`.

  Returns:
    The head.

  Raises:
    ValueError: the name or an option is unknown (the message lists those that exist), or a value
      is of the wrong type or out of range.

  Example:
    >>> make("taylor:order=4", 10) is not None
    True
  """
  name, written = specification.parse(name)
  if name not in HEADS:
    raise ValueError(f"Got the head {name!r}; the heads are {', '.join(sorted(HEADS))}.")
  options = written | options
  defaults = head_options(name)
  for option, value in options.items():
    if option not in defaults:
      raise ValueError(
        f"Got option {option!r} for the head {name!r}; its options are "
        f"{', '.join(sorted(defaults))}."
      )
    _check_type(name, option, value, defaults[option])
  return HEADS[name](num_classes, **options)


def head_options(name: str) -> dict[str, Any]:
  """List a head's options with their defaults.

  Args:
    name: a key of `HEADS`.

  Returns:
    A dictionary from option to default, those of the layer beneath included.

  Example:
    >>> head_options("sm_taylor")["margin"]
    0.6
  """
  defaults: dict[str, Any] = {}
  parameters = inspect.signature(HEADS[name]).parameters.values()
  if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
    # `score` and `margin` are functions: the named heads set them.
    layer = inspect.signature(dense).parameters.values()
    defaults |= {p.name: p.default for p in layer if p.name not in ("score", "margin")}
  defaults |= {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
  defaults.pop("num_classes", None)
  return defaults


def _check_type(name: str, option: str, value: Any, default: Any) -> None:
  if default is None:
    return
  if isinstance(default, bool):
    fits, wanted = isinstance(value, bool), "True or False"
  elif isinstance(default, float):
    fits, wanted = isinstance(value, int | float) and not isinstance(value, bool), "a number"
  elif isinstance(default, int):
    fits, wanted = isinstance(value, int) and not isinstance(value, bool), "an integer"
  else:
    fits, wanted = isinstance(value, type(default)), f"a {type(default).__name__}"
  if not fits:
    raise ValueError(
      f"Got {option}={value!r} for the head {name!r}; it must be {wanted}, as {default!r}."
    )
