"""Next-identifier prediction on the standard library's sources, some 100,000 classes.

python -m experiments.many_classes --config=configs/many_classes_identifiers.py \
    --workdir=runs/identifiers
"""

from ml_collections import ConfigDict

from configs import many_classes_words


def get_config() -> ConfigDict:
  config = many_classes_words.get_config()
  config.text = "stdlib"
  config.seeds = 2
  config.seconds = 45.0
  config.num_test = 2000
  return config
