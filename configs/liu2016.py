"""Liu, Wen, Yu, Yang 2016, "Large-Margin Softmax Loss for Convolutional Neural Networks".

python -m experiments.reproduce --config=configs/liu2016.py --variant=cpu --workdir=runs/liu2016_cpu

ICML 2016, arXiv 1612.02295. L-Softmax with m = 1 (softmax without bias) to 4 on MNIST, CIFAR-10 and
CIFAR-10+ (flips and crops); and the paper's Figure 2, MNIST with two features, whose report draws
them in the plane and has their angles.

Run time and hardware: `cpu` about 95 minutes on one core of an AMD EPYC; the report's 2.2 hours
have half an hour in them in which it was stopped, and other work beside it. `full` has not been
run.

To expect under `full`: MNIST accuracies of 99.60, 99.68, 99.69 and 99.69 % (paper); a public
reproduction's last epochs have 99.32 to 99.57 %. CIFAR-10 at m = 2: an error of 7.73 %.
"""

from ml_collections import ConfigDict

from configs import default, tables

# The paper's 18,000 steps of the authors' MNIST example, whose lambda falls below 0.01 at step
# 15,600, 87 % of them. In a short run it does so at 60 %, so that most of the margin's force acts
# while the learning rate is still high; CIFAR-10 has both, since it decides what comes out.
_POWER = 35.0
_GAMMA_TIMES_STEPS = 2.5e-5 * 18_000
_GAMMA_TIMES_STEPS_IN_FORCE = 10 ** (5 / _POWER) - 1
_LATE = 15_600 / 18_000
# The authors' advice for data that are hard to fit: lambda stays above 5 to 10.
_FLOOR = 5.0


def get_config() -> ConfigDict:
  return tables.table(
    "liu2016",
    deviations=(
      "The paper does not say how its margin was annealed: here as in the authors' MNIST example, "
      "lambda = 1000 (1 + gamma t)^-35.",
      "The nets' sizes are those of Table 1, recalled; batch norm stands before the PReLU.",
      "Images are standardised a channel; the paper subtracts the mean.",
      "One tenth of the training images is the validation split and stays out of training; the "
      "paper trains on it once the schedule is chosen.",
      "Weight decay spares norms and biases.",
    ),
    full=tables.variant(
      {
        "mnist": _setting("mnist", _MNIST, num_epochs=86),
        "cifar10": _setting("cifar10", _CIFAR10, num_epochs=103),
        "cifar10_plus": _setting("cifar10", _CIFAR10, num_epochs=103, augment="flip_crop"),
        "features": _features(_PLANE, num_epochs=10),
      },
      "Two features: the paper gives no schedule; here that of a public reproduction, 10 epochs of "
      "batches of 64 at a rate of 0.01 without decay, but with the annealing above.",
      "Whole epochs: 18,060 (MNIST) and 18,025 (CIFAR-10) iterations in place of 18,000.",
    ),
    cpu=tables.variant(
      {
        "mnist": _setting("mnist", _SMALL_MNIST, num_epochs=6, num_train=20_000),
        "cifar10": _setting("cifar10", _SMALL_CIFAR10, num_epochs=8, num_train=15_000),
        "cifar10_late": _setting(
          "cifar10",
          _SMALL_CIFAR10,
          num_epochs=8,
          num_train=15_000,
          in_force=_LATE,
          floors=(0.0, _FLOOR),
          published="cifar10",
        ),
        "features": _features(_SMALL_PLANE, num_epochs=6, num_train=20_000),
      },
      "MNIST: five convolutions (1, 2, 2) of 16 filters in place of ten of 64, 64 dense units in "
      "place of 256, 20,000 training images, 6 epochs of batches of 128 (936 steps).",
      "CIFAR-10: three convolutions (1, 1, 1) of 16, 24 and 32 filters in place of thirteen of 64, "
      "96 and 128, 64 dense units in place of 256, 15,000 training images, 8 epochs of batches of "
      "128 (936 steps); no CIFAR-10+.",
      "Two features: two convolutions of 8 and 16 filters and 64 dense units in place of six "
      "convolutions of 32 to 128, 20,000 training images, 6 epochs of batches of 64 (1,872 steps) "
      "at a rate of 0.01, without weight decay. The paper gives no schedule for it.",
      "The steps of the learning rate, which starts at 0.05, are shortened in proportion.",
      "Lambda falls faster: below 0.01 after 60 % of the steps (two features: 75 %), in the "
      "paper's 18,000 after 87 %. In cifar10_late it falls as in the paper, and there are losses "
      "whose lambda stays at 5 or more, which the authors advise for data that are hard to fit.",
    ),
  )


_MNIST = {"stages": ((64,) * 4, (64,) * 3, (64,) * 3), "dense": (256,)}
_CIFAR10 = {"stages": ((64,) * 5, (96,) * 4, (128,) * 4), "dense": (256,)}
_SMALL_MNIST = {"stages": ((16,), (16,) * 2, (16,) * 2), "dense": (64,)}
_SMALL_CIFAR10 = {"stages": ((16,), (24,), (32,)), "dense": (64,)}


# Figure 2's nets: kernels of 5 x 5, and two linear features that can be drawn in the plane.
_FEATURES = {"kernel": 5, "dense": (2,), "linear_features": True}
_PLANE = {"stages": ((32,) * 2, (64,) * 2, (128,) * 2), **_FEATURES}
_SMALL_PLANE = {"stages": ((8,), (16,)), **_FEATURES, "dense": (64, 2)}


def _features(net, *, num_epochs, num_train=0) -> ConfigDict:
  # Classes have to pass each other in the plane before the margin holds them where they are.
  found = _setting(
    "mnist", net, num_epochs=num_epochs, num_train=num_train, batch_size=64, in_force=0.75
  )
  found.train.optimizer.learning_rate = 0.01
  found.train.optimizer.weight_decay = 0.0
  if not num_train:
    found.train.optimizer.schedule = "constant"
    found.train.optimizer.schedule_options = ConfigDict()
  found.measures = ("features",)
  found.metrics = ("accuracy", "angle_within_class", "angle_to_weight", "angle_margin")
  return found


def _setting(
  dataset,
  net,
  *,
  num_epochs,
  num_train=0,
  batch_size=0,
  augment="none",
  in_force=0.6,
  floors=(0.0,),
  published="",
) -> ConfigDict:
  common = {
    "name": "cnn",
    "activation": "prelu",
    "batch_norm": "before",
    "kernel_init": "he_normal",
  }
  train = default.get_config(
    dataset=dataset,
    augment=augment,
    backbone=common | net,
    num_epochs=num_epochs,
    batch_size=batch_size or (128 if num_train else 256),
    optimizer={
      "name": "sgd",
      "learning_rate": 0.05 if num_train else 0.1,
      "momentum": 0.9,
      "weight_decay": 5e-4,
      "schedule": "steps",
      "schedule_options": {"boundaries": (12 / 18, 15 / 18)},
    },
  )
  size = num_train or {"mnist": 54_000, "cifar10": 45_000}[dataset]
  num_steps = num_epochs * (size // train.batch_size)
  short = _GAMMA_TIMES_STEPS_IN_FORCE / in_force
  gamma = (short if num_train else _GAMMA_TIMES_STEPS) / num_steps
  methods = [("softmax", "softmax:bias=False")]
  for floor in floors:
    name, minimum = (f", lambda >= {floor:g}", f":minimum={floor}") if floor else ("", "")
    methods += [
      (f"m={m}{name}", f"l_softmax:margin={m}:gamma={gamma:.3g}:power={_POWER}{minimum}")
      for m in (2, 3, 4)
    ]
  metrics = ("accuracy", "error") if dataset == "mnist" else ("error",)
  return tables.setting(train, methods, metrics=metrics, num_train=num_train, published=published)
