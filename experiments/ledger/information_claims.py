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

  The critic is a regular expression for the kinds of critics.
  """
  limit, each = math.log(batch_size), {"critic": critic, "transform": "linear"}

  def path(estimator, key):
    return f"estimators/{estimator}/stairs/{len(nats) - 1}/{key}"

  def varies(objective, estimator, than, direction="higher"):
    """Compare the variance of an estimator with that of another one."""
    (baseline, other) = than
    return Comparison(
      {"objective": objective},
      {"objective": baseline},
      path(estimator, "variance"),
      direction,
      path(other, "variance"),
    )

  def claim(paper, text, *comparisons, limits=""):
    tests = (Test(None, "", "", comparisons, each=each),)
    return Claim(paper, f"{text}, at {nats[-1]:g} nats", tests, limits)

  info_nce, estimate = {"objective": "InfoNCE"}, path("InfoNCE", "estimate")
  free = ("Jensen-Shannon", "SMILE, tau ∞")
  return (
    claim(
      "poole2019",
      f"InfoNCE saturates below log B = {limit:.4f}",
      Comparison(info_nce, limit, estimate, "lower"),
      Comparison(info_nce, limit, estimate, "same", smallest=1.0),
      limits="Below it, and within 1 nat of it.",
    ),
    *(
      claim(
        "poole2019",
        f"{objective} varies more than InfoNCE",
        varies(objective, estimator, ("InfoNCE", "InfoNCE")),
      )
      for objective, estimator in (("NWJ", "NWJ"), ("MINE", "MINE (DV)"))
    ),
    claim(
      "song2020",
      "SMILE varies less with a clip than without one",
      *(varies("Jensen-Shannon", f"SMILE, tau {clip}", free, "lower") for clip in (1, 5)),
      limits="Clips of 1 and 5.",
    ),
  )
