"""Localisation of CIFAR-10 pictures of three sizes on textures of other pictures' tiles.

python -m experiments.localize --config=configs/localize_objects.py --workdir=runs/localize_objects

The net, the imbalance and the deviations from the paper are those of configs/localize_digits.py.
Run time: 10 minutes for the 12 runs of results/localize_objects, by two shards on a core of an AMD
EPYC each.
"""

from ml_collections import ConfigDict

from configs import localize_digits


def get_config() -> ConfigDict:
  config = localize_digits.get_config()
  config.dataset, scenes = "cifar10", config.scenes
  scenes.kind, scenes.sizes, scenes.tile, scenes.blur = "objects", (20, 26, 32), 8, 3
  del scenes.pieces, scenes.piece
  return config
