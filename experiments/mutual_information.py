"""Estimate mutual information where the truth is known, by classifiers and by critics.

    python -m experiments.mutual_information --study=gaussians --workdir=runs/gaussians
    python -m experiments.mutual_information --study=staircase --workdir=runs/staircase
    python -m experiments.mutual_information --study=images --workdir=runs/mnist_pairs
    python -m experiments.mutual_information --study=images --dataset=cifar10 \\
        --workdir=runs/cifar10_pairs
    python -m experiments.mutual_information --study=sweep --workdir=runs/sweep

gaussians: Qin et al.'s five classes, balanced and imbalanced. staircase: correlated Gaussian
vectors whose information rises step by step, by the papers' protocol for separable critics; for
joint ones it is --joint_steps=4000 --joint_rate=5e-4. images:
pairs of real images whose classes went through a noisy channel. sweep: sample size, dimension,
imbalance and class count, one at a time.

Each study has settings of its own with defaults of its own; a flag that it has no use for is an
error that lists them. All estimators of a cell get the same samples, and are judged on data that
nothing was chosen on. Every finished cell is appended at once to results.jsonl; the same command
goes on after an interruption. report.md has bias, spread and intervals of each estimator.
"""

import json
import shlex
import sys
import time

from absl import flags

from experiments import command, runs
from experiments.information import seed_devices
from experiments.information.studies import STUDIES, write_report
from experiments.information.study import make_settings
from softmax_research.training import environment, results

_STUDY = flags.DEFINE_enum("study", "gaussians", list(STUDIES), "What to look into.")
_WORKDIR = command.define_workdir()
#: Settings of the studies by name; each study takes some of them.
_SETTINGS = [
  flags.DEFINE_integer("seeds", None, "Seeds of a cell, trained together."),
  flags.DEFINE_list("dimensions", None, "Dimensions of the inputs, as 1,2,5."),
  flags.DEFINE_integer("dimension", None, "Dimension of the vectors."),
  flags.DEFINE_integer("epochs", None, "Passes over the training split."),
  flags.DEFINE_integer("steps", None, "Steps of a training, or of a step of the staircase."),
  flags.DEFINE_integer("joint_steps", None, "The same for joint critics, which cost far more."),
  flags.DEFINE_integer("batch_size", None, "Examples, or pairs, of a training step."),
  flags.DEFINE_float("scale", None, "Fraction of the papers' sample sizes."),
  flags.DEFINE_list("nats", None, "Information at each step of the staircase, as 2,4,6."),
  flags.DEFINE_list("critics", None, "Critics, as separable,joint."),
  flags.DEFINE_list("transforms", None, "Transforms of y, as linear,cubic."),
  flags.DEFINE_list("joint_transforms", None, "The same for joint critics."),
  flags.DEFINE_float("rate", None, "Learning rate."),
  flags.DEFINE_float("joint_rate", None, "The same for joint critics."),
  flags.DEFINE_list("errors", None, "Chances that the channel changes a class, as 0,0.5."),
  flags.DEFINE_string("dataset", None, "Images: mnist, cifar10 and others."),
  flags.DEFINE_list("sizes", None, "Numbers of examples, all splits together."),
  flags.DEFINE_list("ratios", None, "Frequencies of the commonest over the rarest class."),
  flags.DEFINE_list("class_counts", None, "Numbers of classes."),
]
_INTEGERS = ("dimensions", "sizes", "class_counts")
_NUMBERS = ("nats", "errors", "ratios")


def main() -> None:
  """Estimate what is missing and report."""
  name, study = _STUDY.value, STUDIES[_STUDY.value]
  with command.errors_explained():
    given = {flag.name: _parse(flag) for flag in _SETTINGS if flag.value is not None}
    settings = make_settings(name, study.settings, given)
    study.check(settings)
    workdir = command.prepare_workdir(_WORKDIR.value)
    results.check_config(workdir, {"study": name} | settings._asdict())
    path = workdir / "results.jsonl"
    done = {_key(record["cell"]) for record in results.read(path)}
  seed_devices.use_all_cores()
  # The program is what it was at the start, whatever becomes of the source tree.
  made_with = {"git_revision": environment.git_revision()}
  for cell in study.cells(settings):
    if _key(cell) in done:
      continue
    print(", ".join(f"{key} {value}" for key, value in cell.items()), flush=True)
    began = time.perf_counter()
    with command.errors_explained():
      found = study.measure(settings, cell)
    record = {"cell": cell, "runs": found, "seconds": round(time.perf_counter() - began, 2)}
    with command.storage_errors_explained(workdir):
      results.append(path, record | runs.provenance() | made_with)
  line = shlex.join(["python", "-m", "experiments.mutual_information", *sys.argv[1:]])
  print(f"Report: {write_report(name, settings, workdir, command=line)}")


def _key(cell: dict) -> str:
  return json.dumps(cell, sort_keys=True)


def _parse(flag: flags.FlagHolder):
  """Return a flag's value; a list's is a tuple of numbers where numbers are asked for."""
  if not isinstance(flag.value, list):
    return flag.value
  kind = int if flag.name in _INTEGERS else float if flag.name in _NUMBERS else str
  try:
    return tuple(kind(text) for text in flag.value)
  except ValueError:
    what = "whole numbers" if kind is int else "numbers"
    raise ValueError(
      f"Got --{flag.name}={','.join(flag.value)}; it must be {what} with commas between."
    ) from None


if __name__ == "__main__":
  command.run(main)
