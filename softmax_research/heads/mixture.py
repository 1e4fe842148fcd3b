"""The mixture head: a mixture of softmaxes, whose log-probabilities are of any rank."""

import jax
import jax.numpy as jnp

from softmax_research import functional
from softmax_research.functional.arrays import affine, check_integer, product
from softmax_research.functional.labels import is_known
from softmax_research.heads.dense import dense, taylor_score
from softmax_research.heads.head import Head, likelihood_loss


def mixture(
  num_classes: int,
  *,
  num_components: int = 4,
  width: int | None = None,
  order: int | None = None,
  bias: bool = True,
  implementation: str = "auto",
) -> Head:
  r"""Build the head of a mixture of softmaxes.

  .. math::
    p(k \mid x) = \sum_{m=1}^{M} \pi_m(x)\, p(k \mid h_m), \qquad
    h_m = \tanh(x U_m + c_m), \qquad \pi(x) = \mathrm{softmax}(x G)

  All components share one dense layer, p(k | h) = softmax(h V + b). Of one softmax on D features
  the log-probabilities of all contexts and classes are a matrix of rank at most D + 2, however rich
  the language is that they describe; a mixture's have no such bound.

  Args:
    num_classes: K.
    num_components: M.
    width: of h; as many as there are features by default.
    order, bias: those of `sampled`.
    implementation: see `heads.dense`; the logits of M components are M times as many.

  Returns:
    A head with parameters `{"gate": [D, M], "latent": {"kernel": [D, M E], "bias": [M E]},
    "layer": {"kernel": [E, K], "bias": [K]}}`.

  Raises:
    ValueError: an option is out of range.

  Example:
    >>> head = mixture(100, num_components=3)
    >>> params = head.init(jax.random.key(0), 8)
    >>> head.log_prob(params, jnp.ones((2, 8))).shape
    (2, 100)

  Reference:
    Yang, Dai, Salakhutdinov & Cohen 2018, "Breaking the Softmax Bottleneck: A High-Rank RNN
    Language Model" (arXiv 1711.03953).
  """
  check_integer("num_components", num_components)
  if width is not None:
    check_integer("width", width)
  layer = dense(num_classes, score=taylor_score(order), bias=bias, implementation=implementation)
  draw = jax.nn.initializers.lecun_normal()

  def init(key, num_features):
    check_integer("num_features", num_features)
    gate_key, latent_key, layer_key = jax.random.split(key, 3)
    size = width or num_features
    total = num_components * size
    return {
      "gate": draw(gate_key, (num_features, num_components), jnp.float32),
      "latent": {
        "kernel": draw(latent_key, (num_features, total), jnp.float32),
        "bias": jnp.zeros(total, jnp.float32),
      },
      "layer": layer.init(layer_key, size),
    }

  def components(params, features):
    """Return the logarithms of the gates, `[..., M]`, and the features of each, `[..., M, E]`."""
    features = jnp.asarray(features)
    log_gates = functional.log_softmax(product(features, params["gate"]))
    latent = jnp.tanh(affine(features, **params["latent"]))
    size = params["layer"]["kernel"].shape[0]
    latent = latent.reshape(*features.shape[:-1], num_components, size)
    return log_gates, latent.astype(params["layer"]["kernel"].dtype)

  def log_prob(params, features):
    log_gates, latent = components(params, features)
    of_components = layer.log_prob(params["layer"], latent)
    return functional.log_normaliser(log_gates[..., None] + of_components, axis=-2)

  def label_log_prob(params, features, labels):
    labels = jnp.where(is_known(labels, num_classes), labels, 0)  # Others' losses are NaN after.
    log_gates, latent = components(params, features)
    each = jnp.broadcast_to(labels[..., None], log_gates.shape)
    losses = layer.loss(params["layer"], latent, each)
    return functional.log_normaliser(log_gates - losses)

  return Head(init, likelihood_loss(num_classes, label_log_prob, log_prob), log_prob)
