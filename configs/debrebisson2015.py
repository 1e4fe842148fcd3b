"""de Brebisson, Vincent 2015, "An Exploration of Softmax Alternatives ... Spherical Loss Family".

python -m experiments.reproduce --config=configs/debrebisson2015.py --variant=cpu \
    --workdir=runs/debrebisson2015_cpu
python -m experiments.reproduce --config=configs/debrebisson2015.py --workdir=runs/debrebisson2015

ICLR 2016, arXiv 1511.05042. Log-softmax, log-Taylor and log-spherical softmax, on MNIST and on
CIFAR-10.

Run time and hardware: not yet recorded.

To expect: errors of 0.812, 0.785 and 0.828 % on MNIST and 8.52, 8.07 and 8.37 % on CIFAR-10 by the
paper, whose nets, rates and epochs are not available; so the order of the losses can be compared,
and the numbers cannot.
The variants' `deviations` list every difference from the paper.
"""

from ml_collections import ConfigDict

from configs import default, tables

_METHODS = (
  ("log-softmax", "softmax"),
  ("log-Taylor", "taylor:order=2"),
  ("log-spherical", "spherical"),
)


def get_config() -> ConfigDict:
  """Return the configuration."""
  common = (
    "The paper's nets, learning rates and epochs are not available: the nets are ours, as for "
    "Banerjee et al. 2020.",
    "One learning rate for all losses; the paper tuned each loss.",
    "One tenth of the training images is the validation split and stays out of training.",
  )
  full = tables.variant(
    {
      "mnist": _setting("mnist", ((64, 64), (128, 128)), 256, num_epochs=30),
      "cifar10": _setting("cifar10", ((64, 64), (128, 128), (256, 256)), 256, num_epochs=60),
    },
    deviations=common,
  )
  cpu = tables.variant(
    {
      "mnist": _setting("mnist", ((16,), (32,)), 64, num_epochs=5, num_train=20_000),
      "cifar10": _setting("cifar10", ((32,), (64,)), 64, num_epochs=6, num_train=10_000),
    },
    deviations=(
      *common,
      "Nets of two convolutions. MNIST: 20,000 training images, 5 epochs. CIFAR-10: 10,000 "
      "training images, 6 epochs.",
    ),
  )
  return tables.table("debrebisson2015", full=full, cpu=cpu)


def _setting(dataset, stages, dense, *, num_epochs, num_train=0) -> ConfigDict:
  train = default.get_config()
  train.dataset = dataset
  train.augment = "flip" if dataset == "cifar10" else "none"
  train.backbone = ConfigDict(
    {
      "name": "cnn",
      "stages": stages,
      "dense": (dense,),
      "batch_norm": "after",
      "dense_dropout": 0.3,
    }
  )
  train.num_epochs, train.batch_size = num_epochs, 128
  return tables.setting(train, _METHODS, metrics=("error",), num_train=num_train)
