"""Content of a report, without its form: the words, numbers and tables of page and Markdown."""

import math
from typing import NamedTuple

from softmax_research.reporting import measures, tables
from softmax_research.reporting.comparisons import Comparison, compare_heads
from softmax_research.reporting.findings import caveats, headline
from softmax_research.reporting.provenance import Provenance, provenance
from softmax_research.reporting.records import HeadRecords

_METHOD = (
  "Paired t-tests over the seeds that both heads finished. p (Holm) is corrected for the number of "
  "tests in its table and bold below 0.05; intervals are not corrected. Effect size: "
  "mean over standard deviation of the differences. Detectable: the true difference that these "
  "pairs would find with 80% power at 0.05 over the number of tests, given their spread."
)


class Section(NamedTuple):
  """Hold a table with its heading and the notes below it."""

  name: str
  heading: str
  table: tables.Table
  notes: list[str]


class Content(NamedTuple):
  """Hold what a report says."""

  title: str
  headline: list[str]
  summary: Section
  comparisons: list[Section]
  method: str
  diverged: Section | None
  cost: Section
  provenance: Provenance
  caveats: list[str]


def make_content(
  heads: list[HeadRecords], *, title: str | None = None, command: str | None = None
) -> Content:
  """Work out everything that a report says in words and numbers.

  Args:
    heads: Heads with their runs; the first is the one that the others are compared with.
    title: Title; by default made from the heads and the dataset.
    command: Command that made the results.

  Returns:
    The content.
  """
  diverged = tables.diverged_table(heads)
  return Content(
    title=title or _title(heads),
    headline=headline(heads),
    summary=_summary(heads),
    comparisons=[_comparison(heads, m) for m in measures.COMPARED] if len(heads) > 1 else [],
    method=_METHOD,
    diverged=diverged and Section("diverged", "Diverged runs", diverged, []),
    cost=Section(
      "cost", "Cost", tables.cost_table(heads), ["Speed and time are medians over the seeds."]
    ),
    provenance=provenance(heads, command=command),
    caveats=caveats(heads),
  )


def _title(heads: list[HeadRecords]) -> str:
  """Make a title from the heads and the dataset."""
  runs = [run for head in heads for run in (*head.finished.values(), *head.diverged.values())]
  dataset = (runs[0].get("dataset") or {}).get("name")
  what = heads[0].name if len(heads) == 1 else f"{len(heads)} softmax heads"
  return f"{what} on {dataset}" if dataset else what


def _summary(heads: list[HeadRecords]) -> Section:
  """Make the section of the summary table."""
  notes = [
    "Mean ± standard deviation over n seeds on the test split, in brackets the 95% t interval of "
    "the mean. NLL is in nats; ECE has 15 bins; macro accuracy is the mean over classes."
  ]
  if any(map(tables.has_ensemble, heads)):
    notes.append("An ensemble averages the probabilities of a head's seeds; it is one value.")
  if any(len(head.finished) == 1 for head in heads):
    notes.append(f"{measures.MISSING}: one seed has neither a standard deviation nor an interval.")
  if any(math.inf in head.values(measures.NLL.key).values() for head in heads):
    notes.append("∞: a test label got probability zero, so the mean NLL is infinite.")
  return Section("summary", "Test metrics", tables.summary_table(heads), notes)


def _comparison(heads: list[HeadRecords], measure: measures.Measure) -> Section:
  """Make the section of the paired differences in one measure."""
  comparisons = compare_heads(heads, measure.key)
  better = "positive" if measure.higher_is_better else "negative"
  return Section(
    f"differences_{measure.key}",
    f"Test {measure.label}: difference from {heads[0].name} ({better} is better)",
    tables.comparison_table(comparisons, measure),
    _undefined(comparisons),
  )


def _undefined(comparisons: list[Comparison]) -> list[str]:
  """Say why some p-values are undefined."""
  few = [c.head for c in comparisons if c.paired.n < 2]
  constant = [c.head for c in comparisons if c.paired.n >= 2 and c.paired.std == 0]
  infinite = [c.head for c in comparisons if c.paired.n >= 2 and math.isnan(c.paired.mean)]
  reasons = (
    (few, "a test needs two seeds in common"),
    (constant, "all seeds differ by the same amount, so there is no spread to test against"),
    (infinite, "a value is not finite"),
  )
  return [
    f"{measures.MISSING} for {', '.join(names)}: {reason}." for names, reason in reasons if names
  ]
