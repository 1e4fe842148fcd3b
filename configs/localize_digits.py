"""Localisation of MNIST digits of four sizes among clutter, on canvases of 48 by 48.

python -m experiments.localize --config=configs/localize_digits.py --workdir=runs/localize_digits

The paper fine-tunes VGG16 and ResNet50, trained on ImageNet, on CUB-200-2011 and Tiny-ImageNet.
This is a net of four convolutions, from scratch, on scenes whose boxes are exact: it has to train
in minutes (18 for the 12 runs of results/localize_digits, beside other work, on one core of an AMD
EPYC; rate, epochs and scenes are not tuned). As there, it ends in global average pooling and a
linear head; its maps have a quarter of the images' side. Training scenes show odd digits ten times
as often as even ones, since with equal classes PC-softmax's loss is softmax's less a constant.

--config.folder=DIR takes your own images with boxes, in the layout of CUB-200-2011.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
  config = default.get_config(
    dataset="mnist",
    folder="",
    scenes={
      "kind": "digits",
      "classes": (),
      "imbalance": 10.0,
      "num_train": 12_000,
      "num_validation": 500,
      "num_test": 1000,
      "canvas": 48,
      "sizes": (16, 20, 25, 30),
      "pieces": 6,
      "piece": 8,
    },
    heads="softmax,pc_softmax",
    seeds=6,
    backbone={
      "name": "cnn",
      "stages": ((16,), (32,), (64, 64)),
      "pool": (2, 2, 1),
      "dense": (),
      "batch_norm": True,
      "global_average_pool": True,
    },
    num_epochs=4,
    batch_size=64,
  )
  config.optimizer.learning_rate = 3e-3
  return config
