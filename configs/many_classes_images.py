"""Instance discrimination on MNIST: each image, in each of four rotations, is a class of its own.

python -m experiments.many_classes --config=configs/many_classes_images.py --workdir=runs/instances

--config.dataset=cifar10 takes CIFAR-10.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  """Return the configuration."""
  config = ConfigDict()
  config.task = "images"
  config.dataset = "mnist"
  config.data_dir = ""
  config.cache_dir = ""
  config.num_images = 0
  config.rotations = 4
  config.augment = "crop"
  config.imprint = 4.0
  config.backbone = ConfigDict({"name": "mlp", "widths": (512, 64)})
  config.num_reference = 10_000

  config.heads = "softmax:implementation=streaming,hierarchical,two_level,sampled"
  config.seeds = 5
  config.seconds = 30.0
  config.looks = 6
  config.batch_size = 256
  config.optimizer = ConfigDict({"name": "adam", "learning_rate": 1e-3})
  config.num_test = 2000
  config.split = "test"
  return config
