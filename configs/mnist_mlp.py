"""MNIST with a two-layer MLP.

python -m experiments.compare --config=configs/mnist_mlp.py --workdir=runs/mnist_mlp
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
  config = default.get_config(
    dataset="mnist", heads="softmax,taylor,sm,sm_taylor", num_epochs=12, batch_size=128
  )
  config.backbone.widths = (512, 512)
  config.backbone.dropout = 0.2
  return config
