"""Forms: how convolutions are computed and seeds train, by backend, number of seeds and width.

On an H200 (JAX 0.11.2), ms for a step of one seed, float32 with its products rounded to TF32:

| net, batch | seeds | form | float32 | bfloat16 |
|---|---|---|---|---|
| two convolutions of 32 and 64 filters, 128 | 1 | library | 0.336 | 0.224 |
| | 1 | products | 0.240 | 0.208 |
| | 16, `map` | library | 0.277 | |
| | 16, `vmap` | library, grouped | 0.207 | |
| | 16, `vmap` | products | 0.092 | 0.060 |
| six of 32 to 128 with batch norm, 100 | 1 | library | 0.893 | 0.690 |
| | 1 | products | 0.881 | 0.690 |
| | 8, `vmap` | library, grouped | 1.13 | |
| | 16, `vmap` | products | 0.504 | 0.297 |
| thirteen of 64 to 128 with PReLU, 256 | 1 | library | 4.83 | 2.78 |
| | 1 | plain Flax | 5.43 | 5.35 |

On CPU the library's form trains a small net at 0.35 times PyTorch's speed, and in a loop ten times
slower still, products at 1.0 to 2.1 times. The maps of all seeds at once leave the caches, so `map`
is faster than `vmap` there; small products of matrices, as an MLP's, gain from being many.
"""

import contextlib
import contextvars
from collections.abc import Iterator, Sequence
from typing import Any

import jax

from softmax_research.nn.backbone import Backbone

# Wider layers fill a GPU with one seed, and the library's kernels are faster than products there.
_WIDEST = 128

_products = contextvars.ContextVar("products", default=False)


def seeds_by(backend: str, num_seeds: int, filters: Sequence[int]) -> str:
  """Choose how the seeds of one device train: all in each operation, or one after another.

  Args:
    backend: `jax.default_backend()`.
    num_seeds: the seeds of one device.
    filters: of the network's convolutions; empty for a network without any.

  Returns:
    `"vmap"` or `"map"`.

  Example:
    >>> seeds_by("cpu", 5, (32, 64)), seeds_by("gpu", 5, (32, 64)), seeds_by("gpu", 5, (384,))
    ('map', 'vmap', 'map')
  """
  if not filters:
    return "vmap"
  narrow = max(filters) <= _WIDEST
  return "vmap" if backend != "cpu" and num_seeds > 1 and narrow else "map"


def filters(backbone: Backbone, input_shape: Sequence[int]) -> tuple[int, ...]:
  """List the filters of a network's convolutions, which are its parameters of four axes.

  Example:
    >>> from softmax_research import nn
    >>> filters(nn.make("cnn", stages=((4, 5),)), (4, 4, 1))
    (4, 5)
  """
  params, _ = jax.eval_shape(lambda: backbone.init(jax.random.key(0), tuple(input_shape)))
  return tuple(leaf.shape[-1] for leaf in jax.tree.leaves(params) if leaf.ndim == 4)


def fit(backbone: Backbone, seeds_by: str) -> Backbone:
  """Compute a backbone's convolutions in the form that is fastest where its seeds train so.

  Args:
    backbone: any; of one without convolutions of this package nothing changes.
    seeds_by: `"vmap"`, where several seeds train in each operation, or `"map"`.

  Returns:
    A backbone of the same parameters and the same numbers, but for the order of sums.

  Example:
    >>> from softmax_research import nn
    >>> backbone = fit(nn.make("cnn", stages=((4,),), dense=()), "vmap")
    >>> params, state = backbone.init(jax.random.key(0), (4, 4, 1))
    >>> backbone.apply(params, state, jax.numpy.ones((2, 4, 4, 1)), train=False)[0].shape
    (2, 16)
  """

  def apply(*arguments: Any, **options: Any):
    with _as_products(seeds_by == "vmap"):
      return backbone.apply(*arguments, **options)

  return Backbone(backbone.init, apply)


def takes_products() -> bool:
  """Say whether a convolution that is traced now is to be computed as products."""
  return _products.get() or jax.default_backend() == "cpu"


@contextlib.contextmanager
def _as_products(products: bool) -> Iterator[None]:
  before = _products.set(products)
  try:
    yield
  finally:
    _products.reset(before)
