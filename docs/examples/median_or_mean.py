"""Which estimates the centre of heavy-tailed numbers better: their median or their mean?

python median_or_mean.py --workdir=runs/centre --sizes=10,100,1000 --seeds=20 --formats=md,html,csv
"""

from typing import NamedTuple

import numpy as np

from softmax_research import study
from softmax_research.study.claims import Claim, Comparison, Test

ESTIMATORS = {"mean": np.mean, "median": np.median}


class Settings(NamedTuple):
  """Settings; each is a flag.

  Attributes:
    sizes: how many numbers each estimate is made of.
    seeds: repetitions of each.
    tail: degrees of freedom of Student's t; the fewer, the heavier the tails.
  """

  sizes: tuple[int, ...] = (10, 100, 1000)
  seeds: int = 20
  tail: float = 2.0


def cells(settings):
  """One for each estimator and size; what is compared."""
  return [{"estimator": e, "size": n} for n in settings.sizes for e in ESTIMATORS]


def run(cell, context):
  """Yield a record a seed: the same numbers for both estimators, so that they are paired."""
  for seed in context.seeds:
    numbers = np.random.default_rng(seed).standard_t(context.settings.tail, cell["size"])
    error = abs(float(ESTIMATORS[cell["estimator"]](numbers)))
    yield context.record(seed, measured={"off": error})


def report(records, settings):
  """A table and a plot; how it was run is added, and what did not finish."""
  off = study.Measure("off", "distance from the centre", "", 1.0, 4, higher_is_better=False)
  yield f"# Median or mean, tails of {settings.tail:g} degrees"
  yield study.table(records, rows="estimator", columns="size", measure=off)
  yield study.plot(records, x="size", y=off, by="estimator", scales=("log", "log"))


_NEARER = Comparison({"estimator": "median"}, {"estimator": "mean"}, "off", "lower")
CLAIMS = (
  Claim("folklore", "The median is nearer", (Test(None, "", "", (_NEARER,), each={"size": ".*"}),)),
)
STUDY = study.Study(Settings, cells, run, report, claims=CLAIMS, selects=("sizes", "seeds"))

if __name__ == "__main__":
  study.main(STUDY)
