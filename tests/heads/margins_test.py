"""Margin heads against their papers' formulas in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research import heads
from tests.heads.compiled import compiled, draw, evaluate

make = compiled(heads.make)

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(4, 3))
FEATURES = RNG.normal(size=(5, 4)) * np.array([[0.5], [1.0], [2.0], [4.0], [8.0]])
LABELS = np.array([0, 2, 1, 1, 2])
OWN = np.eye(3, dtype=bool)[LABELS]
NORMS = np.linalg.norm(FEATURES, axis=-1)
COSINES = FEATURES @ KERNEL / NORMS[:, None] / np.linalg.norm(KERNEL, axis=0)
ANGLES = np.arccos(COSINES)
COUNTS = (20, 70, 1)
RUNNING = {"mean": 3.0, "deviation": 2.0, "emphasis": 0.3}


def _fall(angle):
  """The cosine, which falls on beyond pi."""
  sector = np.floor(angle / np.pi)
  return (-1) ** sector * np.cos(angle) - 2 * sector


def _loss(own, scale, others=COSINES):
  values = np.exp(scale * np.where(OWN, own, others))
  return -np.log(values[OWN] / values.sum(-1))


def _adaface(margin=0.4, concentration=0.333):
  z = concentration * (np.clip(NORMS, 1e-3, 100) - 3.0) / (2.0 + 1e-3)
  z = np.clip(z, -1, 1)[:, None]
  return np.cos(np.maximum(ANGLES - margin * z, 0)) - margin * (1 + z)


def _magface():
  sizes = np.clip(NORMS, 1, 6)
  margin = 0.2 + 0.4 * (sizes - 1) / 5
  return _loss(_fall(ANGLES + margin[:, None]), 8.0) + 3 * (sizes / 36 + 1 / sizes)


def _curricular():
  own = np.where(ANGLES < np.pi - 0.5, np.cos(ANGLES + 0.5), COSINES - 0.5 * np.sin(0.5))
  hard = COSINES > own[OWN][:, None]
  return _loss(own, 8.0, np.where(hard, COSINES * (0.3 + COSINES), COSINES))


_LDAM = 0.5 * np.array(COUNTS) ** -0.25
_BALANCED = (1 - 0.9) / (1 - 0.9 ** np.array(COUNTS))
_BALANCED /= _BALANCED.mean()
_SCHEDULE = "base=5:gamma=0.1:power=2"

_CASES = {
  "combined_margin:multiplier=1.2:angle=0.3:cosine=0.1:scale=8": (
    0,
    _loss(_fall(1.2 * ANGLES + 0.3) - 0.1, 8),
  ),
  "sphereface:margin=1.7:scale=8:base=0": (0, _loss(_fall(1.7 * ANGLES), 8)),
  f"sphereface:margin=3:scale=8:{_SCHEDULE}": (
    10,
    _loss((5 / 4 * COSINES + _fall(3 * ANGLES)) / (1 + 5 / 4), 8),
  ),
  "ldam:scale=8": (0, _loss(COSINES - _LDAM, 8)),
  "ldam:scale=8:defer=3:beta=0.9": (2, _loss(COSINES - _LDAM, 8)),
  "ldam:beta=0.9:scale=8:defer=3": (3, _loss(COSINES - _LDAM, 8) * _BALANCED[LABELS]),
  "adaface:scale=8": (0, _loss(_adaface(), 8)),
  "magface:scale=8:weight=3:norms_between=(1,6):margins_between=(0.2,0.6)": (0, _magface()),
  "curricularface:scale=8": (0, _curricular()),
  "cosine_softmax:temperature=0.5": (0, _loss(COSINES, 2)),
}


def _params(head):
  params = draw(head, 4) | {"kernel": KERNEL}
  if "running" in params:
    params["running"] = {name: np.array(RUNNING[name]) for name in params["running"]}
  return params


@pytest.mark.parametrize("text", _CASES)
def test_losses_and_gradients_are_those_of_the_formula(text):
  step, expected = _CASES[text]
  head = make(text, 3, **({"class_counts": COUNTS} if "ldam" in text else {}))
  with jax.enable_x64(True):
    losses, log_probs = evaluate(head, _params(head), FEATURES, LABELS, step=np.array(step))
  np.testing.assert_allclose(losses, expected, rtol=1e-6)  # The tables are float32.
  scale = 2 if "cosine" in text.split(":")[0] else 8
  plain = np.exp(scale * COSINES)
  np.testing.assert_allclose(log_probs, np.log(plain / plain.sum(-1, keepdims=True)), rtol=1e-10)


def test_the_margins_of_ldam_are_those_of_the_frequencies_too():
  shares = np.array(COUNTS) / np.sum(COUNTS)
  losses = []
  for class_counts in (COUNTS, shares):
    head = make("ldam:scale=8", 3, class_counts=class_counts)
    params = head.init(jax.random.key(0), 4)
    losses.append(head.loss(params, FEATURES.astype(np.float32), LABELS))
  np.testing.assert_allclose(losses[1], losses[0], rtol=1e-6)


def test_the_norm_of_the_features_has_a_gradient_in_magface_and_none_in_adaface():
  slopes = {}
  for text in ("magface:norms_between=(1,6)", "adaface"):
    head = make(text, 3)
    params = _params(head)
    total = jax.jit(jax.grad(lambda x, h=head, p=params: h.loss(p, x, LABELS).sum()))
    gradient = total(FEATURES.astype(np.float32))
    slopes[text] = np.sum(np.asarray(gradient) * FEATURES, -1) / NORMS
  inside = (NORMS > 1) & (NORMS < 6)
  assert inside.any() and not inside.all()
  magface, adaface = slopes.values()
  assert np.all(np.abs(magface[inside]) > 0.01)
  np.testing.assert_allclose(magface[~inside], 0, atol=1e-4)
  np.testing.assert_allclose(adaface, 0, atol=1e-4)


def test_the_nearest_of_several_centres_counts():
  prior = np.array([0.2, 0.3, 0.5])
  head = make("subcentre_arcface:centres=2:margin=0.2:scale=8", 3, log_prior=np.log(prior))
  params = draw(head, 4)
  assert params["kernel"].shape == (4, 6)
  kernel = np.float64(params["kernel"]).reshape(4, 3, 2)
  cosines = np.einsum("nd,dkc->nkc", FEATURES / NORMS[:, None], kernel)
  cosines = (cosines / np.linalg.norm(kernel, axis=0)).max(-1)
  assert np.all(np.arccos(cosines[OWN]) < np.pi - 0.2)
  values = prior * np.exp(8 * np.where(OWN, np.cos(np.arccos(cosines) + 0.2), cosines))
  losses, log_probs = evaluate(head, params, FEATURES.astype(np.float32), LABELS)
  np.testing.assert_allclose(losses, -np.log(values[OWN] / values.sum(-1)), rtol=1e-5, atol=1e-6)
  assert log_probs.shape == (5, 3)


def test_partial_fc_with_all_classes_is_the_whole_head():
  margins = "multiplier=1.2:angle=0.3:cosine=0.1:scale=8"
  whole, partial = (make(f"{name}:{margins}", 3) for name in ("combined_margin", "partial_fc"))
  params, features, key = _params(whole), FEATURES.astype(np.float32), jax.random.key(0)
  expected, losses = (
    jax.jit(jax.value_and_grad(lambda p, h=head: h.loss(p, features, LABELS, key=key).sum()))(
      params
    )
    for head in (whole, make(f"partial_fc:num_samples=3:{margins}", 3))
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-5), losses, expected
  )
  np.testing.assert_array_equal(
    partial.log_prob(params, features), whole.log_prob(params, features)
  )
  few = partial.loss(params, features, LABELS, key=key)
  assert np.all(np.asarray(few) < np.asarray(whole.loss(params, features, LABELS)))
  with pytest.raises(ValueError, match="the partial_fc head draws classes anew"):
    partial.loss(params, features, LABELS)


def test_unknown_labels_leave_the_running_mean():
  head = make("curricularface:momentum=0.5", 3)
  params = jax.tree.map(np.float32, _params(head))

  @jax.jit
  def emphasis(labels):
    measured = head.tracker.measure(params, FEATURES.astype(np.float32), labels)
    means = jax.tree.map(jnp.mean, measured)
    return head.tracker.update(params, means)["running"]["emphasis"]

  expected = 0.15 + 0.5 * COSINES[[0, 3], [0, 1]].mean()
  np.testing.assert_allclose(emphasis(np.array([0, -1, 3, 1, 9])), expected, rtol=1e-5)
  np.testing.assert_allclose(emphasis(np.full(5, -1)), 0.3, rtol=1e-6)


@pytest.mark.parametrize(
  "text, message",
  [
    ("combined_margin:multiplier=0.5", "multiplier=0.5"),
    ("combined_margin:angle=2", "margin=2"),
    ("combined_margin:cosine=-1", "cosine=-1"),
    ("sphereface:base=-1", "base=-1"),
    ("ldam:defer=-1", "defer=-1"),
    ("ldam:beta=1", "beta=1"),
    ("adaface:concentration=0", "concentration=0"),
    ("magface:norms_between=(5,2)", r"norms_between=\(5, 2\)"),
    ("curricularface:momentum=2", "momentum=2"),
    ("subcentre_arcface:centres=0", "centres=0"),
    ("partial_fc:num_samples=4", "num_samples=4"),
    ("partial_fc:cosine=-1", "cosine=-1"),
  ],
)
def test_bad_options_fail_at_construction(text, message):
  with pytest.raises(ValueError, match=message):
    make(text, 3, **({"class_counts": COUNTS} if "ldam" in text else {}))
