"""Digits: the 8x8 handwritten digits of scikit-learn, with an MLP; needs no network.

python -m experiments.compare --config=configs/digits.py --workdir=runs/digits
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
  return default.get_config(heads="softmax,taylor,sm,sm_taylor,taylor:order=4")
