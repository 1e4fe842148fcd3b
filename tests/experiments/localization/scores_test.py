"""Scores and claims by hand-made maps and records, and maps against their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.localization import claims, maps, scores
from softmax_research import heads, nn
from softmax_research.reporting import HeadRecords


def _map(*layers):
  """A map of 10 by 10; each layer is a height and its box."""
  activation = np.zeros((10, 10))
  for height, (top, left, bottom, right) in layers:
    activation[top:bottom, left:right] = height
  return activation


def test_scores_of_hand_made_maps():
  true = np.array([[2, 2, 6, 6]] * 3)
  exact, wide = (2, 2, 6, 6), (2, 2, 10, 6)
  # A halo of a third of the height spoils the box at low thresholds: 16 of 32 positions.
  haloed = np.stack([_map((0.33, wide), (1.0, exact))] * 3)
  missed = _map((1.0, (7, 7, 9, 9)))
  test = np.stack([haloed[0], haloed[0], missed])
  correct = np.array([True, False, True])
  found = scores.score(haloed, true, test, true, correct)
  levels = list(scores.LEVELS)
  assert levels == [0.3, 0.5, 0.7]
  assert found["chosen"]["thresholds"] == [0.05, 0.05, 0.35]
  np.testing.assert_allclose(found["chosen"]["known"], [2 / 3] * 3)
  np.testing.assert_allclose(found["chosen"]["top_1"], [1 / 3] * 3)
  assert found["paper"]["thresholds"] == [0.2] * 3
  np.testing.assert_allclose(found["paper"]["known"], [2 / 3, 2 / 3, 0])
  np.testing.assert_allclose(found["paper"]["top_1"], [1 / 3, 1 / 3, 0])
  curve = np.array(found["validation_curve"])
  assert curve.shape == (3, len(scores.THRESHOLDS))
  assert curve[2].tolist() == [float(threshold > 0.33) for threshold in scores.THRESHOLDS]


def test_shares_by_size():
  boxes = np.array([[0, 0, 2, 2], [0, 0, 4, 4], [0, 0, 8, 8]])
  activations = np.stack([_map((1.0, box)) for box in boxes[[0, 0, 2]]])
  found = scores.score(activations, boxes, activations, boxes, np.ones(3, bool))
  assert found["paper"]["by_size"] == [1.0, 0.0, 1.0]


def test_maps_are_the_formulas_of_the_logits_parts():
  # Without pooling a map's mean over positions is a logit without its bias.
  options = {"stages": ((5,),), "pool": 1, "dense": (), "global_average_pool": True}
  backbone, head = nn.make("cnn", **options), heads.make("softmax", 4)
  params, state = backbone.init(jax.random.key(0), (6, 6, 2))
  params = {"backbone": params, "head": head.init(jax.random.key(1), 5)}
  images = jax.random.normal(jax.random.key(2), (3, 6, 6, 2))
  labels = jnp.array([1, 0, 3])
  features, _ = backbone.apply(params["backbone"], state, images, train=False)
  log_probs = head.log_prob(params["head"], features)
  compute = maps.make_mapper({"name": "cnn", **options}, lambda images: images)
  found = np.asarray(compute(params, state, images, labels, log_probs), np.float64)
  assert found.shape == (3, 3, 2, 6, 6)
  logits = np.asarray(features, np.float64) @ np.asarray(params["head"]["kernel"], np.float64)
  for scene, label in enumerate(labels):
    own, least = logits[scene, label], logits[scene, np.argmin(log_probs[scene])]
    others = np.delete(logits[scene], label).mean()
    means = found[scene, :, 0].mean((1, 2))
    np.testing.assert_allclose(means, [own, own - others, own - least], rtol=1e-4, atol=1e-6)
  window = found[:, :, 0, 1:5, 1:5].mean((2, 3))
  np.testing.assert_allclose(found[:, :, 1, 3, 3], window, rtol=1e-4, atol=1e-6)


def test_heads_without_a_kernel_are_refused():
  maps.check_head("softmax", heads.make("softmax", 9).init(jax.random.key(0), 4), 9)
  for name in ("hierarchical", "two_level"):
    with pytest.raises(ValueError, match=f"'{name}', which is not a linear layer"):
      maps.check_head(name, heads.make(name, 9).init(jax.random.key(0), 4), 9)


def _head(name, shares, accuracy):
  """A head whose kinds of maps find these shares, in each of four seeds."""
  runs = {}
  for seed, noise in enumerate([0.0, 0.01, -0.01, 0.002]):
    values = [[share + noise * (1 + i)] * 3 for i, share in enumerate(shares)]
    found = {
      kind: {
        smoothing: {rule: {"known": value, "top_1": value} for rule in scores.RULES}
        for smoothing in maps.SMOOTHINGS
      }
      for kind, value in zip(maps.KINDS, values, strict=True)
    }
    runs[seed] = {"localisation": {"maps": found}, "metrics": {"test": {"accuracy": accuracy}}}
  return HeadRecords(name, runs, {}, None)


def test_claims_follow_from_the_seeds():
  decided = claims.of_maps([_head("softmax", (0.5, 0.9, 0.1), 0.9)])
  verdicts = {claim.text.partition(";")[0]: claim.verdict for claim in decided}
  assert verdicts == {
    "infoCAM over CAM": "holds",
    "infoCAM+ over CAM": "does not hold: lower",
    "infoCAM+ over infoCAM": "does not hold: lower",
  }
  assert len(decided) == 6  # with the threshold of validation, and as the paper does
  close = claims.of_maps([_head("softmax", (0.5, 0.501, 0.502), 0.9)])
  assert {claim.verdict for claim in close} == {"undecided at n = 4"}


def test_claims_between_heads():
  first, same = (_head(name, (0.5, 0.6, 0.7), 0.9) for name in ("softmax", "pc_softmax"))
  decided = claims.of_heads([first, same], maps.KINDS)
  assert len(decided) == 7
  assert {claim.verdict for claim in decided} == {"does not hold: equal in every seed"}
