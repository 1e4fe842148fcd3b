"""Guo, Pleiss, Sun, Weinberger 2017, "On Calibration of Modern Neural Networks".

python -m experiments.reproduce --config=configs/guo2017.py --variant=cpu --workdir=runs/guo2017_cpu

ICML 2017, arXiv 1706.04599. ECE (15 bins) before and after histogram binning, isotonic regression,
temperature, vector and matrix scaling, fitted to validation predictions, for several heads.

Run time and hardware: `cpu` 40 minutes on one core of an AMD EPYC; `full` has not been run.

To expect: CIFAR-10 with LeNet 5, whose error of 15.57 % is the nearest to our net's: ECE 3.02 %
before and 0.93 % after temperature scaling. The paper has softmax alone.
"""

from ml_collections import ConfigDict

from configs import tables
from softmax_research.training import calibration

_METHODS = (
  ("softmax", "softmax"),
  ("Taylor", "taylor:order=2"),
  ("SM", "sm:margin=0.6"),
  ("SM-Taylor", "sm_taylor:order=2:margin=0.6"),
  ("L-Softmax, m=2", "l_softmax:margin=2:gamma=3e-4"),
  ("one against all", "one_vs_all"),
)


def get_config() -> ConfigDict:
  return tables.table(
    "guo2017",
    deviations=(
      "A net of six convolutions (cpu: three); the paper's rows are of LeNet 5, the nearest of its "
      "nets by error. No ResNet.",
      "MNIST is not in the paper.",
      "Heads other than softmax are not in the paper: its numbers stand beside all of them.",
      "BBQ is left out.",
    ),
    full=tables.variant(
      {
        "mnist": _setting("mnist", ((32, 32), (64, 64)), num_epochs=20),
        "cifar10": _setting("cifar10", ((64, 64), (128, 128), (256, 256)), num_epochs=60),
      },
    ),
    cpu=tables.variant(
      {
        "mnist": _setting("mnist", ((8,), (16,)), num_epochs=5, num_train=10_000, seeds=10),
        "cifar10": _setting("cifar10", ((12,), (24,), (48,)), num_epochs=8, num_train=10_000),
      },
      "MNIST: two convolutions of 8 and 16 filters, 10,000 training images, 5 epochs.",
      "CIFAR-10: three convolutions of 12, 24 and 48 filters, 10,000 training images, 8 epochs.",
    ),
  )


def _setting(dataset, stages, *, num_epochs, num_train=0, seeds=0) -> ConfigDict:
  augment = "flip" if dataset == "cifar10" else "none"
  net = {"batch_norm": "after"}
  train = tables.cnn(dataset, stages, 128, num_epochs, 128, augment=augment, net=net)
  # A short run anneals the margin sooner.
  short = [(name, head.replace("3e-4", "3e-3")) for name, head in _METHODS]
  return tables.setting(
    train,
    short if num_train else _METHODS,
    metrics=("error", *(f"{way}/ece" for way in ("uncalibrated", *calibration.FITS))),
    measures=("calibration",),
    num_train=num_train,
    seeds=seeds,
    published="CIFAR-10, LeNet 5" if dataset == "cifar10" else "MNIST",
  )
