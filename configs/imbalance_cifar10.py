"""Imbalanced CIFAR-10: step and long-tailed classes, ratios 10 and 100, a narrow CNN.

python -m experiments.imbalance --config=configs/imbalance_cifar10.py \\
    --workdir=runs/imbalance_cifar10

At most 1000 images of a class, a net with convolutions a quarter as wide as those of cifar10_cnn.py
and 10 epochs: 47 minutes for the 120 runs of results/imbalance_cifar10, on two cores of an AMD EPYC
beside other work. The published protocols keep 5000 of the
largest class, of which 4500 can be had beside a validation split:

    --config.settings=long_tailed:largest=4450:ratio=100 --config.num_epochs=60 \\
    --config.backbone.stages="((32,),(64,),(128,))" --config.backbone.dense="(128,)"
"""

from ml_collections import ConfigDict

from configs import imbalance_mnist


def get_config() -> ConfigDict:
  config = imbalance_mnist.get_config()
  config.dataset = "cifar10"
  config.train_range = (0, 45_000)
  config.test_range = ()
  config.validation_range = (49_000, 50_000)
  config.settings = ",".join(
    f"{name}:largest=1000:ratio={ratio}" for name in ("step", "long_tailed") for ratio in (10, 100)
  )
  config.augment = "flip"
  config.heads = "softmax,pc_softmax,l_softmax:gamma=1e-3,sm_taylor,one_vs_all"
  config.backbone = ConfigDict(
    {
      "name": "cnn",
      "stages": ((8,), (16,), (32,)),
      "dense": (64,),
      "batch_norm": "after",
      "dense_dropout": 0.3,
    }
  )
  config.num_epochs = 10
  config.optimizer = ConfigDict({"name": "adam", "learning_rate": 1e-3, "schedule": "cosine"})
  return config
