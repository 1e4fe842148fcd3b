"""Linear cross-entropy against numpy in float64 and the reference with all logits in memory."""

import functools
import importlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from softmax_research.functional import (
  large_margin,
  linear_cross_entropy,
  linear_top_k,
  soft_margin,
  spherical_score,
  taylor_score,
)
from softmax_research.functional.linear_cross_entropy import member_label_log_prob, reference
from softmax_research.functional.streaming import Blocks

RNG = np.random.default_rng(0)
N, D, K = 7, 4, 11
FEATURES = RNG.normal(size=(N, D))
KERNEL = RNG.normal(size=(D, K))
BIAS = RNG.normal(size=K)
LOG_PRIOR = np.log(RNG.dirichlet(np.ones(K)))
LABELS = np.array([0, 10, 8, 3, 7, 4, 9])  # The first and last of all blocks of four.
MASK = np.arange(K) % 5 != 1
MASKS = np.arange(K) != (LABELS + 1 + np.arange(N) % 3)[:, None]
MASKS[0, 4:7] = False  # So that the examples differ in how many classes are left.
CLASS_WEIGHTS = np.where(np.arange(K) == 3, 0, RNG.uniform(0.5, 2, K))
BLOCK = (3, 4)  # Divides neither.


@pytest.fixture
def use_blocks(monkeypatch):
  """Replaces the blocks that would be chosen."""
  # The function of that name hides the module as an attribute of its package.
  module = importlib.import_module("softmax_research.functional.linear_cross_entropy")

  def use(*blocks):
    monkeypatch.setattr(module, "choose_blocks", lambda *args, **kwargs: Blocks(*blocks))

  return use


def _soft(logits, labels, norms):
  return soft_margin(logits, labels, margin=0.6)


def _large(logits, labels, norms):
  return large_margin(logits, labels, margin=3, annealing=0.5, **norms)


def _large_by_angle(logits):
  sizes = np.linalg.norm(FEATURES, axis=1)[:, None] * np.linalg.norm(KERNEL, axis=0)
  theta = np.arccos(logits / sizes)
  k = np.floor(theta * 3 / np.pi)
  return (0.5 * logits + sizes * ((-1) ** k * np.cos(3 * theta) - 2 * k)) / 1.5


def _quartic(z):
  return np.log(1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24)


# Options, and the same for the oracle: the label's logit changed, the score.
CASES = {
  "taylor, soft margin, bias, prior, mask, z-loss": (
    {
      "score": functools.partial(taylor_score, order=4),
      "margin": _soft,
      "bias": BIAS,
      "log_prior": LOG_PRIOR,
      "where": MASK,
      "z_loss": 0.1,
      "link": lambda losses: -jnp.expm1(-losses) * losses,
      "class_weights": CLASS_WEIGHTS,
      "ignore_label": 8,
    },
    lambda z: z - 0.6,
    _quartic,
  ),
  "spherical, large margin, a mask for each example, smoothing": (
    {
      "score": functools.partial(spherical_score, epsilon=0.1),
      "margin": _large,
      "where": MASKS,
      "label_smoothing": 0.1,
      "class_weights": CLASS_WEIGHTS,
      "ignore_label": 8,
    },
    _large_by_angle,
    lambda z: np.log(z**2 + 0.1),
  ),
}


def _oracle(options, change, score):
  logits = FEATURES @ KERNEL + options.get("bias", 0)
  hot = np.eye(K)[LABELS] > 0
  scores = score(np.where(hot, change(logits), logits)) + options.get("log_prior", 0)
  mask = np.broadcast_to(options.get("where", True), scores.shape)
  log_total = np.log(np.sum(np.exp(scores), axis=1, where=mask))
  smoothing = options.get("label_smoothing", 0)
  targets = (1 - smoothing) * hot + smoothing * mask / mask.sum(1, keepdims=True)
  losses = log_total[:, None] - scores
  losses = (1 - np.exp(-losses)) * losses if "link" in options else losses
  weights = options.get("class_weights", np.ones(K))
  loss = np.sum(targets * weights * losses, axis=1, where=mask)
  loss += options.get("z_loss", 0) * weights[LABELS] * log_total**2
  return np.where(LABELS == options.get("ignore_label"), 0, loss)


def _compare(ours, expected, **tolerance):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), ours, expected)


def _derivatives(loss, *arguments):
  """Return losses, and the gradients of their mean and of a sum with other factors.

  Those of the mean come from the forward pass, the others from a second one; both are taken side
  by side, by vmap.
  """
  value, pull = jax.vjp(loss, *arguments)
  cotangents = jnp.stack([jnp.full(N, 1 / N), jnp.arange(N) - 2.0])
  return value, jax.vmap(pull)(cotangents)


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name, use_blocks):
  options, change, score = CASES[name]
  learned = {key: options[key] for key in ("bias", "log_prior", "class_weights") if key in options}
  fixed = {key: value for key, value in options.items() if key not in learned}
  use_blocks(N, BLOCK[1], None)  # Those of the lean form.

  @jax.jit
  def derivatives(*arguments):
    def derivatives_of(function, **size):
      def loss(features, kernel, learned):
        return function(features, kernel, LABELS, **learned, **fixed, **size)

      return _derivatives(loss, *arguments)

    ours = [derivatives_of(linear_cross_entropy, block_size=size) for size in (BLOCK, "lean")]
    return ours, derivatives_of(reference)

  with jax.enable_x64(True):
    ours, (value, expected) = derivatives(FEATURES, KERNEL, learned)
  np.testing.assert_allclose(value, _oracle(options, change, score), rtol=1e-11)
  for one, gradients in ours:
    np.testing.assert_allclose(one, value, rtol=1e-11)
    _compare(gradients, expected, rtol=1e-9, atol=1e-12)


SOFT = RNG.dirichlet(np.ones(K), N) * (np.arange(K) != np.arange(1, N + 1)[:, None])
SOFT /= SOFT.sum(1, keepdims=True)


def test_distributions(use_blocks):
  options = {"score": taylor_score, "bias": BIAS, "log_prior": LOG_PRIOR, "z_loss": 0.1}
  options |= {"label_smoothing": 0.1}
  use_blocks(N, BLOCK[1], None)  # Those of the lean form.

  @jax.jit
  def derivatives(features, kernel, class_weights, targets):
    def derivatives_of(function, **size):
      def loss(features, kernel, class_weights):
        return function(features, kernel, targets, class_weights=class_weights, **options, **size)

      return _derivatives(loss, features, kernel, class_weights)

    ours = [derivatives_of(linear_cross_entropy, block_size=size) for size in (BLOCK, "lean")]
    one_hot = jnp.asarray(np.eye(K)[LABELS])
    hard = (
      linear_cross_entropy(features, kernel, one_hot, block_size=BLOCK),
      reference(features, kernel, LABELS),
    )
    masked = (
      linear_cross_entropy(features, kernel, targets, where=where, block_size=BLOCK),
      reference(features[0], kernel[:, where], targets[0, where]),
    )
    return ours, derivatives_of(reference), hard, masked

  where = np.arange(K) != 1
  with jax.enable_x64(True):
    ours, expected, hard, (masked, rest) = derivatives(FEATURES, KERNEL, CLASS_WEIGHTS, SOFT)
  np.testing.assert_allclose(*hard, rtol=1e-11)
  for one in ours:
    _compare(one, expected, rtol=1e-9, atol=1e-12)
  # An impossible class does no harm where the label gives it nothing; elsewhere it is infinite.
  np.testing.assert_array_equal(np.isinf(masked), SOFT[:, 1] > 0)
  np.testing.assert_allclose(masked[0], rest, rtol=1e-11)


def test_an_offset_of_all_logits_takes_no_digits():
  # Whole numbers, which float32 holds beside 2^23; beside 1e9 nothing of them is left.
  features, kernel = np.rint(2 * FEATURES).astype(np.float32), np.rint(KERNEL).astype(np.float32)
  kinds = (
    (LABELS, {}),
    (LABELS, {"label_smoothing": 0.1, "class_weights": CLASS_WEIGHTS}),
    (SOFT, {}),
  )

  @jax.jit
  def run(features, bias):
    found = []
    for labels, options in kinds:
      for size in (BLOCK, (N, K), "lean"):

        def loss(features, bias, labels=labels, options=options, size=size):
          return linear_cross_entropy(
            features, kernel, labels, bias=bias, block_size=size, **options
          )

        found.append(_derivatives(loss, features, bias))
    return found, linear_top_k(features, kernel, 3, bias=bias, block_size=4).log_probs

  for offset in (2.0**23, -(2.0**23), 1e9):
    bias = np.full(K, offset, np.float32)
    found, top = run(features, bias)
    logits = (features @ kernel + bias).astype(np.float64)
    log_probs = logits - logits.max(1, keepdims=True)
    log_probs -= np.log(np.exp(log_probs).sum(1, keepdims=True))
    np.testing.assert_allclose(top, -np.sort(-log_probs)[:, :3], atol=2e-6)
    for place, (values, gradients) in enumerate(found):
      labels, options = kinds[place // 3]
      targets, slopes = _slopes_in_logits(log_probs, labels, **options)
      np.testing.assert_allclose(values, -(targets * log_probs).sum(1), rtol=1e-5, atol=1e-5)
      for row, cotangent in enumerate((np.full(N, 1 / N), np.arange(N) - 2.0)):
        expected = cotangent[:, None] * slopes
        of_features, of_bias = (np.asarray(gradient)[row] for gradient in gradients)
        np.testing.assert_allclose(of_bias, expected.sum(0), atol=1e-5)
        np.testing.assert_allclose(of_features, expected @ kernel.T, rtol=1e-5, atol=1e-5)


def _slopes_in_logits(log_probs, labels, label_smoothing=0, class_weights=1):
  targets = SOFT if labels is SOFT else np.eye(K)[labels]
  targets = ((1 - label_smoothing) * targets + label_smoothing / K) * class_weights
  return targets, targets.sum(1, keepdims=True) * np.exp(log_probs) - targets


def test_distributions_are_not_copied():
  num_examples, num_classes = 4096, 4096

  def loss(features, kernel, targets):
    return linear_cross_entropy(features, kernel, targets, block_size=(64, 1024)).mean()

  shapes = (num_examples, 8), (8, num_classes), (num_examples, num_classes)
  arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
  program = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(*arrays).compile()
  assert program.memory_analysis().temp_size_in_bytes < num_examples * num_classes


def test_blocks_of_any_size():
  def derivatives(function):
    return _derivatives(lambda x, w: function(x, w, LABELS), FEATURES, KERNEL)

  @jax.jit
  def all_of_them():
    sizes = (1, 1), (1000, 1000)
    ours = [functools.partial(linear_cross_entropy, block_size=size) for size in sizes]
    return [derivatives(loss) for loss in ours], derivatives(reference)

  with jax.enable_x64(True):
    ours, expected = all_of_them()
  np.testing.assert_allclose(expected[0], _oracle({}, lambda z: z, lambda z: z), rtol=1e-11)
  for derivatives in ours:
    _compare(derivatives, expected, rtol=1e-10, atol=1e-13)


def test_distributions_in_float64_widen_nothing():
  with jax.enable_x64(True):
    given = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((2, D), (D, K)))
    found = jax.eval_shape(lambda x, w: linear_cross_entropy(x, w, np.full((2, K), 1 / K)), *given)
  assert found.dtype == jnp.float32


def test_shapes_types_and_transformations():
  loss = functools.partial(linear_cross_entropy, bias=BIAS, block_size=BLOCK)

  @jax.jit
  def in_many_ways(features, kernel, labels):
    rematerialised = jax.checkpoint(lambda kernel: loss(features, kernel, labels).sum())
    return (
      reference(features, kernel, labels, bias=BIAS),
      loss(features[:6].reshape(3, 2, D), kernel, labels[:6].reshape(3, 2)),
      jax.vmap(loss, in_axes=(0, None, 0))(features, kernel, labels),
      jax.grad(rematerialised)(kernel),
      jax.grad(lambda kernel: reference(features, kernel, labels, bias=BIAS).sum())(kernel),
      linear_cross_entropy(features[:, :0], kernel[:0], labels),
      loss(features[:0], kernel, labels[:0]),
    )

  flat, nested, one_by_one, rematerialised, expected, alike, none = in_many_ways(
    FEATURES, KERNEL, LABELS
  )
  assert nested.shape == (3, 2) and nested.dtype == jnp.float32
  np.testing.assert_allclose(nested.ravel(), flat[:6], rtol=1e-5)
  np.testing.assert_allclose(one_by_one, flat, rtol=1e-5)
  np.testing.assert_allclose(rematerialised, expected, rtol=1e-4, atol=1e-5)
  assert none.shape == (0,)
  # Without features all classes are alike.
  np.testing.assert_allclose(alike, np.log(K), rtol=1e-6)


def test_half_precision_is_summed_in_float32():
  # In bfloat16, sums of 512 ones stop at 256.
  features, kernel = np.ones((3, 512)), np.ones((512, 600))
  kernel[:, 1:] *= 1.0078125  # A logit of 512 against 599 of 516.
  kernel[0] += RNG.normal(size=600)

  value, gradients, expected, slopes = _in_half_precision(features, kernel, block_size=(2, 300))
  np.testing.assert_allclose(value, expected, rtol=1e-5)
  # Slopes are rounded to bfloat16 before they are summed.
  np.testing.assert_allclose(gradients[0], slopes @ kernel.T, atol=2**-7)
  np.testing.assert_allclose(gradients[1], features.T @ slopes, rtol=1e-2)


def test_logits_in_half_precision(use_blocks):
  use_blocks(2, 600, jnp.dtype(jnp.bfloat16))  # As on a GPU.
  features, kernel = RNG.normal(size=(3, 512)), RNG.normal(size=(512, 600)) / 512**0.5
  value, gradients, expected, slopes = _in_half_precision(features, kernel)
  np.testing.assert_allclose(value, expected, atol=2**-7)  # Half the last digit of a logit of 4.
  np.testing.assert_allclose(gradients[0], slopes @ kernel.T, atol=2**-7)
  np.testing.assert_allclose(gradients[1], features.T @ slopes, rtol=2e-2, atol=2**-6)


@pytest.mark.parametrize("block_size", [(8192, 600), "lean"])
def test_float16_holds_slopes_of_any_size(block_size):
  features, kernel = (
    np.full((8192, 1), 20, np.float16),
    np.float16(np.linspace(-0.01, 0.01, 600))[None],
  )
  labels = np.zeros(8192, int)

  @jax.jit
  def gradients(scale):
    def loss(features, kernel):
      return scale * linear_cross_entropy(features, kernel, labels, block_size=block_size).sum()

    return jax.grad(loss, (0, 1))(features, kernel)

  weights = np.exp(20 * np.float64(kernel[0]))
  slopes = weights / weights.sum() - (np.arange(600) == 0)
  small, large = gradients(1e-6), gradients(1e5)
  np.testing.assert_allclose(small[1][0], 1e-6 * 8192 * 20 * slopes, rtol=4e-3)
  np.testing.assert_allclose(large[0], np.full((8192, 1), 1e5 * slopes @ kernel[0]), rtol=4e-3)


def _in_half_precision(features, kernel, **options):
  """Return losses at class 0 and gradients of their sum, the losses by numpy and their slopes."""

  def loss(features, kernel):
    value = linear_cross_entropy(features, kernel, np.zeros(3, int), **options)
    return value.sum(), value

  half = features.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
  with jax.numpy_dtype_promotion("strict"):
    gradients, value = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(*half)
  assert value.dtype == jnp.float32
  assert {array.dtype for array in gradients} == {jnp.dtype(jnp.bfloat16)}
  features, kernel = (np.float64(array) for array in half)
  logits = features @ kernel
  log_probs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
  slopes = np.exp(log_probs) - (np.arange(600) == 0)
  return value, [np.float32(one) for one in gradients], -log_probs[:, 0], slopes


def test_what_score_and_margin_close_over_is_learned_too():
  step = np.array(3)  # An integer that is traced, as in a step of training.

  def total(loss, factors, temperature, lowered, kernel, step):
    values = loss(
      FEATURES,
      kernel,
      LABELS,
      score=lambda logits: taylor_score(logits / temperature),
      margin=lambda logits, labels, norms: soft_margin(logits, labels, margin=step * lowered),
    )
    return values @ factors

  @jax.jit
  def both(*arguments):
    losses = functools.partial(linear_cross_entropy, block_size=BLOCK), reference
    return [
      jax.vmap(jax.grad(functools.partial(total, loss), (1, 2, 3)), (0, *[None] * 4))(*arguments)
      for loss in losses
    ]

  with jax.enable_x64(True):
    ours, expected = both(np.stack([np.ones(N), np.arange(N)]), 2.0, 0.3, KERNEL, step)
    _compare(ours, expected, rtol=1e-10, atol=1e-13)


def test_labels_out_of_range_give_nan_and_no_gradient():
  labels = LABELS.copy()
  labels[[1, 4]] = -1, K
  known = np.delete(np.arange(N), [1, 4])
  options = {"label_smoothing": 0.1, "z_loss": 0.1}

  @jax.jit
  def derivatives(features, kernel):
    def total(loss, features, kernel):
      value = loss(features, kernel, labels, **options)
      return value.sum(), value

    def rest(features, kernel):
      return reference(features[known], kernel, labels[known], **options).sum()

    losses = functools.partial(linear_cross_entropy, block_size=BLOCK), reference
    totals = [functools.partial(total, loss) for loss in losses]
    ours = [jax.grad(total, (0, 1), has_aux=True)(features, kernel) for total in totals]
    return ours, jax.grad(rest, (0, 1))(features, kernel)

  ours, expected = derivatives(FEATURES, KERNEL)
  for gradients, loss in ours:
    np.testing.assert_array_equal(np.isnan(loss), np.isin(np.arange(N), [1, 4]))
    _compare(gradients, expected, rtol=1e-4, atol=1e-6)


def test_an_impossible_class_is_one_thing_however_it_is_spelt():
  possible = np.arange(K) >= 3
  labels = np.array([3, 0, 9, 10, 5, 6, 7])  # The second is impossible.
  excluded = np.where(possible, 0.0, -np.inf)
  spelt = {
    "bias": np.stack([excluded, 0 * LOG_PRIOR, 0 * LOG_PRIOR]),
    "log_prior": np.stack([0 * LOG_PRIOR, excluded, 0 * LOG_PRIOR]),
    "where": np.stack([possible | True, possible | True, possible]),
  }
  fixed = {"label_smoothing": 0.2, "z_loss": 0.1}

  @jax.jit
  def derivatives(features, kernel, spelt):
    def loss(features, kernel, how):
      value = linear_cross_entropy(features, kernel, labels, block_size=BLOCK, **how, **fixed)
      return value.sum(), value

    def rest(features, kernel):
      known = np.delete(np.arange(N), 1)
      value = reference(features[known], kernel[:, 3:], labels[known] - 3, **fixed)
      return value.sum(), value

    ours = jax.vmap(jax.grad(loss, (0, 1), has_aux=True), in_axes=(None, None, 0))
    return ours(features, kernel, spelt), jax.grad(rest, (0, 1), has_aux=True)(features, kernel)

  with jax.enable_x64(True):
    (gradients, value), (expected, rest) = derivatives(FEATURES, KERNEL, spelt)
    np.testing.assert_array_equal(value[:, 1], np.inf)
    np.testing.assert_allclose(np.delete(value, 1, axis=1), np.stack([rest] * 3), rtol=1e-10)
    # The losses of classes beside the excluded ones, whose columns have no gradient.
    assert not np.any(gradients[1][:, :, :3])
    np.testing.assert_allclose(
      np.delete(gradients[0], 1, axis=1), np.stack([expected[0]] * 3)[:, np.delete(range(N), 1)],
      rtol=1e-9, atol=1e-12,
    )  # fmt: skip


def test_a_label_that_is_smoothed_away_need_not_be_possible():
  options = {"label_smoothing": 1.0, "where": np.arange(K) >= 3}
  ours = functools.partial(linear_cross_entropy, block_size=BLOCK)
  ours, expected = jax.jit(lambda *given: [loss(*given, **options) for loss in (ours, reference)])(
    FEATURES, KERNEL, LABELS
  )
  assert np.all(np.isfinite(expected))
  np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_options_of_any_shape_that_broadcasts_to_several_axes_of_examples():
  features, labels = FEATURES[:6].reshape(2, 3, D), LABELS[:6].reshape(2, 3)
  numbers, mask = np.linspace(0.1, 0.6, 6).reshape(2, 3), np.arange(K) != 2
  options = [
    {"label_smoothing": numbers, "z_loss": numbers[0], "where": mask[None, None]},
    {"label_smoothing": numbers[:, :1], "z_loss": numbers[:1], "where": np.ones((1, 1, 1), bool)},
  ]

  @jax.jit
  def run(*given):
    return [[f(*given, **some) for some in options] for f in (linear_cross_entropy, reference)]

  ours, expected = run(features, KERNEL, labels)
  np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_a_class_without_rivals():
  loss = jax.jit(functools.partial(linear_cross_entropy, FEATURES[:1], KERNEL[:, :1], [0]))
  np.testing.assert_array_equal(loss(where=[True]), 0)
  # Where the mask leaves no class, nothing is certain.
  np.testing.assert_array_equal(loss(where=[False]), np.inf)


def test_second_derivatives_and_forward_mode_are_refused():
  def loss(kernel, size=BLOCK):
    return linear_cross_entropy(FEATURES, kernel, LABELS, block_size=size).sum()

  def squared(kernel, size=BLOCK):
    return jnp.sum(jax.grad(loss)(kernel, size) ** 2)

  with pytest.raises(NotImplementedError, match=r"no second derivatives.*implementation='plain'"):
    jax.eval_shape(jax.grad(squared), KERNEL)
  with pytest.raises(NotImplementedError, match="no second derivatives"):
    jax.eval_shape(jax.grad(functools.partial(squared, size="lean")), KERNEL)
  with pytest.raises(NotImplementedError, match="no second derivatives"):
    jax.eval_shape(lambda kernel: jax.jvp(jax.grad(loss), (kernel,), (kernel,)), KERNEL)
  with pytest.raises(TypeError, match="forward-mode"):
    jax.jit(lambda kernel: jax.jvp(loss, (kernel,), (kernel,))).lower(KERNEL)


@pytest.mark.parametrize(
  ("block_size", "num_examples"), [((64, 1024), 8192), ("lean", 4096)], ids=["blocks", "lean"]
)
def test_memory(block_size, num_examples):
  def loss(features, kernel, labels):
    return linear_cross_entropy(features, kernel, labels, block_size=block_size).mean()

  num_features, num_classes = 8, 65536
  shapes = (num_examples, num_features), (num_features, num_classes)
  arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
  labels = jax.ShapeDtypeStruct((num_examples,), jnp.int32)
  program = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(*arrays, labels).compile()
  numbers = program.memory_analysis().temp_size_in_bytes / 4
  # Some numbers for each example, and of all its logits those of one block: not 8192 rows of them,
  # and not all columns.
  own = num_examples * 50
  if block_size == "lean":
    assert numbers < own + 3 * 2**26
  else:
    assert numbers < own + 3 * 64 * num_classes + 3 * num_features * num_classes


def test_the_kernels_gradient_is_summed_in_place():
  def loss(features, kernel, labels):
    return linear_cross_entropy(features, kernel, labels, block_size=(16, 512)).mean()

  shapes = (64, 256), (256, 8192)
  arrays = [jax.ShapeDtypeStruct(shape, jnp.bfloat16) for shape in shapes]
  labels = jax.ShapeDtypeStruct((64,), jnp.int32)
  program = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(*arrays, labels).compile()
  copies = program.memory_analysis().temp_size_in_bytes / (4 * 256 * 8192)
  # Its sum in float32, and on CPU the kernel in float32, in which it multiplies; the rest is small.
  assert copies < 2.5


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_on_a_mesh_without_a_word(kind):
  mesh = jax.make_mesh(
    (2, 4), ("batch", "classes"), axis_types=(kind,) * 2, devices=jax.devices("cpu")
  )
  features, kernel, labels = FEATURES[:4], KERNEL[:, :8], np.array([0, 7, 3, 4])
  options = {"bias": BIAS[:8], "score": taylor_score, "margin": _soft, "log_prior": LOG_PRIOR[:8]}
  options |= {"label_smoothing": 0.1, "z_loss": 0.1, "where": np.arange(8) != 2}

  def derivatives(features, kernel, labels):
    def loss(features, kernel):
      # All classes in a block: otherwise blocks of the kernel go from device to device.
      return linear_cross_entropy(features, kernel, labels, block_size=(2, 8), **options).mean()

    return jax.value_and_grad(loss, (0, 1))(features, kernel)

  def plainly(features, kernel):
    return reference(features, kernel, labels, **options).mean()

  expected = jax.jit(jax.value_and_grad(plainly, (0, 1)))(features, kernel)
  features, kernel, labels = (
    jax.device_put(jnp.asarray(array), NamedSharding(mesh, P(*axes)))
    for array, axes in (
      (features, ["batch"]), (kernel, [None, "classes"]), (labels, ["batch"])
    )
  )  # fmt: skip
  with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
    program = jax.jit(derivatives).lower(features, kernel, labels).compile()
  if kind == AxisType.Auto:
    assert "all-gather" not in program.as_text()
  _compare(program(features, kernel, labels), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["everything", "learned temperature", "distributions"])
def test_classes_and_examples_sharded_by_shard_map(kind):
  learns = kind != "everything"
  mesh = jax.make_mesh(
    (2, 4), ("batch", "classes"), axis_types=(AxisType.Auto,) * 2, devices=jax.devices("cpu")
  )
  features, kernel, labels = FEATURES[:6], RNG.normal(size=(D, 12)), np.array([0, 11, 3, 4, -1, 8])
  bias, log_prior = RNG.normal(size=(2, 12))
  # Between the labels some classes are left out; the first example has its label alone.
  where = (np.arange(12) != (labels + 1)[:, None]) & (np.arange(12) % 5 != 2)
  where[0] = np.arange(12) == 0
  by_class = {"bias": bias, "log_prior": log_prior, "class_weights": RNG.uniform(0.5, 2, 12)}

  def total(loss, features, kernel, by_class, temperature, labels, where, factors, **options):
    options |= {"label_smoothing": 0.1, "z_loss": 0.1, "where": where, "margin": _large}
    known = labels >= 0
    options["ignore_label"] = 4
    if learns:
      options |= {"score": lambda logits: taylor_score(logits / temperature), "margin": _soft}
    if kind == "distributions":
      options["margin"], labels = None, where / 8
    values = loss(features, kernel, labels, **by_class, **options)
    return jnp.sum(jnp.where(known, values, 0) * factors)

  specs = [P("batch"), P(None, "classes"), P("classes"), P(), P("batch"), P("batch", "classes")]

  @functools.partial(jax.shard_map, mesh=mesh, in_specs=(*specs, P("batch")), out_specs=P())
  def sharded(*arguments):
    ours = total(linear_cross_entropy, *arguments, block_size=(2, 2), axis_name="classes")
    return jax.lax.psum(ours, "batch")

  derivatives = jax.jit(jax.value_and_grad(sharded, (0, 1, 2, 3)))
  expected = jax.jit(jax.value_and_grad(functools.partial(total, reference), (0, 1, 2, 3)))
  for factors in (np.ones(6), np.arange(6.0)):
    arguments = features, kernel, by_class, 2.0, labels, where, factors
    _compare(derivatives(*arguments), expected(*arguments), rtol=1e-4, atol=1e-5)


def test_devices_that_share_the_classes_exchange_little():
  mesh = jax.make_mesh((8,), ("classes",), axis_types=(AxisType.Auto,), devices=jax.devices("cpu"))
  specs = P(), P(None, "classes"), P()

  @functools.partial(jax.shard_map, mesh=mesh, in_specs=specs, out_specs=P())
  def loss(features, kernel, labels):
    options = {"block_size": (16, 8), "axis_name": "classes"}
    return linear_cross_entropy(features, kernel, labels, **options).mean()

  shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((16, D), (D, 64))]
  arguments = *shapes, jax.ShapeDtypeStruct((16,), jnp.int32)
  text = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(*arguments).compile().as_text()
  assert not any(word in text for word in ("all-gather", "all-to-all", "collective-permute"))
  messages = [line for line in text.splitlines() if " all-reduce(" in line]
  # The largest score of each example, the sums of exponentials beside the labels' logits, and
  # for the gradients those of the features.
  kinds = {line.split(" = ")[1].split(" all-reduce")[0] for line in messages}
  kinds = {re.sub(r"{[^}]*}", "", kind) for kind in kinds}
  assert kinds == {"f32[16]", "(f32[16], f32[16])", f"f32[16,{D}]"}


def test_an_axis_over_which_the_kernel_is_not_sharded_is_refused():
  mesh = jax.make_mesh((2,), ("classes",), axis_types=(AxisType.Auto,), devices=jax.devices("cpu"))

  @functools.partial(jax.shard_map, mesh=mesh, in_specs=P(), out_specs=P())
  def loss(features, kernel, labels):
    return linear_cross_entropy(features, kernel, labels, axis_name="classes")

  with pytest.raises(ValueError, match=r"axis_name='classes'.*the kernel must be sharded"):
    jax.eval_shape(loss, FEATURES, KERNEL, LABELS)


def _called(features=FEATURES, kernel=KERNEL, labels=LABELS, **options):
  return linear_cross_entropy(features, kernel, labels, **options)


@pytest.mark.parametrize(
  ("arguments", "error", "message"),
  [
    ({"labels": np.eye(K)[LABELS][:3]}, ValueError, r"labels of shape \(3, 11\)"),
    ({"labels": np.eye(K)[LABELS], "margin": _soft}, ValueError, "a margin or a link, which need"),
    ({"labels": LABELS[:3]}, ValueError, r"shape \(3,\)"),
    ({"kernel": KERNEL.T}, ValueError, r"\[D, K\]"),
    ({"kernel": KERNEL[:, :0]}, ValueError, "kernel of 0 classes"),
    ({"bias": np.zeros(3)}, ValueError, r"bias of shape \(3,\) for 11 classes"),
    ({"log_prior": np.zeros((1, K))}, ValueError, r"log_prior of shape \(1, 11\)"),
    ({"where": np.ones(3, bool)}, ValueError, r"where of shape \(3,\).*broadcast to \(7, 11\)"),
    ({"label_smoothing": 1.1}, ValueError, "label_smoothing=1.1"),
    ({"z_loss": -1.0}, ValueError, "z_loss=-1.0"),
    ({"class_weights": np.ones(3)}, ValueError, r"class_weights of shape \(3,\) for 11 classes"),
    ({"ignore_label": 1.0}, TypeError, "ignore_label=1.0; it must be one integer"),
    ({"score": lambda z: jnp.stack([z, z])}, ValueError, "must be elementwise"),
    ({"score": lambda z: z / jnp.linalg.norm(z)}, ValueError, "a score that is not elementwise"),
    ({"link": lambda loss: loss - loss.mean()}, ValueError, "a link that is not elementwise"),
    ({"margin": lambda z, y, norms: z - np.ones(K)}, ValueError, "the label's logit alone"),
    *(
      ({"block_size": size}, ValueError, r"must be \(examples, classes\)")
      for size in (4, (4,), (0, 4), (4, 2.0), [4, 4], "small")
    ),
  ],
)
def test_bad_arguments(arguments, error, message):
  with pytest.raises(error, match=message):
    jax.eval_shape(lambda: _called(**arguments))


def test_more_classes_than_int32_can_number_are_refused():
  kernel = jax.ShapeDtypeStruct((1, 2**31), jnp.float32)
  features, labels = np.ones((2, 1)), np.zeros(2, int)
  with pytest.raises(ValueError, match=r"2147483648 classes.*fewer than 2\^31"):
    jax.eval_shape(linear_cross_entropy, features, kernel, labels)


MEMBERS = np.array([False, True, True, False, False, True, False])


def _member_log_prob(features, kernel, member):
  return jnp.where(member, -reference(features, kernel, LABELS), 0)


def test_members():
  weights = np.arange(N) - 2.5

  def derivatives(log_prob, features, kernel, member):
    def loss(features, kernel):
      values = log_prob(features, kernel, member)
      return weights @ values, values

    return jax.grad(loss, argnums=(0, 1), has_aux=True)(features, kernel)

  @jax.jit
  def both(*arguments):
    ours = functools.partial(_tiled, tile=(2, 4))
    return [derivatives(log_prob, *arguments) for log_prob in (ours, _member_log_prob)]

  for member in (MEMBERS, np.zeros(N, bool), np.ones(N, bool)):
    with jax.enable_x64(True):
      ours, expected = both(FEATURES, KERNEL, member)
    _compare(ours, expected, rtol=1e-11, atol=1e-14)


def _tiled(features, kernel, member, tile):
  arrays = map(jnp.asarray, (features, kernel, LABELS, member))
  return member_label_log_prob(*arrays, tile=tile)


def test_vmap_over_members():
  members = np.stack([MEMBERS, ~MEMBERS, np.zeros(N, bool)])
  ours = jax.vmap(functools.partial(_tiled, FEATURES, KERNEL, tile=(2, 4)))
  expected = jax.vmap(functools.partial(_member_log_prob, FEATURES, KERNEL))
  found, expected = jax.jit(lambda members: (ours(members), expected(members)))(members)
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_blocks_without_a_member_are_never_computed():
  # Every example but the three members is NaN: one product with them would spoil the kernel's
  # gradient, whatever is masked later.
  features = np.where(MEMBERS[:, None], FEATURES, np.nan)

  @jax.jit
  def derivatives(kernel, weights):
    def ours(kernel):
      return weights @ _tiled(features, kernel, MEMBERS, (3, 4))

    def plainly(kernel):
      return weights @ _member_log_prob(FEATURES, kernel, MEMBERS)

    return jax.grad(ours)(kernel), jax.grad(plainly)(kernel)

  # A sum's gradient comes from the forward pass, that of other weights from one more.
  for weights in (np.ones(N, np.float32), np.arange(N, dtype=np.float32)):
    np.testing.assert_allclose(*derivatives(KERNEL, weights), rtol=1e-4, atol=1e-6)
