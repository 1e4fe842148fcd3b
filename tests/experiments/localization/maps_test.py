"""Scores and claims by hand-made maps and records, and maps against their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.ledger import study_claims
from experiments.localization import maps
from softmax_research import heads, nn
from softmax_research.study import claims
from tests.study.record_test import WHOLE


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
  found = maps.score(haloed, test, validation_boxes=true, test_boxes=true, correct=correct)
  levels = list(maps.LEVELS)
  assert levels == [0.3, 0.5, 0.7]
  assert found["chosen"]["thresholds"] == [0.05, 0.05, 0.35]
  np.testing.assert_allclose(found["chosen"]["known"], [2 / 3] * 3)
  np.testing.assert_allclose(found["chosen"]["top_1"], [1 / 3] * 3)
  assert found["paper"]["thresholds"] == [0.2] * 3
  np.testing.assert_allclose(found["paper"]["known"], [2 / 3, 2 / 3, 0])
  np.testing.assert_allclose(found["paper"]["top_1"], [1 / 3, 1 / 3, 0])
  curve = np.array(found["validation_curve"])
  assert curve.shape == (3, len(maps.THRESHOLDS))
  assert curve[2].tolist() == [float(threshold > 0.33) for threshold in maps.THRESHOLDS]


def test_shares_by_size():
  boxes = np.array([[0, 0, 2, 2], [0, 0, 4, 4], [0, 0, 8, 8]])
  activations = np.stack([_map((1.0, box)) for box in boxes[[0, 0, 2]]])
  found = maps.score(
    activations,
    activations,
    validation_boxes=boxes,
    test_boxes=boxes,
    correct=np.ones(3, bool),
  )
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
  compute = maps.make_mapper(options | {"dtype": "bfloat16"}, lambda images: images, head.log_prob)
  found = np.asarray(compute(params, state, images, labels, log_probs), np.float64)
  assert found.shape == (3, len(maps.KINDS), 2, 6, 6)
  logits = np.asarray(features, np.float64) @ np.asarray(params["head"]["kernel"], np.float64)
  for scene, label in enumerate(labels):
    own, least = logits[scene, label], logits[scene, np.argmin(log_probs[scene])]
    others = np.delete(logits[scene], label).mean()
    means = found[scene, :3, 0].mean((1, 2))
    np.testing.assert_allclose(means, [own, own - others, own - least], rtol=1e-4, atol=1e-6)
  window = found[:, :, 0, 1:5, 1:5].mean((2, 3))
  np.testing.assert_allclose(found[:, :, 1, 3, 3], window, rtol=1e-4, atol=1e-6)


def test_a_sliding_window_averages_the_scores_of_all_windows_that_cover_a_position():
  images = jax.random.normal(jax.random.key(0), (2, 7, 7, 1))
  found = maps.slide(lambda windows: windows.sum((1, 2, 3)), images, window=3, stride=3)
  pixels = np.asarray(images, np.float64)[..., 0]
  total, cover = np.zeros((2, 7, 7)), np.zeros((7, 7))
  for top in (0, 3, 4):  # The last window ends at the border.
    for left in (0, 3, 4):
      score = pixels[:, top : top + 3, left : left + 3].sum((1, 2))
      total[:, top : top + 3, left : left + 3] += score[:, None, None]
      cover[top : top + 3, left : left + 3] += 1
  np.testing.assert_allclose(found, total / cover, rtol=1e-5, atol=1e-6)


def test_the_window_that_shows_the_object_is_where_the_map_is_highest():
  # A net without weights but the sum of a pixel: the label's class is brightness.
  options = {"stages": ((2,),), "kernel": 1, "pool": 1, "dense": (), "global_average_pool": True}
  params, state = nn.make("cnn", **options).init(jax.random.key(0), (8, 8, 1))
  params = jax.tree.map(jnp.ones_like, params)
  kernel = {"kernel": jnp.array([[1.0, -1.0]] * 2), "bias": jnp.zeros(2)}
  images = jnp.zeros((1, 8, 8, 1)).at[0, 1:3, 5:7].set(9.0)
  labels, log_probs, tops = jnp.array([0]), jnp.log(jnp.full((1, 2), 0.5)), []
  for name in ("softmax", "spherical"):
    head = heads.make(name, 2)
    compute = maps.make_mapper(options, lambda images: images, head.log_prob)
    made = np.asarray(
      compute({"backbone": params, "head": kernel}, state, images, labels, log_probs)
    )
    slid = made[0, maps.KINDS.index("sliding window"), 0]
    place = np.unravel_index(np.argmax(slid), (8, 8))
    tops.append(slid[place])
    if name == "softmax":
      assert place[0] < 4 and place[1] >= 4
  # Spherical softmax does not see the logits' signs, so that both classes are alike.
  assert tops[0] > 0.9 and tops[1] == pytest.approx(0.5)


def test_heads_without_a_kernel_are_refused():
  maps.check_head("softmax", heads.make("softmax", 9).init(jax.random.key(0), 4), 9)
  for name in ("hierarchical", "two_level"):
    with pytest.raises(ValueError, match=f"'{name}', which is not a linear layer"):
      maps.check_head(name, heads.make(name, 9).init(jax.random.key(0), 4), 9)


def _records(shares, head="softmax"):
  """Records of four seeds in which the kinds of maps find these shares of boxes."""
  found = []
  for seed, noise in enumerate([0.0, 0.01, -0.01, 0.002]):
    values = [[share + noise * (1 + i)] * 3 for i, share in enumerate(shares)]
    of_maps = {
      kind: {
        smoothing: {rule: {"known": value, "top_1": value} for rule in ("chosen", "paper")}
        for smoothing in maps.SMOOTHINGS
      }
      for kind, value in zip(maps.KINDS, values, strict=False)
    }
    measured = {"localisation": {"maps": of_maps}}
    metrics = {"test": {"accuracy": 0.9 + noise}}
    found.append(
      WHOLE | {"cell": {"head": head}, "seed": seed, "measured": measured, "metrics": metrics}
    )
  return found


def test_claims_of_maps_follow_from_the_seeds():
  def verdicts(shares):
    rulings = claims.judge(study_claims.OF_MAPS, {None: _records(shares)})
    return {r.claim.text: r.verdict for r in rulings if r.findings}

  good, bad, close = (verdicts((0.5, share, share + 0.2)) for share in (0.7, 0.3, 0.5))
  assert good and set(good.values()) == {"supported"}
  over_cam = [text for text in bad if text.startswith("infoCAM finds")]
  assert over_cam and all(bad[text] == "contradicted" for text in over_cam)
  assert all(close[text] not in ("supported", "contradicted") for text in over_cam)
