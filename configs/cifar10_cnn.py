"""CIFAR-10 with a small convolutional net, batch norm and flips.

python -m experiments.compare --config=configs/cifar10_cnn.py --workdir=runs/cifar10_cnn
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
  """Return the configuration."""
  config = default.get_config()
  config.dataset = "cifar10"
  config.heads = "softmax,sm_taylor"
  config.augment = "flip"
  config.backbone = ConfigDict(
    {
      "name": "cnn",
      "stages": ((32,), (64,), (128,)),
      "dense": (128,),
      "batch_norm": "after",
      "dense_dropout": 0.3,
    }
  )
  config.num_epochs = 5
  config.batch_size = 128
  return config
