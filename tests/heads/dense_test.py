"""Dense heads against the composition written out in numpy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research import functional, heads
from softmax_research.heads import Geometry, LearntScore
from tests.heads.compiled import compiled, evaluate

dense, linear = compiled(heads.dense), compiled(heads.linear)

RNG = np.random.default_rng(0)
PARAMS = {"kernel": RNG.normal(size=(4, 3)), "bias": RNG.normal(size=3)}
FEATURES = RNG.normal(size=(5, 4))
LABELS = np.array([0, 2, 1, 1, 2])
LOG_PRIOR = np.log([0.2, 0.7, 0.1])


def _log_softmax(scores):
  return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


def _quadratic(logits):
  return np.log(1 + logits + logits**2 / 2)


def test_parameters():
  params = dense(3).init(jax.random.key(0), 4)
  assert {name: array.shape for name, array in params.items()} == {"kernel": (4, 3), "bias": (3,)}
  np.testing.assert_array_equal(params["bias"], np.zeros(3))
  constant = dense(3, bias=False, kernel_init=jax.nn.initializers.constant(2.0))
  np.testing.assert_array_equal(constant.init(jax.random.key(0), 4)["kernel"], np.full((4, 3), 2))


def test_margin_score_prior_and_smoothing_are_composed_in_this_order():
  head = dense(
    3,
    margin=lambda logits, labels, geometry: functional.soft_margin(logits, labels, margin=0.6),
    score=functional.taylor_score,
    log_prior=LOG_PRIOR,
    label_smoothing=0.1,
    z_loss=0.01,
  )
  targets = np.eye(3)[LABELS]
  logits = FEATURES @ PARAMS["kernel"] + PARAMS["bias"]
  scores = _quadratic(logits - 0.6 * targets) + LOG_PRIOR
  expected = -((0.9 * targets + 0.1 / 3) * _log_softmax(scores)).sum(-1)
  expected += 0.01 * np.log(np.exp(scores).sum(-1)) ** 2
  with jax.enable_x64(True):
    losses, prediction = evaluate(head, PARAMS, FEATURES, LABELS)
  np.testing.assert_allclose(losses, expected, rtol=1e-12)
  # Neither margin nor prior nor smoothing acts in a prediction.
  np.testing.assert_allclose(prediction, _log_softmax(_quadratic(logits)), rtol=1e-12)


def test_a_margin_sees_norms_and_step():
  @jax.jit
  def run(kernel, features, step):
    seen = {}

    def margin(logits, labels, geometry):
      seen.update(geometry._asdict())
      return logits

    head = heads.dense(3, bias=False, margin=margin, implementation="plain")
    head.loss({"kernel": kernel}, features, LABELS, step=step)
    return seen

  seen = run(PARAMS["kernel"], FEATURES, 7)
  assert set(seen) == set(Geometry._fields)
  np.testing.assert_allclose(seen["feature_norms"], np.linalg.norm(FEATURES, axis=-1), rtol=1e-6)
  np.testing.assert_allclose(
    seen["kernel_norms"], np.linalg.norm(PARAMS["kernel"], axis=0), rtol=1e-6
  )
  assert seen["step"] == 7


def test_normalised_logits_are_cosines():
  head = linear(
    3,
    loss=lambda logits, labels, geometry: (
      logits.sum(-1) + geometry.feature_norms + geometry.kernel_norms.sum()
    ),
    log_prob=lambda logits: logits,
    bias=False,
    normalise=True,
  )
  kernel = PARAMS["kernel"]
  cosines = FEATURES @ kernel / np.linalg.norm(FEATURES, axis=-1)[:, None]
  cosines /= np.linalg.norm(kernel, axis=0)
  loss, log_probs = evaluate(head, {"kernel": kernel}, FEATURES, LABELS)
  np.testing.assert_allclose(log_probs, cosines, rtol=1e-5)
  # The geometry that goes with them has norms of 1.
  np.testing.assert_allclose(loss, cosines.sum(-1) + 4, rtol=1e-5)


@pytest.mark.parametrize("normalise", [False, True])
def test_zero_features_have_gradients_of_ordinary_size(normalise):
  head = dense(
    3,
    bias=False,
    normalise=normalise,
    margin=lambda logits, labels, geometry: logits * geometry.feature_norms[..., None],
  )
  total = jax.jit(jax.grad(lambda p, x: head.loss(p, x, np.array([0])).sum(), argnums=(0, 1)))
  gradients = total({"kernel": PARAMS["kernel"]}, np.zeros((1, 4)))
  for gradient in jax.tree.leaves(gradients):
    assert np.max(np.abs(gradient)) < 10


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_features_make_float32_logits_and_norms(dtype):
  head = linear(
    3,
    loss=lambda logits, labels, geometry: geometry.feature_norms,
    log_prob=lambda logits: logits,
    bias=False,
  )
  features = np.full((1, 4), 1000.0, dtype)  # their squares overflow float16
  params = {"kernel": np.full((4, 3), 20.0, dtype)}
  norms, logits = evaluate(head, params, features, [0])
  assert logits.dtype == jnp.float32
  np.testing.assert_array_equal(logits, np.full((1, 3), 80000.0))
  np.testing.assert_allclose(norms, [2000], rtol=1e-6)


@pytest.mark.parametrize("normalise", [False, True])
def test_streaming_is_equal_to_plain(normalise):
  def margin(logits, labels, geometry):
    annealing = 1 / (1 + geometry.step)  # The step is traced.
    norms = {"feature_norms": geometry.feature_norms, "kernel_norms": geometry.kernel_norms}
    return functional.large_margin(logits, labels, **norms, margin=2, annealing=annealing)

  def derivatives(implementation, params, features, step):
    head = dense(
      3,
      score=functional.taylor_score,
      margin=margin,
      log_prior=LOG_PRIOR,
      label_smoothing=0.1,
      z_loss=0.01,
      bias=not normalise,
      normalise=normalise,
      implementation=implementation,
    )
    loss = functools.partial(head.loss, labels=LABELS, step=step)
    value, pull = jax.vjp(loss, params, features)
    return value, pull(jnp.ones_like(value))

  params = {"kernel": PARAMS["kernel"]} if normalise else PARAMS
  with jax.enable_x64(True):
    plain, streaming = (
      jax.jit(functools.partial(derivatives, name))(params, FEATURES, 3)
      for name in ("plain", "streaming")
    )
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), streaming, plain)


def test_many_logits_are_streamed_unless_labels_are_distributions(monkeypatch):
  monkeypatch.setattr(jax, "default_backend", lambda: "cpu")  # Others keep more at a time.
  num_classes, num_examples = 2**15, 2**11
  params = jax.eval_shape(lambda: dense(num_classes).init(jax.random.key(0), 4))

  def makes_all_logits(num_examples, implementation="auto", labels=None):
    labels = labels or jax.ShapeDtypeStruct((num_examples,), jnp.int32)
    features = jax.ShapeDtypeStruct((num_examples, 4), jnp.float32)
    loss = dense(num_classes, implementation=implementation).loss
    return f"[{num_examples},{num_classes}]" in str(jax.make_jaxpr(loss)(params, features, labels))

  assert makes_all_logits(num_examples)
  assert not makes_all_logits(num_examples + 1)
  assert makes_all_logits(num_examples + 1, "plain")
  soft = jax.ShapeDtypeStruct((num_examples + 1, num_classes), jnp.float32)
  assert makes_all_logits(num_examples + 1, labels=soft)


@pytest.mark.parametrize("num_classes", [0, -1, 2.0, "3", True, 2**31])
def test_bad_numbers_of_classes(num_classes):
  with pytest.raises(ValueError, match=r"num_classes=.*integer of at least 1"):
    dense(num_classes)


@pytest.mark.parametrize(
  "options, message",
  [
    ({"normalise": True}, r"cosines have no bias\. Pass bias=False"),
    ({"label_smoothing": 1.1}, "label_smoothing=1.1"),
    ({"z_loss": -1.0}, "z_loss=-1.0"),
    ({"implementation": "fast"}, "implementation='fast'; .*auto, plain, streaming"),
    ({"log_prior": np.zeros(4)}, r"log_prior of shape \(4,\) for 3 classes"),
  ],
)
def test_bad_options_fail_at_construction(options, message):
  with pytest.raises(ValueError, match=message):
    dense(3, **options)


def _focal(losses):
  return -jnp.expm1(-losses) * losses


def _row_map(logits):
  return logits / jnp.linalg.norm(logits, axis=-1, keepdims=True)


@pytest.mark.parametrize("implementation", ["plain", "streaming"])
def test_a_link_acts_on_the_labels_log_probability(implementation):
  strength = np.array(2.0)

  def losses(params, features, strength):
    # What a link closes over has a gradient too.
    head = heads.dense(
      3,
      score=functional.taylor_score,
      margin=lambda z, y, geometry: functional.soft_margin(z, y, margin=0.6),
      link=lambda losses: -jnp.expm1(-strength * losses) * losses,
      log_prior=LOG_PRIOR,
      z_loss=0.01,
      implementation=implementation,
    )
    return head.loss(params, features, LABELS)

  def oracle(params, features, strength):
    logits = features @ params["kernel"] + params["bias"]
    scores = jnp.log(1 + (z := logits - 0.6 * np.eye(3)[LABELS]) + z**2 / 2) + LOG_PRIOR
    log_total = jnp.log(jnp.exp(scores).sum(-1))
    own = log_total - scores[np.arange(5), LABELS]
    return (1 - jnp.exp(-strength * own)) * own + 0.01 * log_total**2

  weights = np.arange(1.0, 6)
  with jax.enable_x64(True):
    ours, theirs = (
      jax.jit(jax.value_and_grad(lambda *a, f=f: jnp.sum(weights * f(*a)), argnums=(0, 1, 2)))(
        PARAMS, FEATURES, strength
      )
      for f in (losses, oracle)
    )
  for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-6 if one.ndim == 0 else 1e-10)


def test_a_link_of_a_distribution_is_expected_and_of_a_smoothed_label_refused():
  head, labels = dense(3, link=_focal), np.random.default_rng(2).dirichlet(np.ones(3), 5)
  with jax.enable_x64(True):
    found, log_probs = evaluate(head, PARAMS, FEATURES, labels)
  expected = (-labels * (1 - np.exp(log_probs)) * log_probs).sum(-1)
  np.testing.assert_allclose(found, expected, rtol=1e-10)
  with pytest.raises(ValueError, match=r"label_smoothing=0.1 and a link, .* label_smoothing=0\."):
    dense(3, link=_focal, label_smoothing=0.1)


def test_a_row_map_acts_in_training_and_prediction_and_forbids_streaming():
  margin = lambda z, y, geometry: functional.soft_margin(z, y, margin=0.6)  # noqa: E731
  head = dense(3, row_map=_row_map, margin=margin, score=functional.taylor_score)
  logits = FEATURES @ PARAMS["kernel"] + PARAMS["bias"]
  mapped = logits / np.linalg.norm(logits, axis=-1, keepdims=True)
  log_probs = _log_softmax(_quadratic(mapped - 0.6 * np.eye(3)[LABELS]))
  with jax.enable_x64(True):
    loss, prediction = evaluate(head, PARAMS, FEATURES, LABELS)
  np.testing.assert_allclose(loss, -log_probs[np.arange(5), LABELS], rtol=1e-12)
  np.testing.assert_allclose(prediction, _log_softmax(_quadratic(mapped)), rtol=1e-12)
  with pytest.raises(ValueError, match=r"'streaming' and a row_map.*Pass implementation='plain'"):
    dense(3, row_map=_row_map, implementation="streaming")


def test_a_score_may_be_learnt():
  score = LearntScore(
    init=lambda key: {"slope": jnp.full((), 0.5, jnp.float32)},
    apply=lambda params, logits: params["slope"] * logits,
  )
  plain, streaming = (
    heads.dense(3, score=score, implementation=name) for name in ("plain", "streaming")
  )
  drawn, usual = jax.jit(
    lambda key: [head.init(key, 4) for head in (plain, heads.dense(3))]
  )(jax.random.key(0))  # fmt: skip
  assert sorted(drawn) == ["bias", "kernel", "score"]
  np.testing.assert_array_equal(drawn["kernel"], usual["kernel"])

  @jax.jit
  def run(params, halved):
    found = [
      jax.value_and_grad(lambda p, head=head: head.loss(p, FEATURES, LABELS).sum())(params)
      for head in (plain, streaming)
    ]
    expected = heads.dense(3)
    return (
      found,
      expected.loss(halved, FEATURES, LABELS).sum(),
      plain.log_prob(params, FEATURES),
      expected.log_prob(halved, FEATURES),
    )

  params = PARAMS | {"score": {"slope": np.array(0.5)}}
  halved = {name: array / 2 for name, array in PARAMS.items()}
  found, loss, log_probs, expected = run(params, halved)
  np.testing.assert_allclose(found[0][0], loss, rtol=1e-6)
  np.testing.assert_allclose(log_probs, expected, rtol=1e-6)
  assert abs(found[0][1]["score"]["slope"]) > 0.1
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), *found)
