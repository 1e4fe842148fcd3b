"""Plots of the ledger: how far the seeds speak for each claim; errors beside the papers'."""

import math
import pathlib
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from experiments.reproduction import paper_report
from softmax_research.study import Plot, claims, dot_plot, figure_style, verdicts, workdir
from softmax_research.study.claims import Finding, Ruling

_COLOURS = {
  verdicts.SUPPORTED: figure_style.head_style(3)["color"],
  verdicts.CONTRADICTED: figure_style.head_style(2)["color"],
  verdicts.NEGLIGIBLE: figure_style.head_style(1)["color"],
  verdicts.UNDECIDED: figure_style.MUTED,
}
_MOST = 1000.0  # What lies beyond is an arrow at the edge.
_LONGEST_NAME = 70


def claims_plot(rulings: Sequence[Ruling]) -> Plot | None:
  r"""Plot the paired differences behind the verdict on each claim that has a test.

  .. math:: s \bar d / m

  with the claimed sign s (1 where no difference is claimed) and the smallest difference of interest
  m. A claim of several comparisons has a mark for each. Claims that no test decides are shown by
  their first indication. Where nothing is tested there is no plot, but None.
  """
  shown = [ruling for ruling in claims.decisive(rulings) if ruling.findings]
  shown += claims.indicated(rulings)
  if not shown:
    return None
  with figure_style.style_context():
    size = (figure_style.WIDTH, 0.9 + 0.21 * len(shown))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.axvspan(-1, 1, color=figure_style.RULE, alpha=0.5, linewidth=0)
    axes.axvline(0, color=figure_style.INK, linewidth=0.9)
    for row, ruling in enumerate(shown):
      count = len(ruling.findings)
      heights = row + (np.linspace(-0.25, 0.25, count) if count > 1 else np.zeros(1))
      for height, finding in zip(heights, ruling.findings, strict=True):
        _draw(axes, height, finding, filled=ruling.test.decides)
    _label(axes, shown)
    decided = sum(ruling.test.decides for ruling in shown)
    if 0 < decided < len(shown):
      dashed = {"linewidth": 0.6, "linestyle": (0, (4, 3))}
      axes.axhline(decided - 0.5, color=figure_style.MUTED, **dashed)
  caption = (
    "Mean differences with their corrected intervals, divided by the smallest difference of "
    "interest, to the right where they speak for the claim; within the grey band they are too "
    "small to matter, which is what a claim of no difference asks for. Beyond it the axis is "
    "logarithmic. Filled marks decide; open ones, below the line, are indications of short tests. "
    "An arrow lies beyond the edge."
  )
  return Plot("claims", "How far the seeds speak for each claim", caption, figure)


def _scaled(finding: Finding) -> tuple[float, float, float]:
  """Return the mean and the ends of the interval, in the claimed direction."""
  better = finding.comparison.measure.higher_is_better
  sign = {"higher": 1, "lower": -1, "same": 1, "no_worse": 1 if better else -1}
  scale = sign[finding.comparison.direction] / finding.smallest if finding.smallest else math.nan
  ends = sorted([finding.interval.low * scale, finding.interval.high * scale])
  return finding.paired.mean * scale, *ends


def _draw(axes: Axes, height: float, finding: Finding, *, filled: bool) -> None:
  colour = _COLOURS[finding.verdict]
  mean, *ends = _scaled(finding)
  if not math.isfinite(mean):
    return
  if math.isfinite(ends[0]):
    axes.plot(np.clip(ends, -_MOST, _MOST), [height] * 2, color=colour, linewidth=1.2, zorder=3)
  face = colour if filled else figure_style.PAPER
  marker = "D" if abs(mean) <= _MOST else ">" if mean > 0 else "<"
  place = float(np.clip(mean, -_MOST, _MOST))
  axes.plot(place, height, marker, markersize=4, color=colour, markerfacecolor=face, zorder=4)


def _label(axes: Axes, shown: Sequence[Ruling]) -> None:
  names = [
    f"{figure_style.shorten(ruling.claim.text, _LONGEST_NAME)} · {ruling.claim.paper}"
    for ruling in shown
  ]
  figure_style.label_rows(axes, names)
  for label, ruling in zip(axes.get_yticklabels(), shown, strict=True):
    label.set_color(_COLOURS[ruling.verdict] if ruling.test.decides else figure_style.MUTED)
  axes.set_xscale("symlog", linthresh=1, linscale=0.6)
  ends = [x for ruling in shown for f in ruling.findings for x in _scaled(f) if math.isfinite(x)]
  low, high = max(min([-2.0, *ends]), -_MOST), min(max([2.0, *ends]), _MOST)
  axes.set_xlim(1.3 * low, 1.3 * high)
  ticks = [x for x in (-1000, -100, -10, -1, 0, 1, 10, 100, 1000) if low <= x <= high]
  axes.set_xticks(ticks, [f"{x:,}".replace("-", "−") for x in ticks])
  axes.set_xticks([], minor=True)
  axes.set_xlabel("← against\u2003difference over the smallest of interest\u2003for →")
  for number, (name, colour) in enumerate(_COLOURS.items()):
    style = {"fontsize": 8, "fontweight": "bold", "color": colour, "va": "bottom"}
    axes.text(0.25 * number, 1.01, name, transform=axes.transAxes, **style)


def errors_plot(directory: pathlib.Path) -> Plot | None:
  """Plot errors or accuracies beside the papers', a panel for each setting of the tables below.

  Settings without a published number are left out; of none there is no plot, but None.
  """
  drawn = []
  for path in sorted(directory.glob("*/config.json")):
    study, plain = workdir.read_config(path.parent)
    if study != "reproduce":
      continue
    settings, records = ConfigDict(plain), workdir.read(path.parent)
    for name in settings.settings:
      beside = [
        panel
        for measure, panel in paper_report.panels(records, settings, name)
        if measure in ("accuracy", "error") and any(e.published is not None for e in panel.entries)
      ]
      drawn += [panel._replace(title=f"{settings.paper}, {name}") for panel in beside[-1:]]
  if not drawn:
    return None
  where = "On the test split; the nets and data of most tables are cut down here"
  caption = paper_report.CAPTION.format(where=where)
  heading = "Test errors and accuracies here and in the papers"
  return Plot("errors", heading, caption, dot_plot.dot_plot(drawn))
