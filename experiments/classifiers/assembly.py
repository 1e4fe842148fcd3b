"""Assembly: from a configuration to data, model and jitted programs, everything checked first."""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from configs import default
from experiments.classifiers import devices
from softmax_research import data, heads, nn, training

_EXAMPLES = {"backbone": "mlp:widths=(64,64)", "optimizer": "adam:learning_rate=0.001"}


class Splits(NamedTuple):
  """Hold a data set cut into the three splits, and what a step needs to know of it."""

  name: str
  train: data.Split
  validation: data.Split
  test: data.Split
  num_classes: int
  class_names: tuple[str, ...]
  mean: np.ndarray
  std: np.ndarray

  def describe(self) -> dict[str, Any]:
    """Return the record of the data that stands beside a result."""
    return {
      "name": self.name,
      "num_train": len(self.train.labels),
      "num_validation": len(self.validation.labels),
      "num_test": len(self.test.labels),
      "num_classes": self.num_classes,
      "class_names": list(self.class_names),
    }


def check_config(config: ConfigDict) -> None:
  """Check all that can be checked before data are loaded.

  Args:
    config: a configuration with the keys of `configs/default.py`.

  Raises:
    ValueError: a key is missing, unknown or has a bad value; the message lists what exists.
  """
  known = default.get_config()
  if unknown := sorted(set(config) - set(known)):
    raise ValueError(
      f"Got the configuration keys {', '.join(unknown)}; the keys are {', '.join(sorted(known))}."
    )
  if missing := sorted(set(known) - set(config)):
    raise ValueError(
      f"The configuration lacks {', '.join(missing)}; start from configs/default.py."
    )
  for key in ("seeds", "num_epochs", "batch_size"):
    value = config[key]
    if not isinstance(value, int) or value < 1:
      raise ValueError(f"Got {key}={value!r}; it must be an integer of at least 1.")
  if config.dataset not in data.NUM_CLASSES:
    raise ValueError(
      f"Got dataset={config.dataset!r}; the data sets are {', '.join(sorted(data.NUM_CLASSES))}."
    )
  num_classes = data.NUM_CLASSES[config.dataset]
  if not 0 < config.validation_fraction < 1:
    raise ValueError(
      f"Got validation_fraction={config.validation_fraction}; it must lie strictly between 0 "
      "and 1, as 0.1."
    )
  data.augment.make(config.augment)
  for specification in heads.split(config.heads):
    make_head(specification, num_classes=num_classes, class_counts=np.ones(num_classes, int))
  for key, make in (("backbone", make_backbone), ("optimizer", _make_for_a_step)):
    texts = heads.split(config[key], kind=key) if isinstance(config[key], str) else [config[key]]
    for text in texts:
      make(ConfigDict({key: text}))


def _make_for_a_step(config: ConfigDict):
  return make_optimizer(config, num_steps=1)


def load_splits(config: ConfigDict) -> Splits:
  """Load the data set and split its training part into training and validation.

  Args:
    config: a checked configuration.

  Returns:
    The splits. The statistics for standardisation come from the training split alone.

  Raises:
    ValueError: the batch size exceeds the training split.
    Errors of `data.load`.
  """
  dataset = data.load(
    config.dataset, data_dir=config.data_dir or None, cache_dir=config.cache_dir or None
  )
  train, validation = data.split_train_validation(
    dataset.train, fraction=config.validation_fraction, seed=config.split_seed
  )
  training.check_batch_size(config.batch_size, len(train.labels))
  mean, std = data.channel_statistics(train.images)
  return Splits(
    dataset.name,
    train,
    validation,
    dataset.test,
    dataset.num_classes,
    dataset.class_names,
    mean,
    std,
  )


def make_head(specification: str, *, num_classes: int, class_counts: np.ndarray) -> heads.Head:
  """Build a head from its specification, giving it the class counts if it takes them."""
  name, options = heads.parse(specification)
  if "class_counts" in heads.head_options(name):
    options = {"class_counts": class_counts} | options
  return heads.make(name, num_classes, **options)


def make_head_for(splits: Splits, specification: str) -> heads.Head:
  """Build a head for the classes of the training split."""
  counts = np.bincount(splits.train.labels, minlength=splits.num_classes)
  return make_head(specification, num_classes=splits.num_classes, class_counts=counts)


def name_and_options(config: ConfigDict, key: str) -> tuple[str, dict[str, Any]]:
  """Return the name and the options of a configuration's backbone or optimiser.

  Either is spelt out as a dictionary with a `name`, or named by text.

  Example:
    >>> config = ConfigDict({"backbone": "mlp:widths=(8, 8)"})
    >>> name_and_options(config, "backbone")
    ('mlp', {'widths': (8, 8)})
  """
  value = config[key]
  if isinstance(value, str):
    return heads.parse(value, kind=key, example=_EXAMPLES[key])
  options = value.to_dict()
  return options.pop("name"), options


def make_backbone(config: ConfigDict, *, axis_name: str | None = None) -> nn.Backbone:
  """Build the backbone that the configuration names, averaging over the mapped axis if any.

  Beside the network's options, `dtype="bfloat16"` computes it in bfloat16; see `nn.in_bfloat16`.
  """
  name, options = name_and_options(config, "backbone")
  dtype = options.pop("dtype", "float32")
  if dtype not in ("float32", "bfloat16"):
    raise ValueError(f"Got backbone.dtype={dtype!r}; it must be one of float32, bfloat16.")
  if axis_name is not None and "axis_name" in nn.network_options(name):
    options["axis_name"] = axis_name
  try:
    backbone = nn.make(name, **options)
  except ValueError as error:
    if isinstance(config.backbone, str):
      raise
    raise ValueError(
      f"{error} Name another network as text, which takes the place of all these options: "
      f"--config.backbone={_EXAMPLES['backbone']}."
    ) from None
  return nn.in_bfloat16(backbone) if dtype == "bfloat16" else backbone


def lay_out(
  config: ConfigDict, splits: Splits, options: ConfigDict, num_seeds: int
) -> training.Layout:
  """Lay so many seeds of the configuration's network on the devices at hand.

  Args:
    config: a checked configuration.
    splits: the data.
    options: of `devices.get_options`.
    num_seeds: seeds that train together.

  Raises:
    ValueError: an option has a bad value, or there are too few devices.
  """
  filters = nn.forms.filters(make_backbone(config), splits.train.images.shape[1:])
  return devices.lay_out(options, filters, num_seeds)


def make_optimizer(config: ConfigDict, *, num_steps: int):
  """Build the optimiser that the configuration names, for a run of so many steps."""
  name, options = name_and_options(config, "optimizer")
  if "learning_rate" not in options:
    raise ValueError(
      f"Got the optimizer {name!r} without a learning rate; write it as {_EXAMPLES['optimizer']}."
    )
  return training.make_optimizer(name=name, **options, num_steps=num_steps)


def check_fits(config: ConfigDict, splits: Splits, head: str) -> None:
  """Check that head, network and optimiser fit the data, without any computation.

  Raises:
    ValueError: an option does not fit the shape of the data.
  """
  make_programs(config, splits, head)


def make_programs(
  config: ConfigDict,
  splits: Splits,
  head: str,
  *,
  seeds_by: str = "map",
  axis_name: str | None = None,
  mesh: jax.sharding.Mesh | None = None,
) -> training.Programs:
  """Compose data, backbone, head and optimiser into the jitted programs of one seed.

  Args:
    config: a checked configuration.
    splits: the data.
    head: the head's specification.
    seeds_by: how the seeds of a device will train; see `nn.forms.fit`.
    axis_name: see `training.make_programs`.
    mesh: likewise. A network without the option `axis_name` does not average over its axis: then
      the compiler divides whole batches, whose statistics are right by construction.

  Returns:
    The programs.

  Raises:
    ValueError: an option does not fit the shape of the data, or the network not `pmap`.
  """
  network, _ = name_and_options(config, "backbone")
  if axis_name is not None and "axis_name" not in nn.network_options(network):
    if mesh is None:
      raise ValueError(
        f"Got strategy='pmap' and several devices along the data axis for the network {network!r}, "
        "which has no option axis_name to average its statistics by. Pass strategy='jit'."
      )
    axis_name = mesh = None
  num_batches = training.check_batch_size(config.batch_size, len(splits.train.labels))
  programs = training.make_programs(
    nn.forms.fit(make_backbone(config, axis_name=axis_name), seeds_by),
    make_head_for(splits, head),
    make_optimizer(config, num_steps=num_batches * config.num_epochs),
    input_shape=splits.train.images.shape[1:],
    preprocess=functools.partial(data.standardise, mean=splits.mean, std=splits.std),
    augment=data.augment.make(config.augment),
    axis_name=axis_name,
    mesh=mesh,
  )
  # Networks check their options against the shape of the inputs when they are made.
  jax.eval_shape(programs.init, 0)
  return programs


def make_parallel_programs(
  config: ConfigDict, splits: Splits, head: str, layout: training.Layout
) -> training.ParallelPrograms:
  """Compose the programs that train many seeds on the devices of a layout; see `make_programs`.

  Raises:
    ValueError: an option does not fit the shape of the data, or the layout the batches or the
      head.
  """
  layout.check_batch_size(config.batch_size)
  programs = make_programs(
    config,
    splits,
    head,
    seeds_by=layout.seeds_by,
    axis_name=layout.axis_name,
    mesh=layout.step_mesh,
  )
  return training.parallelise(programs, layout)
