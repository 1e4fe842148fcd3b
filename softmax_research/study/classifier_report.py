"""The report of compared classifiers: findings, metrics, differences, curves, calibration, cost."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from softmax_research.study import findings, plots, tables
from softmax_research.study.blocks import Block, Plot
from softmax_research.study.comparisons import compare
from softmax_research.study.groups import By, Group, arrange, group, title_of
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
  parts = (learning_curves(groups), reliability(groups), confusion(groups), worst_images(groups))
  for plot in parts:
    if plot is not None:
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


def reliability(groups: Sequence[Group]) -> Plot | None:
  """Plot reliability diagrams, or return None where no record has one."""
  from softmax_research.study import reliability_plot  # noqa: PLC0415

  figure = reliability_plot.reliability_plot(groups)
  if figure is None:
    return None
  return Plot(
    "reliability",
    "Reliability on the test split",
    "Accuracy against confidence, predictions pooled over the seeds; on the dashed line a "
    "classifier is as often right as it claims, below it claims too much. Vertical lines are two "
    f"standard errors, faint dots bins with fewer than {reliability_plot.LEAST_COUNT} test "
    "examples; bars show where the predictions lie. ECE is the mean over the seeds.",
    figure,
  )


def confusion(groups: Sequence[Group]) -> Plot | None:
  """Plot confusion matrices, or return None where no record has one."""
  from softmax_research.study.confusion_plot import confusion_plot  # noqa: PLC0415

  figure = confusion_plot(groups, class_names(groups))
  if figure is None:
    return None
  return Plot(
    "confusion",
    "Confusion on the test split",
    "Percent of each true class (row) that goes to each predicted class (column), averaged over "
    "the seeds; empty cells are below 0.05. Errors have one colour scale for all panels.",
    figure,
  )


def worst_images(groups: Sequence[Group]) -> Plot | None:
  """Show the worst-classified images, or return None where there is no ensemble with images."""
  from softmax_research.study import worst_images as drawing  # noqa: PLC0415

  tiles = drawing.worst_tiles(groups, class_names(groups))
  if not tiles:
    return None
  shared = drawing.shared_by_all(tiles)
  caption = (
    "The test images to whose label the ensemble of the seeds gives least: true class → predicted "
    "class, and the probability of the true class."
  )
  if len(tiles) > drawing.MOST_ROWS:
    caption += f" Shown are the first {drawing.MOST_ROWS} of {len(tiles)} rows."
  if len(tiles) > 1 and shared:
    caption += f" {shared} of them {'is' if shared == 1 else 'are'} among the worst of every row."
  figure = drawing.worst_images(tiles)
  return Plot("worst_images", "Worst-classified images", caption, figure)


def class_names(groups: Sequence[Group]) -> list[str]:
  """Return the names of the classes as the records have them, or none."""
  for of in groups:
    for made in of.records:
      if names := (made["measured"].get("dataset") or {}).get("class_names"):
        return list(map(str, names))
  return []


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
