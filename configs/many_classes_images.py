"""Instance discrimination on MNIST: each image, in each of four rotations, is a class of its own.

python -m experiments.many_classes --config=configs/many_classes_images.py --workdir=runs/instances

--config.dataset=cifar10 --config.augment=flip_crop takes CIFAR-10.

The same hyperparameters serve all heads and both datasets. `imprint` (2, 4, 8 and 16 on MNIST, 4
and 8 on CIFAR-10) and the learning rate (1e-3 and 3e-3; for imprint=16, 3e-3 alone) were chosen on
2,000 training images left out, one seed on one core, with this command for each:

python -m experiments.many_classes --config=configs/many_classes_images.py --workdir=runs/chosen_1 \
    --config.split=validation --config.seeds=1 --config.seconds=10 --config.looks=1 \
    --config.heads=hierarchical,sampled --config.imprint=4.0 \
    --config.optimizer.learning_rate=1e-3

Of what was tried on both, these have the highest sum of the two heads' accuracies on both. Softmax
and two levels take the same without a search of their own.

The time in front of training does not count: ordering the images, and the untrained net's features
of each, some seconds for any head.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.task = "images"
  config.dataset = "mnist"
  config.data_dir = ""
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
