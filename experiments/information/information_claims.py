"""Claims of mutual information: estimates beside exact truths, and how much they vary."""

import math
from collections.abc import Sequence

from softmax_research.study.claims import Claim, Comparison, Test

_CLOSE = 0.01  # nats


def _estimate(objective: str, estimator: str, direction: str) -> Comparison:
  """Compare an estimate with the truth that the same record has."""
  row = {"objective": objective}
  path = f"estimators/{estimator}/estimate"
  return Comparison(row, row, path, direction, "truth", smallest=_CLOSE)


def _on_gaussians(prior: str, *comparisons: Comparison) -> tuple[Test, ...]:
  return (Test(None, "", "", comparisons, {"prior": prior}, {"dimension": ".*"}),)


_WITHIN = f"To within {_CLOSE} nats, in every dimension."
_PC_SOFTMAX = _estimate("PC-softmax", "PC-softmax", "same")
_PLUG_IN = _estimate("softmax", "softmax, plug-in", "same")

#: What Qin et al. say of their five Gaussian classes.
OF_GAUSSIANS = (
  Claim(
    "qin2019",
    "PC-softmax estimates the mutual information of imbalanced Gaussian classes",
    _on_gaussians("imbalanced", _PC_SOFTMAX),
    _WITHIN,
  ),
  Claim(
    "qin2019",
    "PC-softmax estimates the mutual information of balanced Gaussian classes",
    _on_gaussians("balanced", _PC_SOFTMAX),
    _WITHIN,
  ),
  Claim(
    "qin2019",
    "Softmax and log K estimate it where the classes are balanced",
    _on_gaussians("balanced", _estimate("softmax", "softmax + log K", "same")),
    _WITHIN,
  ),
  Claim(
    "qin2019",
    "Softmax and log K are too high by log K - H(Y) where the classes are imbalanced",
    _on_gaussians("imbalanced", _estimate("softmax", "softmax + log K", "higher"), _PLUG_IN),
    "Two things: the estimate is too high, and right once log K - H(Y) is taken off. " + _WITHIN,
  ),
)
BALANCED = Claim(
  "qin2019",
  "With balanced classes PC-softmax is softmax",
  _on_gaussians(
    "balanced",
    Comparison({"objective": "PC-softmax"}, {"objective": "softmax"}, "accuracy", "same"),
  ),
)


def of_staircase(
  batch_size: int = 64, nats: Sequence[float] = (2.0, 4.0, 6.0, 8.0, 10.0), critic: str = ".*"
) -> tuple[Claim, ...]:
  """Return what is said of the bounds at the top of the staircase.

  Args:
    batch_size: of the study.
    nats: its stairs.
    critic: a regular expression for the kinds of critics.
  """
  top, stair = nats[-1], len(nats) - 1
  limit = math.log(batch_size)
  each = {"critic": critic, "transform": "linear"}

  def number(objective, estimator, key):
    return {"objective": objective}, f"estimators/{estimator}/stairs/{stair}/{key}"

  def compare(ours, theirs, direction):
    (row, metric), (baseline, other) = ours, theirs
    return Comparison(row, baseline, metric, direction, other)

  def claim(paper, text, *comparisons, limits=""):
    return Claim(paper, f"{text}, at {top:g} nats", (Test(None, "", "", comparisons, each=each),),
                 limits)  # fmt: skip

  info_nce, estimate = number("InfoNCE", "InfoNCE", "estimate")
  spread_of_nce = number("InfoNCE", "InfoNCE", "variance")
  spreads = [number("Jensen-Shannon", f"SMILE, tau {clip}", "variance") for clip in ("1", "5", "∞")]
  return (
    claim(
      "poole2019",
      f"InfoNCE saturates below log B = {limit:.4f}",
      Comparison(info_nce, limit, estimate, "lower"),
      Comparison(info_nce, limit, estimate, "same", smallest=1.0),
      limits="Below it, and within 1 nat of it.",
    ),
    claim(
      "poole2019",
      "NWJ varies more than InfoNCE",
      compare(number("NWJ", "NWJ", "variance"), spread_of_nce, "higher"),
    ),
    claim(
      "poole2019",
      "MINE varies more than InfoNCE",
      compare(number("MINE", "MINE (DV)", "variance"), spread_of_nce, "higher"),
    ),
    claim(
      "song2020",
      "SMILE varies less with a clip than without one",
      *(compare(spread, spreads[-1], "lower") for spread in spreads[:-1]),
      limits="Clips of 1 and 5.",
    ),
  )
