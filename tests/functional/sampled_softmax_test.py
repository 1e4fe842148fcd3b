"""Sampled softmax: values, limits, several true classes and candidates of one's own."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from softmax_research.functional import (
  Candidates,
  Sampler,
  cross_entropy,
  log_uniform_sampler,
  sampled_softmax_loss,
  taylor_score,
  uniform_sampler,
  weighted_sampler,
)
from tests.derivatives import check_derivatives, differences
from tests.programs import program, values_and_gradient

RNG = np.random.default_rng(0)
K, S = 12, 5
FEATURES = RNG.normal(size=(6, 4))
KERNEL = RNG.normal(size=(4, K))
BIAS = RNG.normal(size=K)
LABELS = np.array([2, 11, 3, 3, 7, 8])
KEY = jax.random.key(1)
SAMPLERS = {
  "uniform": lambda **options: uniform_sampler(K, **options),
  "log_uniform": lambda **options: log_uniform_sampler(K, **options),
  "weighted": lambda **options: weighted_sampler(np.arange(1, K + 1), **options),
}


@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("name", SAMPLERS)
def test_values(name, replacement):
  sampler = SAMPLERS[name](replacement=replacement)
  # With the other replacement the other two of the four pairs.
  options = [(hits, hits == replacement) for hits in (True, False)]

  @jax.jit
  def run(features, kernel, bias):
    classes, effort = sampler.sample(KEY, S)
    losses = [
      sampled_softmax_loss(
        features,
        kernel,
        LABELS,
        bias=bias,
        key=KEY,
        num_samples=S,
        sampler=sampler,
        remove_accidental_hits=hits,
        correct_label=correct_label,
      )
      for hits, correct_label in options
    ]
    return classes, jnp.exp(sampler.log_expected_count(jnp.arange(K), effort)), losses

  with jax.enable_x64(True):
    classes, counts, losses = jax.device_get(run(FEATURES, KERNEL, BIAS))
  assert set(classes) & set(LABELS)  # there is a hit to remove
  for loss, (hits, correct_label) in zip(losses, options, strict=True):
    expected = []
    for logits, label in zip(FEATURES @ KERNEL + BIAS, LABELS, strict=True):
      own = np.exp(logits[label]) / (counts[label] if correct_label else 1)
      kept = classes[classes != label] if hits else classes
      expected.append(-np.log(own / (own + np.sum(np.exp(logits[kept]) / counts[kept]))))
    np.testing.assert_allclose(loss, expected, rtol=1e-12)


def test_all_classes_sampled_is_the_full_softmax():
  weights = np.arange(1.0, 7)

  def full(features, kernel, bias):
    losses = cross_entropy(taylor_score(features @ kernel + bias), LABELS)
    return losses @ weights, losses

  def sampled(name, correct_label, features, kernel, bias):
    losses = sampled_softmax_loss(
      features,
      kernel,
      LABELS,
      bias=bias,
      key=KEY,
      num_samples=K,
      sampler=SAMPLERS[name](),
      score=taylor_score,
      correct_label=correct_label,
    )
    return losses @ weights, losses

  cases = ("uniform", True), ("log_uniform", False), ("weighted", True)

  @jax.jit
  def run(*arguments):
    functions = [full, *(functools.partial(sampled, *case) for case in cases)]
    return [jax.grad(f, argnums=(0, 1, 2), has_aux=True)(*arguments) for f in functions]

  with jax.enable_x64(True):
    expected, *found = map(jax.tree.leaves, run(FEATURES, KERNEL, BIAS))
  for ours in found:
    for one, other in zip(ours, expected, strict=True):
      np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13)


def _mean_gradient(num_samples, sampler, correct_label, num_keys=4000):
  """Return the mean kernel gradient over many samples, and its standard error."""

  def loss(kernel, key):
    return sampled_softmax_loss(
      FEATURES,
      kernel,
      LABELS,
      key=key,
      num_samples=num_samples,
      sampler=sampler,
      correct_label=correct_label,
    ).mean()

  @jax.jit
  def run(kernel):
    keys = jax.random.split(jax.random.key(2), num_keys)
    gradients = jax.vmap(jax.grad(loss), in_axes=(None, 0))(kernel, keys)
    return gradients.mean(0), gradients.std(0) / np.sqrt(num_keys)

  return jax.device_get(run(np.float32(KERNEL)))


@pytest.mark.parametrize(
  ("name", "replacement", "correct_label"),
  [
    ("uniform", False, True),
    ("weighted", False, False),
    ("log_uniform", True, False),
  ],
)
def test_bias_of_the_gradient_falls_with_the_samples(name, replacement, correct_label):
  probs = np.exp(FEATURES @ KERNEL)
  probs /= probs.sum(1, keepdims=True)
  full = FEATURES.T @ (probs - np.eye(K)[LABELS]) / len(LABELS)
  sampler = SAMPLERS[name](replacement=replacement)
  biases, errors = [], []
  for num_samples in (2, 8):
    mean, error = _mean_gradient(num_samples, sampler, correct_label)
    biases.append(np.linalg.norm(mean - full))
    errors.append(np.linalg.norm(error))
  assert biases[0] > 1.5 * biases[1] + 3 * errors[0]


def test_without_correction_of_the_label_the_denominator_is_unbiased():
  logits = FEATURES @ KERNEL
  own = np.exp(logits[np.arange(6), LABELS])
  others = np.exp(logits).sum(1) - own
  options = {"num_samples": S, "correct_label": False}

  @jax.jit
  def run(key):
    def losses(key):
      return [
        sampled_softmax_loss(FEATURES, KERNEL, LABELS, key=key, sampler=sampler, **options)
        for sampler in (SAMPLERS["weighted"](replacement=choice) for choice in (True, False))
      ]

    return jax.vmap(losses)(jax.random.split(key, 20_000))

  for losses in run(jax.random.key(3)):
    estimates = own * np.expm1(np.asarray(losses, np.float64))
    error = estimates.std(0) / np.sqrt(len(estimates))
    assert np.all(np.abs(estimates.mean(0) - others) < 4 * error)


def test_least_where_the_full_softmax_is():
  # The expectation over all samples of 2 of 5 classes and all labels, with no features: at the
  # logarithms of the labels' probabilities its gradient is zero.
  probs = np.array([0.5, 0.2, 0.15, 0.1, 0.05])
  samples = np.array(list(itertools.combinations(range(5), 2)))
  uniform = uniform_sampler(5)

  def expected_loss(bias):
    def loss(classes):
      fixed = Sampler(5, lambda key, n: (classes, jnp.float32(n)), uniform.log_expected_count)
      return sampled_softmax_loss(
        np.zeros((5, 1), np.float32),
        np.zeros((1, 5), np.float32),
        np.arange(5),
        bias=bias,
        key=KEY,
        num_samples=2,
        sampler=fixed,
      )

    return jnp.mean(jax.vmap(loss)(samples) @ probs)

  gradient = jax.jit(jax.grad(expected_loss))
  np.testing.assert_allclose(gradient(np.log(probs)), 0, atol=1e-7)
  assert np.max(np.abs(gradient(np.zeros(5)))) > 0.1


def test_second_order_and_both_modes():
  classes = np.array([1, 3, 6])  # not drawn, to compile less
  fixed = SAMPLERS["weighted"](replacement=True)._replace(sample=lambda key, n: (classes, n))

  def ours(features, kernel, bias):
    return sampled_softmax_loss(
      features, kernel, LABELS[:3], bias=bias, key=KEY, num_samples=3, sampler=fixed, score=jnp.sinh
    )

  check_derivatives(ours, FEATURES[:3], KERNEL, BIAS)


# Example 2 has but one true class, and the last two candidates of example 0 are none.
SEVERAL = np.array([[2, 5], [11, 0], [3, -1], [3, 4], [7, 1], [8, 9]])
OWN = (LABELS[:, None] + np.array([1, 3, 5, 0])) % K
OWN[0, 2:] = -1
# What is no class is drawn never.
LOG_COUNTS = np.where(OWN < 0, -np.inf, RNG.normal(size=(6, 4)))
LABEL_LOG_COUNTS = np.where(SEVERAL < 0, -np.inf, RNG.normal(size=(6, 2)))
WEIGHTS = RNG.uniform(0.5, 2, size=K)


@pytest.mark.parametrize("shared", [True, False])
def test_several_true_classes_and_candidates_of_ones_own(shared):
  classes = OWN[1] if shared else OWN
  log_counts = LOG_COUNTS[1] if shared else LOG_COUNTS

  def ours(features):
    return sampled_softmax_loss(
      features,
      KERNEL,
      SEVERAL,
      bias=BIAS,
      candidates=Candidates(classes, log_counts, LABEL_LOG_COUNTS),
      class_weights=WEIGHTS,
      ignore_label=-1,
    )

  def oracle(features):
    logits, losses = features @ KERNEL + BIAS, []
    for row, logit in enumerate(logits):
      some, counts = (classes, log_counts) if shared else (classes[row], log_counts[row])
      own = [
        (c, logit[c] - q)
        for c, q in zip(SEVERAL[row], LABEL_LOG_COUNTS[row], strict=True)
        if c >= 0
      ]
      others = [
        logit[c] - q for c, q in zip(some, counts, strict=True) if c >= 0 and c not in SEVERAL[row]
      ]
      log_total = np.log(np.sum(np.exp([s for _, s in own] + others)))
      losses.append(np.mean([WEIGHTS[c] * (log_total - s) for c, s in own]))
    return np.array(losses)

  with jax.enable_x64(True):
    losses, gradient = values_and_gradient(ours, FEATURES)
  np.testing.assert_allclose(losses, oracle(FEATURES), rtol=1e-12)
  np.testing.assert_allclose(gradient, differences(oracle, FEATURES), rtol=1e-6, atol=1e-8)


def test_candidates_as_many_as_examples_are_still_shared_by_all():
  classes, log_counts = OWN[1], LOG_COUNTS[1]
  label_log_counts = LABEL_LOG_COUNTS[:4, 0]
  drawn = {"key": KEY, "num_samples": 4, "sampler": SAMPLERS["weighted"](replacement=True)}
  given = {"candidates": Candidates(classes, log_counts, label_log_counts)}

  @jax.jit
  def run(features, labels):
    four = features[:4], KERNEL, labels[:4]
    return (
      sampled_softmax_loss(features, KERNEL, labels, **drawn)[:4],
      sampled_softmax_loss(*four, **drawn),
      sampled_softmax_loss(*four, **given, remove_accidental_hits=False),
    )

  with jax.enable_x64(True):
    of_six, of_four, own = run(FEATURES, LABELS)
  np.testing.assert_allclose(of_four, of_six, rtol=1e-12)
  logits = FEATURES[:4] @ KERNEL
  label = np.exp(logits[np.arange(4), LABELS[:4]] - label_log_counts)
  others = np.exp(logits[:, classes] - log_counts).sum(1)
  np.testing.assert_allclose(own, np.log1p(others / label), rtol=1e-12)


def test_one_true_class_in_a_list_is_the_class_itself():
  def loss(labels, **more):
    options = {"key": KEY, "num_samples": K, "bias": BIAS} | more
    return sampled_softmax_loss(FEATURES, KERNEL, labels, **options)

  filled = np.stack([LABELS, np.zeros_like(LABELS)], axis=1)
  one, listed, filled, ignored, several = jax.jit(
    lambda: (
      loss(LABELS),
      loss(LABELS[:, None]),
      loss(filled, ignore_label=0),
      loss(np.full((6, 2), -1), ignore_label=-1),
      loss(SEVERAL),
    )
  )()
  np.testing.assert_array_equal(one, listed)
  # Class 0 fills up; it is a candidate as any other.
  np.testing.assert_allclose(filled, one, rtol=1e-5)
  np.testing.assert_array_equal(ignored, 0)
  np.testing.assert_array_equal(np.isnan(several), np.arange(6) == 2)


@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_batch_shapes(shape):
  features, labels = RNG.normal(size=(*shape, 4)), RNG.integers(K, size=shape)

  @jax.jit
  def ours(features, labels):
    return sampled_softmax_loss(features, KERNEL, labels, bias=BIAS, key=KEY, num_samples=S)

  loss = ours(features, labels)
  assert loss.shape == shape
  flat = ours(features.reshape(-1, 4), labels.ravel())
  np.testing.assert_allclose(np.ravel(loss), flat, rtol=1e-5)


def test_on_a_mesh():
  features, kernel = RNG.normal(size=(16, 4)), RNG.normal(size=(4, 64))
  features, kernel, labels = np.float32(features), np.float32(kernel), 4 * np.arange(16)

  @jax.jit
  @functools.partial(jax.grad, has_aux=True)
  def run(kernel, features, labels):
    losses = sampled_softmax_loss(features, kernel, labels, key=KEY, num_samples=S)
    return losses.sum(), losses

  expected = run(kernel, features, labels)
  of_batch, of_classes = (P("data"), P()), (P(), P(None, "data"))
  for axis_type, (by_batch, by_class) in itertools.product(
    (AxisType.Auto, AxisType.Explicit), (of_batch, of_classes)
  ):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(axis_type,), devices=jax.devices("cpu"))
    with jax.set_mesh(mesh):
      batch = jax.device_put((features, labels), NamedSharding(mesh, by_batch))
      found = run(jax.device_put(kernel, NamedSharding(mesh, by_class)), *batch)
    for one, other in zip(found, expected, strict=True):
      np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_labels_out_of_range_give_nan_and_no_gradient():
  labels = np.array([-1, K, 3, 3, 7, 5])

  def ours(features, kernel):
    loss = sampled_softmax_loss(features, kernel, labels, key=KEY, num_samples=S)
    return jnp.nansum(loss), loss

  gradient = jax.jit(jax.grad(ours, argnums=(0, 1), has_aux=True))
  (by_features, by_kernel), loss = gradient(FEATURES, KERNEL)
  assert np.isnan(loss).tolist() == [True, True, False, False, False, False]
  assert not np.any(np.asarray(by_features)[:2])
  assert np.all(np.isfinite(by_kernel))


def test_impossible_classes():
  # Class 3 has bias -inf: as a sample it adds nothing, as a label it has no probability.
  bias = np.where(np.arange(K) == 3, -np.inf, BIAS)

  def ours(bias):
    loss = sampled_softmax_loss(FEATURES, KERNEL, LABELS, bias=bias, key=KEY, num_samples=K)
    return jnp.sum(jnp.where(LABELS == 3, 0, loss)), loss

  gradient, loss = jax.jit(jax.grad(ours, has_aux=True))(np.float32(bias))
  full = program(cross_entropy)(FEATURES @ KERNEL + bias, LABELS)
  np.testing.assert_allclose(loss, full, rtol=1e-5)
  assert np.all(np.isinf(loss) == (LABELS == 3))
  assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision(dtype):
  features, kernel = FEATURES.astype(dtype), KERNEL.astype(dtype)
  run = jax.jit(lambda x, w: sampled_softmax_loss(x, w, LABELS, key=KEY, num_samples=S))
  loss = run(features, kernel)
  assert loss.dtype == dtype
  wide = [np.asarray(array, np.float32) for array in (features, kernel)]
  expected = run(*wide)
  np.testing.assert_allclose(
    np.asarray(loss, np.float32), expected, rtol=float(jnp.finfo(dtype).eps)
  )
  assert jax.eval_shape(run, features, wide[1]).dtype == jnp.float32


def test_one_class():
  loss = program(sampled_softmax_loss)(
    FEATURES, KERNEL[:, :1], np.zeros(6, int), key=KEY, num_samples=1
  )
  np.testing.assert_array_equal(loss, 0)


def test_bad_arguments():
  loss, options = program(sampled_softmax_loss), {"key": KEY, "num_samples": S}
  with pytest.raises(TypeError, match="distributions over classes use cross_entropy"):
    loss(FEATURES, KERNEL, np.ones((6, K)) / K, **options)
  with pytest.raises(ValueError, match=r"integer labels of shape \(2,\)"):
    loss(FEATURES, KERNEL, LABELS[:2], **options)
  with pytest.raises(ValueError, match=r"features of shape \(6, 4\) for a kernel of shape"):
    loss(FEATURES, KERNEL.T, LABELS, **options)
  with pytest.raises(ValueError, match=r"bias of shape \(3,\) for 12 classes"):
    loss(FEATURES, KERNEL, LABELS, bias=np.zeros(3), **options)
  with pytest.raises(ValueError, match="sampler of 7 classes for a kernel of 12"):
    loss(FEATURES, KERNEL, LABELS, sampler=uniform_sampler(7), **options)
  with pytest.raises(ValueError, match="num_samples=13 for 12 classes"):
    loss(FEATURES, KERNEL, LABELS, key=KEY, num_samples=13)
  with pytest.raises(ValueError, match="neither candidates nor both key and num_samples"):
    loss(FEATURES, KERNEL, LABELS, num_samples=3)
  with pytest.raises(ValueError, match=r"candidates of shape \(5, 4\) for features of shape"):
    loss(FEATURES, KERNEL, LABELS, candidates=Candidates(OWN[:5]))
  with pytest.raises(ValueError, match=r"log_counts of shape \(5,\) for values of shape \(6, 4\)"):
    loss(FEATURES, KERNEL, LABELS, candidates=Candidates(OWN, np.zeros(5)))
