"""The contract of every loss of logits and labels, each margin with each score among them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify
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


def _values_and_gradients(apply, logits, labels, **options):
  values, pull_back = jax.vjp(lambda z: apply(z, labels, **options), logits)
  return values, pull_back(jnp.ones_like(values))[0]


@_ALL
def test_values_and_derivatives_equal_the_oracle_in_float64(name):
  loss, oracle, _ = LOSSES[name]
  check_derivatives(lambda z: loss(z, _LABELS), _LOGITS, oracle=lambda z: oracle(z, _LABELS))


# Rows of every kind, for one program: plain ones, labels out of range, the last class impossible
# and not the label's, a label whose class is impossible, alone or with all others, and a NaN.
_IMPOSSIBLE = np.where(np.arange(5) == 4, -np.inf, _LOGITS)
_LAST = [_IMPOSSIBLE[0], np.full(5, -np.inf), np.where(np.arange(5) == 1, np.nan, _LOGITS[0])]
_ROWS = np.concatenate([_LOGITS, _LOGITS, _IMPOSSIBLE, _LAST])
_ROW_LABELS = np.array([2, 3, 5, -1, 2, 3, 4, 4, 0])
_PLAIN, _UNKNOWN, _MASKED, _LOST, _NAN = slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 8), 8
# Those without an infinite loss, one with a label that is ignored.
_FINITE = np.array([0, 1, 3, 4, 5])
_CLASS_WEIGHTS = np.array([2.0, 0.5, 1.5, 3.0, 0.0])
_WEIGHTED = {"class_weights": _CLASS_WEIGHTS, "ignore_label": -1}


@functools.cache
def _run(name):
  """Returns what one program says of all rows and of some more, and its error at a NaN."""
  apply = LOSSES[name].apply
  checked = checkify.checkify(
    functools.partial(_values_and_gradients, apply, **_WEIGHTED), errors=checkify.nan_checks
  )
  rows = jnp.asarray(_ROWS, jnp.float32)
  finite = jnp.where(rows == -jnp.inf, 0.5, rows)

  @jax.jit
  def run(rows, finite):
    error, _ = checked(rows[_FINITE], jnp.asarray(_ROW_LABELS[_FINITE]))
    return error, {
      "values": _values_and_gradients(apply, rows, _ROW_LABELS),
      "where": _values_and_gradients(apply, finite, _ROW_LABELS, where=_ROWS != -np.inf),
      "vmap": jax.vmap(apply)(rows[_PLAIN], jnp.asarray(_LABELS)),
      "one-hot": apply(rows[_PLAIN], jnp.asarray(np.eye(5)[_LABELS], jnp.float32)),
      "one class": apply(jnp.array([[0.5]]), jnp.array([0])),
    }

  error, found = run(rows, finite)
  return error, jax.device_get(found)


@_PAIRED
def test_other_ways_to_call_a_loss_agree(name):
  error, found = _run(name)
  values, _ = found["values"]
  assert values.shape == (9,) and values.dtype == np.float32
  expected = LOSSES[name].oracle(_LOGITS, _LABELS)
  np.testing.assert_allclose(values[_PLAIN], expected, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(found["vmap"], expected, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(found["one-hot"], expected, rtol=1e-5, atol=1e-6)
  assert np.isnan(values[_NAN])  # A number would hide what went wrong before.
  error.throw()  # No operation makes a NaN, not even one that is masked.


@_PAIRED
def test_a_label_out_of_range_is_nan_and_teaches_nothing(name):
  values, gradient = _run(name)[1]["values"]
  assert np.isnan(values[_UNKNOWN]).all()
  np.testing.assert_array_equal(gradient[_UNKNOWN], 0)


@pytest.mark.parametrize(
  ("loss", "option"),
  [
    (functional.cross_entropy, "label_smoothing"),
    (functional.negative_log_likelihood, "label_smoothing"),
    (functional.squared_error_loss, "target"),
    (functional.squared_error_loss, "label_weight"),
  ],
)
def test_a_label_out_of_range_teaches_nothing_of_a_learnt_option(loss, option):
  def total(value, labels):
    return jnp.nansum(loss(_LOGITS, labels, **{option: value}))

  slope = jax.jit(jax.grad(total))
  one_known = slope(0.3, jnp.array([2, 5])), slope(0.3, jnp.array([2, -1]))
  np.testing.assert_array_equal(one_known, slope(0.3, jnp.array([2, -2])))
  assert np.all(np.isfinite(one_known) & (np.array(one_known) != 0))


@_PAIRED
def test_an_impossible_class_is_absent_however_it_is_spelt(name):
  values, gradient = _run(name)[1]["values"]
  expected = LOSSES[name].oracle(_LOGITS[:, :4], _LABELS)
  if name == "PC-softmax":  # Without the class the prior of the others is larger.
    expected += np.log(1 - PRIOR[4])
  np.testing.assert_allclose(values[_MASKED], expected, rtol=1e-5)
  slopes = differences(lambda z: LOSSES[name].oracle(z, _LABELS), _LOGITS[:, :4])
  np.testing.assert_allclose(gradient[_MASKED, :4], slopes, atol=1e-5)
  np.testing.assert_array_equal(gradient[_MASKED, 4], 0)
  assert np.isposinf(values[_LOST]).all() and np.isfinite(gradient[_LOST]).all()
  # The limit of hard classes is the label's cosine, which a loss may exclude but not hide.
  compared = slice(6 if "curricular" in name else 8)
  for masked, impossible in zip(_run(name)[1]["where"], (values, gradient), strict=True):
    np.testing.assert_allclose(masked[compared], impossible[compared], rtol=1e-6, atol=1e-7)


@_PAIRED
def test_one_class_alone(name):
  expected = {
    "cross-entropy with z-loss": 0.01 * 0.25,
    "one against all": np.log1p(np.exp(-0.5)),
    "squared error": 3 * 1.5**2,
  }
  np.testing.assert_allclose(
    _run(name)[1]["one class"], expected.get(name, 0), rtol=1e-5, atol=1e-6
  )


# Losses of labels that may be several.
_OF_SETS = ("one against all", "squared error")


@_PAIRED
def test_class_weights_and_ignored_labels(name):
  loss, oracle, weighted = LOSSES[name]
  weighted = weighted or (lambda z, y, weights: weights[y] * oracle(z, y))
  logits, labels = np.tile(_LOGITS, (3, 1)), np.array([2, 3, -1, 5, 1, 4])
  known = np.array([0, 1, 4, 5])
  soft = np.random.default_rng(0).dirichlet(np.ones(5), 2)

  @jax.jit
  def run(logits):
    def of(logits, labels):
      by_row = functools.partial(_values_and_gradients, loss, logits, **_WEIGHTED)
      return jax.vmap(by_row)(jnp.asarray(labels))

    return of(logits, [labels, 0 * labels - 1]), of(logits[:2], [np.eye(5)[_LABELS], soft])

  with jax.enable_x64(True):
    of_integers, of_distributions = run(logits)
  (values, nothing), (gradient, no_slopes) = jax.device_get(of_integers)
  (one_hot, _), (one_hot_gradient, slopes) = jax.device_get(of_distributions)

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
  assert not np.any(nothing) and not np.any(no_slopes)
  np.testing.assert_allclose(one_hot, values[:2], rtol=1e-10)
  np.testing.assert_allclose(one_hot_gradient, gradient[:2], rtol=1e-9, atol=1e-12)
  # A margin shares its change among the labels, and several labels have their mean weight in a sum
  # over classes that do not compete; all other losses are expectations but for a constant.
  if "margin" not in name.replace("none margin", "") and name not in _OF_SETS:
    slopes_of_every_label = differences(of_every_label, logits[:2])
    np.testing.assert_allclose(slopes, slopes_of_every_label, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_on_a_mesh_sharded_over_batch_and_classes(kind):
  logits, labels = np.tile(_LOGITS[:, :4], (2, 1)), np.array([2, 3, 0, 1])
  mesh = jax.make_mesh(
    (2, 4), ("batch", "classes"), axis_types=(kind,) * 2, devices=jax.devices("cpu")
  )

  @jax.jit
  def run(logits, labels):
    return {name: _values_and_gradients(LOSSES[name].apply, logits, labels) for name in _PAIRS}

  with jax.set_mesh(mesh):
    axes = ("batch", "classes"), ("batch",)
    shardings = tuple(NamedSharding(mesh, PartitionSpec(*names)) for names in axes)
    found = jax.device_get(run(*jax.device_put((logits.astype(np.float32), labels), shardings)))
  for name, (values, gradient) in found.items():
    oracle = LOSSES[name].oracle
    np.testing.assert_allclose(values, oracle(logits, labels), rtol=1e-5, atol=1e-6, err_msg=name)
    slopes = differences(lambda z, oracle=oracle: oracle(z, labels), logits)
    np.testing.assert_allclose(gradient, slopes, rtol=1e-4, atol=1e-5, err_msg=name)


@_PAIRED
def test_half_precision_is_accurate_and_finite_up_to_ten_thousand(name):
  loss, oracle, _ = LOSSES[name]
  # What multiplies cosines by themselves makes 1e4 of 100.
  large = (100 if "curricular" in name else 1e4) * _LOGITS
  given = [
    jnp.asarray(np.concatenate([_LOGITS, large]), dtype) for dtype in (jnp.float16, jnp.bfloat16)
  ]

  @jax.jit
  def run(given):
    def total(z):
      losses = loss(z, np.tile(_LABELS, 2))
      return jnp.sum(losses.astype(jnp.float32)), losses

    return [jax.grad(total, has_aux=True)(z) for z in given]

  for logits, (gradient, values) in zip(given, run(given), strict=True):
    assert values.dtype == gradient.dtype == logits.dtype
    np.testing.assert_allclose(
      np.asarray(values[:2], np.float64),
      oracle(np.asarray(logits[:2], np.float64), _LABELS),
      rtol=2 * float(jnp.finfo(logits.dtype).eps),
      atol=2e-2 if "angular" in name else 2e-3,
    )
    assert np.isfinite(np.asarray(gradient, np.float32)).all()


@_PAIRED
def test_traces_under_every_flag_without_changing_types(name):
  run = functools.partial(_values_and_gradients, LOSSES[name].apply)

  def trace(dtype, batch=(2,), label_type=None):
    logits = jax.ShapeDtypeStruct((*batch, 5), dtype)
    labels = jax.ShapeDtypeStruct(batch, jnp.int32)
    if label_type is not None:
      labels = jax.ShapeDtypeStruct(logits.shape, label_type)
    values, gradient = jax.eval_shape(run, logits, labels)
    assert values.shape == batch and gradient.shape == (*batch, 5)
    assert values.dtype == gradient.dtype == dtype

  with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
    trace(jnp.bfloat16, (2, 3))
    trace(jnp.float32, label_type=jnp.float16)
    # The checks of what varies between devices are made when a program is traced.
    mesh = jax.make_mesh((2,), ("batch",), (AxisType.Auto,), devices=jax.devices()[:2])
    shards = PartitionSpec("batch")
    over_devices = jax.shard_map(run, mesh=mesh, in_specs=shards, out_specs=shards)
    given = jax.ShapeDtypeStruct((4, 5), jnp.float32), jax.ShapeDtypeStruct((4,), jnp.int8)
    assert jax.eval_shape(over_devices, *given)[0].shape == (4,)
    with jax.enable_x64(True):
      trace(jnp.float32, (0, 3))
      trace(jnp.float64)


@_PAIRED
def test_bad_weights_and_ignored_labels(name):
  apply = LOSSES[name].apply

  def run(**options):
    jax.eval_shape(lambda z: apply(z, _LABELS, **options), _LOGITS)

  for weights, message in (
    (np.ones(3), r"class_weights of shape \(3,\) for 5 classes; it must have shape \(5,\)"),
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
