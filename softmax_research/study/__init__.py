"""What every experiment shares: studies, records, the runner, statistics, claims, reports."""

from softmax_research.study.blocks import Block, Cell, Plot, Row, Table
from softmax_research.study.command import main, remake
from softmax_research.study.groups import Difference, Group, arrange, compare, group
from softmax_research.study.markdown import escape
from softmax_research.study.measures import Measure, measure_of
from softmax_research.study.plots import curves, difference_plot, plot
from softmax_research.study.record import look_up
from softmax_research.study.report import write_report
from softmax_research.study.statistics import (
  PairedDifference,
  Summary,
  detectable_difference,
  holm,
  paired_difference,
  paired_test_power,
  summarise,
)
from softmax_research.study.study import (
  Context,
  Record,
  SkippedError,
  Study,
  check_numbers,
  make_record,
)
from softmax_research.study.tables import METHOD, compared, cost, differences, table, unfinished
