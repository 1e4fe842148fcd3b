"""Figures of a report: which there are, in which order, and what their captions say."""

from typing import NamedTuple

from softmax_research.reporting import figure_style
from softmax_research.reporting.comparisons import compare_heads
from softmax_research.reporting.confusion_plot import confusion_plot
from softmax_research.reporting.difference_plot import difference_plot
from softmax_research.reporting.learning_curves import learning_curves
from softmax_research.reporting.measures import COMPARED
from softmax_research.reporting.records import HeadRecords
from softmax_research.reporting.reliability_plot import LEAST_COUNT, reliability_plot


class Plot(NamedTuple):
  """Hold a drawn figure: its file's name, its heading, its caption and its SVG text."""

  name: str
  heading: str
  caption: str
  svg: str


def draw_plots(heads: list[HeadRecords], class_names: list[str]) -> list[Plot]:
  """Draw every figure for which the runs have data.

  Args:
    heads: Heads with their runs.
    class_names: Names of the classes `[K]`.

  Returns:
    The figures, in the order of the report.
  """
  comparisons = [(measure, compare_heads(heads, measure.key)) for measure in COMPARED]
  drawn = (
    (
      "paired_differences",
      "Paired differences",
      f"Each dot is one seed: a head's value minus that of {heads[0].name} with the same seed. "
      "Diamonds are means, filled where the difference is significant at the 5% level after "
      "Holm's correction; lines are 95% intervals, not corrected. An arrow gives the mean of a "
      "head that lies beyond the axis.",
      difference_plot(heads[0].name, comparisons) if len(heads) > 1 else None,
    ),
    (
      "learning_curves",
      "Learning curves",
      "Lines are means over the seeds, bands the range of the seeds. The training loss is each "
      "head's own, with its margin, so its height does not compare between heads.",
      learning_curves(heads),
    ),
    (
      "reliability",
      "Reliability on the test split",
      "Accuracy against confidence, predictions pooled over the seeds; on the dashed line a head "
      "is as often right as it claims, below it claims too much. Vertical lines are two standard "
      f"errors, faint dots bins with fewer than {LEAST_COUNT} test examples; bars show where the "
      "predictions lie. ECE is the mean over the seeds.",
      reliability_plot(heads),
    ),
    (
      "confusion",
      "Confusion on the test split",
      "Percent of each true class (row) that goes to each predicted class (column), averaged "
      "over the seeds; empty cells are below 0.05. Errors have one colour scale for all heads.",
      confusion_plot(heads, class_names),
    ),
  )
  return [
    Plot(name, heading, caption, figure_style.to_svg(figure, name))
    for name, heading, caption, figure in drawn
    if figure is not None
  ]
