"""Claims plot: how far the seeds speak for or against each claim, in units of what matters."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from softmax_research.reporting import figure_style, headline, verdicts
from softmax_research.reporting.claims import Finding, Ruling

_SHOWN = 12.0  # What lies beyond is an arrow at the edge.
_COLOURS = {
  verdicts.HOLDS: figure_style.head_style(3)["color"],
  verdicts.DOES_NOT_HOLD: figure_style.head_style(2)["color"],
  verdicts.UNDECIDED: figure_style.MUTED,
}


def claims_plot(rulings: Sequence[Ruling]) -> Figure | None:
  r"""Plot the paired differences behind the verdict on each tested claim.

  .. math:: s \bar d / m

  with the claimed sign s (1 where no difference is claimed) and the margin m below which two
  numbers count as the same. A claim of several comparisons has a mark for each.

  Args:
    rulings: of `claims.rule`; those that `headline.decisive` chooses are drawn.

  Returns:
    The figure, or None when nothing is tested.
  """
  tested = [ruling for ruling in headline.decisive(rulings) if ruling.findings]
  if not tested:
    return None
  with figure_style.style_context():
    size = (figure_style.WIDTH, 1.1 + 0.28 * len(tested))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.axvspan(-1, 1, color=figure_style.RULE, alpha=0.5, linewidth=0)
    axes.axvline(0, color=figure_style.INK, linewidth=0.9)
    limit = _limit(tested)
    for row, ruling in enumerate(tested):
      count = len(ruling.findings)
      heights = row + (np.linspace(-0.25, 0.25, count) if count > 1 else np.zeros(1))
      for height, finding in zip(heights, ruling.findings, strict=True):
        _draw(axes, height, finding, limit)
    axes.set_yticks(
      range(len(tested)), [f"{_short(r.claim.text)} · {r.claim.paper}" for r in tested]
    )
    for label, ruling in zip(axes.get_yticklabels(), tested, strict=True):
      label.set_color(_COLOURS[headline.kind(ruling)])
    axes.set_ylim(len(tested) - 0.4, -0.6)
    axes.set_xlim(-limit, limit)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(
      "← against the claim\u2003difference over what is too small to matter\u2003for →"
    )
    for number, (name, colour) in enumerate(_COLOURS.items()):
      place = {"transform": axes.transAxes, "fontsize": 8, "fontweight": "bold", "color": colour}
      axes.text(0.2 * number, 1.01, name, va="bottom", **place)
  return figure


def _scaled(finding: Finding) -> tuple[float, float, float]:
  """Return the mean and the ends of the interval, in margins and in the claimed direction."""
  scale = (finding.comparison.sign or 1) / finding.margin if finding.margin else math.nan
  paired = finding.paired
  return paired.mean * scale, *sorted([paired.low * scale, paired.high * scale])


def _limit(tested: Sequence[Ruling]) -> float:
  numbers = [abs(x) for ruling in tested for finding in ruling.findings for x in _scaled(finding)]
  return min(_SHOWN, 1.08 * max([2.0, *(x for x in numbers if math.isfinite(x))]))


def _draw(axes, height: float, finding: Finding, limit: float) -> None:
  colour = _COLOURS[finding.verdict]
  mean, *ends = _scaled(finding)
  if not math.isfinite(mean):
    return
  if math.isfinite(ends[0]):
    ends = np.clip(ends, -limit, limit)
    axes.plot(ends, [height, height], color=colour, linewidth=1.4, zorder=3)
  marker = "D" if abs(mean) <= limit else ">" if mean > 0 else "<"
  place = float(np.clip(mean, -limit, limit))
  axes.plot(place, height, marker, markersize=4.5, color=colour, zorder=4, clip_on=False)


def _short(text: str) -> str:
  return text if len(text) <= 72 else text[:70].rsplit(" ", 1)[0] + " …"
