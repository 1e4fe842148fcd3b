"""Xuan, Yang, Li 2025, "Exploring the Impact of Temperature Scaling in Softmax".

python -m experiments.reproduce --config=configs/xuan2025.py --variant=cpu \
    --workdir=runs/xuan2025_cpu

"... for Classification and Adversarial Robustness", arXiv 2502.20604. Softmax trained at several
temperatures: accuracy, and accuracy under noise and under untargeted PGD (L-infinity). `PGD 8` has
a radius of 8/255. Three attackers: `temperature_1` raises the cross-entropy at temperature 1, as
the paper's does; `as_trained` that at the temperature of training; `margin` the lead of the best
other class, whose gradient no temperature can hide. An image is robust, under `worst`, where all
three fail.

Run time and hardware: `cpu` 43 minutes on one core of an AMD EPYC; `full` has not been run.

To expect: the paper's numbers are not available. It claims that a moderate temperature is best, and
that a higher one makes nets more robust to corruptions and to untargeted PGD.
"""

from ml_collections import ConfigDict

from configs import tables

_OBJECTIVES = ("temperature_1", "as_trained", "margin", "worst")


def get_config() -> ConfigDict:
  return tables.table(
    "xuan2025",
    deviations=(
      "A plain CNN in place of the paper's residual nets and transformers; no CIFAR-100, no "
      "Tiny-ImageNet, no adversarial training, no targeted attack.",
      "MNIST is not in the paper; its radius is 26/255, its noise three times CIFAR-10-C's.",
      "The temperatures are ours, and so is the optimiser: Adam with one learning rate for all; it "
      "takes out the factor 1/T of the gradient.",
      "Corruptions are noise alone: Gaussian, shot and impulse noise as CIFAR-10-C has them, not "
      "rounded to 255ths, and uniform noise of the Gaussian's standard deviation, each in five "
      "severities.",
      "PGD starts at random and its last iterate counts. The radius 8/255, the step 2/255 and 20 "
      "steps are those of a re-implementation; the radius 2/255 is ours.",
    ),
    full=tables.variant(
      {
        "mnist": _setting(
          "mnist",
          ((32, 32), (64, 64)),
          _methods(0.25, 0.5, 1, 2, 4, 8, 16, 32),
          attacks=((26, 4, 20, 1000),),
          num_noisy=2000,
          num_epochs=20,
        ),
        "cifar10": _setting(
          "cifar10",
          ((64, 64), (128, 128), (256, 256)),
          _methods(0.25, 0.5, 1, 2, 4, 8, 16, 32),
          attacks=((2, 0.5, 20, 1000), (8, 2, 20, 1000)),
          num_noisy=2000,
          num_epochs=60,
        ),
      },
      "1,000 test images are attacked, and 2,000 get noise.",
    ),
    cpu=tables.variant(
      {
        "mnist": _setting(
          "mnist",
          ((16,), (32,)),
          _methods(0.5, 1, 4, 16),
          attacks=((26, 5, 10, 300),),
          num_noisy=500,
          num_epochs=3,
          num_train=10_000,
        ),
        "cifar10": _setting(
          "cifar10",
          ((16,), (32,), (64,)),
          _methods(0.5, 1, 4, 16),
          attacks=((2, 0.5, 10, 300), (8, 2, 10, 200)),
          num_noisy=500,
          num_epochs=5,
          num_train=10_000,
        ),
      },
      "A convolution a stage in place of two, of 16 to 64 filters; 10,000 training images; MNIST 3 "
      "epochs, CIFAR-10 5, without augmentation.",
      "10 steps of PGD on 300 test images (200 at 8/255); noise on 500.",
    ),
  )


def _methods(*temperatures: float) -> list[tuple[str, str]]:
  return [
    ("softmax" if t == 1 else f"T={t}", f"softmax:temperature={float(t)}") for t in temperatures
  ]


def _setting(
  dataset, stages, methods, *, attacks, num_noisy, num_epochs, num_train=0
) -> ConfigDict:
  augment = "flip_crop" if dataset == "cifar10" and not num_train else "none"
  net = {"batch_norm": "after"}
  train = tables.cnn(dataset, stages, 128, num_epochs, 100, augment=augment, net=net)
  strength = 3 if dataset == "mnist" else 1
  measures = [f"noise:strength={strength}:num_images={num_noisy}"]
  measures += [
    f"pgd:epsilon={epsilon}:step={step}:num_steps={steps}:num_images={images}"
    for epsilon, step, steps, images in attacks
  ]
  kinds = ("noise", "gaussian noise", "shot noise", "impulse noise", "uniform noise")
  metrics = ["accuracy", *(f"{kind}/accuracy" for kind in kinds)]
  for epsilon, *_ in attacks:
    metrics += [f"PGD {epsilon}/{name}_accuracy" for name in ("clean", *_OBJECTIVES)]
  return tables.setting(
    train, methods, metrics=tuple(metrics), measures=tuple(measures), num_train=num_train
  )
