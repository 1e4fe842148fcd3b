"""Maps: class activation maps of a trained network, of every kind, at the size of its images."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research import information, nn

#: Kinds of maps; the first is the one to compare with.
KINDS = ("CAM", "infoCAM", "infoCAM+")
#: Maps as they are, and averaged over the paper's window of 4 by 4 positions.
SMOOTHINGS = ("plain", "smoothed")


class _LastMaps(nn.CNN):
  """A CNN that returns its last maps, position by position, in place of features."""

  def __call__(self, images, *, train, rngs=None):
    maps = self.maps(images, train=train, rngs=rngs)
    return maps.reshape(maps.shape[0], -1)


def make_mapper(options: dict[str, Any], preprocess: Callable) -> Callable[..., jax.Array]:
  """Make the function that computes maps.

  Args:
    options: of the CNN.
    preprocess: raw images to floats, as in training.

  Returns:
    A jitted function `(params, model_state, images [B, S, S, C], labels [B], log_probs [B, K])`,
    whose output is `[B, kinds, smoothings, S, S]`: maps of the labels' classes, smoothed where
    they are small, as in the paper, and then enlarged bilinearly.
  """
  options = {key: value for key, value in options.items() if key != "name"}
  backbone = nn.from_nnx(lambda input_shape, *, rngs: _LastMaps(input_shape, **options, rngs=rngs))

  @jax.jit
  def compute(params, model_state, images, labels, log_probs):
    flat, _ = backbone.apply(params["backbone"], model_state, preprocess(images), train=False)
    kernel = params["head"]["kernel"]
    # Canvases are square, and so are their maps.
    side = round((flat.shape[1] / kernel.shape[0]) ** 0.5)
    last = flat.reshape(-1, side, side, kernel.shape[0])
    small = jnp.stack(
      [
        information.cam(last, kernel, labels),
        information.info_cam(last, kernel, labels),
        information.info_cam_plus(last, kernel, labels, log_probs),
      ],
      axis=1,
    )
    both = jnp.stack([small, information.smooth(small, window=min(4, side))], axis=2)
    return jax.image.resize(both, (*both.shape[:3], *images.shape[1:3]), "bilinear")

  return compute


def check_head(name: str, params: Any, num_classes: int) -> None:
  """Raise a ValueError unless a head is a linear layer, whose kernel `[D, K]` gives the maps."""
  linear = isinstance(params, dict) and {"kernel"} <= set(params) <= {"kernel", "bias"}
  if not linear or any(leaf.shape[-1] != num_classes for leaf in params.values()):
    raise ValueError(
      f"Got the head {name!r}, which is not a linear layer; class activation maps need its kernel. "
      "Take softmax or pc_softmax."
    )


def mean_share(kernel: np.ndarray) -> float:
  r"""Compute how much the columns of a kernel have in common.

  .. math:: \|\bar w\| \Big/ \tfrac1K \sum_k \|w_k\|

  At 0 infoCAM is CAM times K / (K - 1), and both bound the same boxes.

  Example:
    >>> mean_share(np.array([[1.0, -1.0]]))
    0.0
  """
  kernel = np.asarray(kernel, np.float64)
  return float(np.linalg.norm(kernel.mean(1)) / np.linalg.norm(kernel, axis=0).mean())
