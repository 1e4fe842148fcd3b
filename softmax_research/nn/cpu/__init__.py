"""What CPUs need: convolutions as products of matrices and pooling, with the batch last.

The library's convolutions train on CPU at a third of PyTorch's speed, and inside of a compiled loop
ten times slower still. `nn.convolution` says where this form is taken in place of theirs.
"""

import jax

from softmax_research.nn.cpu.convolution import Padding, convolve, fold_strides
from softmax_research.nn.cpu.pooling import max_pool
from softmax_research.nn.cpu.winograd import conv_3x3, saves_products


def batch_last(images: jax.Array) -> jax.Array:
  """Return images `[B, H, W, C]` as `[C, H, W, B]`."""
  return images.transpose(3, 1, 2, 0)


def batch_first(images: jax.Array) -> jax.Array:
  """Return images `[C, H, W, B]` as `[B, H, W, C]`; just after `batch_last` it costs nothing."""
  return images.transpose(3, 1, 2, 0)
