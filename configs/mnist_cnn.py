"""MNIST with a small convolutional net: conv32, conv64, dense128.

python -m experiments.compare --config=configs/mnist_cnn.py --workdir=runs/mnist_cnn
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
  return default.get_config(
    dataset="mnist",
    heads="softmax,sm_taylor",
    backbone={
      "name": "cnn",
      "stages": ((32,), (64,)),
      "dense": (128,),
      "batch_norm": "after",
      "dense_dropout": 0.3,
    },
    num_epochs=8,
    batch_size=128,
  )
