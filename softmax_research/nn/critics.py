"""Critics: networks that score how well each x of a batch goes with each y."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from softmax_research.functional.arrays import check_integer
from softmax_research.nn.layer import check_floating, check_sizes, dense_layers
from softmax_research.nn.mlp import MLP

_INITIALISE = jax.nn.initializers.he_normal()


class SeparableCritic(nnx.Module):
  r"""Score pairs by the inner product of two embeddings.

  .. math:: f(x, y) = g(x)^\top h(y)

  Both embeddings are MLPs with a linear last layer; a batch takes B passes through each. Embeddings
  start with a length of about a tenth, so scores near zero: bounds take exponentials of them, and
  from large scores at the start MINE and NWJ do not recover.

  Args:
    x_size: the length of an x.
    y_size: the length of a y.
    widths: the hidden layers' sizes, of both embeddings.
    embedding: the embeddings' length.
    rngs: keys for the parameters.

  Raises:
    ValueError: a size is below 1.

  Example:
    >>> critic = SeparableCritic(3, 2, widths=(8,), embedding=4, rngs=nnx.Rngs(0))
    >>> critic(jnp.ones((5, 3)), jnp.ones((5, 2))).shape
    (5, 5)

  Reference:
    Poole et al. 2019, "On Variational Bounds of Mutual Information" (arXiv 1905.06922), section 3.
  """

  def __init__(
    self,
    x_size: int,
    y_size: int,
    *,
    widths: int | Sequence[int] = (256, 256),
    embedding: int = 32,
    rngs: nnx.Rngs,
  ):
    for name, size in (("embedding", embedding), ("x_size", x_size), ("y_size", y_size)):
      check_integer(name, size)
    widths = check_sizes("widths", widths)

    def short(*arguments):
      return _INITIALISE(*arguments) / (10 * embedding**0.5)

    def embed(size):
      hidden = MLP((size,), widths=widths, rngs=rngs)
      return hidden, nnx.Linear(widths[-1], embedding, kernel_init=short, rngs=rngs)

    self.x_hidden, self.x_linear = embed(x_size)
    self.y_hidden, self.y_linear = embed(y_size)

  def __call__(self, x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the scores `[B, B]`, of the x of the row with the y of the column."""
    g = self.x_linear(self.x_hidden(x, train=False))
    h = self.y_linear(self.y_hidden(y, train=False))
    return g @ h.T


class JointCritic(nnx.Module):
  r"""Score pairs by an MLP that sees both.

  .. math:: f(x, y) = \mathrm{MLP}([x, y])

  A batch has B^2 pairs; the first layer, being linear in x and in y, still takes 2 B products.

  Args:
    x_size, y_size, widths, rngs: see `SeparableCritic`.

  Raises:
    ValueError: a size is below 1.

  Example:
    >>> critic = JointCritic(3, 2, widths=(8, 4), rngs=nnx.Rngs(0))
    >>> critic(jnp.ones((5, 3)), jnp.ones((5, 2))).shape
    (5, 5)

  Reference:
    Poole et al. 2019 (arXiv 1905.06922), section 3.
  """

  def __init__(
    self,
    x_size: int,
    y_size: int,
    *,
    widths: int | Sequence[int] = (256, 256),
    rngs: nnx.Rngs,
  ):
    check_integer("x_size", x_size)
    check_integer("y_size", y_size)
    widths = check_sizes("widths", widths)
    self.x_size = x_size
    self.kernel = nnx.Param(_INITIALISE(rngs.params(), (x_size + y_size, widths[0]), jnp.float32))
    self.bias = nnx.Param(jnp.zeros((widths[0],), jnp.float32))
    self.rest = dense_layers(widths[0], widths[1:], kernel_init="he_normal", rngs=rngs)
    self.score = nnx.Linear(widths[-1], 1, kernel_init=_INITIALISE, rngs=rngs)

  def __call__(self, x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the scores `[B, B]`, of the x of the row with the y of the column."""
    check_floating(x)
    kernel = self.kernel[...]
    of_x, of_y = x @ kernel[: self.x_size], y @ kernel[self.x_size :]
    features = jax.nn.relu(of_x[:, None] + of_y[None] + self.bias[...][None, None])
    features = features.reshape(-1, features.shape[-1])
    for layer in self.rest:
      features = layer(features, train=False)
    return self.score(features).reshape(len(x), len(y))
