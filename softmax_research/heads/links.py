"""Links by name, for heads that are named by text."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from softmax_research import functional, registry
from softmax_research.functional.arrays import as_labels
from softmax_research.heads.head import Head

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


def linked(head: Head, link: Link) -> Head:
  """Build the head whose loss goes through a link, of a head that knows of none itself."""

  def loss(params, features, labels, *, step=0, key=None):
    if jnp.issubdtype(as_labels(labels).dtype, jnp.floating):
      raise ValueError(
        "Got labels that are distributions and a link, which acts on -log p of one label. Pass "
        "integer labels, or a head with one logit a class and no margin, as softmax."
      )
    return link(head.loss(params, features, labels, step=step, key=key))

  return head._replace(loss=loss)
