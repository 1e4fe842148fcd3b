"""The heads by name: one function and one line in `HEADS` make a new variant.

A head in a file of one's own needs no line here: its path is its name.
"""

from typing import Any

from softmax_research import registry
from softmax_research.heads import variants
from softmax_research.heads.adaptive import adaptive
from softmax_research.heads.dense import dense
from softmax_research.heads.head import Head
from softmax_research.heads.hierarchical import TREES, of_tree
from softmax_research.heads.sampled import sampled

#: Heads by name, each a function of the number of classes and its own options.
HEADS = registry.Registry(
  "head",
  {
    "softmax": variants.softmax,
    "taylor": variants.taylor,
    "relu": variants.relu,
    "spherical": variants.spherical,
    "sm": variants.sm,
    "sm_taylor": variants.sm_taylor,
    "l_softmax": variants.l_softmax,
    "am_softmax": variants.am_softmax,
    "arcface": variants.arcface,
    "pc_softmax": variants.pc_softmax,
    "logit_adjusted": variants.logit_adjusted,
    "prior_shift": variants.prior_shift,
    "sparsemax": variants.sparsemax,
    "entmax": variants.entmax,
    "one_vs_all": variants.one_vs_all,
    "hinge": variants.hinge,
    **{name: of_tree(make_tree) for name, make_tree in TREES.items()},
    "adaptive": adaptive,
    "sampled": sampled,
  },
  example="taylor:order=4",
  given=("num_classes",),
  rest=dense,
  taken=("score", "margin"),
  contract="takes the number of classes, and options by keyword, and returns a heads.Head",
  accepts=lambda head: all(callable(getattr(head, part, None)) for part in Head._fields),
)


def make(text: str, num_classes: int, **options: Any) -> Head:
  """Build a head from its name and options.

  Args:
    text: a key of `HEADS`, or the path of a function of one's own, as `my_package.my_module.mine`,
      alone or with options, as `sm_taylor:order=4:margin=0.6`.
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
  return HEADS.make(text, num_classes, **options)


def head_options(name: str) -> dict[str, Any]:
  """List a head's options with their defaults.

  Args:
    name: a key of `HEADS`, or the path of a function like those there.

  Returns:
    A dictionary from option to default, those of the layer beneath included.

  Raises:
    ValueError: there is no such name, or nothing could be imported.

  Example:
    >>> head_options("sm_taylor")["margin"]
    0.6
  """
  return HEADS.options(name)
