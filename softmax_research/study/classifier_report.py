"""The report of compared classifiers: findings, metrics, differences, curves, calibration, cost."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from softmax_research.study import findings, plots, tables
from softmax_research.study.blocks import Block, Plot
from softmax_research.study.groups import By, Group, arrange, compare, group, title_of
from softmax_research.study.markdown import escape
from softmax_research.study.measures import MISSING, Measure, measure_of

SUMMARISED = tuple(
  measure_of(name) for name in ("accuracy", "error", "nll", "ece", "brier", "macro_accuracy")
)
COMPARED = (findings.ACCURACY, findings.NLL)

# Errors rather than accuracies, because on a logarithmic axis they show what still changes when the
# accuracy is near one.
_CURVES = {
  "Validation error, %": ("validation_accuracy", lambda accuracy: 100 * (1 - accuracy)),
  "Validation NLL, nats": "validation_nll",
  "Training loss, nats": "train_loss",
}


def report(
  records: Sequence[dict[str, Any]], *, rows: By = None, title: str | None = None
) -> Iterator[Block]:
  """Yield the whole report of a comparison; its parts are functions of groups, below.

  Args:
    records: of classifiers, those of the baseline first.
    rows: what makes a row; by default whatever differs between the cells.
    title: by default made from the rows and the data set.
  """
  groups = arrange(group(records, rows), findings.ACCURACY)
  noun = title_of(records, rows)
  noun = noun if noun.isalpha() else "combination"
  yield f"# {escape(title or _title(groups, noun))}"
  yield from findings.headline(groups, noun)
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
  yield "\n".join(f"- {note}" for note in findings.caveats(groups, noun))
  yield "## Cost"
  yield tables.cost(groups)
  yield "Speed and time are medians over the seeds."


def metrics(groups: Sequence[Group], noun: str = "head") -> Iterator[Block]:
  """Yield the table of the test metrics and the notes on what stands in it."""
  yield tables.table(groups, measure=SUMMARISED)
  yield (
    "Mean ± standard deviation over n seeds on the test split, in brackets the 95% t interval of "
    "the mean. NLL is in nats; ECE has 15 bins; macro accuracy is the mean over classes."
  )
  if any(of.ensemble for of in groups):
    yield f"An ensemble averages the probabilities of a {noun}'s seeds; it is one value."
  if any(len(of.finished) == 1 for of in groups):
    yield f"{MISSING}: one seed has neither a standard deviation nor an interval."
  if any(math.inf in of.values(findings.NLL).values() for of in groups):
    yield "∞: a test label got probability zero, so the mean NLL is infinite."


def differences(groups: Sequence[Group]) -> Iterator[Block]:
  """Yield the plot and the tables of the paired differences from the first group."""
  plot = plots.difference_plot(groups, measures=COMPARED)
  if plot is not None:
    yield plot
  for measure in COMPARED:
    better = "positive" if measure.higher_is_better else "negative"
    yield (
      f"### Test {measure.label}: difference from {escape(groups[0].name)} ({better} is better)"
    )
    yield tables.differences(groups, measure=measure)
    yield from _undefined(groups, measure)
  yield tables.METHOD


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
  """Make a title from the rows and the data set."""
  named = [(made["measured"].get("dataset") or {}).get("name") for made in groups[0].records]
  what = groups[0].name
  if len(groups) > 1:
    what = f"{len(groups)} {'softmax ' if noun == 'head' else ''}{noun}s"
  return f"{what} on {named[0]}" if any(named) else what


def _undefined(groups: Sequence[Group], measure: Measure) -> Iterator[str]:
  """Say why some p-values are undefined."""
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
