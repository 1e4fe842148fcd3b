"""Heads by name, and those of one logit a class against the papers' formulas in numpy."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research import functional, heads
from softmax_research.heads import HEADS, head_options, parse
from tests.heads.compiled import compiled, draw, evaluate

dense, make = compiled(heads.dense), compiled(heads.make)

RNG = np.random.default_rng(0)
PARAMS = {"kernel": RNG.normal(size=(4, 3)), "bias": RNG.normal(size=3)}
FEATURES = RNG.normal(size=(5, 4))
LABELS = np.array([0, 2, 1, 1, 2])
OWN = np.eye(3, dtype=bool)[LABELS]
LOGITS = FEATURES @ PARAMS["kernel"] + PARAMS["bias"]
SOFTMAX = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
# Heads with a margin have no bias; some of their logits are cosines.
PRODUCTS = FEATURES @ PARAMS["kernel"]
SIZES = np.linalg.norm(FEATURES, axis=-1)[:, None] * np.linalg.norm(PARAMS["kernel"], axis=0)
ANGLES = np.arccos(PRODUCTS / SIZES)
COUNTS = (20, 70, 10)
PRIOR = np.array(COUNTS) / 100


@pytest.mark.parametrize(
  "specification, positive",
  [
    ("softmax", np.exp),
    ("softmax:temperature=2.5", lambda z: np.exp(z / 2.5)),
    ("taylor", lambda z: 1 + z + z**2 / 2),
    ("taylor:order=4", lambda z: 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24),
    ("relu", lambda z: np.maximum(z, 1e-2)),
    ("relu:epsilon=0.5", lambda z: np.maximum(z, 0.5)),
    ("spherical", lambda z: z**2 + 1e-2),
    ("spherical:epsilon=0.5", lambda z: z**2 + 0.5),
    ("stablemax", lambda z: np.where(z < 0, 1 / (1 - np.minimum(z, 0)), z + 1)),
    ("sigsoftmax", lambda z: np.exp(z) / (1 + np.exp(-z))),
    ("soft_cap:cap=2", lambda z: np.exp(2 * np.tanh(z / 2))),
    ("logit_norm:temperature=0.5", lambda z: np.exp(2 * z / np.linalg.norm(z, axis=-1)[:, None])),
  ],
)
def test_scores(specification, positive):
  values = positive(LOGITS)
  expected = np.log(values / values.sum(-1, keepdims=True))
  with jax.enable_x64(True):
    loss, log_probs = evaluate(heads.make(specification, 3), PARAMS, FEATURES, LABELS)
  np.testing.assert_allclose(log_probs, expected, rtol=1e-12)
  np.testing.assert_allclose(loss, -expected[np.arange(5), LABELS], rtol=1e-12)


def test_relu_starts_with_living_classes():
  params = make("relu", 3).init(jax.random.key(0), 4)
  np.testing.assert_array_equal(params["bias"], np.ones(3))
  started = make("relu:bias_start=0.5", 3).init(jax.random.key(0), 4)
  np.testing.assert_array_equal(started["bias"], np.full(3, 0.5))


def test_a_high_order_is_softmax():
  with jax.enable_x64(True):
    log_probs = make("taylor:order=40", 3).log_prob(PARAMS, FEATURES)
  np.testing.assert_allclose(log_probs, np.log(SOFTMAX), rtol=1e-12)


def _quadratic(z):
  return 1 + z + z**2 / 2


def _loss(own, others, positive=np.exp):
  values = positive(np.where(OWN, own, others))
  return -np.log(values[OWN] / values.sum(-1))


def _l_softmax(margin, annealing, positive=np.exp):
  sector = np.minimum(np.floor(margin * ANGLES / np.pi), margin - 1)
  psi = (-1) ** sector * np.cos(margin * ANGLES) - 2 * sector
  return _loss((annealing * PRODUCTS + SIZES * psi) / (1 + annealing), PRODUCTS, positive)


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
    ("sm:bias=False", 0, _loss(PRODUCTS - 0.6, PRODUCTS)),
    (
      "sm_taylor:bias=False:margin=0.3",
      0,
      _loss(PRODUCTS - 0.3, PRODUCTS, _quadratic),
    ),
  ],
)
def test_margins(specification, step, expected):
  assert np.all(np.pi - 0.1 > ANGLES[OWN])  # the examples stay off the angular margin's far side
  head = make(specification, 3)
  with jax.enable_x64(True):
    loss = jax.jit(head.loss)({"kernel": PARAMS["kernel"]}, FEATURES, LABELS, step=step)
  np.testing.assert_allclose(loss, expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(
  "specification, logits",
  [
    ("l_softmax", PRODUCTS),
    ("am_softmax", 30 * np.cos(ANGLES)),
    ("arcface", 64 * np.cos(ANGLES)),
  ],
)
def test_predictions_know_no_margin(specification, logits):
  expected = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  with jax.enable_x64(True):
    log_probs = make(specification, 3).log_prob({"kernel": PARAMS["kernel"]}, FEATURES)
  np.testing.assert_allclose(log_probs, expected, rtol=1e-10, atol=1e-13)


def _at_labels(values):
  return values[np.arange(5), LABELS]


def _evaluate_with_counts(specification):
  head = heads.make(specification, 3, class_counts=COUNTS)

  @jax.jit
  def run(params):
    total = jax.value_and_grad(lambda p: head.loss(p, FEATURES, LABELS).mean())
    return total(params), jnp.exp(head.log_prob(params, FEATURES))

  with jax.enable_x64(True):
    (loss, gradient), probabilities = jax.device_get(run(PARAMS))
  return loss, gradient, probabilities


def test_pc_softmax():
  loss, _, probabilities = _evaluate_with_counts("pc_softmax")
  ratio = np.exp(LOGITS) / (np.exp(LOGITS) @ PRIOR)[:, None]
  # The prior is kept in float32, made as it is outside of the double-precision scope.
  np.testing.assert_allclose(loss, -np.log(_at_labels(ratio)).mean(), rtol=1e-6)
  np.testing.assert_allclose(probabilities, SOFTMAX, rtol=1e-12)


def test_logit_adjustment():
  loss, gradient, probabilities = _evaluate_with_counts("logit_adjusted")
  adjusted = PRIOR * np.exp(LOGITS)
  adjusted /= adjusted.sum(-1, keepdims=True)
  np.testing.assert_allclose(loss, -np.log(_at_labels(adjusted)).mean(), rtol=1e-6)
  np.testing.assert_allclose(probabilities, SOFTMAX, rtol=1e-12)
  pc_loss, pc_gradient, _ = _evaluate_with_counts("pc_softmax")
  np.testing.assert_allclose(loss - pc_loss, -np.log(PRIOR[LABELS]).mean(), rtol=1e-5)
  for name in gradient:
    np.testing.assert_allclose(gradient[name], pc_gradient[name], rtol=1e-5, atol=1e-7)


def test_the_strength_of_the_adjustment():
  loss, _, _ = _evaluate_with_counts("logit_adjusted:tau=0")
  np.testing.assert_allclose(loss, -np.log(_at_labels(SOFTMAX)).mean(), rtol=1e-12)
  loss, _, _ = _evaluate_with_counts("logit_adjusted:tau=2:order=2")
  values = PRIOR**2 * (1 + LOGITS + LOGITS**2 / 2)
  expected = -np.log(_at_labels(values / values.sum(-1, keepdims=True))).mean()
  np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_moved_predictions():
  loss, _, probabilities = _evaluate_with_counts("prior_shift")
  np.testing.assert_allclose(loss, -np.log(_at_labels(SOFTMAX)).mean(), rtol=1e-12)
  moved = SOFTMAX / PRIOR
  np.testing.assert_allclose(probabilities, moved / moved.sum(-1, keepdims=True), rtol=1e-6)


def test_a_class_without_examples():
  counts = (20, 70, 0)
  labels = np.zeros(5, int)
  for specification in ("pc_softmax", "logit_adjusted", "logit_adjusted:tau=0", "prior_shift"):
    head = heads.make(specification, 3, class_counts=counts)

    @jax.jit
    def run(params, head=head):
      gradient = jax.grad(lambda p: head.loss(p, FEATURES, labels).mean())(params)
      return gradient, head.log_prob(params, FEATURES)

    gradient, log_probs = jax.device_get(run(PARAMS))
    assert all(np.all(np.isfinite(array)) for array in gradient.values())
    assert not np.any(np.isnan(log_probs))
  np.testing.assert_array_equal(log_probs[:, 2], np.full(5, -np.inf))


@pytest.mark.parametrize("name", ["pc_softmax", "logit_adjusted", "prior_shift"])
@pytest.mark.parametrize(
  "counts, message",
  [
    (None, "no class_counts for the head"),
    ((1, 2), r"class_counts of shape \(2,\) for 3 classes"),
    ((0, 0, 0), "at least one is positive"),
    ((1, 2, -1), "at least 0"),
  ],
)
def test_bad_counts(name, counts, message):
  with pytest.raises(ValueError, match=message):
    make(name, 3, class_counts=counts)


@pytest.mark.parametrize(
  ("name", "alpha"),
  [("sparsemax", 2.0), ("entmax", 1.5), ("entmax:alpha=1.25", 1.25), ("entmax:alpha=1.0", 1.0)],
)
def test_sparse_losses_and_probabilities(name, alpha):
  loss, log_probs = evaluate(heads.make(name, 3), PARAMS, FEATURES, LABELS)
  expected, probs = jax.jit(
    lambda z: (functional.entmax_loss(z, LABELS, alpha=alpha), functional.entmax(z, alpha=alpha))
  )(LOGITS)
  np.testing.assert_allclose(loss, expected, atol=1e-5)
  np.testing.assert_allclose(np.exp(log_probs), probs, atol=1e-5)
  np.testing.assert_array_equal(np.argmax(log_probs, -1), np.argmax(LOGITS, -1))


def test_a_class_without_probability_has_infinite_loss_of_likelihood_but_a_finite_own():
  head = heads.make("sparsemax", 3)

  @jax.jit
  def run(params, features, label):
    loss, gradient = jax.value_and_grad(head.loss)(params, features, label)
    return loss, gradient, head.log_prob(params, features)

  params = {"kernel": 4 * np.eye(3), "bias": np.zeros(3)}
  loss, gradient, log_probs = run(params, np.array([1.0, 0.0, 0.0]), np.array(1))
  np.testing.assert_array_equal(log_probs, [0, -np.inf, -np.inf])
  assert loss == 4
  np.testing.assert_array_equal(gradient["bias"], [1, -1, 0])


def test_alpha_one_keeps_the_log_probabilities_that_softmax_has():
  params = {"kernel": np.eye(3) * 200, "bias": np.zeros(3)}
  features = np.array([1.0, 0.0, 0.5])
  entmax, softmax = (
    make(name, 3).log_prob(params, features) for name in ("entmax:alpha=1", "softmax")
  )
  np.testing.assert_allclose(entmax, softmax)


def _evaluate(specification):
  with jax.enable_x64(True):
    losses, log_probs = evaluate(heads.make(specification, 3), PARAMS, FEATURES, LABELS)
  return losses, np.exp(log_probs)


def test_one_vs_all():
  loss, probabilities = _evaluate("one_vs_all")
  sigma = 1 / (1 + np.exp(-LOGITS))
  np.testing.assert_allclose(loss, -np.log(np.where(OWN, sigma, 1 - sigma)).sum(-1), rtol=1e-12)
  np.testing.assert_allclose(probabilities, sigma / sigma.sum(-1, keepdims=True), rtol=1e-12)


@pytest.mark.parametrize("margin", [1.0, 0.25])
def test_hinge(margin):
  gaps = np.maximum(margin + LOGITS - LOGITS[OWN][:, None], 0)
  gaps[OWN] = 0
  strongest, probabilities = _evaluate(f"hinge:margin={margin}")
  total, _ = _evaluate(f"hinge:margin={margin}:sum_rivals=True")
  np.testing.assert_allclose(strongest, gaps.max(-1), rtol=1e-12)
  np.testing.assert_allclose(total, gaps.sum(-1), rtol=1e-12)
  softmax = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
  np.testing.assert_allclose(probabilities, softmax, rtol=1e-12)


def test_multimax_learns_its_score():
  head = make("multimax", 3)
  params = draw(head, 4)
  assert {name: leaf.shape for name, leaf in params["score"].items()} == {
    "weights": (4,),
    "points": (4,),
  }
  features = FEATURES.astype(np.float32)
  gradient = jax.jit(jax.grad(lambda p: head.loss(p, features, LABELS).sum()))(params)
  assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient["score"]))
  with jax.enable_x64(True):
    params = PARAMS | {"score": {"weights": np.zeros(4), "points": np.ones(4)}}
    np.testing.assert_allclose(np.exp(head.log_prob(params, FEATURES)), SOFTMAX, rtol=1e-12)


def test_logit_penalty_and_squared_error():
  penalised, probabilities = _evaluate("logit_penalty:weight=0.25")
  expected = -np.log(SOFTMAX[OWN]) + 0.25 * (LOGITS**2).sum(-1)
  np.testing.assert_allclose(penalised, expected, rtol=1e-12)
  np.testing.assert_allclose(probabilities, SOFTMAX, rtol=1e-12)
  squared, probabilities = _evaluate("squared_error:target=3:label_weight=5")
  expected = np.where(OWN, 5 * (LOGITS - 3) ** 2, LOGITS**2).mean(-1)
  np.testing.assert_allclose(squared, expected, rtol=1e-12)
  np.testing.assert_allclose(probabilities, SOFTMAX, rtol=1e-12)


@pytest.mark.parametrize("text", ["ev_softmax:epsilon=0.01", "r_softmax:rate=0.5:epsilon=0.01"])
def test_sparse_heads_predict_zeros_and_train_without(text):
  losses, probabilities = _evaluate(text)
  limit = LOGITS.mean(-1) if "ev" in text else np.median(LOGITS, axis=-1)
  excess = LOGITS - limit[:, None]
  weights = (excess >= 0) * 1.0 if "ev" in text else np.maximum(excess, 0)
  in_training = (weights + 0.01) * np.exp(LOGITS)
  expected = -np.log(in_training[OWN] / in_training.sum(-1))
  np.testing.assert_allclose(losses, expected, rtol=1e-10)
  expected = weights * np.exp(LOGITS)
  np.testing.assert_allclose(probabilities, expected / expected.sum(-1, keepdims=True), rtol=1e-10)
  assert np.any(probabilities == 0)


def test_bi_tempered_predicts_with_its_heavy_tail():
  losses, probabilities = _evaluate("bi_tempered:t1=0.5:t2=1.5")
  with jax.enable_x64(True):
    expected, tempered = jax.jit(
      lambda z: (
        functional.bi_tempered_loss(z, LABELS, t1=0.5, t2=1.5),
        functional.tempered_softmax(z, t=1.5),
      )
    )(LOGITS)
  np.testing.assert_allclose(losses, expected, rtol=1e-12)
  np.testing.assert_allclose(probabilities, tempered, rtol=1e-12)


def test_one_against_all_may_begin_with_rare_classes():
  params = make("one_vs_all:bias_start=None", 3).init(jax.random.key(0), 4)
  np.testing.assert_allclose(params["bias"], np.full(3, -np.log(3)), rtol=1e-6)


@pytest.mark.parametrize(
  "text",
  ["l_softmax", "am_softmax", "arcface"]
  + [
    f"{name}:bias=False"
    for name in ("relu", "one_vs_all", "hinge", "pc_softmax", "sparsemax", "entmax")
  ],
)
def test_there_is_no_bias(text):
  options = {"class_counts": COUNTS} if text.startswith("pc") else {}
  assert set(draw(heads.make(text, 3, **options), 4)) == {"kernel"}


@pytest.mark.parametrize(
  "specification, message",
  [
    ("softmax:temperature=0", "temperature=0"),
    ("taylor:order=3", "order=3"),
    ("relu:epsilon=0", "epsilon=0"),
    ("spherical:epsilon=-1", "epsilon=-1"),
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
    ("logit_adjusted:tau=-1", "tau=-1"),
    ("entmax:alpha=0.5", r"alpha=.*>= 1\. Pass 1 for softmax, 2 for sparsemax"),
    ("entmax:alpha=1e999", "alpha=inf"),
    ("hinge:margin=-1", "margin=-1"),
    ("arcface:link=focal:label_smoothing=0.1", "label_smoothing=0.1 and a link"),
    ("soft_cap:cap=0", "cap=0"),
    ("bi_tempered:t1=2", "t1=2"),
    ("logit_norm:temperature=0", "temperature=0"),
    ("logit_penalty:weight=-1", "weight=-1"),
    ("ev_softmax:epsilon=0", "epsilon=0"),
    ("r_softmax:rate=1", "rate=1"),
    ("squared_error:target=0", "target=0"),
    ("cosine_softmax:temperature=0", "temperature=0"),
  ],
)
def test_bad_options_fail_at_construction(specification, message):
  with pytest.raises(ValueError, match=message):
    make(specification, 3)


_ROOT = pathlib.Path(__file__).resolve().parents[2]
SOME_LABELS = np.array([0, 2, 1, 1])
SOME_FEATURES = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)


@pytest.mark.parametrize("name", sorted(HEADS))
def test_every_head_is_made_from_its_defaults(name):
  options = {"class_counts": (5, 3, 2)} if "class_counts" in head_options(name) else {}

  def run():
    head = make(name, 3, **options)
    params = head.init(jax.random.key(0), 5)
    loss = head.loss(params, SOME_FEATURES, SOME_LABELS, step=3, key=jax.random.key(1))
    return loss, head.log_prob(params, SOME_FEATURES)

  losses, log_probs = jax.eval_shape(run)
  assert (losses.shape, log_probs.shape) == ((4,), (4, 3))


def test_every_head_is_recommended_for_something():
  page = (_ROOT / "docs" / "which.rst").read_text(encoding="utf-8")
  assert not set(HEADS) - set(re.findall(r"``(\w+)", page))


def test_features_are_one_at_least():
  for name in ("softmax", "huffman", "adaptive", "mixture"):
    counts = {"class_counts": [3, 2, 1]} if name in ("huffman", "adaptive") else {}
    with pytest.raises(ValueError, match="Got num_features=0; it must be an integer of at least 1"):
      heads.make(name, 3, **counts).init(jax.random.key(0), 0)


@pytest.mark.parametrize("name", sorted(heads.HEADS))
def test_options_may_be_numpys_under_wide_types_and_strict_promotion(name):
  options = heads.head_options(name)
  given = {option: np.float64(d) for option, d in options.items() if isinstance(d, float)}
  counts = {"class_counts": [3, 2, 1]} if "class_counts" in options else {}
  head = heads.make(name, 3, **given, **counts)

  def losses(key):
    return head.loss(head.init(key, 2), jnp.ones((2, 2), jnp.float32), np.array([0, 2]), key=key)

  with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
    assert jax.eval_shape(losses, jax.random.key(0)).dtype == jnp.float32


def test_the_number_of_classes_may_be_numpys():
  assert draw(make("softmax", np.max(SOME_LABELS) + 1), 5)["bias"].shape == (3,)


@pytest.mark.parametrize("name", [*sorted(HEADS), "sampled:sampler=log_uniform"])
def test_more_classes_than_can_be_numbered_are_refused_before_memory_is_asked_for(name):
  name, options = parse(name)
  with pytest.raises(ValueError, match=r"num_classes=4611686018427387904.*below 2\^31"):
    make(name, 2**62, **options)


def test_options_in_the_specification_and_beside_it():
  head = make("sm:margin=0.5", 3, label_smoothing=0.1)
  params = draw(head, 5)
  plain = dense(3, label_smoothing=0.1)
  lowered = params | {"bias": params["bias"] + np.array([-0.5, 0.0, 0.0], np.float32)}
  np.testing.assert_allclose(
    head.loss(params, SOME_FEATURES[:1], SOME_LABELS[:1]),
    plain.loss(lowered, SOME_FEATURES[:1], SOME_LABELS[:1]),
    rtol=1e-5,
  )
  overridden = make("sm:margin=0.5", 3, margin=0.0, label_smoothing=0.1)
  np.testing.assert_allclose(
    overridden.loss(params, SOME_FEATURES, SOME_LABELS),
    plain.loss(params, SOME_FEATURES, SOME_LABELS),
    rtol=1e-5,
  )


def test_options_are_listed_with_their_defaults():
  options = head_options("sm_taylor")
  assert options["order"] == 2
  assert options["margin"] == 0.6
  assert options["bias"] is True
  # Functions cannot be given in a flag, and cosines have no bias.
  assert "score" not in options
  assert "bias" not in head_options("arcface")


def test_an_unknown_head_lists_the_heads():
  with pytest.raises(ValueError, match=r"'sofmax'; the heads are .*sm_taylor, soft_cap, softmax"):
    make("sofmax", 3)


def test_a_head_of_ones_own_is_named_by_its_path():
  own = "softmax_research.heads.margins.sm_taylor:order=4"  # Not a name of `HEADS`.
  params = draw(make(own, 3), 5)
  ours, theirs = (
    make(name, 3).loss(params, SOME_FEATURES, SOME_LABELS) for name in (own, "sm_taylor:order=4")
  )
  np.testing.assert_array_equal(ours, theirs)
  with pytest.raises(ValueError, match=r"option 'ordr' for the head '.*margins.sm_taylor'"):
    make("softmax_research.heads.margins.sm_taylor:ordr=4", 3)


@pytest.mark.parametrize(
  "path, what", [("os.system", "raised TypeError"), ("math.sqrt", "returned float")]
)
def test_a_function_that_makes_no_head_is_refused(path, what):
  with pytest.raises(ValueError, match=f"'{path}'.*{what}"):
    make(path, 3)


def test_an_unknown_option_lists_the_options():
  with pytest.raises(ValueError, match=r"'ordr' for the head 'taylor'.*label_smoothing.*order"):
    make("taylor:ordr=4", 3)
