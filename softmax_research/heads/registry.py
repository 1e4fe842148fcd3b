"""The heads by name: one function and one line in `HEADS` make a new variant.

A head in a file of one's own needs no line here: its path is its name.
"""

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from softmax_research.heads import margins, priors, scores, sparse, specification, unnormalised
from softmax_research.heads.adaptive import adaptive
from softmax_research.heads.dense import dense
from softmax_research.heads.head import Head
from softmax_research.heads.hierarchical import balanced, huffman, two_level
from softmax_research.heads.sampled import sampled

#: Heads by name, each a function of the number of classes and its own options.
HEADS: dict[str, Callable[..., Head]] = {
  "softmax": scores.softmax,
  "taylor": scores.taylor,
  "relu": scores.relu,
  "spherical": scores.spherical,
  "sm": margins.sm,
  "sm_taylor": margins.sm_taylor,
  "l_softmax": margins.l_softmax,
  "am_softmax": margins.am_softmax,
  "arcface": margins.arcface,
  "pc_softmax": priors.pc_softmax,
  "logit_adjusted": priors.logit_adjusted,
  "prior_shift": priors.prior_shift,
  "sparsemax": sparse.sparsemax,
  "entmax": sparse.entmax,
  "one_vs_all": unnormalised.one_vs_all,
  "hinge": unnormalised.hinge,
  "hierarchical": balanced,
  "huffman": huffman,
  "two_level": two_level,
  "adaptive": adaptive,
  "sampled": sampled,
}


def make(name: str, num_classes: int, **options: Any) -> Head:
  """Build a head from its name and options.

  Args:
    name: a key of `HEADS`, or the path of a function of one's own, as `my_package.my_module.mine`;
      or a whole specification as `sm_taylor:order=4:margin=0.6`.
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
  options = written | options
  defaults = head_options(name)
  for option, value in options.items():
    if option not in defaults:
      raise ValueError(
        f"Got option {option!r} for the head {name!r}; its options are "
        f"{', '.join(sorted(defaults))}."
      )
    _check_type(name, option, value, defaults[option])
  if name in HEADS:
    return HEADS[name](num_classes, **options)
  try:
    head = find(name)(num_classes, **options)
  except ValueError:
    raise
  except Exception as error:  # A function of one's own may fail in any way.
    raise ValueError(f"{_not_made(name)} it raised {type(error).__name__}: {error}.") from error
  if not all(callable(getattr(head, part, None)) for part in ("init", "loss", "log_prob")):
    raise ValueError(f"{_not_made(name)} it returned {type(head).__name__}.")
  return head


def find(name: str) -> Callable[..., Head]:
  """Return the function that makes a head.

  Args:
    name: a key of `HEADS`, or the path of a function like those there, which is imported.

  Returns:
    A function of the number of classes and options that are keyword-only.

  Raises:
    ValueError: there is no such name, or nothing could be imported.

  Example:
    >>> find("softmax_research.heads.scores.taylor") is find("taylor")
    True
  """
  if name in HEADS:
    return HEADS[name]
  module, _, function = name.rpartition(".")
  if not module:
    raise ValueError(
      f"Got the head {name!r}; the heads are {', '.join(sorted(HEADS))}. A function of your own is "
      "named by its path, as my_package.my_module.my_head."
    )
  try:
    found = getattr(importlib.import_module(module), function)
    inspect.signature(found)  # Of what is no function it fails.
    return found
  except (ImportError, AttributeError, TypeError) as error:
    raise ValueError(
      f"Got the head {name!r}, which cannot be imported as a function: {error}. Name a function by "
      "its path, as my_package.my_module.my_head, from a directory where Python finds it."
    ) from None


def head_options(name: str) -> dict[str, Any]:
  """List a head's options with their defaults.

  Args:
    name: see `find`.

  Returns:
    A dictionary from option to default, those of the layer beneath included.

  Raises:
    ValueError: see `find`.

  Example:
    >>> head_options("sm_taylor")["margin"]
    0.6
  """
  defaults: dict[str, Any] = {}
  parameters = inspect.signature(find(name)).parameters.values()
  if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
    # `score` and `margin` are functions: the named heads set them.
    layer = inspect.signature(dense).parameters.values()
    defaults |= {p.name: p.default for p in layer if p.name not in ("score", "margin")}
  defaults |= {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
  defaults.pop("num_classes", None)
  return defaults


def _not_made(name: str) -> str:
  return (
    f"Got the head {name!r}; a function of your own takes the number of classes, and options by "
    "keyword, and returns a heads.Head, but"
  )


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
