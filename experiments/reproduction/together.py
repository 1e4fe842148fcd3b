"""Together: what runs of a method agree on, what the test set makes of their spread, ensembles."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from softmax_research.study import ensembles
from softmax_research.study.blocks import Block, table_of
from softmax_research.study.groups import Group
from softmax_research.study.markdown import escape
from softmax_research.study.measures import MISSING, measure_of

_ACCURACY = measure_of("accuracy")
_ABOUT = (
  "In percent. *By the test set*: the part of that standard deviation which runs would have that "
  "are equally good on all images there could be, from which examples they are right about in turn "
  "(beside it what the rule error / 2N gives, Jordan 2023); *share*: its share of the variance. "
  "*Agreement*: test images of which two seeds predict one class. *Ensemble*: the seeds' mean "
  "probabilities."
)


def report(groups: Sequence[Group], name: str) -> Iterator[Block]:
  """Yield what groups whose records keep predictions have in common; nothing of others.

  Args:
    groups: of records with the measure `predictions`.
    name: of the table's files.
  """
  runs = {of.name: _predictions(of) for of in groups}
  runs = {method: of for method, of in runs.items() if of}
  if not runs:
    return
  rows = [(method, _row(list(of.values()))) for method, of in runs.items()]
  yield table_of(rows, "method", name)
  yield _ABOUT
  if len(runs) > 1 and (common := sorted(set.intersection(*map(set, runs.values())))):
    yield _of_methods(runs, common)


def _predictions(of: Group) -> dict[int | None, np.ndarray]:
  return {
    seed: ensembles.decode(made["measured"]["predictions"])
    for seed, made in of.finished.items()
    if "predictions" in made["measured"]
  }


def _row(runs: Sequence[np.ndarray]) -> dict[str, str]:
  right = np.stack(list(map(ensembles.is_right, runs)))
  accuracies, examples = right.mean(1), right.shape[1]
  std = accuracies.std(ddof=1) if len(runs) > 1 else math.nan
  of_test = ensembles.std_of_test_set(right)
  rule = math.sqrt((1 - accuracies.mean()) / (2 * examples))
  share = f"{100 * (of_test / std) ** 2:.0f}" if std > 0 else MISSING
  return {
    "n": str(len(runs)),
    "accuracy": _ACCURACY.format(accuracies.mean()),
    "standard deviation": _ACCURACY.format(std),
    "by the test set": f"{_ACCURACY.format(of_test)} ({_ACCURACY.format(rule)})",
    "share": share,
    "agreement": _ACCURACY.format(ensembles.agreement(runs)),
    "ensemble": _ACCURACY.format(ensembles.accuracy_of_mean(runs)) if len(runs) > 1 else MISSING,
  }


def _of_methods(runs: dict[str, dict[int | None, np.ndarray]], common: Sequence) -> str:
  """Say what the mean over methods is worth, and on how much they agree, seed by seed."""
  by_seed = [[of[seed] for of in runs.values()] for seed in common]
  single = np.mean([ensembles.is_right(of).mean() for some in by_seed for of in some])
  together = np.mean([ensembles.accuracy_of_mean(some) for some in by_seed])
  agreement = np.mean([ensembles.agreement(some) for some in by_seed])
  return (
    f"One run of each of {len(runs)} methods ({escape(', '.join(runs))}) of one seed: on average "
    f"{_ACCURACY.format(single)}% right, their mean probabilities {_ACCURACY.format(together)}%, "
    f"two of them agree on {_ACCURACY.format(agreement)}% (n = {len(common)} seeds)."
  )
