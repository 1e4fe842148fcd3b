"""The contract of every loss of logits and labels, each margin with each score among them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jax.test_util import check_grads

from softmax_research import functional
from tests.contracts.members import LOSSES, MARGINS

_ALL = pytest.mark.parametrize("name", sorted(LOSSES))

# A margin and a score meet in nothing but a composition, so what takes long to compile is tried on
# each margin with Taylor's score and on each score without a margin.
_PAIRED = pytest.mark.parametrize(
  "name",
  sorted(name for name in LOSSES if "margin" not in name or "none" in name or "taylor" in name),
)

# Cosines, so that every margin applies; no ties, and away from the corners of the margins.
_LOGITS = np.array([[0.31, -0.72, 0.55, 0.11, -0.2], [-0.44, 0.8, 0.13, -0.9, 0.25]])
_LABELS = np.array([2, 3])


@_ALL
def test_value_and_gradient_equal_the_oracle_in_float64(name):
  loss, oracle = LOSSES[name]
  with jax.enable_x64(True):
    values = loss(_LOGITS, _LABELS)
    gradient = jax.grad(lambda z: jnp.sum(loss(z, _LABELS)))(jnp.asarray(_LOGITS))
  np.testing.assert_allclose(values, oracle(_LOGITS, _LABELS), rtol=1e-11, atol=1e-13)
  differences = np.zeros_like(_LOGITS)
  for index in np.ndindex(*_LOGITS.shape):
    step = np.zeros_like(_LOGITS)
    step[index] = 1e-6
    change = oracle(_LOGITS + step, _LABELS) - oracle(_LOGITS - step, _LABELS)
    differences[index] = np.sum(change) / 2e-6
  np.testing.assert_allclose(gradient, differences, rtol=2e-6, atol=1e-8)


@_PAIRED
def test_derivatives_of_both_modes_and_orders_agree(name):
  with jax.enable_x64(True):
    loss = jax.jit(lambda z: LOSSES[name].apply(z, _LABELS))
    check_grads(loss, (jnp.asarray(_LOGITS),), order=2)


@_PAIRED
def test_eager_jit_vmap_and_meshes_agree(name):
  apply = LOSSES[name].apply
  logits = np.tile(_LOGITS[:, :4], (2, 1)).astype(np.float32)
  labels = np.array([2, 3, 0, 1])
  eager = np.asarray(apply(logits, labels))
  assert eager.shape == (4,) and eager.dtype == np.float32
  np.testing.assert_allclose(jax.jit(apply)(logits, labels), eager, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(jax.vmap(apply)(logits, labels), eager, rtol=1e-5, atol=1e-6)

  def total(z, y):
    return jnp.sum(apply(z, y))

  gradient = np.asarray(jax.grad(total)(logits, labels))
  for kind in (AxisType.Auto, AxisType.Explicit):
    mesh = jax.make_mesh(
      (2, 4), ("batch", "classes"), axis_types=(kind,) * 2, devices=jax.devices("cpu")
    )
    with jax.set_mesh(mesh):
      z = jax.device_put(logits, NamedSharding(mesh, PartitionSpec("batch", "classes")))
      y = jax.device_put(labels, NamedSharding(mesh, PartitionSpec("batch")))
      np.testing.assert_allclose(jax.jit(apply)(z, y), eager, rtol=1e-5, atol=1e-6)
      np.testing.assert_allclose(jax.jit(jax.grad(total))(z, y), gradient, rtol=1e-5, atol=1e-6)


@_ALL
def test_bad_labels(name):
  apply = LOSSES[name].apply
  values = np.asarray(apply(jnp.asarray(_LOGITS[[0, 0, 0]]), jnp.array([5, -1, 4])))
  assert np.isnan(values[:2]).all() and np.isfinite(values[2])
  with pytest.raises(ValueError, match="labels of shape"):
    apply(jnp.asarray(_LOGITS), jnp.array([1, 2, 3]))
  with pytest.raises(ValueError, match="labels of shape"):
    apply(jnp.asarray(_LOGITS), jnp.array([1.0, 2.0]))
  with pytest.raises(TypeError, match="labels of type"):
    apply(jnp.asarray(_LOGITS), jnp.array([True, False]))


@_PAIRED
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_is_accurate_and_finite_up_to_ten_thousand(name, dtype):
  loss, oracle = LOSSES[name]
  logits = jnp.asarray(_LOGITS, dtype)
  values = loss(logits, _LABELS)
  assert values.dtype == dtype
  np.testing.assert_allclose(
    np.asarray(values, np.float64),
    oracle(np.asarray(logits, np.float64), _LABELS),
    rtol=2 * float(jnp.finfo(dtype).eps),
    atol=2e-2 if "angular" in name else 2e-3,
  )
  large = jnp.asarray(np.sign(_LOGITS) * 1e4 * np.abs(_LOGITS), dtype)
  gradient = jax.grad(lambda z: jnp.sum(loss(z, _LABELS).astype(jnp.float32)))(large)
  assert gradient.dtype == dtype and bool(jnp.all(jnp.isfinite(gradient)))


@_PAIRED
def test_one_hot_distributions_equal_integer_labels(name):
  apply = LOSSES[name].apply
  if name == "hinge":
    pytest.skip("the hinge is defined by a label, not by a distribution")
  logits = jnp.asarray(_LOGITS, jnp.float32)
  hot = jnp.asarray(np.eye(5)[_LABELS], jnp.float32)
  np.testing.assert_allclose(apply(logits, hot), apply(logits, _LABELS), rtol=1e-5, atol=1e-6)


@_PAIRED
def test_impossible_classes(name):
  apply = LOSSES[name].apply
  value_and_gradient = jax.value_and_grad(lambda z, y: jnp.sum(apply(z, y)))
  logits = jnp.asarray(_LOGITS, jnp.float32)
  impossible = logits.at[:, 4].set(-jnp.inf)
  if name == "smoothed cross-entropy":  # The impossible class has a share of the label.
    assert np.isposinf(apply(impossible, _LABELS)).all()
  else:
    value, gradient = value_and_gradient(impossible, _LABELS)
    expected, expected_gradient = value_and_gradient(logits[:, :4], _LABELS)
    if name == "PC-softmax":  # Without the class the prior of the others is larger.
      expected += 2 * np.log(0.95)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient[:, :4], expected_gradient, atol=1e-5)
    np.testing.assert_array_equal(gradient[:, 4], 0)
  for lost in (impossible, jnp.full_like(logits, -jnp.inf)):
    assert np.isposinf(apply(lost, jnp.array([4, 4]))).all()
    assert np.isfinite(value_and_gradient(lost, jnp.array([4, 4]))[1]).all()


@_PAIRED
def test_an_empty_batch_has_no_loss(name):
  values = LOSSES[name].apply(jnp.zeros((0, 5)), jnp.zeros(0, int))
  assert values.shape == (0,)


@_PAIRED
def test_one_class_alone(name):
  values = LOSSES[name].apply(jnp.array([[0.5]]), jnp.array([0]))
  if "cross-entropy with z-loss" == name:
    assert values[0] == pytest.approx(0.01 * 0.25)
  elif name == "one against all":
    assert values[0] == pytest.approx(np.log1p(np.exp(-0.5)))
  else:
    np.testing.assert_allclose(values, 0, atol=1e-6)


def test_margins_are_neutral_at_their_neutral_parameter():
  logits = jnp.asarray(_LOGITS, jnp.float32)
  norms = {"feature_norms": jnp.full(2, 3.0), "kernel_norms": jnp.arange(1.0, 6.0)}
  for neutral in (
    functional.soft_margin(logits, _LABELS, margin=0.0),
    functional.large_margin(logits, _LABELS, **norms, margin=1),
    functional.additive_cosine_margin(logits, _LABELS, margin=0.0),
    functional.additive_angular_margin(logits, _LABELS, margin=0.0),
  ):
    np.testing.assert_allclose(neutral, logits, atol=1e-6)
  far = functional.large_margin(logits, _LABELS, **norms, margin=4, annealing=1e8)
  np.testing.assert_allclose(far, logits, atol=1e-5)


@pytest.mark.parametrize("name", sorted(set(MARGINS) - {"none"}))
def test_a_margin_changes_the_label_alone_and_makes_it_less_likely(name):
  logits = jnp.asarray(_LOGITS, jnp.float32)
  changed = np.asarray(MARGINS[name].apply(logits, _LABELS))
  others = np.eye(5)[_LABELS] == 0
  np.testing.assert_array_equal(changed[others], np.asarray(logits)[others])
  assert np.all(changed[~others] < np.asarray(logits)[~others])
