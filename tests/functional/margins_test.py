"""Margins, against the angles that they change."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softmax_research import functional
from softmax_research.functional import taylor_score
from tests.derivatives import check_derivatives
from tests.programs import program, values_and_gradient

additive_angular_margin = program(functional.additive_angular_margin)
additive_cosine_margin = program(functional.additive_cosine_margin)
combined_margin = program(functional.combined_margin)
cross_entropy = program(functional.cross_entropy)
curricular_margin = program(functional.curricular_margin)
large_margin = program(functional.large_margin)
large_margin_annealing = program(functional.large_margin_annealing)
soft_margin = program(functional.soft_margin)

LOGITS = np.array([[0.5, -1.0, 3.0], [1.0, 2.0, -np.inf]])


def test_only_the_label_is_lowered():
  lowered = soft_margin(LOGITS, np.array([2, 0]), margin=0.75)
  np.testing.assert_array_equal(lowered, [[0.5, -1, 2.25], [0.25, 2, -np.inf]])
  np.testing.assert_array_equal(soft_margin(LOGITS, np.array([2, 0]), margin=0), LOGITS)


def test_a_distribution_shares_the_margin():
  labels = np.array([[0.25, 0.75, 0.0], [0.5, 0.0, 0.5]])
  lowered = soft_margin(LOGITS, labels, margin=0.8)
  np.testing.assert_allclose(lowered, [[0.3, -1.6, 3], [0.6, 2, -np.inf]], rtol=1e-6)


@pytest.mark.parametrize("score", [lambda z: z, lambda z: taylor_score(z, order=4)])
def test_loss_is_that_of_the_paper(score):
  logits, margin, label = np.array([0.5, -1.0, 2.0]), 0.6, 1
  g = np.exp if score(-1.0) == -1 else lambda z: 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24
  own = g(logits[label] - margin)
  expected = -np.log(own / (own + g(logits[0]) + g(logits[2])))
  with jax.enable_x64(True):
    lowered = soft_margin(logits, label, margin=margin)
    loss = program(lambda z: cross_entropy(score(z), label))(lowered)
  np.testing.assert_allclose(loss, expected, rtol=1e-13)


def test_gradients_reach_logits_and_margin():
  check_derivatives(lambda z, m: cross_entropy(soft_margin(z, 1, margin=m), 1), LOGITS[0], 0.3)


def test_a_label_out_of_range_gives_a_loss_of_nan():
  np.testing.assert_array_equal(soft_margin(LOGITS, [3, -1], margin=1.0), LOGITS)
  assert np.all(np.isnan(cross_entropy(soft_margin(LOGITS, [3, -1], margin=1.0), [3, -1])))


@pytest.mark.parametrize("margin", [-0.1, np.nan, np.inf])
def test_bad_margins_of_soft_margin(margin):
  with pytest.raises(ValueError, match=r"margin=.*>= 0\. Pass 0 for no margin"):
    soft_margin(LOGITS, [0, 0], margin=margin)


def test_bad_labels_of_soft_margin():
  with pytest.raises(ValueError, match="one class index"):
    soft_margin(LOGITS, [0], margin=1.0)


COSINES = np.array([[0.5, -0.25, 0.75], [0.0, 0.9, -0.99]])
LABELS = np.array([2, 2])


def _angular(cosine, margin):
  angle = np.arccos(cosine)
  past = angle >= np.pi - margin
  return np.where(past, cosine - margin * np.sin(margin), np.cos(angle + margin))


def test_cosine_margin():
  lowered = additive_cosine_margin(COSINES, LABELS, margin=0.25)
  np.testing.assert_allclose(lowered, [[0.5, -0.25, 0.5], [0, 0.9, -1.24]], rtol=1e-6)


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.5, np.pi / 2])
def test_angular_margin(margin):
  with jax.enable_x64(True):
    result = np.asarray(additive_angular_margin(COSINES, LABELS, margin=margin))
  np.testing.assert_allclose(result[:, 2], _angular(COSINES[:, 2], margin), rtol=1e-12)
  np.testing.assert_array_equal(result[:, :2], COSINES[:, :2])


@settings(max_examples=40, deadline=None)
@given(st.floats(0, np.pi), st.floats(0, np.pi), st.floats(0, np.pi / 2))
def test_the_label_falls_as_its_angle_grows(first, second, margin):
  cosines = np.float32(np.cos([[min(first, second)], [max(first, second)]]))
  near, far = np.asarray(additive_angular_margin(cosines, [0, 0], margin=np.array(margin)))[:, 0]
  assert near >= far - 1e-6
  assert near <= cosines[0, 0] + 1e-6


def test_slopes():
  cosines, margin = np.array([-0.95, -0.6, 0.0, 0.3, 0.9]), 0.5
  with jax.enable_x64(True):
    slope = jax.jit(
      jax.vmap(jax.grad(lambda c: additive_angular_margin(c[None], 0, margin=margin)[0]))
    )(cosines)
  angles = np.arccos(cosines)
  expected = np.where(angles < np.pi - margin, np.sin(angles + margin) / np.sin(angles), 1)
  np.testing.assert_allclose(slope, expected, rtol=1e-12)


ENDS = np.float32([[1], [1 + 1e-6], [-1], [-1 - 1e-6]])


def _slopes(margin_of):
  """Returns the slopes of a margin at the ends, by both modes."""
  modes = jax.jacrev, jax.jacfwd
  return jax.jit(lambda cosines: [jax.vmap(mode(margin_of))(cosines) for mode in modes])(ENDS)


def test_slopes_are_finite_at_the_ends():
  expected = np.where(ENDS > 0, np.cos(0.5), 1)[..., None]
  for slopes in _slopes(lambda c: additive_angular_margin(c, 0, margin=0.5)):
    np.testing.assert_allclose(slopes, expected, rtol=1e-6)


def test_second_order_and_both_modes_of_cosine_margins():
  check_derivatives(
    lambda c, m: cross_entropy(30 * additive_angular_margin(c, LABELS, margin=m), LABELS),
    COSINES,
    0.4,
  )


@pytest.mark.parametrize("margin_of", [additive_cosine_margin, additive_angular_margin])
def test_properties_that_both_share(margin_of):
  impossible = np.array([[-np.inf, 0.5]], np.float32)

  @jax.jit
  def run(cosines):
    value, pull_back = jax.vjp(lambda c: margin_of(c, [0], margin=0.3), impossible)
    return (
      margin_of(cosines, LABELS, margin=0),
      margin_of(cosines, LABELS, margin=0.3),
      margin_of(cosines, np.eye(3)[LABELS], margin=0.3),
      margin_of(cosines, [3, -1], margin=0.3),
      margin_of(jnp.asarray(cosines, jnp.bfloat16), LABELS, margin=0.3),
      value,
      pull_back(np.array([[0.0, 1.0]], np.float32))[0],
    )

  none, hard, one_hot, unknown, half, value, slopes = run(COSINES)
  np.testing.assert_allclose(none, COSINES, rtol=1e-6)
  np.testing.assert_allclose(one_hot, hard, rtol=1e-6)
  np.testing.assert_allclose(unknown, COSINES, rtol=1e-6)
  np.testing.assert_array_equal(value, impossible)
  assert np.isfinite(slopes).all()
  assert half.dtype == jnp.bfloat16
  np.testing.assert_allclose(np.asarray(half, np.float64), hard, atol=1e-2)


@pytest.mark.parametrize(
  "margin_of, margin",
  [
    (additive_cosine_margin, -0.1),
    (additive_angular_margin, -0.1),
    (additive_angular_margin, np.nan),
    (additive_angular_margin, 1.6),
  ],
)
def test_bad_margins_of_cosine_margins(margin_of, margin):
  with pytest.raises(ValueError, match="margin="):
    margin_of(COSINES, LABELS, margin=margin)


def test_bad_labels_of_cosine_margins():
  with pytest.raises(ValueError, match="one class index"):
    additive_angular_margin(COSINES, [0], margin=0.5)


KERNEL = np.array([[1.0, -0.5, 2.0, 0.3], [0.5, 1.5, -1.0, 0.8], [-1.0, 0.2, 0.4, 1.1]])
FEATURES = np.array([0.7, -1.2, 0.4])


def _psi(angle, margin):
  k = min(int(mpmath.floor(margin * angle / mpmath.pi)), margin - 1)
  return (-1) ** k * mpmath.cos(margin * angle) - 2 * k


def _paper_loss(features, kernel, label, margin, annealing):
  """-log of the paper's equation 4, with its lambda, in high precision."""
  features = mpmath.matrix(features)
  columns = [mpmath.matrix(column) for column in kernel]
  products = [mpmath.fdot(column, features) for column in columns]
  size = mpmath.norm(columns[label]) * mpmath.norm(features)
  cosine = max(min(products[label] / size, mpmath.mpf(1)), mpmath.mpf(-1))
  margined = size * _psi(mpmath.acos(cosine), margin)
  products[label] = (annealing * products[label] + margined) / (1 + annealing)
  return mpmath.log(mpmath.fsum(mpmath.exp(z) for z in products)) - products[label]


def _paper_gradient(features, kernel, label, margin, annealing):
  """Central differences, exact to float64 in 60 digits."""
  with mpmath.workdps(60):
    exact = [mpmath.mpf(float(value)) for value in features]
    columns = [[mpmath.mpf(float(value)) for value in column] for column in kernel.T]
    step, gradient = mpmath.mpf(10) ** -15, []
    for i in range(len(exact)):
      shifted = [[x + s * step * (i == j) for j, x in enumerate(exact)] for s in (1, -1)]
      up, down = (_paper_loss(f, columns, label, margin, annealing) for f in shifted)
      gradient.append(float((up - down) / (2 * step)))
    return float(_paper_loss(exact, columns, label, margin, annealing)), np.array(gradient)


@functools.partial(jax.jit, static_argnames="margin")
def _margined(features, kernel, label, margin, annealing):
  norms = {
    "feature_norms": jnp.linalg.norm(features, axis=-1),
    "kernel_norms": jnp.linalg.norm(kernel, axis=0),
  }
  return large_margin(features @ kernel, label, **norms, margin=margin, annealing=annealing)


@functools.partial(jax.jit, static_argnames="margin")
@jax.value_and_grad
def _loss_and_gradient(features, kernel, label, margin, annealing):
  return cross_entropy(_margined(features, kernel, label, margin, annealing), label)


@pytest.mark.parametrize("margin", [1, 2, 3, 4, 7])
def test_loss_and_gradient_through_the_norms(margin):
  with jax.enable_x64(True):
    for label in range(4):
      for annealing in (0.0, 3.0):
        case = (FEATURES, KERNEL, label, margin, annealing)
        value, gradient = _loss_and_gradient(*case)
        expected, expected_gradient = _paper_gradient(*case)
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("tilt", [0.0, 1e-9, 1e-4])
def test_loss_and_gradient_where_feature_and_weights_agree_or_oppose(sign, tilt):
  # Where arccos has no slope, and a clipped cosine would have none.
  features = sign * 1.3 * KERNEL[:, 1] + tilt * np.array([1.0, 0.0, -1.0])
  with jax.enable_x64(True):
    for margin in (2, 4):
      case = (features, KERNEL, 1, margin, 0.0)
      value, gradient = _loss_and_gradient(*case)
      expected, expected_gradient = _paper_gradient(*case)
      np.testing.assert_allclose(value, expected, rtol=1e-12)
      np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-6, atol=1e-9)
    single = [np.asarray(array, np.float32) for array in (features, KERNEL)]
  value, gradient = _loss_and_gradient(*single, 1, 4, 0.0)
  np.testing.assert_allclose(value, expected, rtol=1e-5)
  np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("margin", [2, 3, 4])
def test_the_slope_has_no_jump_between_sectors(margin):
  slope = jax.jit(
    jax.grad(
      lambda c: large_margin(
        c[None], 0, feature_norms=1.0, kernel_norms=jnp.ones(1), margin=margin
      ).sum()
    )
  )
  with jax.enable_x64(True):
    for j in range(1, margin):
      boundary = np.cos(j * np.pi / margin)
      np.testing.assert_allclose(
        [slope(boundary - 1e-9), slope(boundary), slope(boundary + 1e-9)], 0, atol=1e-6
      )


@settings(max_examples=40, deadline=None)
@given(st.floats(0, np.pi), st.sampled_from([1, 2, 3, 5]), st.floats(0.125, 100))
def test_the_margin_lowers_the_label_by_psi(angle, margin, size):
  logits = np.array([size * np.cos(angle), 0.5], np.float32)
  norms = {"feature_norms": np.array(size), "kernel_norms": np.ones(2)}
  result = np.asarray(large_margin(logits, 0, **norms, margin=margin))
  # float32 knows the cosine to half a unit, and psi multiplies that by at most margin^2.
  tolerance = 2e-7 * margin**2 * size
  np.testing.assert_allclose(result[0], size * float(_psi(angle, margin)), atol=tolerance)
  assert result[0] <= logits[0] + tolerance
  assert result[1] == logits[1]


def test_a_margin_of_one_is_no_margin():
  with jax.enable_x64(True):
    logits = FEATURES @ KERNEL
    np.testing.assert_allclose(_margined(FEATURES, KERNEL, 2, 1, 0.0), logits, rtol=1e-14)


def test_annealing_starts_at_the_plain_logits():
  with jax.enable_x64(True):
    logits = FEATURES @ KERNEL
    np.testing.assert_allclose(_margined(FEATURES, KERNEL, 2, 4, 1e12), logits, rtol=1e-10)


def test_second_order_and_both_modes_of_large_margin():
  def loss(features, kernel, annealing):
    logits = _margined(features, kernel, 2, 3, annealing)
    return cross_entropy(taylor_score(logits, order=4), 2)

  check_derivatives(loss, FEATURES, KERNEL, 0.5)


def test_distributions_agree_with_integers():
  logits = np.float32(FEATURES @ KERNEL)
  norms = {"feature_norms": 1.5, "kernel_norms": np.linalg.norm(KERNEL, axis=0)}
  labels = np.array([0.5, 0.0, 0.2, 0.3], np.float32)
  run = jax.jit(
    lambda z: [large_margin(z, y, **norms, margin=3) for y in (*range(4), np.eye(4)[2], labels)]
  )
  *every, one_hot, mixed = jax.device_get(run(logits))
  np.testing.assert_allclose(one_hot, every[2], rtol=1e-6)
  expected = logits + sum(q * (each - logits) for q, each in zip(labels, every, strict=True))
  np.testing.assert_allclose(mixed, expected, rtol=1e-5)


def test_the_label_alone_as_a_single_class():
  rng = np.random.default_rng(0)
  features, labels = rng.normal(size=(5, 3)).astype(np.float32), np.array([0, 3, 1, 1, 2])
  logits, norms = features @ KERNEL.astype(np.float32), np.linalg.norm(KERNEL, axis=0)
  feature_norms = np.linalg.norm(features, axis=-1)
  apply = jax.jit(functools.partial(large_margin, margin=4, annealing=0.5))
  full = apply(logits, labels, feature_norms=feature_norms, kernel_norms=norms)
  single = apply(
    np.take_along_axis(logits, labels[:, None], -1),
    np.zeros(5, int),
    feature_norms=feature_norms,
    kernel_norms=norms[labels][:, None],
  )
  np.testing.assert_allclose(
    single, np.take_along_axis(np.asarray(full), labels[:, None], -1), rtol=1e-5
  )


@pytest.mark.parametrize("which", ["features", "kernel"])
def test_zero_norms_have_finite_gradients(which):
  def loss(logits, feature_norms, kernel_norms):
    norms = {"feature_norms": feature_norms, "kernel_norms": kernel_norms}
    return cross_entropy(large_margin(logits, 1, **norms, margin=4), 1)

  arguments = (
    np.zeros(3),
    np.float32(0 if which == "features" else 1),
    np.zeros(3) if which == "kernel" else np.ones(3),
  )
  value, gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))(*arguments)
  np.testing.assert_allclose(value, np.log(3), rtol=1e-6)
  assert all(np.all(np.isfinite(gradient)) for gradient in gradients)


def test_an_impossible_label_stays_impossible():
  norms = {"feature_norms": 1.0, "kernel_norms": np.ones(2)}

  @jax.jit
  def run(logits):
    changed, pull_back = jax.vjp(lambda z: large_margin(z, 0, **norms, margin=2), logits)
    return changed, pull_back(np.float32([0, 1]))[0]

  changed, gradient = run(np.float32([-np.inf, 0.5]))
  np.testing.assert_array_equal(gradient, [0, 1])
  np.testing.assert_array_equal(changed, [-np.inf, 0.5])


def test_a_label_out_of_range_gives_a_loss_of_nan_and_gradients_of_zero_in_the_norms():
  ones = np.ones(2, np.float32)
  margined, gradient = values_and_gradient(
    lambda norm: large_margin(ones, 5, feature_norms=norm, kernel_norms=ones, margin=2),
    np.array(2.0),
  )
  np.testing.assert_array_equal(margined, [1, 1])
  assert np.isnan(cross_entropy(margined, 5))
  assert gradient == 0


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_up_to_ten_thousand(dtype):
  logits = np.array([[8000.0, 1.0], [-1e4, 2.0]], dtype)
  norms = {"feature_norms": np.full(2, 100, dtype), "kernel_norms": np.full(2, 100, np.float32)}
  result, slopes = values_and_gradient(lambda z: large_margin(z, [0, 0], **norms, margin=2), logits)
  assert result.dtype == dtype
  assert np.isfinite(np.asarray(slopes, np.float32)).all()
  cosine = np.asarray(logits, np.float64)[0, 0] / 1e4
  expected = [1e4 * (2 * cosine**2 - 1), -3e4]
  np.testing.assert_allclose(np.asarray(result[:, 0], np.float64), expected, rtol=8e-3)


# base, gamma, power and the values at 0, 2500, ... of the released MNIST, CIFAR10 and CIFAR10+
# examples.
SCHEDULES = [
  (2.5e-5, 35, [1000, 119.8, 16.2, 2.44, 0.406, 0.0144]),
  (2e-5, 45, [1000, 111.3, 13.7, 1.86, 0.273, 0.0075]),
  (1e-5, 45, [1000, 329.2, 111.3, 38.6, 13.7, 1.86]),
]


@pytest.mark.parametrize("gamma, power, expected", SCHEDULES)
def test_the_released_schedules(gamma, power, expected):
  steps = np.array([0, 2500, 5000, 7500, 10000, 15000])
  annealing = large_margin_annealing(steps, base=1000, gamma=gamma, power=power)
  np.testing.assert_allclose(annealing, expected, rtol=1e-2)  # two digits are given of some
  stopped = large_margin_annealing(steps, base=1000, gamma=gamma, power=power, minimum=5.0)
  np.testing.assert_allclose(stopped, np.maximum(expected, 5), rtol=1e-2)


def test_the_schedule_is_exact_and_traces():
  annealing = large_margin_annealing(np.array(500), base=30.0, gamma=1e-3, power=2.0)
  np.testing.assert_allclose(annealing, 30 / 1.5**2, rtol=1e-6)
  assert large_margin_annealing(500, base=0.0, gamma=1e-3, power=2.0) == 0


@pytest.mark.parametrize("margin", [0, -1, 2.0, "2", True, None])
def test_bad_margins_of_large_margin(margin):
  with pytest.raises(ValueError, match=r"margin=.*integer of at least 1"):
    large_margin(np.ones(2), 0, feature_norms=1.0, kernel_norms=np.ones(2), margin=margin)


@pytest.mark.parametrize(
  "changes, message",
  [
    ({"annealing": -1.0}, "annealing=-1.0"),
    ({"feature_norms": np.ones(3)}, r"feature_norms of shape \(3,\).*must have shape \(2,\)"),
    ({"kernel_norms": np.ones(2)}, r"kernel_norms of shape \(2,\).*must have shape \(3,\)"),
    ({"kernel_norms": np.ones((1, 2, 3))}, "kernel_norms of shape"),
  ],
)
def test_bad_options(changes, message):
  options = {"feature_norms": np.ones(2), "kernel_norms": np.ones(3), "margin": 2} | changes
  with pytest.raises(ValueError, match=message):
    large_margin(np.ones((2, 3)), [0, 1], **options)


@pytest.mark.parametrize("name", ["base", "gamma", "power", "minimum"])
def test_bad_schedules(name):
  options = {"base": 1.0, "gamma": 1.0, "power": 1.0, "minimum": 0.0} | {name: -1.0}
  with pytest.raises(ValueError, match=f"{name}=-1.0"):
    large_margin_annealing(0, **options)


def test_one_margin_a_class():
  margins = np.array([0.25, 0.5, 1.0])
  with jax.numpy_rank_promotion("raise"):
    lowered = soft_margin(LOGITS, np.array([2, 0]), margin=margins)
  np.testing.assert_array_equal(lowered, [[0.5, -1, 2], [0.75, 2, -np.inf]])
  with pytest.raises(ValueError, match=r"margin of shape \(2,\)"):
    soft_margin(LOGITS, np.array([2, 0]), margin=margins[:2])


def test_combined_margins_contain_the_others():
  cosines, labels, multipliers = np.linspace(-1, 1, 41)[:, None], np.zeros(41, int), (1, 2, 4)
  norms = {"feature_norms": np.ones(41), "kernel_norms": np.ones(1)}

  @jax.jit
  def run(cosines):
    return (
      [large_margin(cosines, labels, **norms, margin=m) for m in multipliers],
      [combined_margin(cosines, labels, multiplier=m) for m in multipliers],
      additive_angular_margin(cosines, labels, margin=0.4),
      combined_margin(cosines, labels, angle=0.4),
      combined_margin(cosines, labels, cosine=0.4),
    )

  with jax.enable_x64(True):
    large, of_large, angular, of_angular, of_cosine = jax.device_get(run(cosines))
  np.testing.assert_allclose(of_large, large, atol=1e-14)
  near = np.arccos(cosines) < np.pi - 0.4
  np.testing.assert_allclose(of_angular[near], angular[near], atol=1e-14)
  np.testing.assert_allclose(of_cosine, cosines - 0.4, atol=1e-14)


@settings(max_examples=40, deadline=None)
@given(st.floats(0, np.pi), st.floats(0, np.pi), st.floats(1, 5), st.floats(0, np.pi / 2))
def test_combined_margins_fall_as_the_angle_grows(first, second, multiplier, angle):
  cosines = np.float32(np.cos([[min(first, second)], [max(first, second)]]))
  options = {"multiplier": np.array(multiplier), "angle": np.array(angle)}
  near, far = np.asarray(combined_margin(cosines, [0, 0], **options))[:, 0]
  assert near >= far - 1e-5
  assert near <= cosines[0, 0] + 1e-6


def test_combined_margins_have_finite_slopes_at_the_ends():
  assert np.isfinite(_slopes(lambda c: combined_margin(c, 0, multiplier=1.5, angle=0.5))).all()


def test_a_margin_for_each_example_has_a_gradient():
  def loss(cosines, angle):
    changed = combined_margin(cosines, LABELS, angle=angle, cosine=0.1 * angle)
    return cross_entropy(8 * changed, LABELS)

  check_derivatives(loss, COSINES * 0.9, np.array([[0.2], [-0.3]]))
  # An angle that is narrowed below 0 counts as 0.
  np.testing.assert_allclose(combined_margin(np.ones((1, 1)), [0], angle=-0.5), 1)


def test_curricular_margin_re_weights_what_exceeds_the_widened_label():
  cosines = np.array([[0.8, 0.3, 0.6], [0.8, 0.3, 0.6]])
  changed = curricular_margin(cosines, [0, 1], margin=0.5, emphasis=0.25)
  own = np.cos(np.arccos(cosines[[0, 1], [0, 1]]) + 0.5)
  hard = lambda c: c * (0.25 + c)  # noqa: E731
  expected = [[own[0], 0.3, hard(0.6)], [hard(0.8), own[1], hard(0.6)]]
  assert 0.3 < own[0] < 0.6
  np.testing.assert_allclose(changed, expected, rtol=1e-6)
  labels = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
  one_hot = curricular_margin(cosines, labels, margin=0.5, emphasis=0.25)
  np.testing.assert_allclose(one_hot, changed, rtol=1e-6)
  check_derivatives(
    lambda c, t: cross_entropy(4 * curricular_margin(c, [0, 1], margin=0.5, emphasis=t), [0, 1]),
    cosines,
    0.25,
  )
