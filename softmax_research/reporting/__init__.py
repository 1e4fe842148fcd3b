"""Reports: statistics of a few seeds, tables, plots and the page that shows them."""

from softmax_research.reporting.records import HeadRecords, group_by_head, read_records
from softmax_research.reporting.report import ReportPaths, write_report
from softmax_research.reporting.statistics import (
  PairedDifference,
  Summary,
  detectable_difference,
  holm,
  paired_difference,
  paired_test_power,
  summarise,
)

__all__ = [
  "HeadRecords",
  "PairedDifference",
  "ReportPaths",
  "Summary",
  "detectable_difference",
  "group_by_head",
  "holm",
  "paired_difference",
  "paired_test_power",
  "read_records",
  "summarise",
  "write_report",
]
