"""Claims: what the papers say of activation maps, decided by paired differences over seeds."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from experiments.localization import scores
from softmax_research.reporting import statistics
from softmax_research.reporting.comparisons import LEVEL
from softmax_research.reporting.records import HeadRecords

#: Which map is said to be better than which.
_PAIRS = (("infoCAM", "CAM"), ("infoCAM+", "CAM"), ("infoCAM+", "infoCAM"))
#: How boxes are found: with what is best on validation, and as the paper does.
_WAYS = (("plain", "chosen"), ("smoothed", "paper"))


class Claim(NamedTuple):
  """Hold a claim that something is higher, and what the seeds say.

  Attributes:
    text: what is higher than what.
    paired: differences over the seeds, and their test.
    p_corrected: the p-value after Holm's correction over its family.
  """

  text: str
  paired: statistics.PairedDifference
  p_corrected: float

  @property
  def verdict(self) -> str:
    """Say `holds`, `does not hold` or `undecided`.

    Example:
      >>> paired = statistics.paired_difference([0.8, 0.9, 0.7], [0.7, 0.8, 0.7])
      >>> Claim("more", paired, paired.p_value).verdict
      'undecided at n = 3'
    """
    if self.p_corrected < LEVEL:
      return "holds" if self.paired.mean > 0 else "does not hold: lower"
    if self.paired.n > 1 and self.paired.mean == self.paired.std == 0:
      return "does not hold: equal in every seed"
    return f"undecided at n = {self.paired.n}"


def value(record: dict[str, Any], kind: str, smoothing: str, rule: str, measure: str) -> float:
  """Return a share of boxes found at an overlap of 0.5."""
  found = record["localisation"]["maps"][kind][smoothing][rule][measure]
  return found[scores.LEVELS.index(0.5)]


def of_maps(heads: Sequence[HeadRecords]) -> list[Claim]:
  """Decide which kinds of maps find more boxes, the class being given; one family of tests."""
  found = []
  for head in heads:
    runs = list(head.finished.values())
    for smoothing, rule in _WAYS:
      for better, worse in _PAIRS:
        text = f"{better} over {worse}; {head.name}; {_describe(smoothing, rule)}"
        samples = [
          [value(r, kind, smoothing, rule, "known") for r in runs] for kind in (better, worse)
        ]
        found.append((text, *samples))
  return _decide(found)


def of_heads(heads: Sequence[HeadRecords], kinds: Sequence[str]) -> list[Claim]:
  """Decide whether the other heads classify and localise better than the first; one family."""
  found = []
  for head in heads[1:]:
    seeds = [seed for seed in head.finished if seed in heads[0].finished]
    both = [[of.finished[seed] for seed in seeds] for of in (head, heads[0])]
    text = f"{head.name} over {heads[0].name}"
    accuracy = [[run["metrics"]["test"]["accuracy"] for run in runs] for runs in both]
    found.append((f"{text}; accuracy", *accuracy))
    for measure, words in (("known", "boxes, class given"), ("top_1", "boxes with their class")):
      for kind in kinds:
        shares = [[value(run, kind, *_WAYS[0], measure) for run in runs] for runs in both]
        found.append((f"{text}; {words}; {kind}", *shares))
  return _decide(found)


def _decide(samples: Sequence[tuple[str, list[float], list[float]]]) -> list[Claim]:
  paired = [statistics.paired_difference(values, baseline) for _, values, baseline in samples]
  corrected = statistics.holm([difference.p_value for difference in paired])
  return [
    Claim(text, difference, float(p) if not math.isnan(p) else math.nan)
    for (text, *_), difference, p in zip(samples, paired, corrected, strict=True)
  ]


def _describe(smoothing: str, rule: str) -> str:
  return f"{smoothing} maps, {'threshold of validation' if rule == 'chosen' else 'threshold 0.2'}"
