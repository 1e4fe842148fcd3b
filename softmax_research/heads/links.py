"""Links by name, for heads that are named by text."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from softmax_research import functional, registry

Link = Callable[[jax.Array], jax.Array]

#: Links by name, each a function of a loss and its options.
LINKS = registry.Registry(
  "link",
  {
    "focal": functional.focal_link,
    "poly": functional.poly_link,
    "generalised": functional.generalised_link,
  },
  example="focal:gamma=2.0",
  given=("loss",),
  build=lambda function, options: functools.partial(function, **options),
  contract="takes a loss, and its options by keyword",
  accepts=callable,
)


def find_link(link: Link | str | None) -> Link | None:
  """Return the link that a text names; a function, or None, is left as it is.

  Raises:
    ValueError: there is no such link, or an option is unknown or out of range.

  Example:
    >>> find_link("focal:gamma=0.0")(jax.numpy.array(0.5))
    Array(0.5, dtype=float32)
  """
  if not isinstance(link, str):
    return link
  found = LINKS.make(link)
  found(jnp.ones(()))  # Bad options fail here, not in a traced step.
  return found
