"""What the studies with nets of today compare, and what they measure, on whatever data.

Each method has four trials, on validation: one that has a number of its own tries two values of it
at two learning rates, one without any four rates. An end that is chosen calls for more values.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from configs import default

#: Beside accuracy, error, NLL, ECE, Brier: Guo's calibration, Kornblith's class separation, and
#: predictions for agreement between seeds and ensembles.
MEASURES = ("calibration", "class_separation", "predictions")


def methods(rate: float) -> tuple[tuple[str, str, tuple[float, ...]], ...]:
  """Return methods as `experiments.tune` takes them, at rates around one."""
  four, two = tuple(rate * 2**power for power in (-2, -1, 0, 1)), (rate / 2, rate)

  def each(head: str, *values: float | str) -> tuple[str, tuple[float, ...]]:
    return ",".join(f"{head}={value}" for value in values), two

  return (
    ("softmax", "softmax", four),
    ("smoothing", *each("softmax:label_smoothing", 0.1, 0.2)),
    ("temperature", *each("softmax:temperature", 2.0, 4.0)),
    ("Taylor, n=2", "taylor:order=2", four),
    ("Taylor, n=4", "taylor:order=4", four),
    ("SM", *each("sm:margin", 0.2, 0.6)),
    ("SM-Taylor, n=2", *each("sm_taylor:order=2:margin", 0.2, 0.6)),
    # Lambda is held, so that short trials and whole runs have one loss.
    ("L-Softmax, m=2", *each("l_softmax:margin=2:gamma=0.0:base", 2.0, 10.0)),
    ("spherical", "spherical", four),
    # Its gradient grows as a logit falls to the floor of 0.01, up to a hundredfold.
    ("ReLU", "relu", tuple(of / 8 for of in four)),
    ("one against all", "one_vs_all:bias_start=None", four),
    ("sparsemax", "sparsemax", four),
    ("entmax 1.5", "entmax", four),
    ("focal", *each("softmax:link", "(focal:gamma=1.0)", "(focal:gamma=2.0)")),
    # Its gradient is a mean over the classes, and so about eight times smaller.
    ("squared error", "squared_error", tuple(8 * rate for rate in four)),
    ("cosine", *each("cosine_softmax:temperature", 0.05, 0.1)),
    ("CosFace", *each("am_softmax:scale=20.0:margin", 0.1, 0.2)),
    ("LogitNorm", *each("logit_norm:temperature", 0.04, 0.2)),
    ("logit penalty", *each("logit_penalty:weight", 6e-4, 6e-3)),
  )


def study(
  dataset: str, *, rate: float, optimizer: Mapping[str, Any], trial_epochs: int, **changes: Any
) -> ConfigDict:
  """Return the study of a data set, by SGD with options of its own and a triangular schedule."""
  sgd = {
    "name": "sgd",
    "learning_rate": rate,
    "momentum": 0.85,
    "nesterov": True,
    "decoupled": True,
    "schedule": "linear",
    "warmup": 0.2,
    # The last twentieth of a run, in which the rate has nearly come down.
    "average": 0.05,
  }
  config = default.get_config(
    datasets=dataset,
    methods=methods(rate),
    num_train=0,
    trial_epochs=trial_epochs,
    optimizer=sgd | dict(optimizer),
    **{"measures": MEASURES} | changes,
  )
  del config.dataset, config.heads
  return config


def net(*stages: int, **changes: Any) -> dict[str, Any]:
  """Return a net of stages of two convolutions, of so many filters, after the speed-run nets."""
  return {
    "name": "cnn",
    "stages": tuple((filters, filters) for filters in stages),
    "dense": (),
    "whitening": 2,
    "pool_first": True,
    "batch_norm": "before",
    "activation": "gelu",
    "global_max_pool": True,
    "feature_scale": 1 / 9,
    "kernel_init": "identity",
    **changes,
  }
