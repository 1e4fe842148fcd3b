"""Configurations: what programs are made of them, and bad ones, refused before any work."""

import jax
import pytest

from configs import default
from experiments.classifiers import assembly


def _make_all(config):
  """Do what a script does before it trains."""
  assembly.check_config(config)
  assembly.make_programs(config, assembly.load_splits(config), "softmax")


@pytest.mark.parametrize(
  ("key", "value", "expected"),
  [
    ("heads", "taylor:degree=4", ["degree", "order"]),
    ("heads", "taylor:order=3", ["order=3", "even"]),
    ("heads", "sm:margin=-0.5", ["margin=-0.5"]),
    ("heads", "sm:margin=wide", ["margin='wide'", "number"]),
    ("heads", "softmax:temperature=-1", ["temperature=-1"]),
    ("heads", "softmax,softmax", ["twice"]),
    ("heads", "adaptive:cutoffs=(3,12)", ["cutoffs=(3, 12)", "10 classes"]),
    ("heads", "", ["no heads"]),
    ("dataset", "mnits", ["mnits", "cifar10", "digits", "mnist"]),
    ("optimizer.name", "adm", ["adm", "adamw", "sgd"]),
    ("optimizer.schedule", "cosin", ["cosin", "cosine"]),
    ("optimizer.learning_rate", -1.0, ["learning_rate=-1.0"]),
    ("backbone.name", "mpl", ["mpl", "mlp"]),
    ("backbone.activation", "rleu", ["rleu", "relu"]),
    ("backbone.dtype", "float16", ["float16", "bfloat16"]),
    ("augment", "flop", ["flop", "flip"]),
    ("seeds", 0, ["seeds=0", "at least 1"]),
    ("batch_size", 100_000, ["batch_size=100000", "1293"]),
    ("validation_fraction", 1.5, ["validation_fraction=1.5"]),
  ],
)
def test_a_bad_value_is_refused_with_what_exists(key, value, expected):
  config = default.get_config()
  config.update_from_flattened_dict({key: value})
  with pytest.raises(ValueError) as error:
    _make_all(config)
  for part in expected:
    assert part in str(error.value)


def test_keys_too_many_or_too_few_are_refused():
  config = default.get_config()
  config.sedes = 3
  with pytest.raises(ValueError, match=r"keys sedes; the keys are .*seeds"):
    assembly.check_config(config)
  config = default.get_config()
  del config.seeds
  with pytest.raises(ValueError, match="lacks seeds"):
    assembly.check_config(config)


def test_the_schedule_ends_with_the_last_step(monkeypatch):
  config, make, asked = default.get_config(), assembly.make_optimizer, []
  config.batch_size, config.num_epochs = 100, 3

  def noticed(config, *, num_steps):
    asked.append(num_steps)
    return make(config, num_steps=num_steps)

  monkeypatch.setattr(assembly, "make_optimizer", noticed)
  assembly.make_programs(config, assembly.load_splits(config), "softmax")
  assert asked == [3 * 12]  # Of 1293 examples.


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_network_computes_in_the_type_asked_for(dtype):
  config = default.get_config()
  config.backbone.dtype = dtype
  splits = assembly.load_splits(config)
  programs = assembly.make_programs(config, splits, "softmax")
  shapes = jax.eval_shape(programs.init, 0), splits.test.images[:2]
  assert ("bf16[2,256]" in str(jax.make_jaxpr(programs.predict)(*shapes))) == (dtype == "bfloat16")


def test_a_network_that_cannot_average_over_devices_gets_whole_batches_or_is_refused(monkeypatch):
  config = default.get_config()
  splits, named = assembly.load_splits(config), []
  make = assembly.training.make_programs
  monkeypatch.setattr(
    assembly.training,
    "make_programs",
    lambda *a, **options: named.append(options["axis_name"]) or make(*a, **options),
  )
  monkeypatch.setattr(assembly.nn, "network_options", lambda name: {})
  layout = assembly.training.make_layout(data=2)
  assembly.make_parallel_programs(config, splits, "softmax", layout)
  assert named == [None]
  with pytest.raises(ValueError, match="'mlp', which has no option axis_name"):
    layout = assembly.training.make_layout(data=2, strategy="pmap")
    assembly.make_parallel_programs(config, splits, "softmax", layout)
