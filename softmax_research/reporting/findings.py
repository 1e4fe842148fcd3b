"""Findings in words: what the runs show, what they could have shown, and what they cannot."""

import math

from softmax_research.reporting import measures, statistics
from softmax_research.reporting.comparisons import Comparison, compare_heads
from softmax_research.reporting.measures import Measure
from softmax_research.reporting.records import HeadRecords
from softmax_research.reporting.tables import has_ensemble

# A sentence of its own for each head that differs, as long as there are few of them.
_MOST_SENTENCES = 3


def headline(heads: list[HeadRecords]) -> list[str]:
  """Say in a few sentences what the test metrics show.

  Args:
    heads: Heads; the first is the one that the others are compared with.

  Returns:
    Sentences, the most important first.
  """
  finished = [head for head in heads if head.finished]
  if not finished:
    return ["Every run diverged: there is nothing to compare."]
  if len(finished) == 1:
    return _alone(finished[0]) + _ensemble_gain(heads)
  if not heads[0].finished:
    return [
      f"{heads[0].name} diverged with every seed, so the other heads have nothing to be compared "
      "with.",
      _highest(finished),
    ]
  accuracy = compare_heads(heads, measures.ACCURACY.key)
  if all(comparison.paired.n < 2 for comparison in accuracy):
    return [
      "No two heads share more than one seed: with one pair a difference between heads cannot be "
      "told from the luck of a seed, so nothing is tested.",
      _highest(finished),
    ]
  nll = compare_heads(heads, measures.NLL.key)
  return [
    *_differences(heads[0].name, accuracy, measures.ACCURACY),
    *_detectable(accuracy),
    *_likelihood(heads[0].name, nll),
    *_ensemble_gain(heads),
  ]


def caveats(heads: list[HeadRecords]) -> list[str]:
  """Say what the numbers of these runs do not cover."""
  runs = [run for head in heads for run in (*head.finished.values(), *head.diverged.values())]
  notes = [
    "Intervals and tests cover the spread over seeds alone. All runs share one test set: another "
    "sample of test images would move every head, and so would other hyperparameters.",
    "The t interval and the paired t-test take the seeds' values for normally distributed, which "
    "a handful of seeds cannot confirm. The correction covers the heads within one measure, not "
    "the several measures.",
  ]
  diverged = sum(len(head.diverged) for head in heads)
  if diverged:
    notes.append(
      f"{diverged} of {len(runs)} runs diverged and are left out of every mean, plot and test, "
      "which flatters the heads that diverge."
    )
  notes += _seed_caveats(heads)
  revisions = _distinct(runs, "git_revision")
  if len(revisions) > 1:
    notes.append(f"The runs were made by {len(revisions)} revisions of the code.")
  if any(str(revision).endswith("+changes") for revision in revisions):
    notes.append("The code had changes that were not committed.")
  if len(_distinct(runs, "device")) > 1:
    notes.append("The runs were made on different devices; speeds are not comparable.")
  return notes


def _alone(head: HeadRecords) -> list[str]:
  """Say how accurate the only head is."""
  summary = statistics.summarise(list(head.values(measures.ACCURACY.key).values()))
  mean = measures.ACCURACY.format(summary.mean)
  if summary.n == 1:
    return [
      f"{head.name} classifies {mean}% of the test set correctly with its one seed; one seed has "
      "no spread and no interval."
    ]
  low, high = measures.ACCURACY.format(summary.low), measures.ACCURACY.format(summary.high)
  return [
    f"{head.name} classifies {mean}% of the test set correctly (mean of {summary.n} seeds, 95% "
    f"interval {low} to {high})."
  ]


def _highest(heads: list[HeadRecords]) -> str:
  """Name the head with the highest mean accuracy, without calling it better."""
  means = {h.name: statistics.summarise(list(h.values("accuracy").values())).mean for h in heads}
  name = max(means, key=means.get)
  return f"The highest mean test accuracy is {measures.ACCURACY.format(means[name])}%, by {name}."


def _differences(baseline: str, comparisons: list[Comparison], measure: Measure) -> list[str]:
  """Say which heads differ from the first one in accuracy."""
  tested = [c for c in comparisons if not math.isnan(c.p_corrected)]
  if not tested:
    return [
      f"No difference from {baseline} in test accuracy can be tested: the paired differences do "
      "not vary over the seeds."
    ]
  test = f"paired t-test over {_seeds(tested)}, {_correction(len(tested))}"
  found = sorted((c for c in tested if c.significant), key=lambda c: -abs(c.paired.mean))
  if not found:
    who = (
      f"No head differs from {baseline}"
      if len(tested) > 1
      else (f"{tested[0].head} does not differ from {baseline}")
    )
    return [f"{who} in test accuracy at the 5% level ({test})."]
  sentences = [_one_difference(baseline, c, measure) for c in found[:_MOST_SENTENCES]]
  if len(found) > _MOST_SENTENCES:
    rest = ", ".join(
      f"{c.head} ({measure.format(c.paired.mean, signed=True)})" for c in found[_MOST_SENTENCES:]
    )
    sentences.append(f"So do {rest}." if len(found) > _MOST_SENTENCES + 1 else f"So does {rest}.")
  others = len(tested) - len(found)
  if others:
    subject = "The other head does" if others == 1 else f"The other {others} heads do"
    sentences.append(f"{subject} not differ from it at the 5% level ({test}).")
  return sentences


def _one_difference(baseline: str, comparison: Comparison, measure: Measure) -> str:
  """Say by how much one head differs, with interval, p-value and number of pairs."""
  paired = comparison.paired
  low, high = (measure.format(end, signed=True) for end in (paired.low, paired.high))
  direction = "more" if paired.mean > 0 else "less"
  p_value = measures.format_p_value(comparison.p_corrected)
  return (
    f"{comparison.head} is {measure.format(abs(paired.mean))} points {direction} accurate than "
    f"{baseline} (95% interval {low} to {high}, corrected p {_equals(p_value)}, "
    f"n = {paired.n} seeds)."
  )


def _detectable(comparisons: list[Comparison]) -> list[str]:
  """Say how large a difference these seeds would probably have shown."""
  sizes = sorted(c.detectable for c in comparisons if not math.isnan(c.detectable))
  if not sizes:
    return []
  least, most = (measures.ACCURACY.format_detectable(size) for size in (sizes[0], sizes[-1]))
  size = f"about {least}" if least == most else f"{least} to {most}"
  depends = "" if least == most else " (it depends on the head)"
  return [
    f"With {_seeds(comparisons)}, a true difference of {size} points{depends} would have been "
    "found with 80% power."
  ]


def _likelihood(baseline: str, comparisons: list[Comparison]) -> list[str]:
  """Say which heads differ in NLL."""
  found = [c for c in comparisons if c.significant]
  parts = []
  for word, sign in (("lower (better)", -1), ("higher (worse)", 1)):
    ones = [c for c in found if c.paired.mean * sign > 0]
    if ones:
      named = ", ".join(
        f"{c.head} ({measures.NLL.format(c.paired.mean, signed=True)})" for c in ones
      )
      parts.append(f"{word} with {named}")
  if parts:
    return [f"Test NLL, against {baseline} and in nats, is {' and '.join(parts)}."]
  if any(not math.isnan(c.p_corrected) for c in comparisons):
    return [f"In test NLL no head differs from {baseline} at that level."]
  return []


def _ensemble_gain(heads: list[HeadRecords]) -> list[str]:
  """Say what averaging the probabilities of the seeds changes."""
  gains = []
  for head in heads:
    if has_ensemble(head) and head.finished:
      mean = statistics.summarise(list(head.values("accuracy").values())).mean
      gains.append(head.ensemble["metrics"]["test"]["accuracy"] - mean)
  if not gains:
    return []
  ends = [measures.ACCURACY.format(gain, signed=True) for gain in (min(gains), max(gains))]
  change = ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
  return [f"Averaging the probabilities of a head's seeds changes its accuracy by {change} points."]


def _seed_caveats(heads: list[HeadRecords]) -> list[str]:
  """Say where seeds are too few or unequal."""
  notes = []
  alone = [head.name for head in heads if len(head.finished) == 1]
  if alone:
    notes.append(
      f"{', '.join(alone)}: one finished seed, hence no standard deviation and no interval "
      f"({measures.MISSING} in the table)."
    )
  none = [head.name for head in heads if not head.finished]
  if none:
    notes.append(f"{', '.join(none)}: no finished seed, hence no numbers.")
  if len({frozenset(head.finished) for head in heads}) > 1:
    notes.append(
      "The heads did not finish the same seeds: means are over each head's own seeds, paired "
      f"differences over those in common with {heads[0].name}."
    )
  return notes


def _distinct(runs: list[dict], key: str) -> list:
  """Return the distinct values of a field, in order of appearance."""
  return list(dict.fromkeys(run.get(key) for run in runs))


def _seeds(comparisons: list[Comparison]) -> str:
  """Say how many seeds the comparisons have in common."""
  sizes = sorted({c.paired.n for c in comparisons})
  count = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
  return f"n = {count} seeds"


def _correction(count: int) -> str:
  """Say how the p-values were corrected."""
  return "one comparison" if count == 1 else f"Holm-corrected for {count} comparisons"


def _equals(p_value: str) -> str:
  """Put an equals sign before a p-value that has no sign of its own."""
  return p_value if p_value.startswith("<") else f"= {p_value}"
