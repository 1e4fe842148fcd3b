"""Banerjee et al. 2020, "Exploring Alternatives to Softmax Function".

python -m experiments.reproduce --config=configs/banerjee2020.py --variant=cpu \
    --workdir=runs/banerjee2020_cpu
python -m experiments.reproduce --config=configs/banerjee2020.py --workdir=runs/banerjee2020

DeLTA 2021, arXiv 2011.11538. Softmax, Taylor softmax of orders 2 to 10, soft margins, and SM-Taylor
over a grid of orders and margins, by the paper's formulas, on its MNIST and CIFAR-10 nets. The
authors' code departs from the formulas: `python -m experiments.departures` measures how far.

Run time and hardware: not yet recorded.

To expect: the paper's numbers are not available. It claims that SM-Taylor is best, and that every
alternative beats softmax, some by little.
The variants' `deviations` list every difference from the paper.
"""

from ml_collections import ConfigDict

from configs import default, tables


def get_config() -> ConfigDict:
  """Return the configuration."""
  common = (
    "The formulas, not the arithmetic of the released code.",
    "The grid of orders and margins of the paper's tables is not available; this one is ours.",
    "Images are standardised a channel; the authors' code divides by 255 alone.",
    "One tenth of the training images is the validation split and stays out of training; the "
    "authors' code trains on all images and watches the test split.",
    "The last batch of an epoch is left out where it is not whole.",
  )
  full = tables.variant(
    {
      "mnist": tables.setting(_mnist(64, 256, num_epochs=100), _grid()),
      "cifar10": tables.setting(_cifar10(32, num_epochs=100), _grid()),
    },
    deviations=common,
  )
  cpu = tables.variant(
    {
      "mnist": tables.setting(_mnist(16, 64, num_epochs=5), _grid(), num_train=10_000),
      "cifar10": tables.setting(_cifar10(16, num_epochs=6), _few(), num_train=10_000),
    },
    deviations=(
      *common,
      "MNIST: 16 filters a convolution in place of 64, 64 dense units in place of 256, 10,000 "
      "training images and 5 epochs in place of 100.",
      "CIFAR-10: half of the filters and dense units, 10,000 training images, 6 epochs in place of "
      "100, and fewer methods.",
    ),
  )
  return tables.table("banerjee2020", full=full, cpu=cpu)


def _grid() -> list[tuple[str, str]]:
  methods = [("softmax", "softmax")]
  methods += [(f"Taylor, n={n}", f"taylor:order={n}") for n in (2, 4, 6, 8, 10)]
  methods += [(f"SM, m={m}", f"sm:margin={m}") for m in (0.2, 0.6, 1.0)]
  methods += [
    (f"SM-Taylor, n={n}, m={m}", f"sm_taylor:order={n}:margin={m}")
    for n in (2, 4, 6)
    for m in (0.2, 0.6)
  ]
  return methods


def _few() -> list[tuple[str, str]]:
  chosen = ("softmax", "Taylor, n=2", "Taylor, n=6", "SM, m=0.6", "SM-Taylor, n=6, m=0.6")
  return [(name, head) for name, head in _grid() if name in chosen]


def _mnist(filters: int, dense: int, *, num_epochs: int) -> ConfigDict:
  train = default.get_config()
  train.dataset = "mnist"
  train.backbone = ConfigDict(
    {
      "name": "cnn",
      "stages": ((filters,) * 4, (filters,) * 3, (filters,) * 3),
      "dense": (dense,),
      "kernel_init": "glorot_uniform",
    }
  )
  train.num_epochs, train.batch_size = num_epochs, 100
  train.optimizer = ConfigDict({"name": "adam", "learning_rate": 1e-3, "eps": 1e-7})
  return train


def _cifar10(filters: int, *, num_epochs: int) -> ConfigDict:
  train = default.get_config()
  train.dataset = "cifar10"
  train.backbone = ConfigDict(
    {
      "name": "cnn",
      "stages": ((filters,) * 2, (2 * filters,) * 2, (4 * filters,) * 2),
      "dense": (4 * filters,),
      "batch_norm": "after",
      "dropout": (0.2, 0.3, 0.4),
      "dense_dropout": 0.5,
      "kernel_init": "he_uniform",
    }
  )
  train.num_epochs, train.batch_size = num_epochs, 100
  train.optimizer = ConfigDict(
    {
      "name": "sgd",
      "learning_rate": 0.01,
      "momentum": 0.9,
      "nesterov": True,
      "schedule": "inverse_time",
      "schedule_options": {"decay": 1e-6},
    }
  )
  return train
