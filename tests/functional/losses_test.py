"""Losses of logits and integer labels or distributions, against float64 and PyTorch."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softmax_research import functional
from tests.derivatives import check_derivatives
from tests.programs import program, values_and_gradient

cross_entropy = program(functional.cross_entropy)
multiclass_hinge = program(functional.multiclass_hinge)
negative_log_likelihood = program(functional.negative_log_likelihood)
one_vs_all_cross_entropy = program(functional.one_vs_all_cross_entropy)
squared_error_loss = program(functional.squared_error_loss)

RNG = np.random.default_rng(0)
LOGITS = 3 * RNG.normal(size=(4, 5))
LABELS = np.array([0, 4, 2, 2])
SOFT = RNG.dirichlet(np.ones(5), size=4)


def _oracle(logits, targets, z_loss=0.0):
  log_total = np.log(np.exp(logits).sum(-1))
  return -(targets * (logits - log_total[:, None])).sum(-1) + z_loss * log_total**2


@pytest.mark.parametrize("labels", [LABELS, SOFT])
def test_values(labels):
  options = [(smoothing, z_loss) for smoothing in (0.0, 0.1, 1.0) for z_loss in (0.0, 0.01)]
  with jax.enable_x64(True):
    losses = jax.jit(
      lambda z: [
        cross_entropy(z, labels, label_smoothing=s, z_loss=weight) for s, weight in options
      ]
    )(LOGITS)
  hot = np.eye(5)[labels] if labels.ndim == 1 else labels
  for loss, (smoothing, z_loss) in zip(losses, options, strict=True):
    targets = (1 - smoothing) * hot + smoothing / 5
    np.testing.assert_allclose(loss, _oracle(LOGITS, targets, z_loss), rtol=1e-13)


@pytest.mark.parametrize("labels", [LABELS, SOFT])
def test_values_and_gradients_against_pytorch(labels):
  torch = pytest.importorskip("torch")
  logits = torch.tensor(LOGITS, requires_grad=True)
  loss = torch.nn.functional.cross_entropy(
    logits, torch.tensor(labels), label_smoothing=0.2, reduction="none"
  )
  loss.sum().backward()

  def ours(z):
    return cross_entropy(z, labels, label_smoothing=0.2)

  with jax.enable_x64(True):
    found, gradient = values_and_gradient(ours, LOGITS)
  np.testing.assert_allclose(found, loss.detach(), rtol=1e-13)
  np.testing.assert_allclose(gradient, logits.grad, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("labels", [LABELS, SOFT])
def test_class_weights_and_an_ignored_label_against_pytorch(labels, smoothing):
  torch = pytest.importorskip("torch")
  logits, weights = torch.tensor(LOGITS, requires_grad=True), np.array([0.5, 2, 0, 1.5, 3])
  # PyTorch knows ignored labels beside classes alone.
  ignored = {"ignore_index": 4} if labels.ndim == 1 else {}
  torch_labels = torch.tensor(labels)
  loss = torch.nn.functional.cross_entropy(
    logits,
    torch_labels,
    weight=torch.tensor(weights),
    label_smoothing=smoothing,
    reduction="none",
    **ignored,
  )
  loss.sum().backward()
  options = {"class_weights": weights, "ignore_label": 4, "label_smoothing": smoothing}

  def likelihood(z):
    return negative_log_likelihood(functional.log_normalise(z), labels, **options)

  for ours in (lambda z: cross_entropy(z, labels, **options), likelihood):
    with jax.enable_x64(True):
      value, gradient = values_and_gradient(ours, LOGITS)
    np.testing.assert_allclose(value, loss.detach(), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(gradient, logits.grad, rtol=1e-11, atol=1e-15)


_value_and_gradient = jax.jit(jax.value_and_grad(cross_entropy))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=4, max_size=4), st.integers(0, 3))
def test_gradient_is_probability_minus_label(row, label):
  value, gradient = _value_and_gradient(np.array(row, np.float32), label)
  shifted = np.exp(np.float64(row) - max(row))
  expected = shifted / shifted.sum() - np.eye(4)[label]
  np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)
  loss = np.log(shifted.sum()) + max(row) - row[label]
  np.testing.assert_allclose(value, loss, rtol=1e-6, atol=1e-6)


def test_second_order_and_both_modes():
  def loss(logits, labels, smoothing, weight):
    return cross_entropy(logits, labels, label_smoothing=smoothing, z_loss=weight)

  check_derivatives(loss, LOGITS, SOFT, 0.1, 0.2)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_up_to_ten_thousand_of_cross_entropy(dtype):
  logits = np.array([[1e4, -1e4, 0.0], [1.0, 2.0, -1e4]], dtype)
  value, gradient = values_and_gradient(lambda z: cross_entropy(z, np.array([1, 0])), logits)
  assert value.dtype == gradient.dtype == dtype
  wide = np.asarray(logits, np.float64)
  expected = [wide[0, 0] - wide[0, 1], np.log1p(np.e)]
  np.testing.assert_allclose(np.asarray(value, np.float64), expected, rtol=5e-3)
  p = 1 / (1 + np.e)
  np.testing.assert_allclose(
    np.asarray(gradient, np.float64), [[1, -1, 0], [p - 1, 1 - p, 0]], rtol=5e-3
  )


def test_z_loss_of_a_row_without_any_class_is_nothing():
  value, gradient = values_and_gradient(
    lambda z: cross_entropy(z, np.zeros(2), z_loss=1.0), np.full(2, -np.inf)
  )
  assert value == 0
  np.testing.assert_array_equal(gradient, np.zeros(2))


@pytest.mark.parametrize("where", [np.zeros((4, 5), bool), np.array([1, 1, 1, 1, 0], bool)])
def test_a_label_without_its_class_costs_infinitely_and_has_a_finite_gradient(where):
  labels = np.full(4, 4)
  loss, gradient = values_and_gradient(lambda z: cross_entropy(z, labels, where=where), LOGITS)
  np.testing.assert_array_equal(loss, np.full(4, np.inf))
  assert np.all(np.isfinite(gradient))


def test_axis_of_cross_entropy():
  loss = cross_entropy(LOGITS.T, LABELS, axis=0, z_loss=0.1)
  np.testing.assert_allclose(loss, cross_entropy(LOGITS, LABELS, z_loss=0.1), rtol=1e-6)


def test_weights_of_no_class_are_refused():
  weighted = {"class_weights": np.zeros(0)}
  for labels in ([0, 0], np.zeros((2, 0))):
    with pytest.raises(ValueError, match=r"shape \(2, 0\), without a class along axis -1.*K >= 1"):
      cross_entropy(np.zeros((2, 0)), labels, **weighted)
  with pytest.raises(ValueError, match="without a class along axis 0"):
    multiclass_hinge(np.zeros((0, 2)), [0, 0], axis=0, **weighted)
  # Without weights a label there is out of range as elsewhere.
  assert np.isnan(cross_entropy(np.zeros(0), 0))


def test_small_shapes():
  assert cross_entropy(np.zeros((0, 3)), np.zeros(0, int)).shape == (0,)
  assert cross_entropy(np.array([7.0]), 0) == 0
  assert np.isnan(cross_entropy(np.array([7.0]), 1))


def test_small_label_types_with_many_classes():
  logits = RNG.normal(size=(3, 1000)).astype(np.float32)
  labels = np.array([5, 200, 255])
  np.testing.assert_array_equal(
    cross_entropy(logits, labels.astype(np.uint8)), cross_entropy(logits, labels)
  )


def test_no_one_hot_and_no_scatter_for_integer_labels():
  gradient = jax.jit(jax.grad(lambda z: cross_entropy(z, LABELS, label_smoothing=0.1).sum()))
  assert "scatter" not in gradient.lower(LOGITS).as_text()


@pytest.mark.parametrize(
  "options, message",
  [
    ({"z_loss": -1.0}, "z_loss=-1.0"),
    ({"z_loss": np.inf}, "z_loss=inf"),
    ({"label_smoothing": 1.1}, r"label_smoothing=1.1.*\[0, 1\]"),
  ],
)
def test_bad_options(options, message):
  with pytest.raises(ValueError, match=message):
    cross_entropy(LOGITS, LABELS, **options)


PROBABILITIES = np.array([[0.2, 0.5, 0.3], [0.7, 0.1, 0.2]])
NLL_LABELS = np.array([1, 2])


def _smoothed(labels, smoothing, num_classes=3):
  return (1 - smoothing) * np.eye(num_classes)[labels] + smoothing / num_classes


@pytest.mark.parametrize("smoothing", [0, 0.0, 0.1, 1.0])
def test_integer_labels_are_one_hot_distributions(smoothing):
  log_probs = np.log(PROBABILITIES)
  expected = -(_smoothed(NLL_LABELS, smoothing) * log_probs).sum(-1)
  with jax.enable_x64(True):
    hard = negative_log_likelihood(log_probs, NLL_LABELS, label_smoothing=smoothing)
    soft = negative_log_likelihood(log_probs, np.eye(3)[NLL_LABELS], label_smoothing=smoothing)
    given = negative_log_likelihood(log_probs, _smoothed(NLL_LABELS, smoothing))
  np.testing.assert_allclose(hard, expected, rtol=1e-14)
  np.testing.assert_allclose(soft, expected, rtol=1e-14)
  np.testing.assert_allclose(given, expected, rtol=1e-14)


def test_gradients():
  log_probs = np.log(PROBABILITIES)
  with jax.enable_x64(True):
    gradient = jax.jit(
      jax.grad(lambda lp: negative_log_likelihood(lp, NLL_LABELS, label_smoothing=0.3).sum())
    )(log_probs)
    check_derivatives(
      lambda lp, q, eps: negative_log_likelihood(lp, q, label_smoothing=eps),
      log_probs,
      PROBABILITIES,
      0.2,
    )
  np.testing.assert_allclose(gradient, -_smoothed(NLL_LABELS, 0.3), rtol=1e-14)


def test_smoothing_is_spread_over_the_classes_that_are_left():
  where = np.array([[True, True, False], [True, True, True]])
  totals = np.sum(where * PROBABILITIES, axis=1, keepdims=True)
  log_probs = np.where(where, np.log(PROBABILITIES / totals), -np.inf)
  loss = negative_log_likelihood(log_probs, np.array([1, 2]), label_smoothing=0.2, where=where)
  first = -(0.1 * log_probs[0, 0] + 0.9 * log_probs[0, 1])
  np.testing.assert_allclose(loss[0], first, rtol=1e-6)
  with_all = negative_log_likelihood(log_probs[1], 2, label_smoothing=0.2)
  np.testing.assert_allclose(loss[1], with_all, rtol=1e-6)


def test_zero_weight_on_an_impossible_class_costs_nothing():
  log_probs, labels = np.array([-np.inf, np.log(0.25), np.log(0.75)]), np.array([0.0, 0.5, 0.5])
  value, gradient = values_and_gradient(lambda z: negative_log_likelihood(z, labels), log_probs)
  np.testing.assert_allclose(value, -0.5 * np.log(0.25 * 0.75), rtol=1e-6)
  np.testing.assert_array_equal(gradient, [0, -0.5, -0.5])


@pytest.mark.parametrize("loss", [cross_entropy, negative_log_likelihood])
def test_a_program_may_know_that_no_class_is_possible(loss):
  labels = np.array([[0.0, 0.3, 0.7], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
  losses = loss(np.zeros((3, 3)), labels, where=False)
  np.testing.assert_array_equal(losses, [np.inf, np.inf, 0])


def test_weight_on_an_impossible_class_costs_infinitely():
  log_probs = np.array([-np.inf, 0.0])
  assert negative_log_likelihood(log_probs, 0) == np.inf
  assert negative_log_likelihood(log_probs, np.array([0.5, 0.5])) == np.inf
  # No part of the smoothing falls on it, and no label is left where all of it is spread.
  assert negative_log_likelihood(log_probs, 1, label_smoothing=0.1) == 0
  assert negative_log_likelihood(log_probs, 0, label_smoothing=0.1) == np.inf
  assert negative_log_likelihood(log_probs, 0, label_smoothing=1.0) == 0


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_labels_out_of_range_are_nan_of_negative_log_likelihood(smoothing):
  loss = negative_log_likelihood(
    np.log(PROBABILITIES), np.array([3, -1]), label_smoothing=smoothing
  )
  assert np.all(np.isnan(loss))


def test_axis_of_negative_log_likelihood():
  log_probs = np.log(PROBABILITIES)
  expected = negative_log_likelihood(log_probs, NLL_LABELS, label_smoothing=0.1)
  for labels in (NLL_LABELS, np.eye(3)[NLL_LABELS].T):
    loss = negative_log_likelihood(log_probs.T, labels, label_smoothing=0.1, axis=0)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, 2, np.nan])
def test_bad_smoothing(smoothing):
  with pytest.raises(ValueError, match=r"label_smoothing=.*\[0, 1\]"):
    negative_log_likelihood(np.log(PROBABILITIES), NLL_LABELS, label_smoothing=smoothing)


def test_bad_labels_of_negative_log_likelihood():
  with pytest.raises(TypeError, match="type bool"):
    negative_log_likelihood(np.log(PROBABILITIES), np.ones(2, bool))


OVA_LOGITS = np.array([[0.4, -1.7, 2.2], [30.0, 0.0, -20.0]])
OVA_LABELS = np.array([1, 0])


def _loss(row, targets):
  terms = []
  for z, q in zip(row, targets, strict=True):
    sigma = 1 / (1 + mpmath.exp(-mpmath.mpf(float(z))))
    terms += [q * mpmath.log(sigma), (1 - q) * mpmath.log(1 - sigma)]
  return float(-mpmath.fsum(terms))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-60, 60, width=32), min_size=3, max_size=3), st.integers(0, 2))
def test_against_mpmath(row, label):
  with mpmath.workdps(60):
    expected = _loss(row, np.eye(3)[label])
  loss = one_vs_all_cross_entropy(np.array(row, np.float32), np.array(label))
  np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_gradient_is_each_probability_minus_its_target():
  sigma = 1 / (1 + np.exp(-OVA_LOGITS))
  soft = np.array([[0.2, 1.0, 0.0], [0.9, 0.5, 0.7]])
  with jax.enable_x64(True):
    gradient = jax.jit(jax.grad(lambda z: one_vs_all_cross_entropy(z, OVA_LABELS).sum()))(
      OVA_LOGITS
    )
    soft_gradient = jax.jit(jax.grad(lambda z: one_vs_all_cross_entropy(z, soft).sum()))(OVA_LOGITS)
    check_derivatives(one_vs_all_cross_entropy, OVA_LOGITS[0], soft[0])
  np.testing.assert_allclose(gradient, sigma - np.eye(3)[OVA_LABELS], rtol=1e-12, atol=1e-14)
  np.testing.assert_allclose(soft_gradient, sigma - soft, rtol=1e-12, atol=1e-14)


def test_values_against_pytorch():
  torch = pytest.importorskip("torch")
  soft = np.array([[0.2, 1.0, 0.0], [0.9, 0.5, 0.7]])
  expected = torch.nn.functional.binary_cross_entropy_with_logits(
    torch.tensor(OVA_LOGITS), torch.tensor(soft), reduction="none"
  ).sum(-1)
  with jax.enable_x64(True):
    np.testing.assert_allclose(one_vs_all_cross_entropy(OVA_LOGITS, soft), expected, rtol=1e-13)


def test_the_weight_of_several_labels_is_the_mean_of_theirs():
  labels = np.array([[1.0, 0, 1], [0, 0, 0], [0, 1, 0]])
  logits, weights = np.array([*OVA_LOGITS[:1]] * 3), np.array([0.5, 2, 3])
  plain, weighted = (
    one_vs_all_cross_entropy(logits, labels, class_weights=w) for w in (None, weights)
  )
  np.testing.assert_allclose(weighted, np.array([1.75, 1, 2]) * plain, rtol=1e-6)


def test_integers_are_one_hot():
  hard = one_vs_all_cross_entropy(OVA_LOGITS, OVA_LABELS)
  np.testing.assert_allclose(
    one_vs_all_cross_entropy(OVA_LOGITS, np.eye(3)[OVA_LABELS]), hard, rtol=1e-6
  )


def test_small_losses_keep_their_digits():
  loss = one_vs_all_cross_entropy(np.array([25.0, -25.0]), 0)
  np.testing.assert_allclose(loss, 2 * np.log1p(np.exp(-25)), rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64])
def test_several_labels_of_one_vs_all_are_ones_among_zeros(dtype):
  several = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1]])
  with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
    found, gradient = values_and_gradient(
      lambda z: one_vs_all_cross_entropy(z, several.astype(dtype)), LOGITS[:3, :3]
    )
    first_axis = jax.jit(functools.partial(one_vs_all_cross_entropy, axis=0))
    moved = first_axis(LOGITS[:3, :3].T, several.T.astype(dtype))
  z = np.asarray(LOGITS[:3, :3], np.float64)
  np.testing.assert_allclose(found, (np.logaddexp(0, z) - several * z).sum(1), rtol=1e-6)
  np.testing.assert_allclose(gradient, 1 / (1 + np.exp(-z)) - several, rtol=1e-5, atol=1e-7)
  np.testing.assert_array_equal(moved, found)


@pytest.mark.parametrize("loss", [one_vs_all_cross_entropy, squared_error_loss])
def test_numbers_where_there_should_be_zero_or_one_give_nan(loss):
  several = np.array([[1, 0, 2], [1, 0, 1], [-1, 0, 0]])
  losses, gradient = values_and_gradient(lambda z: loss(z, several), LOGITS[:3, :3])
  np.testing.assert_array_equal(np.isnan(losses), [True, False, True])
  np.testing.assert_array_equal(np.any(gradient != 0, axis=1), [False, True, False])


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_up_to_ten_thousand_of_one_vs_all(dtype):
  logits = np.array([[1e4, -1e4, 0.0], [1e4, -1e4, 0.0]], dtype)
  loss, gradient = values_and_gradient(lambda z: one_vs_all_cross_entropy(z, [0, 1]), logits)
  assert loss.dtype == gradient.dtype == dtype
  wide = np.asarray(logits, np.float64)[0, 0]
  np.testing.assert_allclose(np.asarray(loss, np.float64), [np.log(2), 2 * wide], rtol=5e-3)
  np.testing.assert_allclose(
    np.asarray(gradient, np.float64), [[0, 0, 0.5], [1, -1, 0.5]], rtol=5e-3
  )


def test_impossible_and_masked_classes_of_one_vs_all():
  where = np.array([True, True, False])
  expected = one_vs_all_cross_entropy(OVA_LOGITS[:, :2], OVA_LABELS)
  np.testing.assert_allclose(
    one_vs_all_cross_entropy(OVA_LOGITS, OVA_LABELS, where=where), expected, rtol=1e-6
  )
  impossible = np.where(where, OVA_LOGITS, -np.inf)
  for labels in (OVA_LABELS, np.eye(3)[OVA_LABELS]):
    loss, gradient = values_and_gradient(
      lambda z, y=labels: one_vs_all_cross_entropy(z, y), impossible
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_array_equal(gradient[:, 2], [0, 0])
  assert one_vs_all_cross_entropy(impossible[0], 2) == np.inf
  assert one_vs_all_cross_entropy(impossible[0], np.array([0.0, 0.5, 0.5])) == np.inf


def test_axis_and_small_shapes():
  expected = one_vs_all_cross_entropy(OVA_LOGITS, OVA_LABELS)
  np.testing.assert_allclose(
    one_vs_all_cross_entropy(OVA_LOGITS.T, OVA_LABELS, axis=0), expected, rtol=1e-6
  )
  assert one_vs_all_cross_entropy(np.zeros((0, 3)), np.zeros(0, int)).shape == (0,)
  np.testing.assert_allclose(one_vs_all_cross_entropy(np.zeros(1), 0), np.log(2), rtol=1e-6)


def test_bad_labels_of_one_vs_all():
  assert np.all(np.isnan(one_vs_all_cross_entropy(OVA_LOGITS, [3, -1])))
  with pytest.raises(ValueError, match="one class index"):
    one_vs_all_cross_entropy(OVA_LOGITS, [0])
  with pytest.raises(TypeError, match="type bool"):
    one_vs_all_cross_entropy(OVA_LOGITS, np.zeros((2, 3), bool))


HINGE_LOGITS = np.array([[2.0, 1.5, 1.75, -3.0], [0.5, 4.0, -1.0, 3.75]])
HINGE_LABELS = np.array([0, 3])


def _hinge(row, label, margin, sum_rivals):
  gaps = [max(0, margin + z - row[label]) for j, z in enumerate(row) if j != label]
  return sum(gaps) if sum_rivals else max(gaps, default=0)


@settings(max_examples=30, deadline=None)
@given(
  st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=3),
  st.integers(0, 2),
  st.booleans(),
)
def test_against_loops(row, label, sum_rivals):
  loss = multiclass_hinge(np.float32(row), np.array(label), sum_rivals=sum_rivals)
  expected = _hinge(row, label, 1.0, sum_rivals)
  np.testing.assert_allclose(loss, expected, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("margin", [0.0, 0.5, 2.0])
def test_the_sum_against_pytorch(margin):
  torch = pytest.importorskip("torch")
  logits = torch.tensor(HINGE_LOGITS, requires_grad=True)
  loss = 4 * torch.nn.functional.multi_margin_loss(
    logits, torch.tensor(HINGE_LABELS), margin=margin, reduction="none"
  )
  loss.sum().backward()
  with jax.enable_x64(True):
    ours, gradient = values_and_gradient(
      lambda z: multiclass_hinge(z, HINGE_LABELS, margin=margin, sum_rivals=True), HINGE_LOGITS
    )
  np.testing.assert_allclose(ours, loss.detach(), rtol=1e-14)
  np.testing.assert_allclose(gradient, logits.grad, rtol=1e-14)


def test_gradient_of_the_maximum():
  gradient = jax.jit(jax.grad(lambda z: multiclass_hinge(z, HINGE_LABELS).sum()))(HINGE_LOGITS)
  np.testing.assert_array_equal(gradient, [[-1, 0, 1, 0], [0, 1, 0, -1]])


def test_no_loss_and_no_gradient_once_the_lead_suffices():
  for sum_rivals in (False, True):
    value, gradient = values_and_gradient(
      lambda z, s=sum_rivals: multiclass_hinge(z, 0, sum_rivals=s), np.array([5.0, 1.0, 4.0])
    )
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros(3))


@pytest.mark.parametrize("sum_rivals", [False, True])
def test_a_distribution_gives_the_expectation(sum_rivals):
  weights = np.array([[0.5, 0.0, 0.2, 0.3], [0.0, 0.0, 1.0, 0.0]])
  loss = multiclass_hinge(HINGE_LOGITS, weights, sum_rivals=sum_rivals)
  expected = [
    sum(q * _hinge(row, y, 1.0, sum_rivals) for y, q in enumerate(w))
    for row, w in zip(HINGE_LOGITS, weights, strict=True)
  ]
  np.testing.assert_allclose(loss, expected, rtol=1e-6)
  by_column = multiclass_hinge(HINGE_LOGITS.T, weights.T, sum_rivals=sum_rivals, axis=0)
  np.testing.assert_array_equal(by_column, loss)


@pytest.mark.parametrize("sum_rivals", [False, True])
def test_impossible_and_masked_classes_of_hinge(sum_rivals):
  where = np.array([True, True, True, False])
  labels = np.array([0, 2])
  weights = np.array([0.5, 0.5, 0.0, 0.0], np.float32)
  hinge = functools.partial(multiclass_hinge, sum_rivals=sum_rivals)

  @jax.jit
  def run(logits):
    impossible = jnp.where(where, logits, -np.inf)
    loss, pull_back = jax.vjp(lambda z: hinge(z, labels), impossible)
    found = loss, hinge(logits, labels, where=where), hinge(logits[:, :3], labels)
    lost, shared = hinge(impossible[0], 3), hinge(impossible[0], weights)
    return found, pull_back(jnp.ones_like(loss))[0], lost, shared

  (loss, masked, expected), gradient, lost, shared = run(HINGE_LOGITS)
  np.testing.assert_array_equal(masked, expected)
  np.testing.assert_array_equal(loss, expected)
  assert np.isfinite(gradient).all()
  assert lost == np.inf and np.isfinite(shared)


@pytest.mark.parametrize("sum_rivals", [False, True])
def test_small_shapes_and_rows_without_rivals(sum_rivals):
  assert multiclass_hinge(np.array([-5.0]), 0, sum_rivals=sum_rivals) == 0
  value, gradient = values_and_gradient(
    lambda z: multiclass_hinge(z, 0, sum_rivals=sum_rivals), np.array([1.0, -np.inf])
  )
  assert value == 0
  np.testing.assert_array_equal(gradient, np.zeros(2))
  nothing = np.full(2, -np.inf)
  assert multiclass_hinge(nothing, 0, sum_rivals=sum_rivals) == np.inf
  empty = multiclass_hinge(np.zeros((0, 3)), np.zeros(0, int), sum_rivals=sum_rivals)
  assert empty.shape == (0,)


@pytest.mark.parametrize("sum_rivals", [False, True])
@pytest.mark.parametrize("logits", [HINGE_LOGITS, HINGE_LOGITS[:, :1]])
def test_labels_out_of_range_are_nan_of_hinge(logits, sum_rivals):
  assert np.all(np.isnan(multiclass_hinge(logits, [4, -1], sum_rivals=sum_rivals)))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_up_to_ten_thousand_of_hinge(dtype):
  logits = np.array([1e4, -1e4, 0.0], dtype)
  loss = multiclass_hinge(logits, 1)
  assert loss.dtype == dtype
  np.testing.assert_allclose(float(loss), 20001, rtol=5e-3)


@pytest.mark.parametrize("margin", [-1.0, np.inf, np.nan])
def test_bad_margins(margin):
  with pytest.raises(ValueError, match=r"margin=.*Pass 1\.0"):
    multiclass_hinge(HINGE_LOGITS, HINGE_LABELS, margin=margin)
  for shape in ((4,), (1,), (4, 1)):
    with pytest.raises(ValueError, match=r"margin of shape .* must be a number"):
      multiclass_hinge(HINGE_LOGITS, HINGE_LABELS, margin=np.ones(shape))


def test_bad_labels_of_hinge():
  with pytest.raises(ValueError, match="one class index"):
    multiclass_hinge(HINGE_LOGITS, [0])


def test_squared_error_is_the_mean_over_one_hot_labels():
  torch = pytest.importorskip("torch")
  logits = torch.tensor(LOGITS, requires_grad=True)
  hot = torch.nn.functional.one_hot(torch.tensor(LABELS), 5).double()
  losses = torch.nn.functional.mse_loss(logits, hot, reduction="none").mean(-1)
  losses.sum().backward()
  with jax.enable_x64(True):
    ours, gradient = values_and_gradient(lambda z: squared_error_loss(z, LABELS), LOGITS)
  np.testing.assert_allclose(ours, losses.detach(), rtol=1e-13)
  np.testing.assert_allclose(gradient, logits.grad, rtol=1e-12)


def test_squared_error_of_distributions_with_options_for_each_example():
  shares, target = np.random.default_rng(1).dirichlet(np.ones(5), 4), np.array([1.0, 2.0, 3.0, 4.0])
  with jax.enable_x64(True):
    ours = squared_error_loss(LOGITS, shares, target=target, label_weight=3.0)
  expected = shares * 3 * (LOGITS - target[:, None]) ** 2 + (1 - shares) * LOGITS**2
  np.testing.assert_allclose(ours, expected.mean(-1), rtol=1e-12)


@pytest.mark.parametrize("label_weight", [0.5, 1.0, 5.0])
@pytest.mark.parametrize("labels", [np.array([0, 1]), np.array([[1, 0, 0], [0, 0.5, 0.5]], "f4")])
def test_squares_that_overflow_are_infinite_and_their_gradient_is_finite(labels, label_weight):
  logits = np.array([[1e20, 0.0, 1.0], [1e20, -1e20, 1.0]])
  losses, gradient = values_and_gradient(
    lambda z: squared_error_loss(z, labels, label_weight=label_weight), logits
  )
  assert np.all(np.isposinf(losses)) and np.all(np.isfinite(gradient))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64])
def test_several_labels_are_ones_among_zeros(dtype):
  several = np.array([[1, 0, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 1, 0, 0, 0]], dtype)
  weights = np.array([0.5, 2.0, 3.0, 0.0, 1.0])

  @jax.jit
  def run(z):
    def loss(z):
      return squared_error_loss(z, several, target=2.0, label_weight=3.0, class_weights=weights)

    losses, pull = jax.vjp(loss, z)
    moved = squared_error_loss(z.T, several.T, target=2.0, label_weight=3.0, axis=0)
    return losses, pull(np.ones(4))[0], moved

  with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
    losses, gradient, moved = run(LOGITS)
  plain = np.where(several == 1, 3 * (LOGITS - 2) ** 2, LOGITS**2).mean(-1)
  means = np.array([(0.5 + 3) / 2, 1, 6.5 / 5, 2])  # Of the weights of an example's labels.
  np.testing.assert_allclose(moved, plain, rtol=1e-12)
  np.testing.assert_allclose(losses, means * plain, rtol=1e-12)
  slopes = np.where(several == 1, 6 * (LOGITS - 2), 2 * LOGITS) / 5
  np.testing.assert_allclose(gradient, means[:, None] * slopes, rtol=1e-12)


@pytest.mark.parametrize("loss", [squared_error_loss, one_vs_all_cross_entropy])
def test_a_row_of_several_labels_has_no_place_for_one_that_is_ignored(loss):
  message = r"ignore_label=-1 and integer labels of shape \(4, 5\), rows .* pass ignore_label=None"
  with pytest.raises(ValueError, match=message):
    loss(LOGITS, np.ones((4, 5), int), ignore_label=-1)


@pytest.mark.parametrize("option", ["target", "label_weight"])
def test_bad_options_of_squared_error(option):
  with pytest.raises(ValueError, match=f"{option}=0; it must be finite and > 0"):
    squared_error_loss(LOGITS, LABELS, **{option: 0})
