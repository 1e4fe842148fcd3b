"""The contract of every loss of logits and labels, each margin with each score among them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from softmax_research import functional
from tests.contracts.members import LOSSES, MARGINS, PRIOR
from tests.derivatives import check_derivatives, differences

_ALL = pytest.mark.parametrize("name", sorted(LOSSES))

# A margin and a score meet in nothing but a composition, so what takes long to compile is tried on
# each margin with Taylor's score and on each score without a margin.
_PAIRS = sorted(name for name in LOSSES if "margin" not in name or "none" in name or "tayl" in name)
_PAIRED = pytest.mark.parametrize("name", _PAIRS)

# Cosines, so that every margin applies; no ties, and away from the corners of the margins.
_LOGITS = np.array([[0.31, -0.72, 0.55, 0.11, -0.2], [-0.44, 0.8, 0.13, -0.9, 0.25]])
_LABELS = np.array([2, 3])


@_ALL
def test_value_and_gradient_equal_the_oracle_in_float64(name):
  loss, oracle, _ = LOSSES[name]
  with jax.enable_x64(True):
    values, pull_back = jax.jit(lambda z: jax.vjp(lambda z: loss(z, _LABELS), z))(_LOGITS)
    (gradient,) = pull_back(jnp.ones(2))
  np.testing.assert_allclose(values, oracle(_LOGITS, _LABELS), rtol=1e-11, atol=1e-13)
  expected = differences(lambda z: oracle(z, _LABELS), _LOGITS)
  np.testing.assert_allclose(gradient, expected, rtol=2e-6, atol=1e-8)


@_PAIRED
def test_derivatives_of_both_modes_and_orders_agree(name):
  check_derivatives(lambda z: LOSSES[name].apply(z, _LABELS), _LOGITS)


# Rows of every kind, for one program: plain ones, labels out of range, the last class impossible
# and not the label's, and a label whose class is impossible, alone or with all others.
_IMPOSSIBLE = np.where(np.arange(5) == 4, -np.inf, _LOGITS)
_ROWS = np.concatenate([_LOGITS, _LOGITS, _IMPOSSIBLE, _IMPOSSIBLE[:1], np.full((1, 5), -np.inf)])
_ROW_LABELS = np.array([2, 3, 5, -1, 2, 3, 4, 4])
_PLAIN, _UNKNOWN, _MASKED, _LOST = slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 8)
_FINITE = np.array([0, 1, 4, 5])


def _values_and_gradients(apply, logits, labels, **options):
  values, pull_back = jax.vjp(lambda z: apply(z, labels, **options), logits)
  return values, pull_back(jnp.ones_like(values))[0]


@functools.cache
def _run(name):
  """Returns what one program says of all rows and of some more."""
  apply = LOSSES[name].apply
  rows = jnp.asarray(_ROWS, jnp.float32)
  finite = jnp.where(rows == -jnp.inf, 0.5, rows)

  @jax.jit
  def run(rows, finite):
    return {
      "values": _values_and_gradients(apply, rows, _ROW_LABELS),
      "where": _values_and_gradients(apply, finite, _ROW_LABELS, where=_ROWS != -np.inf),
      "vmap": jax.vmap(apply)(rows[_PLAIN], jnp.asarray(_LABELS)),
      "one-hot": apply(rows[_PLAIN], jnp.asarray(np.eye(5)[_LABELS], jnp.float32)),
      "one class": apply(jnp.array([[0.5]]), jnp.array([0])),
    }

  return jax.device_get(run(rows, finite))


@_PAIRED
def test_other_ways_to_call_a_loss_agree(name):
  found = _run(name)
  values, gradient = found["values"]
  assert values.shape == (8,) and values.dtype == np.float32
  expected = LOSSES[name].oracle(_LOGITS, _LABELS)
  np.testing.assert_allclose(values[_PLAIN], expected, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(found["vmap"], expected, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(found["one-hot"], expected, rtol=1e-5, atol=1e-6)
  # One operation after the other, none of which makes a NaN.
  with jax.debug_nans(True):
    rows = jnp.asarray(_ROWS[_FINITE], jnp.float32)
    eager = _values_and_gradients(LOSSES[name].apply, rows, jnp.asarray(_ROW_LABELS[_FINITE]))
  np.testing.assert_allclose(eager[0], values[_FINITE], rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(eager[1], gradient[_FINITE], rtol=1e-5, atol=1e-6)


@_PAIRED
def test_a_label_out_of_range_is_nan_and_teaches_nothing(name):
  values, gradient = _run(name)["values"]
  assert np.isnan(values[_UNKNOWN]).all()
  np.testing.assert_array_equal(gradient[_UNKNOWN], 0)


@_PAIRED
def test_an_impossible_class_is_absent_however_it_is_spelt(name):
  values, gradient = _run(name)["values"]
  expected = LOSSES[name].oracle(_LOGITS[:, :4], _LABELS)
  if name == "PC-softmax":  # Without the class the prior of the others is larger.
    expected += np.log(1 - PRIOR[4])
  np.testing.assert_allclose(values[_MASKED], expected, rtol=1e-5)
  slopes = differences(lambda z: LOSSES[name].oracle(z, _LABELS), _LOGITS[:, :4])
  np.testing.assert_allclose(gradient[_MASKED, :4], slopes, atol=1e-5)
  np.testing.assert_array_equal(gradient[_MASKED, 4], 0)
  assert np.isposinf(values[_LOST]).all() and np.isfinite(gradient[_LOST]).all()
  for masked, impossible in zip(_run(name)["where"], (values, gradient), strict=True):
    np.testing.assert_allclose(masked, impossible, rtol=1e-6, atol=1e-7)


@_PAIRED
def test_one_class_alone(name):
  expected = {
    "cross-entropy with z-loss": 0.01 * 0.25,
    "one against all": np.log1p(np.exp(-0.5)),
    "squared error": 3 * 1.5**2,
  }
  np.testing.assert_allclose(_run(name)["one class"], expected.get(name, 0), rtol=1e-5, atol=1e-6)


# Losses of labels that may be several.
_OF_SETS = ("one against all", "squared error")
_CLASS_WEIGHTS = np.array([2.0, 0.5, 1.5, 3.0, 0.0])


@_PAIRED
def test_class_weights_and_ignored_labels(name):
  loss, oracle, weighted = LOSSES[name]
  weighted = weighted or (lambda z, y, weights: weights[y] * oracle(z, y))
  logits, labels = np.tile(_LOGITS, (3, 1)), np.array([2, 3, -1, 5, 1, 4])
  known = np.array([0, 1, 4, 5])
  soft = np.random.default_rng(0).dirichlet(np.ones(5), 2)

  @jax.jit
  def run(logits):
    def of(logits, labels, weights=_CLASS_WEIGHTS):
      options = {"class_weights": weights, "ignore_label": -1}
      return _values_and_gradients(loss, logits, labels, **options)

    one_hot = of(logits[:2], jnp.asarray(np.eye(5)[_LABELS]))
    return of(logits, labels), of(logits, 0 * labels - 1), one_hot, of(logits[:2], soft)

  with jax.enable_x64(True):
    (values, gradient), nothing, one_hot, (_, slopes) = jax.device_get(run(logits))
    with jax.debug_nans(True):
      labels[3] = -1  # A label out of range is NaN.
      options = {"class_weights": _CLASS_WEIGHTS, "ignore_label": -1}
      loss(jnp.asarray(logits), jnp.asarray(labels), **options)

  def expected(z, y):
    return weighted(z, y, _CLASS_WEIGHTS)

  def of_every_label(z):
    return sum(soft[:, k] * expected(z, np.full(2, k)) for k in range(5))

  np.testing.assert_allclose(
    values[known], expected(logits[known], labels[known]), rtol=1e-10, atol=1e-12
  )
  of_known = differences(lambda z: expected(z, labels[known]), logits[known])
  np.testing.assert_allclose(gradient[known], of_known, rtol=1e-6, atol=1e-8)
  assert values[2] == 0 and np.isnan(values[3]) and not np.any(gradient[2:4])
  assert not any(np.any(array) for array in nothing)
  np.testing.assert_allclose(one_hot[0], values[:2], rtol=1e-10)
  np.testing.assert_allclose(one_hot[1], gradient[:2], rtol=1e-9, atol=1e-12)
  # A margin shares its change among the labels, and several labels have their mean weight in a sum
  # over classes that do not compete; all other losses are expectations but for a constant.
  if "margin" not in name.replace("none margin", "") and name not in _OF_SETS:
    slopes_of_every_label = differences(of_every_label, logits[:2])
    np.testing.assert_allclose(slopes, slopes_of_every_label, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_on_a_mesh_sharded_over_batch_and_classes(kind):
  logits = np.tile(_LOGITS[:, :4], (2, 1)).astype(np.float32)
  labels = np.array([2, 3, 0, 1])

  def run(logits, labels):
    return {name: _values_and_gradients(LOSSES[name].apply, logits, labels) for name in _PAIRS}

  expected = jax.jit(run)(logits, labels)
  mesh = jax.make_mesh(
    (2, 4), ("batch", "classes"), axis_types=(kind,) * 2, devices=jax.devices("cpu")
  )
  with jax.set_mesh(mesh):
    logits = jax.device_put(logits, NamedSharding(mesh, PartitionSpec("batch", "classes")))
    labels = jax.device_put(labels, NamedSharding(mesh, PartitionSpec("batch")))
    found = jax.jit(run)(logits, labels)
  for name in _PAIRS:
    for sharded, plain in zip(found[name], expected[name], strict=True):
      np.testing.assert_allclose(sharded, plain, rtol=1e-5, atol=1e-6, err_msg=name)


@_PAIRED
def test_half_precision_is_accurate_and_finite_up_to_ten_thousand(name):
  loss, oracle, _ = LOSSES[name]
  dtypes = (jnp.float16, jnp.bfloat16)
  given = [jnp.asarray(_LOGITS, dtype) for dtype in dtypes]
  large = [jnp.asarray(np.sign(_LOGITS) * 1e4 * np.abs(_LOGITS), dtype) for dtype in dtypes]

  @jax.jit
  def run(given, large):
    def total(z):
      return jnp.sum(loss(z, _LABELS).astype(jnp.float32))

    return [loss(z, _LABELS) for z in given], [jax.grad(total)(z) for z in large]

  for logits, values, gradient in zip(given, *run(given, large), strict=True):
    assert values.dtype == gradient.dtype == logits.dtype
    np.testing.assert_allclose(
      np.asarray(values, np.float64),
      oracle(np.asarray(logits, np.float64), _LABELS),
      rtol=2 * float(jnp.finfo(logits.dtype).eps),
      atol=2e-2 if "angular" in name else 2e-3,
    )
    assert bool(jnp.all(jnp.isfinite(gradient)))


@_ALL
def test_traces_under_every_flag_without_changing_types(name):
  def trace(dtype, batch=(2,)):
    logits = jax.ShapeDtypeStruct((*batch, 5), dtype)
    labels = jax.ShapeDtypeStruct(batch, jnp.int32)
    run = functools.partial(_values_and_gradients, LOSSES[name].apply)
    values, gradient = jax.eval_shape(run, logits, labels)
    assert values.shape == batch and gradient.shape == (*batch, 5)
    assert values.dtype == gradient.dtype == dtype

  trace(jnp.float32, (0,))
  with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
    for dtype in (jnp.float32, jnp.bfloat16):
      trace(dtype, (2, 3))
  with jax.enable_x64(True):
    for dtype in (jnp.float32, jnp.float64):
      trace(dtype)
  # The checks of what varies between devices are made when a program is traced.
  mesh = jax.make_mesh((2,), ("batch",), (AxisType.Auto,), devices=jax.devices()[:2])
  run = functools.partial(_values_and_gradients, LOSSES[name].apply)
  shards = PartitionSpec("batch")
  run = jax.shard_map(run, mesh=mesh, in_specs=shards, out_specs=shards)
  given = jax.ShapeDtypeStruct((4, 5), jnp.float32), jax.ShapeDtypeStruct((4,), jnp.int8)
  assert jax.eval_shape(run, *given)[0].shape == (4,)


@_PAIRED
def test_bad_weights_and_ignored_labels(name):
  run = functools.partial(LOSSES[name].apply, jnp.asarray(_LOGITS), jnp.asarray(_LABELS))
  for weights, message in (
    (np.ones(3), r"class_weights of shape \(3,\) for 5 classes; they must have shape \(5,\)"),
    ([1, 1, -1, 1, 1], r"the class weight -1\.0 of class 2; weights must be finite and at least 0"),
    ([1, 1, 1, np.nan, 1], "the class weight nan of class 3"),
  ):
    with pytest.raises(ValueError, match=message):
      run(class_weights=weights)
  with pytest.raises(TypeError, match=r"ignore_label=2\.5; it must be one integer"):
    run(ignore_label=2.5)


@_ALL
def test_bad_labels(name):
  apply = LOSSES[name].apply
  with pytest.raises(ValueError, match="labels of shape"):
    apply(jnp.asarray(_LOGITS), jnp.array([1, 2, 3]))
  with pytest.raises(ValueError, match="labels of shape"):
    apply(jnp.asarray(_LOGITS), jnp.array([1.0, 2.0]))
  with pytest.raises(TypeError, match="labels of type"):
    apply(jnp.asarray(_LOGITS), jnp.array([True, False]))


_WITH_AXIS = {
  "cross_entropy": functional.cross_entropy,
  "entmax_loss": functional.entmax_loss,
  "bi_tempered_loss": functional.bi_tempered_loss,
  "multiclass_hinge": functional.multiclass_hinge,
  "negative_log_likelihood": functional.negative_log_likelihood,
  "one_vs_all_cross_entropy": functional.one_vs_all_cross_entropy,
  "pc_cross_entropy": functools.partial(functional.pc_cross_entropy, log_prior=np.log(PRIOR)),
  "sparsemax_loss": functional.sparsemax_loss,
  "squared_error_loss": functional.squared_error_loss,
}


@pytest.mark.parametrize("name", _WITH_AXIS)
def test_bad_axes_and_masks(name):
  loss = _WITH_AXIS[name]
  with pytest.raises(TypeError, match=r"axis=\(0, 1\); it must be one integer"):
    loss(np.zeros((2, 5)), np.zeros((), int), axis=(0, 1))
  with pytest.raises(ValueError, match="axis=2 for values of shape"):
    loss(np.zeros((2, 5)), np.zeros(2, int), axis=2)
  with pytest.raises(ValueError, match=r"which classes are possible .* where\[:, None\]"):
    loss(np.zeros((2, 5)), np.zeros(2, int), where=np.ones(2, bool))


def test_margins_are_neutral_at_their_neutral_parameter():
  logits = jnp.asarray(_LOGITS, jnp.float32)
  norms = {"feature_norms": jnp.full(2, 3.0), "kernel_norms": jnp.arange(1.0, 6.0)}

  @jax.jit
  def apply(logits):
    return (
      functional.soft_margin(logits, _LABELS, margin=0.0),
      functional.large_margin(logits, _LABELS, **norms, margin=1),
      functional.additive_cosine_margin(logits, _LABELS, margin=0.0),
      functional.additive_angular_margin(logits, _LABELS, margin=0.0),
      functional.large_margin(logits, _LABELS, **norms, margin=4, annealing=1e8),
    )

  *neutral, far = apply(logits)
  for unchanged in neutral:
    np.testing.assert_allclose(unchanged, logits, atol=1e-6)
  np.testing.assert_allclose(far, logits, atol=1e-5)


def test_a_margin_changes_the_label_alone_and_makes_it_less_likely():
  logits = jnp.asarray(_LOGITS, jnp.float32)
  margins = sorted(set(MARGINS) - {"none"})
  found = jax.jit(lambda z: [MARGINS[name].apply(z, _LABELS) for name in margins])(logits)
  others = np.eye(5)[_LABELS] == 0
  for changed in map(np.asarray, found):
    np.testing.assert_array_equal(changed[others], np.asarray(logits)[others])
    assert np.all(changed[~others] < np.asarray(logits)[~others])
