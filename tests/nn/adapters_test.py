"""Backbones by name, and from NNX, Linen and bare JAX: one head trains on all of them alike."""

import inspect

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import PartitionSpec as P

from softmax_research import heads
from softmax_research.nn import (
  ACTIVATIONS,
  NETWORKS,
  Backbone,
  from_linen,
  from_nnx,
  in_form,
  make,
  seeds_by,
)


class NnxNet(nnx.Module):
  """Lists, batch norm, and dropout with random streams of its own."""

  def __init__(self, input_shape, *, rate=0.5, rngs):
    self.layers = nnx.List(
      [
        nnx.Linear(input_shape[0], 16, rngs=rngs),
        nnx.Linear(16, 8, rngs=rngs),
      ]
    )
    self.norm = nnx.BatchNorm(16, rngs=rngs)
    self.first = nnx.Dropout(rate, rngs=rngs)
    self.second = nnx.Dropout(rate, rngs=rngs)

  def __call__(self, inputs):
    hidden = self.norm(nnx.relu(self.layers[0](inputs)))
    return self.second(self.layers[1](self.first(hidden)))


class LinenNet(nn.Module):
  """Batch norm and dropout, told whether it trains."""

  rate: float = 0.5

  @nn.compact
  def __call__(self, inputs, train):
    hidden = nn.relu(nn.Dense(16)(inputs))
    hidden = nn.BatchNorm(use_running_average=not train)(hidden)
    return nn.Dropout(self.rate, deterministic=not train)(nn.Dense(8)(hidden))


class Pair(nn.Module):
  """Two things where an array is wanted."""

  def __call__(self, inputs):
    return inputs, 3


def _bare():
  def init(key, input_shape):
    return {"kernel": jax.random.normal(key, (*input_shape, 8))}, {}

  def apply(params, state, images, *, train, key=None):
    return jnp.tanh(images @ params["kernel"]), state

  return Backbone(init, apply)


BACKBONES = {
  "nnx": lambda: from_nnx(NnxNet),
  "linen": lambda: from_linen(LinenNet()),
  "bare": _bare,
}


@pytest.fixture(scope="module")
def data():
  labels = np.arange(48) % 3
  centres = 2 * np.eye(3, 4)
  inputs = centres[labels] + 0.1 * np.random.default_rng(1).normal(size=(48, 4))
  return jnp.asarray(inputs, jnp.float32), jnp.asarray(labels)


def _loss(backbone, data, params, state, key):
  inputs, labels = data
  features, state = backbone.apply(params[0], state, inputs, train=True, key=key)
  return heads.dense(3).loss(params[1], features, labels).mean(), state


def _init(backbone, seed):
  key = jax.random.key(seed)
  params, state = backbone.init(key, (4,))
  return (params, heads.dense(3).init(key, 8)), state


@pytest.mark.parametrize("name", BACKBONES)
def test_the_same_head_trains_on_every_backbone(name, data):
  backbone = BACKBONES[name]()

  def step(carry, key):
    params, state = carry
    (loss, state), grads = jax.value_and_grad(_loss, argnums=2, has_aux=True)(
      backbone, data, params, state, key
    )
    return (jax.tree.map(lambda p, g: p - 0.3 * g, params, grads), state), loss

  @jax.jit
  def train():
    carry, losses = jax.lax.scan(step, _init(backbone, 0), jax.random.split(jax.random.key(1), 60))
    (params, head_params), state = carry
    features, unchanged = backbone.apply(params, state, data[0], train=False)
    predictions = jnp.argmax(heads.dense(3).log_prob(head_params, features), axis=-1)
    return jnp.mean(predictions == data[1]), losses, params, state, unchanged

  accuracy, losses, params, state, unchanged = train()
  assert accuracy == 1.0
  assert losses[-10:].mean() < 0.5 * losses[0]
  jax.tree.map(np.testing.assert_array_equal, state, unchanged)
  for path, leaf in jax.tree_util.tree_leaves_with_path((params, state)):
    assert isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jnp.floating)
    assert all(type(p.key) is str for p in path[1:])


@pytest.mark.parametrize("name", ["nnx", "linen"])
def test_gradients_are_the_same_in_one_operation_and_one_after_another(name, data):
  backbone = BACKBONES[name]()

  def grads(seed):
    return jax.grad(_loss, argnums=2, has_aux=True)(
      backbone, data, *_init(backbone, seed), jax.random.key(seed)
    )

  @jax.jit
  def run(seeds):
    return jax.vmap(grads)(seeds), jax.lax.map(grads, seeds)

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *run(jnp.arange(2))
  )


@pytest.mark.parametrize("name", ["nnx", "linen"])
def test_training_moves_the_statistics_and_drops_by_the_key_alone(name, data):
  backbone = BACKBONES[name]()

  @jax.jit
  def run(keys):
    params, state = backbone.init(jax.random.key(0), (4,))

    def train(key):
      return backbone.apply(params, state, data[0], train=True, key=key)

    evaluated = backbone.apply(params, state, data[0], train=False)[1]
    return state, evaluated, *jax.lax.map(train, keys)

  seeds = np.array([1, 1, 2])
  state, evaluated, outputs, trained = run(jax.vmap(jax.random.key)(seeds))
  jax.tree.map(np.testing.assert_array_equal, evaluated, state)
  moved = jax.tree.map(lambda a, b: bool((a != b).any()), trained, state)
  assert all(jax.tree.leaves(moved)) and jax.tree.leaves(moved)
  np.testing.assert_array_equal(outputs[0], outputs[1])
  assert (outputs[0] != outputs[2]).any()


def test_random_streams_of_one_module_differ():
  class Twice(nnx.Module):
    def __init__(self, input_shape, *, rngs):
      self.first, self.second = nnx.Dropout(0.5, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, inputs):
      return jnp.concatenate([self.first(inputs), self.second(inputs)], axis=-1)

  @jax.jit
  def run(key):
    return from_nnx(Twice).apply({}, {}, jnp.ones((2, 64)), train=True, key=key)[0]

  features = np.asarray(run(jax.random.key(0)))
  assert (features[:, :64] != features[:, 64:]).any()


@pytest.mark.parametrize("name", BACKBONES)
def test_the_same_seed_gives_the_same_parameters(name):
  init = jax.jit(lambda seed: BACKBONES[name]().init(jax.random.key(seed), (4,))[0])
  first, second, other = (jax.device_get(init(seed)) for seed in (3, 3, 4))
  jax.tree.map(np.testing.assert_array_equal, first, second)
  assert any(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a != b).any()), first, other)))


def test_linen_modules_without_train_and_with_boxed_parameters():
  dense = nn.Dense(3, kernel_init=nn.with_partitioning(nn.initializers.ones, (None, "model")))
  backbone = from_linen(dense)
  params, state = backbone.init(jax.random.key(0), (4,))
  assert type(params) is dict and state == {}
  features, _ = backbone.apply(params, state, jnp.ones((2, 4)), train=True)
  np.testing.assert_allclose(features, 4 * np.ones((2, 3)))


def test_arrays_outside_variables_are_state():
  class Shifted(nnx.Module):
    def __init__(self, input_shape, *, rngs):
      self.shift = nnx.data(jnp.arange(4.0))

    def __call__(self, inputs):
      return inputs + self.shift

  backbone = from_nnx(Shifted)
  params, state = backbone.init(jax.random.key(0), (4,))
  assert params == {} and list(state) == ["shift"]
  features, _ = backbone.apply(params, state, jnp.zeros((1, 4)), train=False)
  np.testing.assert_array_equal(features[0], np.arange(4))


def _zeros(backbone, shape):
  """Returns parameters and state of zeros."""
  shapes = jax.eval_shape(lambda: backbone.init(jax.random.key(0), shape))
  return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def test_bad_calls_say_what_to_do(data):
  backbone = from_nnx(NnxNet)
  params, state = _zeros(backbone, (4,))
  with pytest.raises(ValueError, match="pass a key"):
    backbone.apply(params, state, data[0], train=True)
  other, _ = _zeros(make("mlp", widths=(3,)), (4,))
  with pytest.raises(ValueError, match=r"another backbone.*layers/0/linear/kernel"):
    backbone.apply(other, state, data[0], train=False)
  transformer = make("transformer:patch=4:width=8:depth=1:heads=2")
  params, state = _zeros(transformer, (8, 8, 1))
  with pytest.raises(ValueError, match=r"stack/positions of shape \(4, 8\) in params; .*\(2, 8\)"):
    transformer.apply(params, state, jnp.ones((1, 4, 8, 1)), train=False)
  images = from_linen(nn.Conv(2, (3, 3)))
  params, state = _zeros(images, (4, 4, 1))
  with pytest.raises(ValueError, match=r"features of tuple for 48 images; .*return it alone"):
    from_linen(Pair()).apply({}, {}, data[0], train=False)
  with pytest.raises(ValueError, match=r"\[B, D\]"):
    images.apply(params, state, jnp.ones((2, 4, 4, 1)), train=False)


class NnxConvolutions(nnx.Module):
  def __init__(self, input_shape, *, rngs):
    self.layers = nnx.List(
      [nnx.Conv(c, f, (3, 3), rngs=rngs) for c, f in ((1, 3), (3, 2))],
    )

  def __call__(self, images):
    for layer in self.layers:
      images = nnx.relu(layer(images))
    return images.mean((1, 2))


class LinenConvolutions(nn.Module):
  @nn.compact
  def __call__(self, images):
    for width in (3, 2):
      images = nn.relu(nn.Conv(width, (3, 3))(images))
    return images.mean((1, 2))


@pytest.mark.parametrize(
  "make_backbone", [lambda: from_nnx(NnxConvolutions), lambda: from_linen(LinenConvolutions())]
)
def test_plain_convolutions_of_flax_take_the_form_of_the_backend(make_backbone, monkeypatch):
  """The library's is so slow inside of a compiled loop that no user should meet it on CPU."""
  backbone, outcomes = make_backbone(), {}
  images = np.random.default_rng(0).normal(size=(2, 5, 5, 1)).astype(np.float32)
  params, state = jax.jit(backbone.init, static_argnums=1)(jax.random.key(1), (5, 5, 1))
  for backend in ("gpu", "cpu"):
    monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
    run = jax.jit(lambda params: backbone.apply(params, state, images, train=True)[0])
    outcomes[backend] = run(params)
    assert ("stablehlo.convolution" in run.lower(params).as_text()) == (backend == "gpu")
  np.testing.assert_allclose(outcomes["cpu"], outcomes["gpu"], atol=1e-5)


def test_what_a_module_sows_is_no_state_and_parameters_follow_no_wider_type():
  class Sowing(nnx.Module):
    def __init__(self, input_shape, *, rngs):
      del input_shape, rngs

    def __call__(self, inputs):
      self.sow(nnx.Intermediate, "inputs", inputs)
      return inputs

  class AsInputs(nn.Module):
    @nn.compact
    def __call__(self, inputs):
      return inputs * self.param("scale", nn.initializers.ones, inputs.shape[1:], inputs.dtype)

  assert from_nnx(Sowing).apply({}, {}, jnp.ones((2, 4)), train=True)[1] == {}
  with jax.enable_x64(True):
    params, _ = from_linen(AsInputs()).init(jax.random.key(0), (4,))
  assert params["scale"].dtype == jnp.float32


def test_identity_flattens():
  backbone = make("identity")
  assert backbone.init(jax.random.key(0), (2, 2, 1)) == ({}, {})
  images = jnp.arange(8.0).reshape(2, 2, 2, 1)
  features, state = backbone.apply({}, {}, images, train=True)
  np.testing.assert_array_equal(features, images.reshape(2, 4))
  assert state == {}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_runs_with_its_defaults(name):
  def run():
    params, state = make(name).init(jax.random.key(0), (8, 8, 1))
    return [
      make(name).apply(params, state, jnp.ones((count, 8, 8, 1)), train=False)[0]
      for count in (2, 0)
    ]

  features, none = jax.eval_shape(run)
  assert features.ndim == 2 and features.dtype == jnp.float32
  assert none.shape == (0, features.shape[1])


@pytest.mark.parametrize("name", NETWORKS)
def test_every_option_has_a_default_and_is_documented(name):
  for option, default in NETWORKS.options(name).items():
    assert default is not inspect.Parameter.empty
    assert f"{option}:" in NETWORKS[name].__doc__ or f'{option}="' in make.__doc__


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", ["cnn", "mlp"])
def test_parameters_and_state_are_float32_and_not_weakly_typed(name, activation):
  for batch_norm in (False, "before", "after"):
    backbone = make(name, activation=activation, batch_norm=batch_norm, dropout=0.1)
    with jax.enable_x64(True):
      variables = jax.eval_shape(lambda b=backbone: b.init(jax.random.key(0), (8, 8, 1)))
    types = {(leaf.dtype.name, leaf.weak_type) for leaf in jax.tree.leaves(variables)}
    assert types == {("float32", False)}


def test_unknown_names_and_options_list_those_that_exist():
  with pytest.raises(ValueError, match=r"'vgg'.*cnn, identity, mlp"):
    make("vgg")
  with pytest.raises(ValueError, match=r"'depth'.*'mlp'.*activation='relu', batch"):
    make("mlp", depth=3)
  with pytest.raises(ValueError, match=r"'depth'.*'identity'.*dtype"):
    make("identity", depth=3)
  with pytest.raises(ValueError, match=r"dtype='float16'.*float32, bfloat16"):
    make("mlp:dtype=float16")


def test_texts_and_dictionaries_name_networks():
  def shapes(backbone):
    return jax.eval_shape(lambda: backbone.init(jax.random.key(0), (8, 8, 1)))

  spelt_out = make({"name": "cnn", "stages": [[4], [8]], "dense": [6], "activation": "tanh"})
  assert shapes(make("cnn:stages=4-8:dense=6:activation=tanh")) == shapes(spelt_out)
  assert shapes(make("mlp:widths=5", activation="prelu")) == shapes(
    make("mlp", widths=(5,), activation="prelu")
  )


def _own_function(*, width=3):
  return make("mlp", widths=width)


@pytest.mark.parametrize(
  ("text", "size"), [("NnxNet:rate=0.1", 8), ("LinenNet:rate=0.1", 8), ("_own_function:width=4", 4)]
)
def test_a_network_of_ones_own_is_named_by_its_path(text, size):
  backbone = make(f"{__name__}.{text}:dtype=bfloat16")
  params, state = _zeros(backbone, (4,))
  features, _ = jax.eval_shape(lambda: backbone.apply(params, state, jnp.ones((2, 4)), train=False))
  assert features.shape == (2, size) and features.dtype == jnp.float32
  with pytest.raises(ValueError, match=r"'depth'.*its options are dtype='float32', (rate|width)="):
    make(f"{__name__}.{text}:depth=3")


class NeedsSizes(nnx.Module):
  def __init__(self, size_in, size_out, *, rngs):
    raise NotImplementedError


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("NeedsSizes", "raised TypeError.*'size_out'"),
    ("_loss", "raised TypeError"),
    ("len", "cannot be"),
  ],
)
def test_what_makes_no_network_is_refused(name, message):
  with pytest.raises(ValueError, match=f"'{__name__}.{name}'.*{message}"):
    make(f"{__name__}.{name}")


_NET = make(
  "cnn",
  stages=((4,), (3,)),
  dense=(3,),
  batch_norm="before",
  activation="prelu",
  dropout=0.1,
)


def _gradient_in(monkeypatch, backend, form):
  """Return the gradient of a loss, and its program as text."""
  monkeypatch.setattr(jax, "default_backend", lambda: backend)
  net = in_form(_NET, form)
  images = np.random.default_rng(0).normal(size=(3, 5, 6, 2)).astype(np.float32)
  params, state = jax.jit(net.init, static_argnums=1)(jax.random.key(0), images.shape[1:])

  @jax.jit
  def gradient(params):
    def loss(params):
      # Evaluation: masks of dropout lie otherwise where the batch is last.
      features, _ = net.apply(params, state, images, train=False)
      return jnp.sum(jnp.sin(features))

    return jax.grad(loss)(params)

  return gradient(params), gradient.lower(params).as_text()


def test_every_form_gives_the_same_gradient(monkeypatch):
  library, text = _gradient_in(monkeypatch, "gpu", "map")
  assert "stablehlo.convolution" in text
  for backend, form in (("cpu", "map"), ("gpu", "vmap")):
    products, text = _gradient_in(monkeypatch, backend, form)
    assert "stablehlo.convolution" not in text
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), products, library)


def test_shares_of_a_batch_in_shard_map_have_the_gradient_of_the_whole():
  mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
  images = np.random.default_rng(0).normal(size=(4, 8, 8, 2)).astype(np.float32)
  # Sixteen filters are convolved in tiles, four are not.
  backbone = make("cnn", stages=((4, 16, 16),), dense=(), batch_norm=True)
  params, state = jax.jit(backbone.init, static_argnums=1)(jax.random.key(1), (8, 8, 2))

  def gradient(params, images):
    def loss(params):
      features, moved = backbone.apply(params, state, images, train=True)
      return jnp.sum(jnp.sin(features)), moved

    return jax.grad(loss, has_aux=True)(params)

  of_shares = jax.shard_map(gradient, mesh=mesh, in_specs=(P(), P("data")), out_specs=P())
  shared, expected = jax.jit(of_shares), jax.jit(gradient)(params, images)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3),
    shared(params, images),
    expected,
  )


@pytest.mark.parametrize(
  ("backend", "num_seeds", "widths", "expected"),
  [
    ("cpu", 16, (32, 64), "map"),
    ("cpu", 16, (), "vmap"),
    ("gpu", 16, (32, 128), "vmap"),
    ("gpu", 1, (32, 128), "map"),
    ("gpu", 16, (32, 384), "map"),
    ("gpu", 16, (), "vmap"),
  ],
)
def test_seeds_train_as_measured(backend, num_seeds, widths, expected, monkeypatch):
  monkeypatch.setattr(jax, "default_backend", lambda: backend)
  # The width of a dense layer does not count.
  network = make("cnn", stages=widths, dense=(512,)) if widths else make("mlp")
  assert seeds_by(network, (8, 8, 1), num_seeds) == expected
