"""Label noise on MNIST: symmetric and pair-wise flips of 20 and 40 % of the labels.

python -m experiments.tune --config=configs/label_noise_mnist.py --workdir=runs/label_noise_mnist

5,000 images and a small MLP, trained for so long that it learns wrong labels by heart. What is
chosen is chosen on validation labels that are wrong as often, as in practice.
"""

from ml_collections import ConfigDict

from configs import default

# Of losses with a number of their own, and of those without.
_RATES = (1e-3, 3e-3)
_MORE_RATES = (3e-4, 6e-4, 1e-3, 2e-3, 3e-3, 6e-3)


def get_config() -> ConfigDict:
  """Return the configuration."""
  config = default.get_config(
    datasets=",".join(
      f"label_noise:of=mnist:flips={flips}:rate={rate}"
      for flips in ("symmetric", "pair")
      for rate in (0.2, 0.4)
    ),
    num_train=5000,
    # Each method's name, heads and learning rates, whose combinations are its trials. The first
    # method is the one that the others are compared with.
    methods=(
      ("softmax", "softmax", _MORE_RATES),
      (
        "label smoothing",
        "softmax:label_smoothing=0.1,softmax:label_smoothing=0.3,softmax:label_smoothing=0.6",
        _RATES,
      ),
      ("one against all", "one_vs_all", _MORE_RATES),
      ("hinge", "hinge:margin=0.3,hinge,hinge:margin=3.0", _RATES),
    ),
    num_epochs=15,
    batch_size=128,
  )
  config.backbone.widths = (128,)
  del config.dataset, config.heads
  return config
