"""Estimate mutual information where the truth is known, by classifiers and by critics.

    python -m experiments.mutual_information --workdir=runs/mutual_information

Qin et al.'s five Gaussian classes, balanced and imbalanced, in --dimensions: all estimators get the
same samples and the same network, and are evaluated on a test split that nothing was chosen on.
Every finished cell is appended at once to results.jsonl; the same command goes on after an
interruption. report.md has bias, spread and coverage of each estimator, and figures.
"""

import shlex
import sys
from typing import Any

import jax
import numpy as np
from absl import flags

from experiments import command, runs
from experiments.information import fitting, gaussians, summary
from experiments.information.estimators import ESTIMATORS, OBJECTIVES, PAIRS
from softmax_research.training import results

_WORKDIR = command.define_workdir()
_DIMENSIONS = flags.DEFINE_list("dimensions", "1,2,5,10", "Dimensions of the inputs.")
_SEEDS = flags.DEFINE_integer("seeds", 10, "Seeds of a cell, trained together.", lower_bound=2)
_EPOCHS = flags.DEFINE_integer("epochs", 3, "Passes over the training split.", lower_bound=1)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 250, "Examples of a step.", lower_bound=2)
_SCALE = flags.DEFINE_float("scale", 1.0, "Fraction of the papers' sample sizes.", lower_bound=0.01)
_HIDDEN = (100, 100, 100)
_KEYS = ("prior", "dimension", "estimator", "seed")


def sizes(prior: str, scale: float) -> tuple[int, ...]:
  """Return the training examples of each class.

  Example:
    >>> sizes("imbalanced", 0.1)
    (500, 1000, 1500, 2000, 2500)
  """
  return tuple(round(scale * count) for count in gaussians.COUNTS[prior])


def measure(prior: str, dimension: int, objective: str, width: int) -> list[dict[str, Any]]:
  """Train the networks of a cell; return a record for each estimator and seed."""
  counts = sizes(prior, _SCALE.value)
  found = fitting.fit_and_estimate(
    np.arange(_SEEDS.value),
    np.int32(dimension),
    objective=objective,
    counts=counts,
    width=width,
    epochs=_EPOCHS.value,
    batch_size=_BATCH_SIZE.value,
    hidden=_HIDDEN,
  )
  found = jax.tree.map(np.asarray, found)
  truth = gaussians.true_information(counts, dimension)
  log_prior = gaussians.log_prior(counts)
  return [
    {
      "kind": "estimate",
      "prior": prior,
      "dimension": dimension,
      "estimator": estimator.name,
      "seed": seed,
      "estimate": float(np.mean(terms)),
      "standard_error": float(np.std(terms, ddof=1) / np.sqrt(len(terms))),
      "truth": truth,
      "entropy_gap": float(np.log(len(counts)) + np.sum(np.exp(log_prior) * log_prior)),
      "micro": float(found["micro"][seed]),
      "macro": float(found["macro"][seed]),
    }
    for estimator in ESTIMATORS
    if estimator.objective == objective
    for seed, terms in enumerate(np.asarray(found[estimator.name], np.float64))
  ]


def main() -> None:
  """Estimate what is missing and report."""
  with command.errors_explained():
    dimensions = [_positive(text) for text in _DIMENSIONS.value]
    workdir = command.prepare_workdir(_WORKDIR.value)
    # What a program's shapes depend on is part of what its cells are.
    config = {"epochs": _EPOCHS.value, "batch_size": _BATCH_SIZE.value, "hidden": _HIDDEN}
    config |= {"seeds": _SEEDS.value, "scale": _SCALE.value, "width": max(dimensions)}
    results.check_config(workdir, config)
    path = workdir / "results.jsonl"
    done = {tuple(r[key] for key in _KEYS) for r in results.read(path)}
    least = sum(sizes("balanced", _SCALE.value)) // 5
    if least < 2 * PAIRS:
      raise ValueError(
        f"Got --scale={_SCALE.value}, which leaves {least} test examples; critics are evaluated on "
        f"two batches of {PAIRS} pairs or more. Pass at least {10 * PAIRS / 50_000}."
      )
    if _BATCH_SIZE.value > least:
      raise ValueError(
        f"Got --batch_size={_BATCH_SIZE.value} for {least} validation examples; a batch must not "
        f"be larger. Pass at most {least}."
      )
  made_with = runs.provenance()
  for prior in gaussians.COUNTS:
    for objective in OBJECTIVES:
      names = [estimator.name for estimator in ESTIMATORS if estimator.objective == objective]
      for dimension in dimensions:
        wanted = [(prior, dimension, name, i) for name in names for i in range(_SEEDS.value)]
        if done.issuperset(wanted):
          continue
        print(f"{prior}, {objective}, d = {dimension}", flush=True)
        for record in measure(prior, dimension, objective, max(dimensions)):
          if tuple(record[key] for key in _KEYS) not in done:
            results.append(path, record | made_with)
  arguments = shlex.join(["python", "-m", "experiments.mutual_information", *sys.argv[1:]])
  report = summary.write_report(
    workdir, results.read(path), {"command": f"`{arguments}`"} | made_with
  )
  print(f"Report: {report}")


def _positive(text: str) -> int:
  if not text.isdigit() or int(text) < 1:
    raise ValueError(f"Got the dimension {text!r} in --dimensions; each is at least 1, as 1,2,5.")
  return int(text)


if __name__ == "__main__":
  command.run(main)
