"""Imbalanced MNIST of Qin et al. 2019: even digits at 300, odd at 3000, 8 epochs.

python -m experiments.imbalance --config=configs/imbalance_mnist.py --workdir=runs/imbalance_mnist

LeNet at half its width and a short validation split: 25 minutes for the 54 runs of
results/imbalance_mnist, on two cores of an AMD EPYC beside other work. The paper's widths:

    --config.backbone.stages="((20,),(50,))" --config.backbone.dense="(500,)"

The released code takes the original files' order and PyTorch's initialisation; here the order is
that of TensorFlow Datasets, which shuffled them once, and the initialisation He's. Its control
takes all 40,000 images: --config.settings=natural:size=40000.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
  config = default.get_config(
    dataset="mnist",
    # Places in the training split: what training sets are taken from, what epochs and
    # hyperparameters are chosen on, and what a test set is taken from as the training sets are.
    train_range=(0, 40_000),
    test_range=(40_000, 50_000),
    validation_range=(50_000, 52_000),
    # The second is the control: as many examples, with the classes as they come.
    settings="alternating:even=300:odd=3000,natural:size=16500",
    heads="softmax,pc_softmax,l_softmax:gamma=5e-4,sm,sm_taylor,taylor,one_vs_all",
    control_heads="softmax,pc_softmax",  # Of the heads, those that the control needs.
    seeds=6,
    backbone={
      "name": "cnn",
      "stages": ((10,), (25,)),
      "dense": (250,),
      "kernel": 5,
      "padding": "valid",
    },
    num_epochs=8,
    optimizer={"name": "sgd", "learning_rate": 0.01, "momentum": 0.5},
  )
  del config.validation_fraction, config.split_seed
  return config
