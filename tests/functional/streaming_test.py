"""Streaming: blocks, and what a function closes over."""

import jax
import jax.numpy as jnp
import pytest

from softmax_research.functional.streaming import Blocks, choose_blocks, hoist

HALF, SINGLE, DOUBLE = (jnp.dtype(name) for name in ("bfloat16", "float32", "float64"))


@pytest.mark.parametrize(
  ("sizes", "dtype", "backend", "lean", "blocks"),
  [
    # A cache's worth of logits on CPU, whose products are summed in float32.
    ((2048, 32_000), SINGLE, "cpu", False, Blocks(512, 8000, SINGLE)),
    ((8192, 2**18), HALF, "cpu", False, Blocks(191, 8192, SINGLE)),
    ((16, 10), DOUBLE, "cpu", False, Blocks(16, 10, DOUBLE)),
    ((4, 2**31 - 1), SINGLE, "cpu", False, Blocks(1, 8192, SINGLE)),
    # A gigabyte of logits on GPU, those of all classes.
    ((8192, 256_000), HALF, "gpu", False, Blocks(2048, 256_000, HALF)),
    ((8192, 256_000), SINGLE, "gpu", False, Blocks(1024, 256_000, SINGLE)),
    ((8192, 256_000), jnp.dtype("float16"), "gpu", False, Blocks(1024, 256_000, SINGLE)),
    ((8192, 32_000), HALF, "gpu", False, Blocks(8192, 32_000, HALF)),
    ((4, 2**31 - 1), SINGLE, "gpu", False, Blocks(1, 2**31 - 1, SINGLE)),
    # All examples and a third of a gigabyte of logits, wherever it is; none are kept.
    ((8192, 256_000), HALF, "gpu", True, Blocks(8192, 10_240, None)),
    ((8192, 256_000), HALF, "cpu", True, Blocks(8192, 10_240, None)),
    ((8192, 151_936), HALF, "gpu", True, Blocks(8192, 10_240, None)),
    ((2**20, 256_000), HALF, "gpu", True, Blocks(2**20, 1024, None)),
    ((16, 1000), HALF, "gpu", True, Blocks(16, 1000, None)),
  ],
)
def test_blocks_by_size_type_and_backend(sizes, dtype, backend, lean, blocks):
  with jax.enable_x64(True):
    assert choose_blocks(*sizes, dtype, backend=backend, lean=lean) == blocks


def test_python_numbers_that_are_differentiated_become_arrays():
  # Outside of jit a tracer may stand for a Python number.
  def total(temperature):
    scaled = hoist(lambda logit: logit / temperature, jnp.float32)
    assert [constant.shape for constant in scaled.constants] == [()]
    return scaled.call(scaled.constants, jnp.array([[3.0], [4.0]])).sum()

  assert jax.grad(total)(2.0) == -7 / 4


def test_arguments_that_are_not_used():
  uses = hoist(lambda a, b, c: a * jnp.exp(c), jnp.float32, num_arguments=3).uses
  assert uses == [True, False, True]
