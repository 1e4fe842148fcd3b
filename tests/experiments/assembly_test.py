"""Configurations: what programs and layouts of devices are made of them, and which are refused."""

import types

import jax
import numpy as np
import pytest

from configs import default
from experiments import assembly
from softmax_research import data, training
from softmax_research.training import environment


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
    ("validation_fraction", 1e-5, ["validation_fraction=1e-05 for digits", "cannot set aside 0"]),
    ("split_seed", -1, ["split_seed=-1", "at least 0"]),
  ],
)
def test_a_bad_value_is_refused_with_what_exists(key, value, expected):
  config = default.get_config()
  config.update_from_flattened_dict({key: value})
  with pytest.raises(ValueError) as error:
    _make_all(config)
  for part in expected:
    assert part in str(error.value)


@pytest.fixture(name="of_constants")
def _of_constants(monkeypatch):
  """Make programs whose numbers are constants."""

  def call(function, *arguments):
    with monkeypatch.context() as patch:
      patch.setattr(assembly, "_floats", lambda *_: {})
      return function(*arguments)

  return call


def test_methods_that_differ_in_numbers_have_the_same_programs(of_constants):
  config, splits = default.get_config(), assembly.load_splits(default.get_config())
  config.backbone.dtype = "bfloat16"
  images, labels = splits.train.images[:20], splits.train.labels[:20]

  def texts(head, rate):
    config.optimizer.learning_rate = rate
    programs = assembly.make_programs(config, splits, head)
    state = jax.eval_shape(programs.init, 0)
    order = np.zeros((2, 10), int)
    return [
      programs.run_steps.lower(state, order, images, labels, 0, 2).as_text(),
      programs.init.lower(0, programs.numbers).as_text(),
      programs.predict.lower(state, images).as_text(),
      programs.shuffle.lower(state, 0, 2, 10, 20).as_text(),
    ]

  methods = ("sm:margin=0.3", 0.1), ("sm:margin=0.6", 0.2)
  first, second = (texts(*of) for of in methods)
  assert first == second
  # They widen nothing.
  plain, *others = of_constants(texts, *methods[0])
  assert first[0] != plain and first[0].count("bf16") == plain.count("bf16") > 0
  # The others are found among the programs that are kept on disk, where the step's are not.
  assert of_constants(texts, *methods[1])[1:] == others


def test_methods_share_kept_programs_and_learn_as_with_constants(of_constants):
  config, splits = default.get_config(), assembly.load_splits(default.get_config())
  config.backbone.widths, config.num_epochs = (8,), 1
  config.optimizer.schedule, config.optimizer.warmup = "linear", 0.3
  layout = assembly.training.make_layout()

  def train(head, rate, kept):
    config.optimizer.learning_rate = rate
    programs = assembly.make_parallel_programs(config, splits, head, layout, kept)
    states = programs.init([0, 1])
    batches = programs.deal(states, programs.hold(*splits.train), 0, 20, 64)
    return programs.predict(programs.run_steps(states, batches, 0, 20), splits.test.images)

  kept = {}
  for made, method in (
    (("softmax:temperature=0.5", 0.01), ("softmax:temperature=2.0", 0.03)),
    (("sm:margin=0.2", 0.03), ("sm:margin=0.6", 0.01)),
  ):
    train(*made, kept)  # Its programs are those of the method, whose numbers are others.
    assert of_constants(train, *method, {}) == pytest.approx(train(*method, kept), abs=1e-5)
  first, second = kept
  config.num_epochs = 2
  train("softmax:temperature=0.5", 0.01, kept)
  assert second in kept and first not in kept


@pytest.mark.parametrize(
  "head",
  [
    "entmax:alpha=1.3",
    "bi_tempered:t1=0.8",
    "sm:margin=0.0",
    "softmax:link=(focal:gamma=2.0)",
    "taylor:order=4",
    "tests.experiments.assembly_test.own_head:margin=0.3",
  ],
)
def test_what_python_has_to_know_is_a_constant(head):
  config = default.get_config()
  programs = assembly.make_programs(config, assembly.load_splits(config), head)
  assert programs.numbers == {"head": {}, "optimizer": {"learning_rate": 1e-3}}


def own_head(num_classes, *, margin: float):
  return assembly.heads.make("sm", num_classes, margin=margin)


def test_what_fails_in_code_of_ones_own_is_told_with_its_place(tmp_path, monkeypatch):
  (tmp_path / "own_nets.py").write_text(
    "from flax import nnx\n"
    "class Broken(nnx.Module):\n"
    "  def __init__(self, input_shape, *, rngs):\n    pass\n"
    "  def __call__(self, images):\n    raise KeyError('boom')\n"
  )
  monkeypatch.syspath_prepend(tmp_path)
  config = default.get_config()
  with config.ignore_type():
    config.backbone = "own_nets.Broken"
  with pytest.raises(
    ValueError, match=r"inputs of shape \(8, 8, 1\): KeyError at .*line 6: 'boom'"
  ):
    _make_all(config)


def test_a_head_of_ones_own_must_return_a_loss_and_all_classes(tmp_path, monkeypatch):
  (tmp_path / "own_heads.py").write_text(
    "from softmax_research import heads\n"
    "def many(num_classes):\n  return heads.make('softmax', num_classes + 1)\n"
    "def mean(num_classes):\n"
    "  head = heads.make('softmax', num_classes)\n"
    "  return head._replace(loss=lambda *given, **more: head.loss(*given, **more).mean())\n"
    "def broken(num_classes):\n"
    "  def loss(params, features, labels, *, step=0, key=None):\n    raise KeyError('boom')\n"
    "  return heads.make('softmax', num_classes)._replace(loss=loss)\n"
  )
  monkeypatch.syspath_prepend(tmp_path)
  for name, message in (
    ("many", r"shapes \(2,\) and \(2, 11\) for 2 examples in 10 classes"),
    ("mean", r"shapes \(\) and \(2, 10\)"),
    ("broken", "which fails: KeyError at .*own_heads.py, line 9: 'boom'"),
  ):
    config = default.get_config()
    config.heads = f"own_heads.{name}"
    with pytest.raises(ValueError, match=f"Got the head 'own_heads.{name}', .*{message}"):
      assembly.check_config(config)


def test_a_configuration_may_name_its_network_and_its_optimiser_by_texts():
  config = default.get_config(backbone="mlp:widths=8,identity", optimizer="sgd:learning_rate=0.1")
  assembly.check_config(config)
  assert assembly.texts_of(config, "backbone") == ("mlp:widths=8", "identity")


def test_keys_too_many_or_too_few_are_refused():
  config = default.get_config()
  config.sedes = 3
  with pytest.raises(ValueError, match=r"sedes too many or too few; its keys are .*seeds"):
    assembly.check_config(config)
  config = default.get_config()
  del config.seeds
  with pytest.raises(ValueError, match="has seeds too many or too few"):
    assembly.check_config(config)


@pytest.fixture(name="own_data", scope="module")
def _own_data(tmp_path_factory):
  """scikit-learn's digits as images of an odd shape, as vectors, and as images of many channels."""
  images, labels = data.digits().test
  shapes = {"odd": images[:, 1:, 3:, 0], "vectors": images.reshape(360, 64) / 3.0}
  shapes["deep"] = np.tile(images / 7, (1, 1, 1, 5))
  folder = tmp_path_factory.mktemp("own")
  for name, of in shapes.items():
    np.savez(folder / name, images=of, labels=labels)
  return folder


@pytest.mark.parametrize(
  ("name", "backbone"),
  [
    *[(name, "mlp:widths=(8,)") for name in ("odd", "vectors", "deep")],
    *[(name, "identity") for name in ("odd", "vectors")],
    *[(name, "cnn:stages=((4,),)") for name in ("odd", "deep")],
  ],
)
def test_data_of_ones_own_fit_any_network_for_their_shape(name, backbone, own_data):
  config = default.get_config()
  config.dataset = f"{own_data}/{name}.npz"
  with config.ignore_type():
    config.backbone = backbone
  assembly.check_config(config)
  splits = assembly.load_splits(config)
  programs = assembly.make_programs(config, splits, "logit_adjusted")
  images, labels = splits.train.images[None, :4], splits.train.labels[None, :4]

  def step():
    state = programs.run_steps(programs.init(0), None, images, labels, 0, 1)
    return programs.predict(state, images[0])

  assert jax.eval_shape(step).shape == (4, 10)


@pytest.mark.parametrize(
  ("key", "value", "message"),
  [("backbone", "cnn", "a CNN takes images"), ("augment", "flip", "flips and crops need images")],
)
def test_what_does_not_fit_vectors_is_refused_before_any_work(key, value, message, own_data):
  config = default.get_config()
  config.dataset = f"{own_data}/vectors.npz"
  with config.ignore_type():
    config[key] = value
  with pytest.raises(ValueError, match=message):
    _make_all(config)


def test_the_schedule_ends_with_the_last_step(monkeypatch):
  config, make, asked = default.get_config(), training.make_optimizer, []
  config.batch_size, config.num_epochs = 100, 3

  def noticed(optimizer, *, num_steps, **numbers):
    asked.append(num_steps)
    return make(optimizer, num_steps=num_steps, **numbers)

  monkeypatch.setattr(training, "make_optimizer", noticed)
  assembly.make_programs(config, assembly.load_splits(config), "softmax")
  assert set(asked) == {3 * 12}  # Of 1293 examples.


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_network_computes_in_the_type_asked_for(dtype):
  config = default.get_config()
  config.backbone.dtype = dtype
  splits = assembly.load_splits(config)
  programs = assembly.make_programs(config, splits, "softmax")
  shapes = jax.eval_shape(programs.init, 0), splits.test.images[:2]
  assert ("bf16[2,256]" in str(jax.make_jaxpr(programs.predict)(*shapes))) == (dtype == "bfloat16")


def flat():
  return assembly.nn.identity()


def test_a_network_that_cannot_average_over_devices_gets_whole_batches_or_is_refused(monkeypatch):
  config = default.get_config()
  splits, named = assembly.load_splits(config), []
  make = assembly.training.make_programs
  monkeypatch.setattr(
    assembly.training,
    "make_programs",
    lambda *a, **options: named.append(options["axis_name"]) or make(*a, **options),
  )
  with config.ignore_type():
    config.backbone = f"{__name__}.flat"
  layout = assembly.training.make_layout(data=2)
  assembly.make_parallel_programs(config, splits, "softmax", layout)
  assert named == [None]
  with pytest.raises(ValueError, match="flat', which is none of ours"):
    layout = assembly.training.make_layout(data=2, strategy="pmap")
    assembly.make_parallel_programs(config, splits, "softmax", layout)


@pytest.fixture(name="lay_out")
def _lay_out(monkeypatch):
  """Lays out seeds on eight devices, which are there on CPU, whatever else there is."""
  cpus = jax.devices("cpu")
  assert len(cpus) == 8
  monkeypatch.setattr(jax, "device_count", lambda: 8)
  images = types.SimpleNamespace(images=np.zeros((1, 8, 8, 1)))

  def lay_out(backbone="mlp", num_seeds=5, **given):
    config, options = default.get_config(), assembly.device_options()
    options.update(given)
    with config.ignore_type():
      config.backbone = backbone
    layout = assembly.lay_out(config, types.SimpleNamespace(train=images), options, num_seeds)
    return tuple(layout.mesh.shape.values()), layout.seeds_by

  with jax.default_device(cpus[0]):
    yield lay_out


@pytest.mark.parametrize(
  ("backend", "num_seeds", "given", "shape"),
  [
    ("cpu", 5, {}, (5, 1)),
    ("cpu", 9, {}, (8, 1)),
    ("cpu", 5, {"data": 4}, (2, 4)),
    ("gpu", 5, {}, (4, 2)),  # Five would leave three devices idle.
    ("gpu", 8, {}, (8, 1)),
    ("gpu", 1, {}, (1, 8)),
    ("gpu", 5, {"seed": 2}, (2, 4)),
    ("gpu", 5, {"seed": 2, "data": 2}, (2, 2)),
  ],
)
def test_devices_go_to_seeds_first_and_elsewhere_than_on_cpu_none_is_idle(
  monkeypatch, lay_out, backend, num_seeds, given, shape
):
  monkeypatch.setattr(jax, "default_backend", lambda: backend)
  assert lay_out(num_seeds=num_seeds, **given)[0] == shape


@pytest.mark.parametrize(
  ("backbone", "asked", "expected"),
  [
    ("cnn:stages=32-64", "auto", "map"),
    ("mlp", "auto", "vmap"),
    ("cnn:stages=32-64", "apart", "map"),
    ("cnn:stages=32-64", "vmap", "vmap"),
    ("mlp", "map", "map"),
  ],
)
def test_seeds_of_one_device_train_as_is_fastest_for_the_network(
  lay_out, backbone, asked, expected
):
  assert lay_out(backbone, seeds_by=asked)[1] == expected


@pytest.mark.parametrize(
  ("num_seeds", "backbone", "expected"),
  [
    (16, "cnn:stages=32-64", "vmap"),
    (8, "cnn:stages=32-64", "map"),
    (16, "cnn:stages=96-192", "map"),
    (8, "mlp", "vmap"),
  ],
)
def test_on_gpu_narrow_nets_train_all_seeds_of_a_device_at_once(
  monkeypatch, lay_out, num_seeds, backbone, expected
):
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  assert lay_out(backbone, num_seeds)[1] == expected  # Eight devices.


def test_on_cpu_there_is_a_device_for_each_seed_up_to_the_cores(monkeypatch):
  made = []
  monkeypatch.setattr(jax.config, "update", lambda name, value: made.append(value))
  monkeypatch.setattr(environment, "num_cores", lambda: 4)
  for num_seeds, given in (
    (3, {}),
    (9, {}),
    (9, {"seeds_by": "apart"}),
    (9, {"seed": 2, "data": 3}),
  ):
    options = assembly.device_options()
    options.update(given)
    assembly.prepare_devices(options, num_seeds)
  assert made == [3, 4, 1, 6]


@pytest.mark.parametrize(
  ("name", "value", "message"),
  [
    ("strategy", "foo", "--devices.strategy=foo; it must be one of"),
    ("seeds_by", "foo", "--devices.seeds_by=foo; it must be one of"),
    ("seed", -1, "--devices.seed=-1; it must be an integer between 0 and 1024"),
    ("seed", 100_000, "--devices.seed=100000; it must be an integer between 0 and 1024"),
    ("data", 3, "batch_size=64 for 3 devices along the data axis; .* as 66, or 2"),
  ],
)
def test_an_option_that_is_none_is_refused_before_any_work(monkeypatch, name, value, message):
  monkeypatch.setattr(jax.config, "update", lambda *changes: pytest.fail(f"changed {changes}"))
  options = assembly.device_options()
  options[name] = value
  with pytest.raises(ValueError, match=message):
    assembly.prepare_devices(options, 2, 64)
