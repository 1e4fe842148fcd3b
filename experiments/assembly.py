"""Assembly: from a configuration to data, programs and devices, everything checked first."""

import functools
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from configs import default
from softmax_research import data, heads, nn, registry, training
from softmax_research.functional.arrays import check_integer
from softmax_research.training import environment
from softmax_research.training.parallel import DATA, check_shares

_DEVICE_OPTIONS = {"strategy": ("jit", "pmap"), "seeds_by": ("auto", "vmap", "map", "apart")}


# More along an axis are a slip of the hand, and a CPU would be hours in making them.
_MOST_DEVICES = 1024
# A network that starts from examples is given so many.
_NUM_EXAMPLES = 1024
# Those of the net of configs/mnist_modern.py take 150 MB. More are found among those on disk.
_MOST_KEPT = 2
# Of an optimiser's numbers the one that its programs take as an argument.
_RATE = "learning_rate"


class Splits(NamedTuple):
  """Hold a data set cut into the three splits, and what a step needs to know of it."""

  name: str
  train: data.Split
  validation: data.Split
  test: data.Split
  class_names: tuple[str, ...]
  mean: np.ndarray
  std: np.ndarray
  ignore_label: int | None = None

  @property
  def num_classes(self) -> int:
    return len(self.class_names)

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


def check_keys(config: Collection[str], known: Collection[str], start_from: str) -> None:
  """Raise a ValueError unless a configuration has the keys of another one, and no others."""
  if wrong := sorted(set(config) ^ set(known)):
    raise ValueError(
      f"The configuration has {', '.join(wrong)} too many or too few; its keys are "
      f"{', '.join(sorted(known))}. Start from configs/{start_from}.py."
    )


def check_config(config: ConfigDict) -> None:
  """Raise a ValueError for whatever can be seen to be wrong before data are loaded."""
  check_keys(config, default.get_config(), "default")
  for key in ("seeds", "num_epochs", "batch_size"):
    check_integer(key, config[key])
  check_integer("split_seed", config.split_seed, 0)
  data.check_name(config.dataset)
  if not 0 < config.validation_fraction < 1:
    raise ValueError(
      f"Got validation_fraction={config.validation_fraction}; it must lie strictly between 0 "
      "and 1, as 0.1."
    )
  data.augment.make(config.augment)
  for text in texts_of(config, "heads"):
    heads.HEADS.parse(text)
    if config.dataset in data.NUM_CLASSES:  # Of other data sets the classes are not known yet.
      make_head(text, np.ones(data.NUM_CLASSES[config.dataset], int))
  for backbone in texts_of(config, "backbone") or [config.backbone]:
    make_backbone(ConfigDict({"backbone": backbone}))
  for optimizer in texts_of(config, "optimizer") or [config.optimizer]:
    training.make_optimizer(optimizer, num_steps=1)


def texts_of(config: ConfigDict, key: str) -> tuple[str, ...] | None:
  """Return the heads, backbones or optimisers that a text names; None where one is spelt out."""
  table = {"heads": heads.HEADS, "backbone": nn.NETWORKS, "optimizer": training.OPTIMIZERS}[key]
  if not isinstance(config[key], str):
    return None
  return registry.split(config[key], kind=table.kind, example=table.example)


def num_classes(config: ConfigDict) -> int:
  """Return the number of classes of a data set of ours, before it is loaded."""
  if config.dataset not in data.NUM_CLASSES:
    raise ValueError(
      f"Got dataset={config.dataset!r}; what is planned here depends on the number of classes, so "
      f"it must be one of {', '.join(data.NUM_CLASSES)}. With data of your own use "
      "experiments.compare."
    )
  return data.NUM_CLASSES[config.dataset]


def load_dataset(config: ConfigDict) -> data.Dataset:
  """Load the data set of a configuration; see `data.load` for its errors."""
  return data.load(config.dataset, data_dir=config.data_dir or None)


def check_classes(dataset: data.Dataset) -> None:
  """Raise a ValueError unless each example has one class, which what follows asks for."""
  if dataset.ignore_label is not None or dataset.train.labels.ndim != 1:
    raise ValueError(
      f"Got dataset={dataset.name!r}, whose examples have a distribution in place of a class, or "
      "some none; here each needs one. Leave out those without, and give the likeliest class."
    )


def make_splits(
  dataset: data.Dataset, train: data.Split, validation: data.Split, test: data.Split
) -> Splits:
  """Return splits of a data set; the statistics for standardisation are of training alone."""
  mean, std = data.channel_statistics(train.images)
  facts = dataset.class_names, mean, std, dataset.ignore_label
  return Splits(dataset.name, train, validation, test, *facts)


def load_splits(config: ConfigDict) -> Splits:
  """Load the data set and split its training part into training and validation."""
  dataset = load_dataset(config)
  try:
    train, validation = data.split_train_validation(
      dataset.train, fraction=config.validation_fraction, seed=config.split_seed
    )
  except ValueError as error:
    raise ValueError(
      f"Got validation_fraction={config.validation_fraction} for {dataset.name}: {error}"
    ) from None
  training.check_batch_size(config.batch_size, len(train.labels))
  return make_splits(dataset, train, validation, dataset.test)


def make_head(specification: str, class_counts: np.ndarray, **numbers: Any) -> heads.Head:
  """Build a head from its specification, giving it the class counts if it takes them.

  Numbers go before the options of these names.
  """
  name, options = heads.parse(specification)
  options |= numbers
  if "class_counts" in heads.head_options(name):
    options = {"class_counts": class_counts} | options
  head = heads.make(name, len(class_counts), **options)
  if name not in heads.HEADS:
    _check_own_head(name, head, len(class_counts))
  return head


def _check_own_head(name: str, head: heads.Head, num_classes: int) -> None:
  """Raise a ValueError unless a user's head returns what it must, of features of any number."""
  try:
    found = [of.shape for of in jax.eval_shape(lambda: _outputs(head))]
  except Exception as error:
    raise ValueError(f"Got the head {name!r}, which fails: {registry.describe(error)}") from error
  if found != [(2,), (2, num_classes)]:
    raise ValueError(
      f"Got the head {name!r}, whose loss and log_prob have the shapes {found[0]} and {found[1]} "
      f"for 2 examples in {num_classes} classes; they must be (2,) and (2, {num_classes})."
    )


def _outputs(head: heads.Head) -> tuple[jax.Array, jax.Array]:
  key, features, labels = jax.random.key(0), jnp.ones((2, 4)), jnp.zeros(2, jnp.int32)
  params = head.init(key, 4)
  return head.loss(params, features, labels, step=0, key=key), head.log_prob(params, features)


def make_head_for(splits: Splits, specification: str, **numbers: Any) -> heads.Head:
  """Build a head for the classes of the training split; see `make_head`."""
  counts = data.class_counts(splits.train.labels, splits.num_classes)
  return make_head(specification, counts, **numbers)


def make_backbone(config: ConfigDict, *, splits: Splits | None = None) -> nn.Backbone:
  """Build the backbone that the configuration names.

  A network that starts from examples is given some of the training split, where there is one.
  """
  given = {}
  if splits is not None and "examples" in nn.NETWORKS.options(config.backbone):
    images = splits.train.images[:_NUM_EXAMPLES]
    given["examples"] = np.asarray(data.standardise(images, splits.mean, splits.std))
  try:
    return nn.make(config.backbone, **given)
  except ValueError as error:
    if isinstance(config.backbone, str):
      raise
    raise ValueError(
      f"{error} Name another network as text, which takes the place of all these options: "
      f"--config.backbone={nn.NETWORKS.example}."
    ) from None


def _floats(table: registry.Registry, text: Any) -> dict[str, float]:
  """Return the options that are floats, but for 0, which often leaves a term out.

  What is of the user's own has none: its numbers stay Python's.
  """
  name, options = registry.parse(text)
  return {key: of for key, of in options.items() if name in table and isinstance(of, float) and of}


def _of_numbers(
  make: Callable[..., Any], numbers: dict[str, float], use: Callable[[Any], Any]
) -> tuple[Callable[..., Any], dict[str, float]]:
  """Return a function of numbers that makes a head or an optimiser, and the numbers.

  There are none where Python has to know one, to choose by it for instance.
  """
  made = make(**numbers)
  try:
    jax.eval_shape(lambda traced: use(make(**traced)), numbers)
  except Exception:  # What meets a traced number may raise anything.
    numbers = {}
  return (make if numbers else lambda: made), numbers


def make_programs(
  config: ConfigDict, splits: Splits, head: str, layout: training.Layout | None = None
) -> training.Programs:
  """Compose data, backbone, head and optimiser into the jitted programs of one seed.

  Raises:
    ValueError: an option does not fit the shape of the data, or the network not `pmap`.
  """
  seeds_by, axis_name, mesh = "map", None, None
  if layout is not None:
    seeds_by, axis_name, mesh = layout.seeds_by, layout.axis_name, layout.step_mesh
  name, _ = heads.parse(config.backbone)
  if axis_name is not None and name not in nn.NETWORKS:
    if mesh is None:
      raise ValueError(
        "Got strategy='pmap' and several devices along the data axis for the network "
        f"{name!r}, which is none of ours and may not average its statistics over them. Pass "
        "strategy='jit'."
      )
    # The compiler divides whole batches, whose statistics are right by construction.
    axis_name = mesh = None
  num_batches = training.check_batch_size(config.batch_size, len(splits.train.labels))
  augment = data.augment.make(config.augment)
  make_own_head, of_head = _of_numbers(
    functools.partial(make_head_for, splits, head), _floats(heads.HEADS, head), _outputs
  )
  make_own_optimizer, of_optimizer = _of_numbers(
    functools.partial(
      training.make_optimizer, config.optimizer, num_steps=num_batches * config.num_epochs
    ),
    {k: of for k, of in _floats(training.OPTIMIZERS, config.optimizer).items() if k == _RATE},
    lambda optimizer: None,
  )
  programs = training.make_programs(
    nn.in_form(make_backbone(config, splits=splits), seeds_by),
    lambda numbers: make_own_head(**numbers["head"]),
    lambda numbers: make_own_optimizer(**numbers["optimizer"]),
    input_shape=splits.train.images.shape[1:],
    preprocess=functools.partial(data.standardise, mean=splits.mean, std=splits.std),
    augment=augment,
    ignore_label=splits.ignore_label,
    numbers={"head": of_head, "optimizer": of_optimizer},
    axis_name=axis_name,
    mesh=mesh,
  )
  # Networks and augmentations check their options against the shape of the inputs.
  try:
    jax.eval_shape(programs.init, 0)
    jax.eval_shape(augment, jax.random.key(0), splits.train.images[:1])
  except Exception as error:  # What a user's own raises may be anything.
    if registry.place_of_ones_own(error) is None:
      raise
    raise ValueError(
      f"Code of your own fails on inputs of shape {splits.train.images.shape[1:]}: "
      f"{registry.describe(error)}"
    ) from error
  return programs


def make_parallel_programs(
  config: ConfigDict,
  splits: Splits,
  head: str,
  layout: training.Layout,
  kept: dict[Any, Any] | None = None,
) -> training.ParallelPrograms:
  """Compose the programs that train many seeds on the devices of a layout; see `make_programs`.

  Those `kept` from another call serve again where the two differ in numbers alone.
  """
  check_shares(config.batch_size, layout.mesh.shape[DATA])
  programs, kept = make_programs(config, splits, head, layout), {} if kept is None else kept
  key = id(splits), layout, _structure(config, head, programs.numbers)
  # With the splits, whose place in memory no other ones can take then.
  kept[key] = kept.pop(key, None) or (splits, training.parallelise(programs, layout))
  if len(kept) > _MOST_KEPT:
    del kept[next(iter(kept))]
  shared = kept[key][1]
  return shared._replace(init=functools.partial(shared.init, numbers=programs.numbers))


def _structure(config: ConfigDict, head: str, numbers: dict[str, dict[str, float]]) -> str:
  """Return all that programs are made of, beside the data and the layout, but for the numbers."""
  parts = [str(config[key]) for key in ("backbone", "augment", "batch_size", "num_epochs")]
  for text, left_open in ((head, numbers["head"]), (config.optimizer, numbers["optimizer"])):
    name, options = registry.parse(text)
    parts.append(f"{name} {options | dict.fromkeys(left_open)}")
  return "\n".join(parts)


def device_options() -> ConfigDict:
  """Return the options of `--devices` with their defaults."""
  options = ConfigDict()
  # "jit", where the compiler divides the work, or "pmap".
  options.strategy = "jit"
  # How seeds train: "vmap" or "map", all in one program; "apart", one run after the other; "auto"
  # is what `nn.seeds_by` chooses.
  options.seeds_by = "auto"
  # Devices along the seed axis and along the data axis; 0 chooses: on CPU a device for each seed,
  # up to the number of cores; elsewhere as many seeds apart as can be, then shares of batches.
  options.seed = 0
  options.data = 0
  # Keep a dense head's kernel in parts of its classes along the data axis.
  options.shard_classes = False
  return options


def prepare_devices(options: ConfigDict, num_seeds: int, batch_size: int | None = None) -> None:
  """Make as many CPU devices as will be used; call it before JAX touches a device."""
  for name, known in _DEVICE_OPTIONS.items():
    if options[name] not in known:
      raise ValueError(
        f"Got --devices.{name}={options[name]}; it must be one of {', '.join(known)}."
      )
  for name in ("seed", "data"):
    remedy = "Pass a number of devices, or 0 to have it chosen."
    check_integer(f"--devices.{name}", options[name], 0, _MOST_DEVICES, remedy)
  if options.data and batch_size:
    check_shares(batch_size, options.data)
  cores = 1 if options.seeds_by == "apart" else environment.num_cores()
  seed = options.seed or min(cores, num_seeds)
  jax.config.update("jax_num_cpu_devices", max(1, seed * max(1, options.data)))


def lay_out(
  config: ConfigDict, splits: Splits, options: ConfigDict, num_seeds: int
) -> training.Layout:
  """Lay so many seeds of the configuration's network on the devices, as `device_options` say."""
  seed, along_data = _numbers_of_devices(options, num_seeds)
  seeds_by = options.seeds_by
  if seeds_by in ("auto", "apart"):
    input_shape = splits.train.images.shape[1:]
    seeds_by = nn.seeds_by(make_backbone(config), input_shape, -(-num_seeds // seed))
  return training.make_layout(
    seed=seed,
    data=along_data,
    strategy=options.strategy,
    seeds_by=seeds_by,
    shard_classes=options.shard_classes,
  )


def _numbers_of_devices(options: ConfigDict, num_seeds: int) -> tuple[int, int]:
  devices, seed, along_data = jax.device_count(), options.seed, options.data
  if not along_data and jax.default_backend() == "cpu" and jax.process_count() == 1:
    along_data = 1
  if not seed:
    most = min(num_seeds, devices // max(1, along_data))
    seed = max([n for n in range(1, most + 1) if along_data or devices % n == 0], default=1)
  return seed, along_data or devices // seed
