"""Label noise on MNIST: symmetric and pair-wise flips of 20 and 40 % of the labels.

python -m experiments.tune --config=configs/label_noise_mnist.py --workdir=runs/label_noise_mnist

5,000 images and a small MLP, trained for so long that it learns wrong labels by heart. What is
chosen is chosen on validation labels that are wrong as often, as in practice. The 288 runs of
results/label_noise_mnist took 1 h 53 min on two cores that did much else; half of them took 6.5
minutes of a core's own time.
"""

from ml_collections import ConfigDict

from configs import default

# Of losses with a number of their own, whose values take the trials, and of those without.
_RATE = (1e-3,)
_RATES = (5e-4, 1e-3, 2e-3, 4e-3)

_TEMPERATURES = ("t1=0.8:t2=1.2", "t1=0.5:t2=1.5", "t1=0.5:t2=2.5", "t1=0.2:t2=4.0")


def _each(head: str, *values: float | str) -> str:
  """Return the heads of one name with each of some values of an option."""
  text = head if "{}" in head else f"{head}={{}}"
  return ",".join(text.format(value) for value in values)


def get_config() -> ConfigDict:
  config = default.get_config(
    datasets=",".join(
      f"label_noise:of=mnist:flips={flips}:rate={rate}"
      for flips in ("symmetric", "pair")
      for rate in (0.2, 0.4)
    ),
    num_train=5000,
    # Epochs of a trial, 0 for those of a run; and what is measured of runs beside their accuracy.
    trial_epochs=0,
    measures=(),
    # Each method's name, heads and learning rates, whose combinations are its trials. The first
    # method is the one that the others are compared with.
    methods=(
      ("softmax", "softmax", _RATES),
      ("label smoothing", _each("softmax:label_smoothing", 0.1, 0.3, 0.5, 0.7), _RATE),
      ("one against all", "one_vs_all", _RATES),
      ("hinge", _each("hinge:margin", 0.3, 1.0, 3.0, 10.0), _RATE),
      ("focal", _each("softmax:link=(focal:gamma={})", 0.5, 1.0, 2.0, 4.0), _RATE),
      ("poly", _each("softmax:link=(poly:epsilon={})", -0.5, 1.0, 2.0, 4.0), _RATE),
      ("generalised", _each("softmax:link=(generalised:q={})", 0.3, 0.5, 0.7, 0.9), _RATE),
      ("bi-tempered", _each("bi_tempered:{}", *_TEMPERATURES), _RATE),
    ),
    num_epochs=15,
    batch_size=128,
  )
  config.backbone.widths = (128,)
  del config.dataset, config.heads
  return config
