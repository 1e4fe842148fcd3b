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
  config.dataset = "cifar10"
  config.scenes = ConfigDict(
    {
      "kind": "objects",
      "classes": (),
      "imbalance": 10.0,
      "num_train": 12_000,
      "num_validation": 500,
      "num_test": 1000,
      "canvas": 48,
      "sizes": (20, 26, 32),
      "tile": 8,
      "blur": 3,
    }
  )
  return config
