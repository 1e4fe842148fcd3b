"""What every experiment shares: studies, records, the runner, statistics, claims, reports."""

from softmax_research.study.command import main, remake
from softmax_research.study.record import look_up
from softmax_research.study.study import Context, SkippedError, Study

__all__ = ["Context", "SkippedError", "Study", "look_up", "main", "remake"]
