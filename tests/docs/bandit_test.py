"""The policy of `docs/examples/bandit.py` learns."""

import pathlib
import runpy

import jax
import pytest

from softmax_research import heads

_EXAMPLE = pathlib.Path(__file__).parents[2] / "docs" / "examples" / "bandit.py"


@pytest.mark.parametrize("name", ["softmax", "hierarchical"])
def test_a_policy_of_any_head_finds_the_arms_that_pay(name):
  example = runpy.run_path(str(_EXAMPLE))
  head = heads.make(name, example["NUM_ARMS"])
  rewards = jax.jit(lambda: example["learn"](head, steps=200))()
  assert rewards[:5].mean() < 0.5 and rewards[-20:].mean() > 0.6
