"""All keys of an experiment with their defaults; the other configurations start from here.

Keys of `backbone` and `optimizer` beside `name` are options of what is named. A configuration
replaces either as a whole, because other names have other options, and may name it by a text as the
command line does, as `backbone="mlp:widths=64-64"`.
"""

import contextlib
from typing import Any

from ml_collections import ConfigDict, config_dict


def get_config(**changes: Any) -> ConfigDict:
  """Return the defaults, an MLP on the digits of scikit-learn, with other values of some keys."""
  config = ConfigDict()

  # Data. An empty directory means the environment's (TFDS_DATA_DIR).
  config.dataset = "digits"
  config.data_dir = ""
  config.validation_fraction = 0.1
  config.split_seed = 0
  config.augment = "none"

  # What is compared: heads as name:option=value, the first one being the reference.
  config.heads = "softmax,taylor,sm,sm_taylor"
  config.seeds = 5

  config.backbone = ConfigDict(
    {"name": "mlp", "widths": (256, 256), "activation": "relu", "dropout": 0.0, "batch_norm": False}
  )

  config.num_epochs = 30
  config.batch_size = 64
  config.optimizer = ConfigDict(
    {
      "name": "adam",
      "learning_rate": 1e-3,
      "schedule": "cosine",
      "schedule_options": ConfigDict(),
      "warmup": 0.0,
      "clip_norm": config_dict.placeholder(float),
    }
  )
  for key, value in changes.items():
    is_text = key in ("backbone", "optimizer") and isinstance(value, str)
    with config.ignore_type() if is_text else contextlib.nullcontext():
      config[key] = ConfigDict(value) if isinstance(value, dict) else value
  return config
