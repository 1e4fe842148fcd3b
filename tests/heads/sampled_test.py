"""The sampled head: its samplers, its key, its errors."""

import functools

import jax
import numpy as np
import pytest

from softmax_research import functional, heads
from tests.heads.compiled import compiled, draw

make, sampled = compiled(heads.make), compiled(heads.sampled)

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(6, 8)).astype(np.float32)
LABELS = np.array([0, 11, 3, 3, 7, 5])
COUNTS = np.array([5, 100, 0, 40, 7, 300, 7, 1, 1, 1, 1, 1])
KEY = jax.random.key(1)


def _sampled_softmax_loss(features, kernel, labels, *, bias, key, **fixed):
  loss = jax.jit(functools.partial(functional.sampled_softmax_loss, **fixed))
  return loss(features, kernel, labels, bias=bias, key=key)


def test_prediction_is_the_full_softmax():
  head = sampled(12, order=4)
  params = draw(head, 8)
  z = FEATURES @ params["kernel"] + params["bias"]
  values = 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24
  expected = np.log(values / values.sum(1, keepdims=True))
  np.testing.assert_allclose(head.log_prob(params, FEATURES), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sampler", ["uniform", "log_uniform", "frequency"])
def test_all_classes_sampled_is_the_dense_head(sampler):
  head = sampled(12, num_samples=12, sampler=sampler, class_counts=COUNTS)
  params = draw(head, 8)
  loss = head.loss(params, FEATURES, LABELS, key=KEY)
  logits = FEATURES @ params["kernel"] + params["bias"]
  expected = np.log(np.exp(logits).sum(1)) - logits[np.arange(6), LABELS]
  np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
  ("name", "expected"),
  [
    ("uniform", functional.uniform_sampler(12, replacement=True)),
    ("frequency", functional.weighted_sampler(np.maximum(COUNTS, 1), replacement=True)),
    # By rank: 5, 1, 3, 4, 6, 0, then the classes seen once, then the one never seen.
    (
      "log_uniform",
      functional.weighted_sampler(
        np.log1p(1 / np.array([6, 2, 12, 3, 4, 1, 5, 7, 8, 9, 10, 11])), replacement=True
      ),
    ),
  ],
)
def test_samplers(name, expected):
  head = sampled(12, num_samples=5, sampler=name, replacement=True, class_counts=COUNTS)
  params = draw(head, 8)
  loss = _sampled_softmax_loss(
    FEATURES, **params, labels=LABELS, key=KEY, num_samples=5, sampler=expected
  )
  np.testing.assert_allclose(head.loss(params, FEATURES, LABELS, key=KEY), loss, rtol=1e-4)


def test_frequencies_below_one_are_proportions():
  losses = []
  for counts in (COUNTS, COUNTS / 1000):
    options = {"num_samples": 5, "replacement": True, "class_counts": counts}
    head = sampled(12, sampler="frequency", **options)
    params = draw(head, 8)
    losses.append(head.loss(params, FEATURES, LABELS, key=KEY))
  np.testing.assert_allclose(*losses, rtol=1e-5)


def test_log_uniform_without_counts_takes_the_classes_as_they_are():
  head = sampled(12, num_samples=5, sampler="log_uniform")
  params = draw(head, 8)
  loss = _sampled_softmax_loss(
    FEATURES,
    **params,
    labels=LABELS,
    key=KEY,
    num_samples=5,
    sampler=functional.log_uniform_sampler(12),
  )
  np.testing.assert_allclose(head.loss(params, FEATURES, LABELS, key=KEY), loss, rtol=1e-5)


def test_options_reach_the_loss():
  head = make("sampled:num_samples=3:order=2:remove_accidental_hits=False:correct_label=False", 12)
  params = draw(head, 8)
  expected = _sampled_softmax_loss(
    FEATURES,
    params["kernel"],
    LABELS,
    bias=params["bias"],
    key=KEY,
    num_samples=3,
    score=functional.taylor_score,
    remove_accidental_hits=False,
    correct_label=False,
  )
  np.testing.assert_allclose(head.loss(params, FEATURES, LABELS, key=KEY), expected, rtol=1e-5)


@pytest.mark.parametrize(("num_classes", "num_samples"), [(1, 1), (12, 2), (10_000, 1024)])
def test_default_number_of_samples(num_classes, num_samples):
  head = sampled(num_classes)
  params = draw(head, 2)
  features, labels = np.ones((1, 2), np.float32), np.array([0])
  expected = _sampled_softmax_loss(
    features,
    params["kernel"],
    labels,
    bias=params["bias"],
    key=KEY,
    num_samples=num_samples,
  )
  np.testing.assert_allclose(head.loss(params, features, labels, key=KEY), expected, rtol=1e-6)


@pytest.mark.parametrize(
  ("name", "loss", "power"),
  [
    ("negative_sampling:num_noise=4", functional.negative_sampling_loss, 0.75),
    ("nce", functional.noise_contrastive_loss, 1.0),
  ],
)
def test_heads_against_noise(name, loss, power):
  head = make(f"{name}:num_samples=7:order=2", 12, class_counts=COUNTS)
  params = head.init(jax.random.key(0), 8)
  start = -np.log(12) if name == "nce" else 0
  np.testing.assert_allclose(params["bias"], start, rtol=1e-6)
  params["bias"] = RNG.normal(size=12).astype(np.float32)
  noise = np.maximum(COUNTS, 1) ** power
  options = {"num_noise": 4.0} if name != "nce" else {}
  fixed = functools.partial(
    loss,
    num_samples=7,
    sampler=functional.weighted_sampler(noise, replacement=True),
    score=functional.taylor_score,
    **options,
  )
  expected = jax.jit(fixed)(FEATURES, params["kernel"], LABELS, bias=params["bias"], key=KEY)
  np.testing.assert_allclose(head.loss(params, FEATURES, LABELS, key=KEY), expected, rtol=1e-5)
  logits = FEATURES @ np.asarray(params["kernel"]) + params["bias"]
  probs = (1 + logits + logits**2 / 2) * (1 if name == "nce" else noise)
  log_probs = np.log(probs / probs.sum(1, keepdims=True))
  np.testing.assert_allclose(head.log_prob(params, FEATURES), log_probs, rtol=1e-4, atol=1e-5)
  one_hot = np.eye(12, dtype=np.float32)[LABELS]
  np.testing.assert_allclose(
    head.loss(params, FEATURES, one_hot), -log_probs[np.arange(6), LABELS], rtol=1e-4
  )
  with pytest.raises(ValueError, match=r"no key.*fold_in"):
    head.loss(params, FEATURES, LABELS)


@pytest.mark.parametrize("name", ["negative_sampling", "nce"])
def test_their_probabilities_become_the_frequencies(name):
  # Without features: classes of frequencies p, and noise of another distribution.
  p = np.array([0.5, 0.3, 0.15, 0.05])
  head = make(f"{name}:num_samples=64", 4, class_counts=[1, 1, 1, 5])
  labels = np.repeat(np.arange(4), (20 * p).astype(int))
  features = np.zeros((20, 1), np.float32)

  @jax.jit
  def train(params):
    def step(i, state):
      params, mean = state

      def loss(params):
        return head.loss(params, features, labels, key=jax.random.fold_in(KEY, i)).mean()

      params = jax.tree.map(lambda p, g: p - 0.3 * g, params, jax.grad(loss)(params))
      return params, jax.tree.map(lambda m, p: m + p / 1000 * (i >= 1000), mean, params)

    zeros = jax.tree.map(jax.numpy.zeros_like, params)
    return jax.lax.fori_loop(0, 2000, step, (params, zeros))[1]

  params = train(head.init(jax.random.key(0), 1))
  np.testing.assert_allclose(np.exp(head.log_prob(params, features[0])), p, atol=0.02)
  if name == "nce":  # The scores are normalised by themselves.
    np.testing.assert_allclose(np.exp(params["bias"]), p, atol=0.02)


def test_every_key_draws_anew():
  head = sampled(12)
  params = draw(head, 8)
  one, other = (head.loss(params, FEATURES, LABELS, key=jax.random.key(i)) for i in range(2))
  assert not np.allclose(one, other)


def test_training_fits_the_labels():
  head = sampled(12, num_samples=3)
  params = draw(head, 8)

  @jax.jit
  def train(params):
    def step(i, params):
      def loss(params):
        key = jax.random.fold_in(KEY, i)
        return head.loss(params, FEATURES, LABELS, key=key).mean()

      return jax.tree.map(lambda p, g: p - 0.5 * g, params, jax.grad(loss)(params))

    return jax.lax.fori_loop(0, 300, step, params)

  predictions = np.argmax(head.log_prob(train(params), FEATURES), axis=-1)
  assert predictions.tolist() == LABELS.tolist()


def test_bad_arguments():
  with pytest.raises(ValueError, match="sampler='zipf'; the samplers are 'frequency', 'log_u"):
    sampled(12, sampler="zipf")
  with pytest.raises(ValueError, match="no class_counts for the head 'sampled:sampler=frequency'"):
    sampled(12, sampler="frequency")
  with pytest.raises(ValueError, match=r"class_counts of shape \(2,\) for 12 classes"):
    sampled(12, class_counts=[1, 2])
  with pytest.raises(ValueError, match="num_samples=13 for 12 classes"):
    sampled(12, num_samples=13)
  with pytest.raises(ValueError, match="num_noise=0"):
    heads.negative_sampling(12, num_noise=0)
  with pytest.raises(ValueError, match=r"class_counts of shape \(2,\) for 12 classes"):
    heads.nce(12, class_counts=[1, 2])
  with pytest.raises(ValueError, match="num_samples='many'"):
    make("sampled:num_samples=many", 12)
  with pytest.raises(ValueError, match="Taylor order must be even"):
    sampled(12, order=3)
  head = sampled(12)
  params = draw(head, 8)
  with pytest.raises(ValueError, match=r"no key.*fold_in\(key, step\)"):
    head.loss(params, FEATURES, LABELS)
