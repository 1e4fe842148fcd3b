"""Many devices, many seeds: whatever the layout, a seed's parameters are those of one device."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from softmax_research import heads, nn, training
from softmax_research.data import augment
from tests.training.models import SHAPE, bright_rows, tiny_programs

_OPTIONS = {"adaptive": {"cutoffs": (1,)}, "sampled": {"num_samples": 2}}


def _make(name):
  counts = {"class_counts": (5, 3, 2)} if "class_counts" in heads.head_options(name) else {}
  return heads.make(name, 3, **counts, **_OPTIONS.get(name, {}))


def all_heads():
  """Every head in one: they share the features, and the loss is the mean of theirs."""
  members = {name: _make(name) for name in heads.HEADS}

  def init(key, num_features):
    return {name: head.init(key, num_features) for name, head in members.items()}

  def loss(params, features, labels, *, step=0, key=None):
    losses = [
      head.loss(params[name], features, labels, step=step, key=key)
      for name, head in members.items()
    ]
    return sum(losses) / len(losses)

  def log_prob(params, features):
    return members["softmax"].log_prob(params["softmax"], features)

  return heads.Head(init, loss, log_prob)


def train(layout, *, head, seeds=(0,), num_epochs=1, backbone=None, **options):
  """Train on 80 examples in batches of 16; return the gathered states and the curves."""
  backbone = (backbone or {"name": "mlp", "widths": (7,)}) | options
  programs = training.make_programs(
    nn.make(**backbone, axis_name=layout.axis_name),
    head,
    optax.sgd(0.05, momentum=0.9),
    input_shape=SHAPE,
    preprocess=lambda images: images.astype(jnp.float32) / 255,
    augment=augment.make("flip"),
    axis_name=layout.axis_name,
    mesh=layout.step_mesh,
  )
  parallel = training.parallelise(programs, layout)
  fit = training.fit(
    parallel, bright_rows(80), bright_rows(24), seeds=seeds, num_epochs=num_epochs, batch_size=16
  )
  return parallel.gather(fit.states), fit.curves


def expect_equal(states, reference, tolerance=1e-5):
  """Compare all but the keys and the bookkeeping of losses."""
  for ours, one in zip(states[:3], reference[:3], strict=True):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=0, atol=tolerance), ours, one)


@pytest.fixture(name="one_device", scope="module")
def _one_device():
  return train(training.make_layout(), head=all_heads(), batch_norm=True, dropout=0.3)


@pytest.mark.parametrize("strategy", ["jit", "pmap"])
def test_every_head_trains_on_eight_devices_as_on_one(strategy, one_device):
  layout = training.make_layout(data=8, strategy=strategy)
  states, curves = train(layout, head=all_heads(), batch_norm=True, dropout=0.3)
  expect_equal(states, one_device[0])
  for name in ("train_loss", "validation_nll"):
    np.testing.assert_allclose(curves[0][name], one_device[1][0][name], rtol=1e-5)


def test_running_statistics_are_those_of_the_whole_batch(one_device):
  """The check above would pass if nothing were learnt or normalised."""
  (mean, var) = (one_device[0].model_state["layers"]["0"]["norm"][name] for name in ("mean", "var"))
  assert np.abs(mean).max() > 0.1 and np.abs(var - 1).max() > 0.1


@pytest.fixture(name="alone", scope="module")
def _alone():
  """Seeds 3, 1 and 2, each trained by itself."""
  head = heads.make("taylor", 3)
  return [train(training.make_layout(), head=head, seeds=[s], dropout=0.3) for s in (3, 1, 2)]


@pytest.mark.parametrize(
  "options",
  [
    {"seeds_by": "vmap"},
    {"seeds_by": "map"},
    {"seed": 2, "data": 4},
    {"seed": 3, "seeds_by": "map"},
    {"seed": 2, "strategy": "pmap"},
  ],
  ids=str,
)
def test_seeds_beside_each_other_are_as_they_are_alone(options, alone):
  layout = training.make_layout(**options)
  states, curves = train(layout, head=heads.make("taylor", 3), seeds=[3, 1, 2], dropout=0.3)
  for i, (lone, lone_curves) in enumerate(alone):
    expect_equal(jax.tree.map(lambda x, i=i: x[i : i + 1], states), lone)
    assert curves[i]["validation_accuracy"] == lone_curves[0]["validation_accuracy"]


@pytest.mark.parametrize("strategy", ["jit", "pmap"])
def test_a_convolutional_net_trains_on_four_devices_as_on_one(strategy):
  net = {"name": "cnn", "stages": ((4,),), "dense": (5,), "batch_norm": "after", "dropout": (0.2,)}
  head = heads.make("softmax", 3)
  layout = training.make_layout(data=4, strategy=strategy)
  (states, curves), (one, one_curves) = (
    train(where, head=head, backbone=net) for where in (layout, training.make_layout())
  )
  expect_equal(states, one)
  np.testing.assert_allclose(curves[0]["validation_nll"], one_curves[0]["validation_nll"], 1e-5)


def test_a_dense_heads_classes_lie_on_the_devices_in_parts(alone):
  layout = training.make_layout(data=4, shard_classes=True)
  head = heads.make("sm_taylor", 8)
  programs = training.parallelise(tiny_programs(head=head), layout)
  states = programs.init([0])
  for tree in (states.params, states.opt_state[0].mu, states.opt_state[0].nu):
    shards = tree["head"]["kernel"].addressable_shards
    assert {shard.data.shape for shard in shards} == {(1, 6, 2)}
  sharded, _ = train(layout, head=head)
  expect_equal(sharded, train(training.make_layout(), head=head)[0])


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
    train(layout, head=heads.make("softmax", 3))


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


def test_batches_dealt_by_rows_train_as_those_that_are_gathered(monkeypatch):
  """With several processes each deals its rows; here one process deals them all."""
  layout = training.make_layout(seed=2, data=2)
  head = heads.make("softmax", 3)
  gathered, _ = train(layout, head=head, seeds=[0, 1, 2])
  monkeypatch.setattr(training.by_jit, "_rows_are_dealt", lambda: True)
  dealt, _ = train(layout, head=head, seeds=[0, 1, 2])
  expect_equal(dealt, gathered, tolerance=1e-6)
