"""Inputs: the data of a setting, cut down and transformed as its protocol says."""

import numpy as np
from ml_collections import ConfigDict

from experiments import assembly
from softmax_research import data, training

_COMPONENTS = 256


def load_splits(setting: ConfigDict) -> assembly.Splits:
  """Load the splits of a setting.

  The validation split is taken out first, then the training split is cut down, so all sizes are
  judged by the same validation images.

  Args:
    setting: of `configs/tables.py`, checked.

  Returns:
    The splits.

  Raises:
    ValueError: there are fewer training examples than asked for.
    Errors of `data.load`.
  """
  splits = assembly.load_splits(setting.train)
  if setting.num_train:
    splits = _cut(splits, setting.num_train, setting.train.split_seed)
    training.check_batch_size(setting.train.batch_size, setting.num_train)
  return TRANSFORMS[setting.transform](splits)


def check_transform(name: str) -> None:
  """Raise a ValueError unless there is such a transform."""
  if name not in TRANSFORMS:
    raise ValueError(f"Got transform={name!r}; the transforms are {', '.join(TRANSFORMS)}.")


def _cut(splits: assembly.Splits, size: int, seed: int) -> assembly.Splits:
  images, labels = splits.train
  if size > len(labels):
    raise ValueError(f"Got num_train={size} of {len(labels)} training examples; pass fewer, or 0.")
  if size == len(labels):
    return splits
  rows = data.stratified_sample(labels, size, seed=seed)
  train = data.Split(images[rows], labels[rows])
  mean, std = data.channel_statistics(train.images)
  return splits._replace(train=train, mean=mean, std=std)


def principal_components(splits: assembly.Splits) -> assembly.Splits:
  """Standardise each pixel, keep the 256 first principal components, and lay them out as 16 x 16.

  Everything is fitted on the training split. Pixels that never vary become 0.
  """
  flat = [
    np.asarray(part.images, np.float32).reshape(len(part.labels), -1) for part in _parts(splits)
  ]
  mean, std = flat[0].mean(0), flat[0].std(0)
  scaled = [(part - mean) / np.where(std > 0, std, 1) for part in flat]
  covariance = scaled[0].T @ scaled[0] / len(scaled[0])
  _, vectors = np.linalg.eigh(covariance.astype(np.float64))
  basis = vectors[:, ::-1][:, :_COMPONENTS].astype(np.float32)
  parts = [
    data.Split((part @ basis).reshape(len(part), 16, 16, 1), split.labels)
    for part, split in zip(scaled, _parts(splits), strict=True)
  ]
  train, validation, test = parts
  return as_measured(splits._replace(train=train, validation=validation, test=test))


def as_measured(splits: assembly.Splits) -> assembly.Splits:
  """Leave the inputs as they are: nothing is standardised."""
  return splits._replace(mean=np.zeros(1, np.float32), std=np.ones(1, np.float32))


def _parts(splits: assembly.Splits) -> tuple[data.Split, data.Split, data.Split]:
  return splits.train, splits.validation, splits.test


#: What becomes of images before training, by name.
TRANSFORMS = {
  "none": lambda splits: splits,
  "pca": principal_components,
  "as_measured": as_measured,
}
