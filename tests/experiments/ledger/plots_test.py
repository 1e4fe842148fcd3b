"""Claims plot: each claim with a test has a row, scaled by what matters, in its direction."""

import numpy as np

from experiments.ledger.plots import claims_plot
from softmax_research.study import claims
from softmax_research.study.claims import Claim, Comparison, Test

_BASE = np.array([0.50, 0.52, 0.49, 0.51, 0.53])
_NOISE = np.array([0.001, -0.001, 0.0005, -0.0005, 0.0])


def _records():
  rows = {"softmax": _BASE, "up": _BASE + 0.02 + _NOISE, "far": 20 + _BASE + _NOISE}
  return [
    {
      "study": "made_up",
      "cell": {"head": head},
      "seed": seed,
      "status": "finished",
      "metrics": {"test": {"error": error}},
      "measured": {},
    }
    for head, errors in rows.items()
    for seed, error in enumerate(errors)
  ]


def _test(row, direction, regime):
  comparison = Comparison(row, "softmax", "error", direction)
  return Test("made_up", regime, "", (comparison,))


def test_rows_and_marks():
  list_of = [
    Claim("a", "Short alone", (_test("up", "lower", "short"),)),
    Claim("a", "Decided", (_test("up", "higher", "paper"), _test("up", "higher", "short"))),
    Claim("a", "Not worse", (_test("far", "no_worse", "paper"),)),
    Claim("a", "Untested", untested="no data"),
  ]
  rulings = claims.judge(list_of, {"made_up": _records()})
  plot = claims_plot(rulings)
  [axes] = plot.figure.axes
  labels = [label.get_text() for label in axes.get_yticklabels()]
  assert labels == ["Decided · a", "Not worse · a", "Short alone · a"]
  marks = [line for line in axes.lines if line.get_marker() not in ("None", "")]
  # Two points of error are four times half a point; what is beyond the edge is an arrow there.
  np.testing.assert_allclose([m.get_xdata()[0] for m in marks], [4.0, -1000.0, -4.0], rtol=1e-9)
  assert [m.get_marker() for m in marks] == ["D", "<", "D"]
  filled = [m.get_markerfacecolor() == m.get_color() for m in marks]
  assert filled == [True, True, False]
  assert claims_plot(claims.judge(list_of[3:], {})) is None
