"""Losses: value and gradient of each loss against the libraries that have it.

Variants of softmax that no library has stand beside our own cross-entropy instead, and the
cross-entropy stands beside a copy of its logits, which reads and writes as many bytes.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.benchmarks import pytorch
from experiments.benchmarks.timing import OURS, Case, Run
from softmax_research import functional

#: How many examples and classes: of the dense losses, and of those with a solver for each row.
DENSE = (2048, 32_000)
SPARSE = (2048, 1000)
#: Of the adaptive softmax: examples, features, classes and the bounds of its clusters.
ADAPTIVE = (2048, 512, 200_000, (4000, 40_000))

Loss = Callable[[jax.Array, jax.Array], jax.Array]


def cases() -> list[Case]:
  """Return the cases: losses that libraries have, variants of softmax, adaptive softmax."""
  plain = {"our cross-entropy": functional.cross_entropy}
  ours = [_case(name, DENSE, loss, plain) for name, loss in variants(DENSE[1]).items()]
  return [*_losses(), *_sparse(), *ours, adaptive_case()]


def _losses() -> list[Case]:
  cross_entropy, hinge = functional.cross_entropy, functional.multiclass_hinge
  integer_optax = optax.softmax_cross_entropy_with_integer_labels

  def optax_smoothed(logits, labels):
    hot = jax.nn.one_hot(labels, logits.shape[-1])
    return optax.softmax_cross_entropy(logits, optax.smooth_labels(hot, 0.1))

  def optax_z_loss(logits, labels):
    return integer_optax(logits, labels) + 1e-4 * jax.nn.logsumexp(logits, axis=-1) ** 2

  def optax_one_vs_all(logits, labels):
    return jnp.sum(optax.sigmoid_binary_cross_entropy(logits, labels), axis=-1)

  smoothed = functools.partial(cross_entropy, label_smoothing=0.1)
  with_z_loss = functools.partial(cross_entropy, z_loss=1e-4)
  of_rivals = functools.partial(hinge, sum_rivals=True)
  soft = {"optax": optax.softmax_cross_entropy, "PyTorch": "cross_entropy"}
  # The libraries take one-hot labels, which they are given ready-made.
  binary = {"optax": optax_one_vs_all, "PyTorch": "one_vs_all"}
  entropy = _case(
    "cross-entropy", DENSE, cross_entropy, {"optax": integer_optax, "PyTorch": "cross_entropy"}
  )
  entropy.sides["copy of the logits"] = functools.partial(_copy, DENSE)
  return [
    entropy,
    _case("cross-entropy of soft labels", DENSE, cross_entropy, soft, labels="soft"),
    _case(
      "label smoothing", DENSE, smoothed, {"optax": optax_smoothed, "PyTorch": "label_smoothing"}
    ),
    _case("z-loss", DENSE, with_z_loss, {"optax": optax_z_loss}),
    _case("one against all", DENSE, functional.one_vs_all_cross_entropy, binary, peer_labels="hot"),
    _case("hinge", DENSE, hinge, {"optax": optax.losses.multiclass_hinge_loss}),
    _case("hinge, sum of rivals", DENSE, of_rivals, {"PyTorch": "hinge"}),
  ]


def _sparse() -> list[Case]:
  def weighted(function):
    return lambda logits, weights: jnp.sum(weights * function(logits), axis=-1)

  simplex = weighted(jax.vmap(optax.projections.projection_simplex))
  sparsemax_loss = {
    "optax": optax.losses.multiclass_sparsemax_loss,
    "entmax": "sparsemax_loss",
    "entmax, bisection": "sparsemax_bisect_loss",
  }
  entmax_loss = {"entmax": "entmax15_loss", "entmax, bisection": "entmax_bisect_loss"}
  sparsemax = {"optax": simplex, "entmax": "sparsemax"}
  entmax = {"entmax": "entmax15", "entmax, bisection": "entmax_bisect"}
  return [
    _case("sparsemax loss", SPARSE, functional.sparsemax_loss, sparsemax_loss),
    _case("entmax loss", SPARSE, functional.entmax_loss, entmax_loss),
    _case("sparsemax", SPARSE, weighted(functional.sparsemax), sparsemax, labels="soft"),
    _case("entmax", SPARSE, weighted(functional.entmax), entmax, labels="soft"),
  ]


def variants(num_classes: int) -> dict[str, Loss]:
  """Return the losses that are a margin, a score or a prior away from the cross-entropy."""
  cross_entropy, soft_margin = functional.cross_entropy, functional.soft_margin
  counts = 1 / np.arange(1, num_classes + 1)
  log_prior = functional.log_prior_from_counts(counts)
  weights = functional.class_balanced_weights(counts, beta=0.9)

  def taylor(order, margin):
    def loss(logits, labels):
      logits = soft_margin(logits, labels, margin=margin) if margin else logits
      return cross_entropy(functional.taylor_score(logits, order=order), labels)

    return loss

  def large_margin(logits, labels):
    examples, classes = logits.shape
    norms = {"feature_norms": jnp.full(examples, 4.0), "kernel_norms": jnp.full(classes, 4.0)}
    return cross_entropy(functional.large_margin(logits, labels, **norms, margin=4), labels)

  def cosine(change, **options):
    return lambda z, y: cross_entropy(30 * change(z / 16, y, **options), y)

  def mapped(change, **options):
    return lambda z, y: cross_entropy(change(z, **options), y)

  bends = {"weights": jnp.full(4, 0.1), "points": jnp.array([-0.1, 0.1, -0.2, 0.2])}

  return {f"Taylor softmax, order {order}": taylor(order, 0) for order in (2, 4, 6, 8)} | {
    "SM-Taylor softmax, order 2": taylor(2, 0.6),
    "spherical softmax": lambda z, y: cross_entropy(functional.spherical_score(z), y),
    "ReLU classifier": lambda z, y: cross_entropy(functional.relu_score(z), y),
    "SM-softmax": lambda z, y: cross_entropy(soft_margin(z, y, margin=0.6), y),
    "L-Softmax": large_margin,
    "StableMax": mapped(functional.stablemax_score),
    "sigsoftmax": mapped(functional.sigsoftmax_score),
    "soft cap": mapped(functional.soft_cap_score),
    "MultiMax": mapped(functional.multimax_score, **bends),
    "LogitNorm": mapped(functional.logit_norm),
    "ev-softmax": mapped(functional.keep_above_mean, epsilon=1e-6),
    "r-softmax": mapped(functional.keep_above_quantile, epsilon=1e-6),
    "bi-tempered": functional.bi_tempered_loss,
    "squared error": functional.squared_error_loss,
    "focal loss": functools.partial(cross_entropy, link=functional.focal_link),
    "AM-Softmax": cosine(functional.additive_cosine_margin, margin=0.35),
    "ArcFace": cosine(functional.additive_angular_margin, margin=0.5),
    "combined margins": cosine(functional.combined_margin, multiplier=1.2, angle=0.3, cosine=0.1),
    "CurricularFace": cosine(functional.curricular_margin, margin=0.5, emphasis=0.3),
    "LDAM": cosine(soft_margin, margin=np.linspace(0.1, 0.5, num_classes)),
    "PC-softmax": lambda z, y: functional.pc_cross_entropy(z, y, log_prior),
    "class weights, an ignored label": functools.partial(
      cross_entropy, class_weights=weights, ignore_label=0
    ),
    "logit adjustment": lambda z, y: cross_entropy(z + log_prior, y),
  }


def adaptive_case() -> Case:
  """Return the case of the adaptive softmax."""
  return Case(
    "adaptive softmax, Zipf labels {} x {}, {} classes, cutoffs {}".format(*ADAPTIVE),
    {
      OURS: functools.partial(_our_adaptive, *ADAPTIVE),
      "PyTorch": functools.partial(pytorch.adaptive_side, *ADAPTIVE),
    },
  )


def _case(
  name: str,
  sizes: tuple[int, int],
  ours: Loss,
  peers: dict[str, Loss | str],
  *,
  labels: str = "index",
  peer_labels: str | None = None,
) -> Case:
  """Return the case of a loss; its peers are functions of JAX, or names of PyTorch's losses."""
  sides = {OURS: functools.partial(_value_and_gradient, sizes, labels, ours)}
  for peer, loss in peers.items():
    make = pytorch.loss_side if isinstance(loss, str) else _value_and_gradient
    sides[peer] = functools.partial(make, sizes, peer_labels or labels, loss)
  return Case(f"{name} {list(sizes)}", sides)


def _value_and_gradient(sizes: tuple[int, int], kind: str, loss: Loss) -> Run:
  batch = jax.device_put((pytorch.draw_logits(sizes), pytorch.draw_labels(sizes, kind)))
  return repeat(jax.value_and_grad(lambda *batch: jnp.mean(loss(*batch))), *batch)


def _copy(sizes: tuple[int, int]) -> Run:
  return repeat(jnp.copy, jax.device_put(pytorch.draw_logits(sizes)))


def _our_adaptive(count, size, num_classes, cutoffs) -> Run:
  params = functional.adaptive_softmax_init(jax.random.key(0), size, num_classes, cutoffs=cutoffs)
  features = jnp.asarray(pytorch.draw_features(count, size))
  labels = jnp.asarray(pytorch.draw_zipf_labels(count, num_classes))

  def loss(features, params, labels):
    return -jnp.mean(functional.adaptive_softmax_label_log_prob(features, params, labels))

  return repeat(jax.value_and_grad(loss, argnums=(0, 1)), features, params, labels)


def repeat(function: Callable[..., Any], *arguments: Any) -> Run:
  """Return a function that calls a compiled one and waits for the result."""
  compiled = jax.jit(function)

  def run():
    jax.block_until_ready(compiled(*arguments))
    return 1

  return run


def repeat_step(
  step: Callable[..., Any], params: Any, moments: Any, batch: Any, *, units: int = 1
) -> Run:
  """Return a function that makes a step; parameters and moments are updated in place."""
  compiled = jax.jit(step, donate_argnums=(0, 1))

  def run():
    nonlocal params, moments
    params, moments = jax.block_until_ready(compiled(params, moments, batch))
    return units

  return run
