"""CIFAR-10 with a small convolutional net, batch norm and flips.

python -m experiments.compare --config=configs/cifar10_cnn.py --workdir=runs/cifar10_cnn
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
  return default.get_config(
    dataset="cifar10",
    heads="softmax,sm_taylor",
    augment="flip",
    backbone={
      "name": "cnn",
      "stages": ((32,), (64,), (128,)),
      "dense": (128,),
      "batch_norm": "after",
      "dense_dropout": 0.3,
    },
    num_epochs=5,
    batch_size=128,
  )
