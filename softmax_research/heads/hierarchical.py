"""Hierarchical heads: trees of classes, whose training loss costs one path and not all classes."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from softmax_research import functional
from softmax_research.functional.arrays import check_integer, check_num_classes, wide_type
from softmax_research.functional.tree import check_tree_classes
from softmax_research.heads.head import Head, check_counts, likelihood_loss


def hierarchical(tree: functional.Tree) -> Head:
  r"""Build the head of a tree softmax.

  .. math:: \ell = -\sum_{v \in \mathrm{path}(y)} \log p(v \mid \mathrm{parent}(v), x)

  The loss costs one path, and so does `heads.sample`; `log_prob` is exact over all classes and
  costs them all, and so does the loss of labels that are distributions, an expectation. For
  prediction among very many classes `heads.top_k` searches.

  Args:
    tree: any tree, as from `functional.huffman_tree` or `functional.taxonomy_tree`.

  Returns:
    A head with parameters `{"kernel": [R, D], "bias": [R]}`, R = `tree.num_rows`.

  Example:
    >>> import jax
    >>> head = hierarchical(functional.taxonomy_tree([[0, 1], [2, 3, 4]]))
    >>> params = head.init(jax.random.key(0), 5)
    >>> head.log_prob(params, jax.numpy.ones((2, 5))).shape
    (2, 5)

  Reference:
    Morin & Bengio 2005, "Hierarchical Probabilistic Neural Network Language Model" (AISTATS).
  """

  def label_log_prob(params, features, labels):
    dtype = wide_type(features, params["kernel"])
    return functional.tree_label_log_prob(features, params, tree, labels, dtype=dtype)

  def log_prob(params, features):
    dtype = wide_type(features, params["kernel"])
    return functional.tree_log_probs(features, params, tree, dtype=dtype)

  def top_k(params, features, k):
    found = functional.tree_top_k(features, params, tree, k)
    log_probs = found.log_probs.astype(wide_type(features, params["kernel"]))
    return functional.TopClasses(log_probs, found.classes)

  def sample(params, features, key):
    return functional.tree_sample(key, features, params, tree)

  loss = likelihood_loss(tree.num_classes, label_log_prob, log_prob)
  init = functools.partial(functional.tree_init, tree=tree)
  return Head(init, loss, log_prob, top_k, sample)


def _huffman_tree(
  num_classes: int, *, class_counts: Sequence[int] | None = None, branching: int = 2
) -> functional.Tree:
  """Return the Huffman tree of the class frequencies."""
  check_counts("huffman", num_classes, class_counts)
  return functional.huffman_tree(class_counts, branching=branching)


def _two_level_tree(
  num_classes: int, *, num_groups: int | None = None, groups: Sequence[int] | None = None
) -> functional.Tree:
  """Return the groups given as each class's number, as of a taxonomy; or groups of neighbours.

  These are as equal in size as can be, by default about sqrt(K), where the work is least.
  """
  check_tree_classes(num_classes)
  if groups is not None:
    if num_groups is not None or len(groups) != num_classes:
      raise ValueError(
        f"Got {len(groups)} groups and num_groups={num_groups} for {num_classes} classes; give "
        "each class's group, or the number of groups alone."
      )
    return functional.two_level_tree(groups)
  if num_groups is None:
    num_groups = math.isqrt(num_classes)
  check_integer("num_groups", num_groups, 1, num_classes)
  groups = np.arange(num_classes) * num_groups // num_classes
  return functional.two_level_tree(groups)


#: The trees of the heads that are made by name, each a function of the head's own arguments; for
#: what needs the tree itself, as `functional.tree_top_k` and `functional.tree_label_rows` do.
TREES: dict[str, Callable[..., functional.Tree]] = {
  "hierarchical": functional.balanced_tree,
  "huffman": _huffman_tree,
  "two_level": _two_level_tree,
}


def of_tree(make_tree: Callable[..., functional.Tree]) -> Callable[..., Head]:
  """Return the function that makes the head of a tree, with the options of the tree's."""

  @functools.wraps(make_tree)
  def make(num_classes: int, **options: Any) -> Head:
    check_num_classes(num_classes)
    return hierarchical(make_tree(num_classes, **options))

  return make
