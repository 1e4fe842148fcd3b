"""The report of compared classifiers: findings, metrics, differences, curves, calibration, cost."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from softmax_research.study import plots, record, tables
from softmax_research.study.blocks import Block, Plot
from softmax_research.study.groups import Difference, Group, arrange, compare, group, title_of
from softmax_research.study.markdown import escape
from softmax_research.study.measures import MISSING, Measure, format_p_value, measure_of

SUMMARISED = tuple(
  measure_of(name) for name in ("accuracy", "error", "nll", "ece", "brier", "macro_accuracy")
)
ACCURACY, NLL = measure_of("accuracy"), measure_of("nll")
COMPARED = (ACCURACY, NLL)
# A sentence of its own for each row that differs, as long as there are few of them.
_MOST_SENTENCES = 3

# Errors rather than accuracies, because on a logarithmic axis they show what still changes when the
# accuracy is near one.
_CURVES = {
  "Validation error, %": ("validation_accuracy", lambda accuracy: 100 * (1 - accuracy)),
  "Validation NLL, nats": "validation_nll",
  "Training loss, nats": "train_loss",
}


def report(records: Sequence[dict[str, Any]]) -> Iterator[Block]:
  """Yield the whole report of classifiers, the baseline's records first; its parts stand below."""
  groups = arrange(group(records), ACCURACY)
  noun = title_of(records)
  noun = noun if noun.isalpha() else "combination"
  yield f"# {escape(_title(groups, noun))}"
  yield from headline(groups, noun)
  yield "## Test metrics"
  yield from metrics(groups, noun)
  if len(groups) > 1:
    yield "## Paired differences"
    yield from differences(groups)
  from softmax_research.study import classifier_plots as of  # noqa: PLC0415  # Slow to import.

  for draw in (learning_curves, of.reliability, of.confusion, of.worst_images):
    if (plot := draw(groups)) is not None:
      yield f"## {plot.heading}"
      yield plot
  yield "## Caveats"
  yield "\n".join(f"- {note}" for note in caveats(groups, noun))
  yield "## Cost"
  yield tables.cost(groups)
  yield "Speed and time are medians over the seeds."


def metrics(groups: Sequence[Group], noun: str = "head") -> Iterator[Block]:
  """Yield the table of the test metrics and the notes on what stands in it."""
  yield tables.table(groups, measure=_measured(groups, SUMMARISED))
  yield (
    "Mean ± standard deviation over n seeds on the test split, in brackets the 95% t interval of "
    "the mean. NLL is in nats; ECE has 15 bins; macro accuracy is the mean over classes."
  )
  if any(of.ensemble for of in groups):
    yield f"An ensemble averages the probabilities of a {noun}'s seeds; it is one value."
  if any(len(of.finished) == 1 for of in groups):
    yield f"{MISSING}: one seed has neither a standard deviation nor an interval."
  if any(math.inf in of.values(NLL).values() for of in groups):
    yield "∞: a test label got probability zero, so the mean NLL is infinite."


def differences(groups: Sequence[Group]) -> Iterator[Block]:
  """Yield the plot and the tables of the paired differences from the first group."""
  measures = _measured(groups, COMPARED)
  plot = plots.difference_plot(groups, measures=measures)
  if plot is not None:
    yield plot
  for measure in measures:
    better = "positive" if measure.higher_is_better else "negative"
    yield (
      f"### Test {measure.label}: difference from {escape(groups[0].name)} ({better} is better)"
    )
    yield tables.differences(groups, measure=measure)
    yield from _undefined(groups, measure)
  yield tables.METHOD


def _measured(groups: Sequence[Group], measures: Sequence[Measure]) -> list[Measure]:
  """Return the measures that records have; those of other programs may have fewer."""
  finished = [made for of in groups for made in of.finished.values()]
  return [of for of in measures if record.has(finished, of.key)] or list(measures)


def learning_curves(groups: Sequence[Group]) -> Plot | None:
  """Plot errors, NLL and training loss by epoch, or return None where no record has curves."""
  return plots.curves(
    groups,
    panels=_CURVES,
    name="learning_curves",
    heading="Learning curves",
    caption="The training loss is each one's own, with its margin, so its height does not compare "
    "between heads.",
  )


def _title(groups: Sequence[Group], noun: str) -> str:
  named = [(made["measured"].get("dataset") or {}).get("name") for made in groups[0].records]
  what = groups[0].name
  if len(groups) > 1:
    what = f"{len(groups)} {'softmax ' if noun == 'head' else ''}{noun}s"
  return f"{what} on {named[0]}" if any(named) else what


def _undefined(groups: Sequence[Group], measure: Measure) -> Iterator[str]:
  compared = compare(groups, measure)
  few = [of.name for of in compared if of.paired.n < 2]
  constant = [of.name for of in compared if of.paired.n >= 2 and of.paired.std == 0]
  infinite = [of.name for of in compared if of.paired.n >= 2 and math.isnan(of.paired.mean)]
  for names, reason in (
    (few, "a test needs two seeds in common"),
    (constant, "all seeds differ by the same amount, so there is no spread to test against"),
    (infinite, "a value is not finite"),
  ):
    if names:
      yield f"{MISSING} for {', '.join(map(escape, names))}: {reason}."


def headline(groups: Sequence[Group], noun: str = "head") -> list[str]:
  """Say in a few sentences of Markdown how groups, each a `noun`, differ from the first."""
  finished = [of for of in groups if of.finished]
  if not finished:
    return ["No run finished: there is nothing to compare."]
  if len(finished) == 1:
    return _alone(finished[0]) + _ensemble_gain(groups, noun)
  if not groups[0].finished:
    return [
      f"{escape(groups[0].name)} finished with no seed, so the other {noun}s have nothing to be "
      "compared with.",
      _highest(finished),
    ]
  accuracy = compare(groups, ACCURACY)
  if all(of.paired.n < 2 for of in accuracy):
    return [
      f"No two {noun}s share more than one seed: with one pair a difference between {noun}s cannot "
      "be told from the luck of a seed, so nothing is tested.",
      _highest(finished),
    ]
  baseline = escape(groups[0].name)
  return [
    *_differences(baseline, accuracy, noun),
    *_detectable(accuracy, noun),
    *_likelihood(baseline, compare(groups, NLL), noun),
    *_ensemble_gain(groups, noun),
  ]


def caveats(groups: Sequence[Group], noun: str = "head") -> list[str]:
  """Say what the numbers of these runs do not cover."""
  runs = [made for of in groups for made in of.records]
  notes = [
    "Intervals and tests cover the spread over seeds alone. All runs share one test set: another "
    f"sample of test images would move every {noun}, and so would other hyperparameters.",
    "The t interval and the paired t-test take the seeds' values for normally distributed, which "
    f"a handful of seeds cannot confirm. The correction covers the {noun}s within one measure, not "
    "the several measures.",
  ]
  diverged = sum(made["status"] == "diverged" for made in runs)
  if diverged:
    notes.append(
      f"{diverged} of {len(runs)} runs diverged and are left out of every mean, plot and test, "
      f"which flatters the {noun}s that diverge."
    )
  if len({frozenset(of.finished) for of in groups}) > 1:
    notes.append(
      f"The {noun}s did not finish the same seeds: means are over each {noun}'s own seeds, paired "
      f"differences over those in common with {escape(groups[0].name)}."
    )
  revisions = {made["revision"] for made in runs}
  if len(revisions) > 1:
    notes.append(f"The runs were made by {len(revisions)} revisions of the code.")
  if any(revision.endswith("+changes") for revision in revisions):
    notes.append("The code had changes that were not committed.")
  if len({made["device"] for made in runs}) > 1:
    notes.append("The runs were made on different devices; speeds are not comparable.")
  return notes


def _alone(of: Group) -> list[str]:
  summary = of.summary(ACCURACY)
  mean = ACCURACY.format(summary.mean)
  if summary.n == 1:
    return [
      f"{escape(of.name)} classifies {mean}% of the test set correctly with its one seed; one seed "
      "has no spread and no interval."
    ]
  low, high = ACCURACY.format(summary.low), ACCURACY.format(summary.high)
  return [
    f"{escape(of.name)} classifies {mean}% of the test set correctly (mean of {summary.n} seeds, "
    f"95% interval {low} to {high})."
  ]


def _highest(groups: Sequence[Group]) -> str:
  means = {of.name: of.summary(ACCURACY).mean for of in groups}
  best = max(means.values())
  names = ", ".join(escape(name) for name, mean in means.items() if mean == best)
  return f"The highest mean test accuracy is {ACCURACY.format(best)}%, by {names}."


def _differences(baseline: str, compared: Sequence[Difference], noun: str) -> list[str]:
  tested = [of for of in compared if not math.isnan(of.p_corrected)]
  if not tested:
    return [
      f"No difference from {baseline} in test accuracy can be tested: the paired differences do "
      "not vary over the seeds."
    ]
  many = len(tested) > 1
  correction = f"Holm-corrected for {len(tested)} comparisons" if many else "one comparison"
  test = f"paired t-test over {_seeds(tested)}, {correction}"
  found = sorted((of for of in tested if of.significant), key=lambda of: -of.paired.mean)
  if not found:
    who = f"No {noun} differs" if many else f"{escape(tested[0].name)} does not differ"
    return [f"{who} from {baseline} in test accuracy at the 5% level ({test})."]
  if len(found) > _MOST_SENTENCES:
    return _many_differences(baseline, found, len(tested), noun, test)
  sentences = [_one_difference(baseline, of) for of in found]
  others = len(tested) - len(found)
  if others:
    subject = f"The other {noun} does" if others == 1 else f"The other {others} {noun}s do"
    sentences.append(f"{subject} not differ from it at the 5% level ({test}).")
  return sentences


def _many_differences(
  baseline: str, found: Sequence[Difference], count: int, noun: str, test: str
) -> list[str]:
  better = [of for of in found if of.paired.mean > 0]
  worse = [of for of in found if of.paired.mean < 0]
  sentences = [
    f"Of {count} {noun}s, {_counted(better)} more accurate than {baseline} at the 5% level, "
    f"{_counted(worse)} less accurate, and for {count - len(found) or 'none'} no difference is "
    f"found ({test})."
  ]
  for word, ones in (("More", better), ("Less", worse)):
    if ones:
      sentences.append(f"{word} accurate, in points: {_named(ones, ACCURACY)}.")
  return sentences


def _one_difference(baseline: str, of: Difference) -> str:
  low, high = (ACCURACY.format(end, signed=True) for end in (of.paired.low, of.paired.high))
  direction = "more" if of.paired.mean > 0 else "less"
  p_value = format_p_value(of.p_corrected)
  equals = "" if p_value.startswith("<") else "= "
  return (
    f"{escape(of.name)} is {ACCURACY.format(abs(of.paired.mean))} points {direction} accurate than "
    f"{baseline} (95% interval {low} to {high}, corrected p {equals}{p_value}, "
    f"n = {of.paired.n} seeds)."
  )


def _detectable(compared: Sequence[Difference], noun: str) -> list[str]:
  sizes = sorted(of.detectable for of in compared if not math.isnan(of.detectable))
  if not sizes:
    return []
  least, most = (ACCURACY.format_detectable(size) for size in (sizes[0], sizes[-1]))
  size = f"about {least}" if least == most else f"{least} to {most}"
  depends = "" if least == most else f" (it depends on the {noun})"
  return [
    f"With {_seeds(compared)}, a true difference of {size} points{depends} would have been "
    "found with 80% power."
  ]


def _likelihood(baseline: str, compared: Sequence[Difference], noun: str) -> list[str]:
  found = sorted((of for of in compared if of.significant), key=lambda of: of.paired.mean)
  parts = []
  for word, sign in (("lower (better)", -1), ("higher (worse)", 1)):
    ones = [of for of in found if of.paired.mean * sign > 0]
    if ones:
      parts.append(f"{word} with {_named(ones, NLL)}")
  if parts:
    return [f"Test NLL, against {baseline} and in nats, is {' and '.join(parts)}."]
  if any(not math.isnan(of.p_corrected) for of in compared):
    return [f"In test NLL no {noun} differs from {baseline} at that level."]
  return []


def _ensemble_gain(groups: Sequence[Group], noun: str) -> list[str]:
  gains = []
  for of in groups:
    if of.ensemble is not None and of.finished:
      mean = of.summary(ACCURACY).mean
      gains.append(record.look_up(of.ensemble, ACCURACY.key) - mean)
  if not gains:
    return []
  ends = [ACCURACY.format(gain, signed=True) for gain in (min(gains), max(gains))]
  change = ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
  return [
    f"Averaging the probabilities of a {noun}'s seeds changes its accuracy by {change} points."
  ]


def _named(compared: Sequence[Difference], measure) -> str:
  return ", ".join(
    f"{escape(of.name)} ({measure.format(of.paired.mean, signed=True)})" for of in compared
  )


def _counted(compared: Sequence[Difference]) -> str:
  return f"{len(compared) or 'none'} {'are' if len(compared) > 1 else 'is'}"


def _seeds(compared: Sequence[Difference]) -> str:
  sizes = sorted({of.paired.n for of in compared})
  count = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
  return f"n = {count} seeds"
