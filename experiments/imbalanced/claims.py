"""Claims: what is said of class priors, each with the paired test that decides it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from experiments.imbalanced import rows
from softmax_research import reporting
from softmax_research.reporting.verdicts import decide

_POINTS = 0.005
_SHARE = 0.1


class Claim(NamedTuple):
  """State a difference between two rows in one judgement.

  Attributes:
    text: the claim.
    judgement: a key of `judging.JUDGEMENTS`.
    metric: the metric in the records.
    row: the row of which something is claimed.
    baseline: the row it is compared with.
    sign: +1 or -1 where it is claimed to be higher or lower, 0 where no different.
    control: it is a claim about balanced classes.
  """

  text: str
  judgement: str
  metric: str
  row: str
  baseline: str
  sign: int
  control: bool = False


class Ruling(NamedTuple):
  """Hold what the seeds of one setting say of a claim."""

  claim: Claim
  setting: str
  difference: reporting.PairedDifference
  p_corrected: float
  margin: float
  verdict: str


_PC, _SOFTMAX = "pc_softmax", "softmax"

CLAIMS = (
  Claim(
    "PC-softmax raises macro accuracy", "balanced", "macro_accuracy", _PC, _SOFTMAX, 1
  ),
  Claim("PC-softmax costs micro accuracy", "training", "accuracy", _PC, _SOFTMAX, -1),
  Claim(
    "PC-softmax raises macro accuracy on the capped test set",
    "capped", "macro_accuracy", _PC, _SOFTMAX, 1,
  ),
  Claim(
    "PC-softmax costs micro accuracy on the capped test set",
    "capped", "accuracy", _PC, _SOFTMAX, -1,
  ),
  Claim(
    "Moving softmax's predictions after training gives PC-softmax's macro accuracy",
    "balanced", "macro_accuracy", rows.moved(_SOFTMAX), _PC, 0,
  ),
  Claim(
    "Moved back to the training prior, PC-softmax has softmax's micro accuracy",
    "training", "accuracy", rows.moved(_PC), _SOFTMAX, 0,
  ),
  Claim(
    "With balanced classes PC-softmax has softmax's accuracy",
    "balanced", "accuracy", _PC, _SOFTMAX, 0, control=True,
  ),
)  # fmt: skip


def rule(settings: dict[str, list[dict[str, Any]]], names: Sequence[str]) -> list[Ruling]:
  """Decide every claim in every setting that it is about.

  Args:
    settings: the records of each setting.
    names: the heads' specifications; claims about others are left out.

  Returns:
    Rulings, claim by claim; p-values are corrected by Holm's method over all of them.
  """
  found = []
  for claim in CLAIMS:
    for setting, records in settings.items():
      if rows.is_control(records) != claim.control or not rows.has(records, claim.judgement):
        continue
      heads = {head.name: head for head in rows.heads_of(records, names, claim.judgement)}
      if not {claim.row, claim.baseline} <= set(heads):
        continue
      ours, theirs = (heads[name].values(claim.metric) for name in (claim.row, claim.baseline))
      seeds = [seed for seed in ours if seed in theirs]
      paired = reporting.paired_difference([ours[s] for s in seeds], [theirs[s] for s in seeds])
      found.append((claim, setting, paired, margin(list(theirs.values()))))
  corrected = reporting.holm([paired.p_value for _, _, paired, _ in found])
  return [
    Ruling(claim, setting, paired, float(p), width, decide(claim.sign, paired, float(p), width))
    for (claim, setting, paired, width), p in zip(found, corrected, strict=True)
  ]


def margin(accuracies: Sequence[float]) -> float:
  """Return the difference below which two accuracies count as the same.

  Half a point, but no more than a tenth of the errors of the one compared with.

  Example:
    >>> round(margin([0.97, 0.99]), 6), margin([0.5])
    (0.002, 0.005)
  """
  errors = 1 - reporting.summarise(accuracies).mean
  return min(_POINTS, _SHARE * errors)
