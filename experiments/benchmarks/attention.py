"""Attention: value and gradients of ours against JAX's and PyTorch's, and of scores among ours.

Sizes are `[batch, length, heads, features]`. Where no library has a variant our softmax attention
is the peer. Peak memory is a process's own, with JAX or PyTorch in it.
"""

import functools
from collections.abc import Callable

import jax
import numpy as np

from experiments.benchmarks import pytorch
from experiments.benchmarks.losses import repeat
from experiments.benchmarks.timing import OURS, Case, Run
from softmax_research import functional

SIZES = (2, 2048, 8, 64)
#: Of memory, and of linear attention with keys of so many features.
LONG, KEY_FEATURES = (1, 8192, 2, 64), 16
#: Where linear attention with keys as wide as values meets softmax.
CROSSING = (1024, 2048, 4096, 8192, 16_384, 32_768)
PEER = "our softmax"


def cases() -> list[Case]:
  """Return the cases: softmax, other scores, great lengths, and linear attention."""
  attention = functional.attention
  scores = {
    "Taylor, order 2": functional.taylor_score,
    "StableMax": functional.stablemax_score,
    "soft cap": functional.soft_cap_score,
  }
  of_scores = [
    _case(name, SIZES, functools.partial(attention, score=score)) for name, score in scores.items()
  ]
  linear = functional.taylor_attention
  return [
    _case("softmax", SIZES, attention, _libraries(SIZES)),
    *of_scores,
    _case("softpick", SIZES, functools.partial(attention, normaliser="softpick")),
    _case("sigmoid", SIZES, functools.partial(attention, normaliser="sigmoid")),
    _case("memory of softmax", LONG, attention, _libraries(LONG)),
    _case(f"linear Taylor, keys of {KEY_FEATURES}", LONG, linear, key_features=KEY_FEATURES),
    *(_case("linear Taylor, crossing", (1, length, *LONG[2:]), linear) for length in CROSSING),
  ]


def _libraries(sizes) -> dict[str, Callable[[], Run]]:
  def of_jax(*arrays, causal):
    return jax.nn.dot_product_attention(*arrays, is_causal=causal)

  return {
    "jax.nn": functools.partial(_side, sizes, of_jax),
    "PyTorch": functools.partial(_torch_side, sizes),
  }


def _case(name: str, sizes, ours, peers=None, *, key_features: int | None = None) -> Case:
  peers = peers or {PEER: functools.partial(_side, sizes, functional.attention)}
  ours = functools.partial(_side, sizes, ours, key_features=key_features)
  return Case(f"{name} {list(sizes)}, causal", {OURS: ours, **peers})


def arrays(sizes, key_features: int | None = None) -> list[np.ndarray]:
  """Return queries, keys, values and the outputs' cotangent."""
  rng = np.random.default_rng(0)
  shapes = [(*sizes[:3], key_features or sizes[3])] * 2 + [sizes] * 2
  return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def _side(sizes, attend: Callable[..., jax.Array], key_features: int | None = None) -> Run:
  def run(*arrays):
    *arrays, cotangent = arrays
    outputs, pull = jax.vjp(functools.partial(attend, causal=True), *arrays)
    return outputs, pull(cotangent)

  return repeat(run, *jax.device_put(arrays(sizes, key_features)))


def _torch_side(sizes) -> Run:
  import torch  # noqa: PLC0415  # In the process of this side alone.

  *given, cotangent = (
    torch.from_numpy(array).to(pytorch.device()).transpose(1, 2).contiguous()
    for array in arrays(sizes)
  )
  given = [array.requires_grad_() for array in given]

  def run():
    for array in given:
      array.grad = None
    attend = torch.nn.functional.scaled_dot_product_attention
    attend(*given, is_causal=True).backward(cotangent)
    return pytorch.finished()

  return run
