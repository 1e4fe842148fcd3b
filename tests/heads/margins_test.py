"""Heads with a margin, against the papers' formulas in numpy."""

import jax
import numpy as np
import pytest

from softmax_research.heads import make

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(4, 3))
FEATURES = RNG.normal(size=(5, 4))
LABELS = np.array([0, 2, 1, 1, 2])
OWN = np.eye(3, dtype=bool)[LABELS]
SIZES = np.linalg.norm(FEATURES, axis=-1)[:, None] * np.linalg.norm(KERNEL, axis=0)
ANGLES = np.arccos(FEATURES @ KERNEL / SIZES)


def _quadratic(z):
  return 1 + z + z**2 / 2


def _loss(own, others, positive=np.exp):
  values = positive(np.where(OWN, own, others))
  return -np.log(values[OWN] / values.sum(-1))


def _l_softmax(margin, annealing, positive=np.exp):
  sector = np.minimum(np.floor(margin * ANGLES / np.pi), margin - 1)
  psi = (-1) ** sector * np.cos(margin * ANGLES) - 2 * sector
  logits = FEATURES @ KERNEL
  return _loss((annealing * logits + SIZES * psi) / (1 + annealing), logits, positive)


@pytest.mark.parametrize(
  "specification, step, expected",
  [
    ("l_softmax:base=0", 0, _l_softmax(2, 0)),
    ("l_softmax:margin=4:base=0", 0, _l_softmax(4, 0)),
    ("l_softmax:margin=3:base=5:gamma=0.1:power=2", 0, _l_softmax(3, 5)),
    ("l_softmax:margin=3:base=5:gamma=0.1:power=2", 10, _l_softmax(3, 5 / 4)),
    ("l_softmax:margin=3:base=5:gamma=0.1:power=2:minimum=2.0", 10, _l_softmax(3, 2)),
    ("l_softmax:margin=4:base=0:order=2", 0, _l_softmax(4, 0, _quadratic)),
    ("am_softmax", 0, _loss(30 * (np.cos(ANGLES) - 0.35), 30 * np.cos(ANGLES))),
    (
      "am_softmax:margin=0.2:scale=4:order=2",
      0,
      _loss(4 * (np.cos(ANGLES) - 0.2), 4 * np.cos(ANGLES), _quadratic),
    ),
    ("arcface:margin=0.1", 0, _loss(64 * np.cos(ANGLES + 0.1), 64 * np.cos(ANGLES))),
    (
      "arcface:margin=0.1:scale=4:order=2",
      0,
      _loss(4 * np.cos(ANGLES + 0.1), 4 * np.cos(ANGLES), _quadratic),
    ),
    ("sm:bias=False", 0, _loss(FEATURES @ KERNEL - 0.6, FEATURES @ KERNEL)),
    (
      "sm_taylor:bias=False:margin=0.3",
      0,
      _loss(FEATURES @ KERNEL - 0.3, FEATURES @ KERNEL, _quadratic),
    ),
  ],
)
def test_loss(specification, step, expected):
  assert np.all(np.pi - 0.1 > ANGLES[OWN])  # the examples stay off the angular margin's far side
  head = make(specification, 3)
  with jax.enable_x64(True):
    loss = jax.jit(head.loss)({"kernel": KERNEL}, FEATURES, LABELS, step=step)
  np.testing.assert_allclose(loss, expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(
  "specification, logits",
  [
    ("l_softmax", FEATURES @ KERNEL),
    ("am_softmax", 30 * np.cos(ANGLES)),
    ("arcface", 64 * np.cos(ANGLES)),
  ],
)
def test_predictions_know_no_margin(specification, logits):
  expected = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  with jax.enable_x64(True):
    log_probs = make(specification, 3).log_prob({"kernel": KERNEL}, FEATURES)
  np.testing.assert_allclose(log_probs, expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", ["l_softmax", "am_softmax", "arcface"])
def test_there_is_no_bias(name):
  assert set(make(name, 3).init(jax.random.key(0), 4)) == {"kernel"}


@pytest.mark.parametrize(
  "specification, message",
  [
    ("sm:margin=-1", "margin=-1"),
    ("sm_taylor:order=5", "order=5"),
    ("l_softmax:margin=0", "margin=0"),
    ("l_softmax:base=-1", "base=-1"),
    ("l_softmax:gamma=-1", "gamma=-1"),
    ("l_softmax:order=3", "order=3"),
    ("am_softmax:margin=-1", "margin=-1"),
    ("am_softmax:scale=0", "scale=0"),
    ("arcface:margin=2", "margin=2"),
    ("arcface:scale=-1", "scale=-1"),
    ("arcface:bias=True", "option 'bias'"),
  ],
)
def test_bad_options_fail_at_construction(specification, message):
  with pytest.raises(ValueError, match=message):
    make(specification, 3)
