"""The composed programs: they equal a plain step, and any framework's network fits."""

import functools
import itertools

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from softmax_research import heads, nn, training
from tests.training.models import bare_backbone, bright_rows, tiny_programs


class _NnxNet(nnx.Module):
  def __init__(self, input_shape, rngs):
    self.dense = nnx.Linear(int(np.prod(input_shape)), 6, rngs=rngs)

  def __call__(self, images):
    return nnx.relu(self.dense(images.reshape(len(images), -1)))


class _LinenNet(flax.linen.Module):
  @flax.linen.compact
  def __call__(self, images):
    return flax.linen.relu(flax.linen.Dense(6)(images.reshape(len(images), -1)))


_SETS = np.random.default_rng(2).integers(0, 2, (96, 3))

_BACKBONES = {
  "nnx": lambda: nn.from_nnx(_NnxNet),
  "linen": lambda: nn.from_linen(_LinenNet()),
  "bare": bare_backbone,
}


@pytest.fixture(name="examples", scope="module")
def _examples():
  return bright_rows()


@pytest.mark.parametrize("name", sorted(_BACKBONES))
def test_one_head_trains_on_any_framework(name, examples):
  images, labels = examples
  programs = tiny_programs(_BACKBONES[name]())
  state = programs.init(0)
  first = None
  for epoch in range(15):
    order = programs.shuffle(state, epoch, 6, 16, 96)
    state = programs.run_steps(state, order, images, labels, 0, 6)
    first = float(state.loss_sum) if first is None else first
  assert int(state.step) == 90
  assert float(state.loss_sum) < 0.3 * first
  assert np.mean(np.argmax(programs.predict(state, images), -1) == labels) > 0.95


def test_an_augmentation_may_know_the_epoch_and_the_run(examples):
  images, labels = examples
  seen = []

  def augment(key, images, *, epoch, run_key):
    jax.debug.callback(lambda *told: seen.append(told), epoch, jax.random.key_data(run_key))
    return images

  programs = tiny_programs(augment=augment)
  state = programs.init(0)
  run_key = np.asarray(jax.random.key_data(state.key))
  for epoch in range(2):
    order = programs.shuffle(state, epoch, 3, 16, 96)
    state = programs.run_steps(state, order, images, labels, 0, 3)
  batches = images[np.asarray(order)], labels[np.asarray(order)]
  state = programs.run_steps(state, None, *batches, 0, 3)  # Rows that were dealt.
  jax.effects_barrier()
  assert [int(epoch) for epoch, _ in seen] == [0] * 3 + [1] * 3 + [2] * 3
  assert all((told == run_key).all() for _, told in seen)


def test_steps_equal_plain_gradient_steps(examples):
  images, labels = examples
  backbone, head, optimizer = _BACKBONES["bare"](), heads.make("softmax", 3), optax.adam(1e-2)
  programs = tiny_programs(backbone, head)
  state = programs.init(3)
  params = jax.tree.map(lambda x: x.copy(), state.params)
  order = programs.shuffle(state, 0, 3, 16, 96)
  state = programs.run_steps(state, order, images, labels, 0, 3)

  def loss(params, x, labels):
    hidden = jax.nn.relu(x @ params["backbone"]["w"])
    logits = hidden @ params["head"]["kernel"] + params["head"]["bias"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

  @jax.jit
  def train(params, x, labels):
    opt_state = optimizer.init(params)
    for batch in range(3):
      gradient = jax.grad(loss)(params, x[batch], labels[batch])
      updates, opt_state = optimizer.update(gradient, opt_state, params)
      params = optax.apply_updates(params, updates)
    return params

  batches = images[np.asarray(order)].reshape(3, 16, -1) / np.float32(255)
  params = train(params, batches, labels[np.asarray(order)])
  for ours, plain in zip(jax.tree.leaves(state.params), jax.tree.leaves(params), strict=True):
    np.testing.assert_allclose(ours, plain, atol=2e-6)


def test_methods_that_differ_in_numbers_alone_share_programs_and_learn_as_with_constants(examples):
  images, labels = examples
  traced = []

  def head(numbers):
    traced.append(numbers)
    assert (jnp.bfloat16(1) * numbers["margin"]).dtype == jnp.bfloat16
    return heads.make("sm_taylor", 3, margin=numbers["margin"])

  def optimizer(numbers):
    options = {"schedule": "cosine", "warmup": 0.3}
    return training.make_optimizer("adam", num_steps=6, learning_rate=numbers["rate"], **options)

  def train(programs, save=lambda state: state):
    state = programs.init([0, 1])
    batches = programs.deal(state, programs.hold(images, labels), 0, 6, 16)
    state = save(programs.run_steps(state, batches, 0, 3))
    state = programs.run_steps(state, batches, 3, 6)
    return programs.gather(state), programs.predict(state, images)

  first, second = {"margin": 0.2, "rate": 0.05}, {"margin": 0.7, "rate": 0.01}
  programs = training.parallelise(tiny_programs(head=head, optimizer=optimizer, numbers=first))
  found = [train(programs)]
  times = len(traced)
  found.append(train(programs._replace(init=functools.partial(programs.init, numbers=second))))
  again = train(programs, lambda state: programs.scatter(programs.gather(state)))
  jax.tree.map(np.testing.assert_array_equal, again, found[0])
  assert len(traced) == times
  for (state, log_probs), numbers in zip(found, (first, second), strict=True):
    constants = tiny_programs(head=head(numbers), optimizer=optimizer(numbers))
    plain, expected = train(training.parallelise(constants))
    np.testing.assert_allclose(log_probs, expected, atol=1e-5)
    for name in ("params", "opt_state"):
      ours, theirs = (jax.tree.leaves(getattr(of, name)) for of in (state, plain))
      for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert state.numbers["margin"].tolist() == [np.float32(numbers["margin"])] * 2


@pytest.mark.parametrize("name", ["adaface", "curricularface"])
def test_running_numbers_of_a_head_follow_the_batches_alone(name, examples):
  images, labels = examples
  head = heads.make(f"{name}:momentum=0.25", 3)
  # Decayed weights and a large rate, which would carry the numbers away if they were let.
  programs = tiny_programs(head=head, optimizer=optax.adamw(0.1, weight_decay=0.5))
  state = programs.init(0)
  order = programs.shuffle(state, 0, 3, 16, 96)
  for step, batch in enumerate(np.asarray(order)):
    params = jax.device_get(state.params)
    state = programs.run_steps(state, order, images, labels, step, step + 1)
    hidden = images[batch].reshape(16, -1) / np.float32(255) @ params["backbone"]["w"]
    features = np.maximum(hidden, 0)
    sizes = np.linalg.norm(features, axis=-1)
    if name == "adaface":
      seen = {"mean": sizes.mean(), "deviation": sizes.std()}
    else:
      columns = params["head"]["kernel"][:, labels[batch]].T
      products = (features * columns).sum(-1) / np.linalg.norm(columns, axis=-1)
      seen = {"emphasis": (products / np.where(sizes > 0, sizes, 1)).mean()}
    for key, old in params["head"]["running"].items():
      expected = 0.75 * old + 0.25 * seen[key]
      np.testing.assert_allclose(state.params["head"]["running"][key], expected, rtol=1e-5)
  before = jax.device_get(state.params["head"]["running"])
  bad = np.full_like(images, np.nan, np.float32)
  state = programs.run_steps(state, order, bad, labels, 3, 4)
  assert state.bad_step == 3 and state.params["head"]["running"] == before


def _one_step(programs, images, labels, order):
  state = programs.run_steps(programs.init(3), order, images, labels, 0, 1)
  return jax.device_get((state.params, state.loss_sum))


def _assert_close(ours, expected):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), ours, expected)


@pytest.mark.parametrize("head", ["sm_taylor", "one_vs_all", "huffman", "adaface"])
def test_a_step_averages_over_the_examples_that_have_a_label(head, examples):
  images, labels = examples
  options = {"class_counts": [40, 30, 26]} if head == "huffman" else {}
  made = {"head": heads.make(head, 3, **options), "optimizer": optax.sgd(0.5)}
  order = np.arange(16)[None]
  partly = np.where(np.arange(96) % 4 == 1, -1, labels)
  known = np.flatnonzero(partly[:16] >= 0)[None]
  plain, ignoring = tiny_programs(**made), tiny_programs(**made, ignore_label=-1)
  expected = _one_step(plain, images, labels, known)
  _assert_close(_one_step(ignoring, images, partly, order), expected)
  # Distributions are labels too.
  _assert_close(_one_step(plain, images, np.eye(3, dtype=np.float32)[labels], known), expected)
  nothing = _one_step(ignoring, images, 0 * labels - 1, order)
  _assert_close(nothing, (jax.device_get(ignoring.init(3).params), 0))


def test_devices_share_the_examples_that_have_a_label(examples):
  images, labels = examples
  partly = np.where(np.arange(96) < 13, -1, labels)  # Most devices have none.
  made = {"head": heads.make("softmax", 3), "optimizer": optax.sgd(0.5), "ignore_label": -1}
  layout = training.make_layout(data=8)
  found = [
    _one_step(tiny_programs(**made, **where), images, partly, np.arange(16)[None])
    for where in ({}, {"axis_name": layout.axis_name, "mesh": layout.step_mesh})
  ]
  _assert_close(*found)


@pytest.mark.parametrize("strategy", ["jit", "pmap"])
def test_devices_share_several_labels_that_are_mixed(strategy, examples):
  def mix(key, batch):
    return batch, np.arange(16)[::-1], np.full(16, 0.25, np.float32)

  made = {"head": heads.make("one_vs_all", 3), "optimizer": optax.sgd(0.5), "augment": mix}
  layout, found = training.make_layout(data=8, strategy=strategy), []
  for where in (training.make_layout(), layout):
    options = {"axis_name": where.axis_name, "mesh": where.step_mesh}
    programs = training.parallelise(tiny_programs(**made, **options), where)
    states, held = programs.init([3]), programs.hold(examples[0], _SETS)
    batches = programs.deal(states, held, 0, 1, 16)
    states = programs.gather(programs.run_steps(states, batches, 0, 1))
    found.append((states.params, states.loss_sum))
  _assert_close(*found)


def test_labels_are_mixed_as_images_are(examples):
  images, labels = examples
  rng = np.random.default_rng(0)
  partners, shares = rng.permutation(16), np.float32(rng.uniform(size=16))
  partly = np.where(np.arange(96) % 4 == 1, -1, labels)

  def mix(key, batch):
    return batch, partners, shares

  made = {"head": heads.make("softmax", 3), "optimizer": optax.sgd(0.5)}
  hot = np.eye(4, 3, dtype=np.float32)
  for given in (labels, partly):
    soft = hot[given[:16]]
    soft = shares[:, None] * soft + (1 - shares[:, None]) * soft[partners]
    mixed = _one_step(
      tiny_programs(**made, augment=mix, ignore_label=-1), images, given, np.arange(16)[None]
    )
    expected = _one_step(
      tiny_programs(**made), images[:16], soft * (16 / soft.sum()), np.arange(16)[None]
    )
    _assert_close(mixed, expected)


def test_several_labels_are_their_floats_alone_and_mixed(examples):
  images, _ = examples
  rng, first = np.random.default_rng(0), np.arange(16)[None]
  partners, shares = rng.permutation(16), np.float32(rng.uniform(size=16))
  made = {"head": heads.make("one_vs_all", 3), "optimizer": optax.sgd(0.5)}
  programs = tiny_programs(**made)
  plain = _one_step(programs, images, np.float32(_SETS), first)
  _assert_close(_one_step(programs, images, _SETS, first), plain)
  # Rows say of every example which labels it has, so that there are none to ignore.
  ignoring = tiny_programs(**made, ignore_label=-1)
  _assert_close(_one_step(ignoring, images, np.float32(_SETS), first), plain)
  mixed = _SETS[:16] * shares[:, None] + _SETS[partners] * (1 - shares[:, None])
  expected = _one_step(programs, images[:16], np.float32(mixed), first)

  def mix(key, batch):
    return batch, partners, shares

  for given, ignored in ((_SETS, None), (np.float32(_SETS), None), (np.float32(_SETS), -1)):
    found = tiny_programs(**made, augment=mix, ignore_label=ignored)
    _assert_close(_one_step(found, images, given, first), expected)
  for options in ({}, {"augment": mix}):
    with pytest.raises(ValueError, match=r"ignore_label=-1 and integer labels of shape \(16, 3\)"):
      _one_step(tiny_programs(**made, ignore_label=-1, **options), images, _SETS, first)


@pytest.mark.parametrize("labels", [_SETS + 1, np.full(96, 3)])
def test_mixing_keeps_a_label_that_is_none_from_teaching_anything(labels, examples):
  def mix(key, batch):
    return batch, np.arange(16)[::-1], np.full(16, 0.5, np.float32)

  programs = tiny_programs(head=heads.make("one_vs_all", 3), augment=mix)
  state = programs.run_steps(programs.init(3), np.arange(16)[None], examples[0], labels, 0, 1)
  assert state.bad_step == 0


def test_cutting_an_epoch_in_pieces_changes_no_bit(examples):
  images, labels = examples
  programs = tiny_programs(
    _BACKBONES["bare"](), augment=lambda key, x: x + jax.random.randint(key, x.shape, 0, 3, x.dtype)
  )
  outcomes = []
  for pieces in ([(0, 6)], [(0, 1), (1, 4), (4, 6)]):
    state = programs.init(1)
    order = programs.shuffle(state, 0, 6, 16, 96)
    for start, stop in pieces:
      state = programs.run_steps(state, order, images, labels, start, stop)
    outcomes.append(state._replace(key=jax.random.key_data(state.key)))
  jax.tree.map(np.testing.assert_array_equal, *outcomes)


def test_a_shuffle_visits_each_example_at_most_once(examples):
  programs = tiny_programs(_BACKBONES["bare"]())
  state = programs.init(0)
  first, second = (np.asarray(programs.shuffle(state, e, 5, 16, 96)) for e in (0, 1))
  assert first.shape == (5, 16) and len(np.unique(first)) == 80
  assert np.any(first != second)


def test_seeds_differ_and_repeat(examples):
  programs = tiny_programs(_BACKBONES["nnx"]())
  states = [programs.init(seed) for seed in (0, 0, 1)]
  orders = [np.asarray(programs.shuffle(state, 0, 5, 16, 96)) for state in states]
  same, again, other = (
    [*jax.tree.leaves(state.params), order] for state, order in zip(states, orders, strict=True)
  )
  jax.tree.map(np.testing.assert_array_equal, same, again)
  for of_one, of_other in ((same[:-1], other[:-1]), (same[-1:], other[-1:])):
    assert any(np.any(a != b) for a, b in zip(of_one, of_other, strict=True))


def _types(state):
  return [(leaf.shape, leaf.dtype, leaf.weak_type) for leaf in jax.tree.leaves(state)]


# A head and a network meet in nothing but the features. Of heads two have running numbers; the
# parameters of all begin, and so go on, with the types that their contract says.
@pytest.mark.parametrize(
  ("head", "activation", "batch_norm"),
  [(head, "prelu", "after") for head in ("adaface", "curricularface")]
  + [("sm", *of) for of in itertools.product(["relu", "prelu"], [False, "before", "after"])],
)
def test_a_step_leaves_the_types_that_it_found(head, activation, batch_norm, examples):
  """Of another type, weak ones included, the next step would be compiled again."""
  network = {"widths": (4,), "activation": activation, "batch_norm": batch_norm, "dropout": 0.1}
  programs = tiny_programs(nn.make("mlp", **network), heads.make(head, 3))
  state = jax.eval_shape(programs.init, 0)
  order = np.arange(96).reshape(6, 16)
  after = jax.eval_shape(programs.run_steps, state, order, *examples, 0, 1)
  assert _types(after) == _types(state)


def test_a_network_with_weakly_typed_parameters_is_compiled_once(examples):
  def init(key, input_shape):
    return {"slope": jax.numpy.full((4,), 0.25)}, {"count": 0.0}

  def apply(params, state, images, *, train, key=None):
    return images[:, :, 0, 0] * params["slope"], {"count": state["count"] + 1.0}

  programs = tiny_programs(nn.Backbone(init, apply))
  state, order = programs.init(0), np.arange(96).reshape(6, 16)
  for step in range(3):
    state = programs.run_steps(state, order, *examples, step, step + 1)
  assert programs.run_steps._cache_size() == 1


def test_every_step_has_random_numbers_of_its_own(examples):
  def draw(key, images):
    return jax.numpy.full(images.shape, jax.random.uniform(key))

  def apply(params, state, images, *, train, key=None):
    dropped = jax.random.uniform(key) if train else state["dropped"]
    return images[:, :2, 0, 0], {"augmented": images.mean(), "dropped": dropped}

  init = lambda key, shape: ({}, {"augmented": jax.numpy.zeros(()), "dropped": 0.0})  # noqa: E731
  programs = tiny_programs(nn.Backbone(init, apply), augment=draw)
  state, order, seen = programs.init(0), np.arange(96).reshape(6, 16), []
  for step in range(3):
    state = programs.run_steps(state, order, *examples, step, step + 1)
    seen.append([float(state.model_state[name]) for name in ("augmented", "dropped")])
  assert all(len(set(draws)) == 3 for draws in zip(*seen, strict=True))


def test_at_a_bad_loss_the_parameters_and_counts_freeze(examples):
  images, labels = examples
  labels = labels.copy()
  programs = tiny_programs(_BACKBONES["bare"]())
  order = np.arange(96).reshape(6, 16)
  before = programs.run_steps(programs.init(0), order, images, labels, 0, 2)
  before = jax.tree.map(np.asarray, before._replace(key=0))  # The next call uses it up.
  labels[40] = 7  # Out of range, so the third batch's loss is NaN.
  state = programs.run_steps(programs.init(0), order, images, labels, 0, 6)
  assert int(state.bad_step) == int(state.step) == 2
  assert float(state.last_finite_loss) == before.last_finite_loss
  jax.tree.map(np.testing.assert_array_equal, state.params, before.params)
