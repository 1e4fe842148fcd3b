"""Many devices, many seeds: whatever the layout, a seed's parameters are those of one device."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from softmax_research import heads, nn, training
from softmax_research.data import augment
from tests.training.models import SHAPE, bright_rows, tiny_programs

_OPTIONS = {"adaptive": {"cutoffs": (1,)}, "sampled": {"num_samples": 2}}


def _make(name):
  counts = {"class_counts": (5, 3, 2)} if "class_counts" in heads.head_options(name) else {}
  return heads.make(name, 3, **counts, **_OPTIONS.get(name, {}))


def joined(names):
  """Heads in one: they share the features, and the loss is the mean of theirs."""
  members = {name: _make(name) for name in names}

  def init(key, num_features):
    return {name: head.init(key, num_features) for name, head in members.items()}

  def loss(params, features, labels, *, step=0, key=None):
    losses = [
      head.loss(params[name], features, labels, step=step, key=key)
      for name, head in members.items()
    ]
    return sum(losses) / len(losses)

  def log_prob(params, features):
    return members[names[0]].log_prob(params[names[0]], features)

  return heads.Head(init, loss, log_prob)


def make(layout, *, head, backbone=None, **options):
  """Make the programs of a small network; those of many devices take numbers too."""
  backbone = (backbone or {"name": "mlp", "widths": (7,)}) | options

  def weighed(numbers):
    return head._replace(loss=lambda *of, **more: numbers["weight"] * head.loss(*of, **more))

  programs = training.make_programs(
    nn.make(**backbone),
    weighed,
    lambda numbers: optax.sgd(numbers["rate"], momentum=0.9),
    input_shape=SHAPE,
    preprocess=lambda images: images.astype(jnp.float32) / 255,
    augment=augment.make("flip"),
    numbers={"weight": 1.0, "rate": 0.05},
    axis_name=layout.axis_name,
    mesh=layout.step_mesh,
  )
  return training.parallelise(programs, layout)


def run(programs, seeds=(0,)):
  """Train on 80 examples in batches of 16; return the gathered states and the curves."""
  fit = training.fit(
    programs, bright_rows(80), bright_rows(24), seeds=seeds, num_epochs=1, batch_size=16
  )
  return programs.gather(fit.states), fit.curves


def expect_equal(states, reference, tolerance=1e-5):
  """Compare all but the keys and the bookkeeping of losses."""
  for ours, one in zip(states[:3], reference[:3], strict=True):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=0, atol=tolerance), ours, one)


@pytest.fixture(autouse=True, scope="module")
def _on_cpu():
  """Eight devices are there on CPU, whatever else there is."""
  with jax.default_device(jax.devices("cpu")[0]):
    yield


# A dense one, one that follows the step, one that draws, and two that pick parameters by number;
# the contracts have every head on a mesh.
_KINDS = ("softmax", "l_softmax", "sampled", "adaptive", "hierarchical")
# Convolutions and a dense layer, with norm and dropout, whose masks are those of one device.
_NET = {"name": "cnn", "stages": ((4,),), "dense": (7,), "batch_norm": True, "dropout": 0.3}


@pytest.fixture(name="one_device", scope="module")
def _one_device():
  return run(make(training.make_layout(), head=joined(_KINDS), backbone=_NET, dense_dropout=0.3))


@pytest.mark.parametrize("strategy", ["jit", "pmap"])
def test_every_kind_of_head_trains_on_four_devices_as_on_one(strategy, one_device):
  layout = training.make_layout(data=4, strategy=strategy)
  states, curves = run(make(layout, head=joined(_KINDS), backbone=_NET, dense_dropout=0.3))
  expect_equal(states, one_device[0], tolerance=3e-5)
  for name in ("train_loss", "validation_nll"):
    np.testing.assert_allclose(curves[0][name], one_device[1][0][name], rtol=1e-5)


def test_running_statistics_are_those_of_the_whole_batch(one_device):
  """The check above would pass if nothing were learnt or normalised."""
  norm = one_device[0].model_state["convolutions"]["0"]["norm"]
  mean, var = norm["mean"], norm["var"]
  assert np.abs(mean).max() > 0.1 and np.abs(var - 1).max() > 0.1


@pytest.mark.parametrize("strategy", ["jit", "pmap"])
def test_running_numbers_of_a_head_are_those_of_the_whole_batch(strategy):
  head = heads.make("adaface:momentum=0.5", 3)
  one, four = (
    run(make(layout, head=head))[0]
    for layout in (training.make_layout(), training.make_layout(data=4, strategy=strategy))
  )
  expect_equal(four, one)
  assert one.params["head"]["running"]["mean"][0] < 15  # It began at 20.


@pytest.fixture(name="alone", scope="module")
def _alone():
  """Seeds 3, 1 and 2, each trained by itself."""
  programs = make(training.make_layout(), head=heads.make("taylor", 3), dropout=0.3)
  return [run(programs, seeds=[seed]) for seed in (3, 1, 2)]


@pytest.mark.parametrize(
  "options",
  [
    {"seeds_by": "vmap"},
    {"seed": 2, "data": 4},
    {"seed": 2, "seeds_by": "map"},
    {"seed": 2, "strategy": "pmap"},
  ],
  ids=str,
)
def test_seeds_beside_each_other_are_as_they_are_alone(options, alone):
  layout = training.make_layout(**options)
  states, curves = run(make(layout, head=heads.make("taylor", 3), dropout=0.3), seeds=[3, 1, 2])
  for i, (lone, lone_curves) in enumerate(alone):
    expect_equal(jax.tree.map(lambda x, i=i: x[i : i + 1], states), lone)
    assert curves[i]["validation_accuracy"] == lone_curves[0]["validation_accuracy"]


class _BatchNormNet(nnx.Module):
  """A user's network, which knows nothing of devices."""

  def __init__(self, input_shape, rngs):
    self.dense = nnx.Linear(int(np.prod(input_shape)), 6, rngs=rngs)
    self.norm = nnx.BatchNorm(6, rngs=rngs)

  def __call__(self, images):
    return nnx.relu(self.norm(self.dense(images.reshape(len(images), -1))))


def test_a_users_batch_norm_has_the_statistics_of_the_whole_batch():
  """Without an axis's name the compiler divides whole batches."""
  programs = tiny_programs(nn.from_nnx(_BatchNormNet), optimizer=optax.sgd(0.1))
  outcomes = []
  for data in (1, 4):
    outcomes.append(run(training.parallelise(programs, training.make_layout(data=data)))[0])
  expect_equal(*outcomes)
  assert np.abs(outcomes[0].model_state["norm"]["mean"]).max() > 0.01


def test_a_dense_heads_classes_lie_on_the_devices_in_parts():
  layout = training.make_layout(data=4, shard_classes=True)
  head = heads.make("sm_taylor", 8)
  programs = make(layout, head=head)
  states = programs.init([0])
  for tree in (states.params, states.opt_state[0].trace):
    shards = tree["head"]["kernel"].addressable_shards
    assert {shard.data.shape for shard in shards} == {(1, 7, 2)}
  sharded, _ = run(programs)
  expect_equal(sharded, run(make(training.make_layout(), head=head))[0])


@pytest.mark.parametrize(
  ("head", "message"),
  [("adaptive:cutoffs=(3,6)", "not dense"), ("softmax", "10 classes and 4 devices")],
)
def test_classes_that_cannot_lie_in_parts_are_refused(head, message):
  layout = training.make_layout(data=4, shard_classes=True)
  with pytest.raises(ValueError, match=message):
    training.parallelise(tiny_programs(head=heads.make(head, 10)), layout)


def test_a_batch_that_the_devices_do_not_divide_is_refused_with_the_numbers():
  layout = training.make_layout(data=3)
  with pytest.raises(ValueError, match=r"batch_size=16 for 3 devices .* as 18, or 2 devices"):
    run(make(layout, head=heads.make("softmax", 3)))


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"strategy": "pjit"}, "strategy='pjit'; it must be one of jit, pmap"),
    ({"seeds_by": "scan"}, "seeds_by='scan'"),
    ({"seed": 0}, "0 devices along the seed axis"),
    ({"seed": 3, "data": 3}, "9 in all; there are 8"),
    ({"seed": 2, "data": 2, "strategy": "pmap"}, "pmap has one axis"),
    ({"data": 2, "shard_classes": True, "strategy": "pmap"}, "shard_classes=True"),
  ],
)
def test_a_layout_that_cannot_be_is_refused(options, message):
  with pytest.raises(ValueError, match=message):
    training.make_layout(**options)


def test_batches_dealt_by_rows_train_as_those_that_are_gathered(alone, monkeypatch):
  """With several processes each deals its rows; here one process deals them all."""
  monkeypatch.setattr(training.parallel, "_rows_are_dealt", lambda: True)
  layout = training.make_layout(seed=2, data=2)
  dealt, _ = run(make(layout, head=heads.make("taylor", 3), dropout=0.3), seeds=[3, 1, 2])
  for i, (lone, _) in enumerate(alone):
    expect_equal(jax.tree.map(lambda x, i=i: x[i : i + 1], dealt), lone)
