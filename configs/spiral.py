"""Spiral: points in the plane on several arms, with an MLP: seconds a run, no files, no images.

python -m experiments.compare --config=configs/spiral.py --workdir=runs/spiral
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
  config = default.get_config(dataset="spiral", num_epochs=60)
  config.backbone.widths = (64, 64)
  return config
