"""Heads on CIFAR-10 with a net and a training as they are today, each tuned on validation.

python -m experiments.tune --config=configs/cifar10_modern.py --workdir=runs/cifar10_modern
python -m experiments.tune --config=configs/cifar10_modern.py:full --workdir=runs/cifar10_full

A net after the speed-run nets (Page 2019; Jordan 2024, arXiv 2404.00498): filters that whiten
patches, three stages of two convolutions, and all of `configs/modern.py`. Rates and decay are about
Jordan's for batches of 500. Other than there, the last weights are averaged in place of a
lookahead, a tenth of the images is for validation, and at test time there are no shifted views; the
two mirrored ones are a measure of its own, `mirrors`.

`cpu`: widths of 32, 128 and 128. `full`: 64, 256 and 256, on a GPU.

Run time and hardware: softmax alone has been run, in `cpu`: 90.3 %, 91.3 % with mirrors (5 seeds,
`results/cifar10_modern`), 12 minutes a run on two cores of an AMD EPYC that are free.
"""

from ml_collections import ConfigDict

from configs import modern


def get_config(variant: str = "cpu") -> ConfigDict:
  """Return the configuration of a variant."""
  full = {"cpu": False, "full": True}[variant]
  return modern.study(
    "cifar10",
    # Jordan finds the best rate with smoothing to be twice that without.
    rate=0.8,
    # The bias of batch norm learns 64 times as fast.
    optimizer={"weight_decay": 0.009, "rates": {"*/norm/bias": 64.0}},
    backbone=modern.net(*((64, 256, 256) if full else (32, 128, 128))),
    augment="flip_crop:padding=2:reflect=True:alternating=True",
    batch_size=500,
    num_epochs=16 if full else 10,
    trial_epochs=4 if full else 3,
    seeds=20 if full else 5,
    measures=(*modern.MEASURES, "mirrors"),
  )
