"""Switches of JAX that a user may have set: training works under them, in the same types."""

import jax
import jax.numpy as jnp
import pytest

from softmax_research import data, heads, nn, training
from tests.training.models import SHAPE, bright_rows

_SWITCHES = {
  "x64": lambda: jax.enable_x64(True),
  "rank promotion": lambda: jax.numpy_rank_promotion("raise"),
}


def _programs():
  """A net with all kinds of layers, an optimiser with a schedule, and data of the usual kind."""
  mean, std = data.channel_statistics(bright_rows().images)
  options = {"dense": (5,), "batch_norm": True, "dropout": 0.2, "activation": "prelu"}
  return training.make_programs(
    nn.make("cnn", stages=((4,),), **options),
    heads.make("softmax", 3),
    training.make_optimizer("adam", learning_rate=1e-2, num_steps=9, schedule="cosine", warmup=0.1),
    input_shape=SHAPE,
    preprocess=lambda images: data.standardise(images, mean, std),
    augment=data.augment.make("flip_crop", padding=1),
  )


@pytest.mark.parametrize("switch", _SWITCHES)
def test_they_forbid_nothing_and_change_no_type(switch):
  def train():
    """Two steps, traced and not run."""
    programs, images, labels = _programs(), jnp.zeros((2, 4, *SHAPE), jnp.uint8), jnp.zeros((2, 4))
    state = programs.init(0)
    state = programs.run_steps(state, None, images, labels.astype(jnp.int32), 0, 2)
    return state._replace(key=None), programs.predict(state, images[0])

  with _SWITCHES[switch]():
    found = jax.eval_shape(train)
  assert {leaf.dtype.name for leaf in jax.tree.leaves(found)} == {"float32", "int32"}


def test_a_state_begins_without_nans():
  with jax.debug_nans(True):
    _programs().init(0)
