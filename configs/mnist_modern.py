"""Heads on MNIST with a net and a training as they are today, each tuned on validation.

python -m experiments.tune --config=configs/mnist_modern.py --workdir=runs/mnist_modern

A small net of the kind of `configs/cifar10_modern.py`, without whitening, and shifts by two pixels.
Rates are around 0.4: of those around 0.2 softmax's trials, of two epochs, chose the largest. So
they do again, 0.8, and a few whole runs at 0.2 and 0.4 (results/mnist_rates) are as good or better:
these trials are too short.

Run time and hardware: four methods have been run (results/mnist_modern), 3 to 4 minutes a run on
one core of an AMD EPYC, beside other work.
"""

from ml_collections import ConfigDict

from configs import modern


def get_config() -> ConfigDict:
  return modern.study(
    "mnist",
    rate=0.4,
    optimizer={"weight_decay": 0.005, "rates": {"*/norm/bias": 16.0}},
    backbone=modern.net(16, 32, 64, whitening=0),
    augment="crop:padding=2",
    batch_size=125,
    num_epochs=8,
    trial_epochs=2,
    seeds=10,
  )
