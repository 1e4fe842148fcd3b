"""Links by name, for heads that are named by text."""

import functools

import jax.numpy as jnp

from softmax_research import functional, registry
from softmax_research.functional.arrays import as_labels
from softmax_research.functional.losses import Link
from softmax_research.heads.head import Head, find_targets

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
  """Return the link that a text names; a function is one itself, and None is none.

  Raises:
    ValueError: there is no such link, or an option is unknown or out of range.

  Example:
    >>> find_link("focal:gamma=0.0")(jnp.array(0.5))
    Array(0.5, dtype=float32)
  """
  if not isinstance(link, str):
    return link
  found = LINKS.make(link)
  found(jnp.ones(()))  # Bad options fail here, not in a traced step.
  return found


def linked(head: Head, num_classes: int, link: Link, *, likelihood: bool) -> Head:
  """Build the head whose loss of a label goes through a link, of a head that knows of none itself.

  Class weights come after the link. `likelihood` says whether the head's loss of a distribution is
  the expectation of -log p over labels, and so has one of link(-log p) too.
  """

  def loss(params, features, labels, *, step=0, key=None, **weights):
    labels = as_labels(labels)
    if jnp.issubdtype(labels.dtype, jnp.floating):
      if not likelihood:
        raise ValueError(
          "Got labels that are distributions and a link, which acts on the loss of one label. Pass "
          "integer labels, or a head whose loss is -log p of the label, as softmax."
        )
      linked_log_probs = -link(-head.log_prob(params, features))
      return functional.negative_log_likelihood(linked_log_probs, labels, **weights)
    targets = find_targets(params, features, labels, num_classes, several=True, **weights)
    is_index = jnp.issubdtype(targets.labels.dtype, jnp.integer)
    own = targets.labels if is_index else labels  # Rows of several are the head's to judge.
    losses = link(head.loss(params, features, own, step=step, key=key))
    return targets.finish(targets.weigh(losses))

  return head._replace(loss=loss)
