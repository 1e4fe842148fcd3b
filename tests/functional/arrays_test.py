"""Arrays: bad arguments are named with their remedy, sums are wide, norms have gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from softmax_research import functional
from softmax_research.functional.arrays import (
  check_at_least,
  check_epsilon,
  check_features,
  check_fraction,
  has_explicit_mesh,
  look_up,
  product,
  unit_length,
  widen,
)
from softmax_research.functional.labels import check_class_labels


@pytest.mark.parametrize("value", [0, 0.5, np.float32(2), np.array([0.0, 3.0])])
def test_at_least_accepts(value):
  check_at_least("margin", value, 0, "Remedy.")


@pytest.mark.parametrize("value", [-1e-9, np.inf, np.nan, None, np.array([1.0, -1.0])])
def test_at_least_refuses(value):
  with pytest.raises(ValueError, match=r"margin=.*>= 0\. Remedy\."):
    check_at_least("margin", value, 0, "Remedy.")


def test_strict_bound_is_excluded():
  with pytest.raises(ValueError, match=r"> 0\. Remedy\."):
    check_at_least("temperature", 0.0, 0, "Remedy.", strict=True)


@pytest.mark.parametrize("value", [-0.1, 1.0, np.nan, np.array([0.1, 1.0])])
def test_fraction_refuses(value):
  with pytest.raises(ValueError, match=r"label_smoothing=.*\[0, 1\)"):
    check_fraction("label_smoothing", value)


def test_fractions_of_several_examples():
  check_fraction("label_smoothing", np.array([0.0, 0.1]))


def test_one_is_a_fraction_where_it_is_allowed():
  check_fraction("label_smoothing", 1.0, or_one=True)
  with pytest.raises(ValueError, match=r"\[0, 1\]"):
    check_fraction("label_smoothing", 1.1, or_one=True)


_LOGITS, _LABELS = np.array([[0.1, -0.2, 0.3], [0.4, 0.5, -0.6]]), np.array([0, 2])
_NORMS = {"feature_norms": np.ones(2), "kernel_norms": np.ones(3), "margin": 2}


_OPTIONS = [
  ("temperature", lambda t: functional.softmax(_LOGITS, temperature=t)),
  ("epsilon", lambda e: functional.spherical_score(_LOGITS, epsilon=e)),
  ("epsilon", lambda e: functional.relu_score(_LOGITS, epsilon=e)),
  ("margin", lambda m: functional.soft_margin(_LOGITS, _LABELS, margin=m)),
  ("margin", lambda m: functional.additive_cosine_margin(_LOGITS, _LABELS, margin=m)),
  ("margin", lambda m: functional.additive_angular_margin(_LOGITS, _LABELS, margin=m)),
  ("margin", lambda m: functional.multiclass_hinge(_LOGITS, _LABELS, margin=m)),
  ("annealing", lambda a: functional.large_margin(_LOGITS, _LABELS, annealing=a, **_NORMS)),
  ("z_loss", lambda z: functional.cross_entropy(_LOGITS, _LABELS, z_loss=z)),
  ("label_smoothing", lambda s: functional.cross_entropy(_LOGITS, _LABELS, label_smoothing=s)),
  (
    "label_smoothing",
    lambda s: functional.linear_cross_entropy(_LOGITS, np.eye(3), _LABELS, label_smoothing=s),
  ),
  ("alpha", lambda a: functional.entmax(_LOGITS, alpha=1 + a)),
  ("cap", lambda c: functional.soft_cap_score(_LOGITS, cap=c)),
  ("temperature", lambda t: functional.logit_norm(_LOGITS, temperature=t)),
  ("rate", lambda r: functional.keep_above_quantile(_LOGITS, rate=r)),
  ("gamma", lambda g: functional.focal_link(_LOGITS, gamma=g)),
  ("epsilon", lambda e: functional.poly_link(_LOGITS, epsilon=e)),
  ("q", lambda q: functional.generalised_link(_LOGITS, q=q)),
  ("target", lambda t: functional.squared_error_loss(_LOGITS, _LABELS, target=t)),
  ("label_weight", lambda w: functional.squared_error_loss(_LOGITS, _LABELS, label_weight=w)),
]


@pytest.mark.parametrize(("name", "call"), _OPTIONS)
def test_an_option_that_would_enlarge_the_result_is_refused(name, call):
  with pytest.raises(ValueError, match=rf"Got {name} of shape \(4, 1, 1\)"):
    call(np.full((4, 1, 1), 0.5))


def test_options_of_another_type_are_numbers_too():
  half = jnp.asarray(0.5, jnp.bfloat16)

  @jax.jit
  def run():
    return [[call(number) for _, call in _OPTIONS] for number in (0.5, np.float32(0.5), half)]

  with jax.enable_x64(True), jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
    expected, *others = run()
  for found in others:
    for one, other in zip(found, expected, strict=True):
      np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("value", [0.0, -1.0, 1e-60, np.inf])
def test_epsilon_refuses(value):
  with pytest.raises(ValueError, match=r"Pass 0\.01 or so"):
    check_epsilon(value, typical=0.01)


def test_tracers_pass():
  @jax.jit
  def traced(value):
    check_at_least("margin", value, 0, "Remedy.")
    check_fraction("label_smoothing", value)
    check_epsilon(value, typical=1)
    return value

  assert traced(-1.0) == -1.0


@pytest.mark.parametrize(
  "given, wide, narrow",
  [
    (jnp.float16, jnp.float32, jnp.float16),
    (jnp.bfloat16, jnp.float32, jnp.bfloat16),
    (jnp.float32, jnp.float32, jnp.float32),
    (jnp.int8, jnp.float32, jnp.float32),
    (jnp.bool_, jnp.float32, jnp.float32),
  ],
)
def test_types(given, wide, narrow):
  values, result_type = widen(np.ones(3, given))
  assert values.dtype == wide
  assert result_type == narrow


def test_double_stays_double():
  with jax.enable_x64(True):
    values, result_type = widen(np.ones(3))
  assert values.dtype == result_type == jnp.float64


def test_lists_become_arrays():
  values, _ = widen([1, 2])
  assert isinstance(values, jax.Array)


def test_complex_values_are_refused():
  with pytest.raises(TypeError, match=r"complex64.*real"):
    widen(np.ones(1, np.complex64))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_is_summed_in_float32(dtype):
  # 4096 ones: neither type holds every partial sum.
  total = jax.jit(product)(np.ones((1, 4096), dtype), np.ones((4096, 1), dtype))
  assert total.dtype == jnp.float32
  assert total == 4096


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="what XLA is slow at on CPU alone")
def test_a_kernels_gradient_is_one_sum_over_the_batch():
  features, kernel = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4), np.ones((4, 5), np.float32)
  step = jax.make_jaxpr(jax.grad(lambda kernel: jnp.sum(product(features, kernel) ** 2)))
  contracted = [
    len(equation.params["dimension_numbers"][0][0])
    for equation in step(kernel).eqns
    if equation.primitive.name == "dot_general"
  ]
  assert contracted == [1, 1]  # XLA has no fast routine on CPU for a sum over two axes.
  np.testing.assert_allclose(jax.jit(product)(features, kernel), features @ kernel, rtol=1e-6)


def test_no_vector_is_scaled_to_more_than_unit_length():
  # At 1e-19 some squares are lost, at 1e-20 all.
  sizes = 10.0 ** np.array([0, -10, -15, -17, -18, -19, -20, -30])
  vectors = np.random.default_rng(0).normal(size=(8, 256)) / 16 * sizes[:, None]
  scaled = np.asarray(jax.jit(unit_length)(vectors.astype(np.float32)), np.float64)
  lengths = np.linalg.norm(scaled, axis=1)
  np.testing.assert_allclose(lengths[:3], 1, rtol=1e-6)
  np.testing.assert_allclose(lengths[3:], np.linalg.norm(vectors[3:], axis=1), rtol=1e-6)


def test_wider_types_are_kept():
  with jax.enable_x64(True):
    total = jax.eval_shape(product, np.ones((1, 2)), np.ones((2, 1), np.float32))
  assert total.dtype == jnp.float64


@pytest.mark.parametrize(("features", "kernel"), [((), (2, 3)), ((4, 3), (2, 3)), ((2,), (2,))])
def test_features_must_fit_the_kernel(features, kernel):
  with pytest.raises(ValueError, match=r"must have the shapes \[\.\.\., D\] and \[D, K\]"):
    check_features(np.zeros(features), np.zeros(kernel))


def test_labels_are_checked_and_widened():
  assert check_class_labels(np.array([1, 255], np.uint8), (2,), 1000, "").dtype == jnp.int32
  with pytest.raises(TypeError, match=r"Got labels of type float32.*Use cross_entropy\."):
    check_class_labels(np.zeros((2, 3), np.float32), (2,), 3, "Use cross_entropy.")
  with pytest.raises(ValueError, match=r"integer labels of shape \(3,\)"):
    check_class_labels([0, 1, 2], (2,), 3, "")


@pytest.mark.parametrize("table_spec", [P(), P(None, "data")])
@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_look_up_on_a_mesh(axis_type, table_spec):
  mesh = jax.make_mesh((8,), ("data",), axis_types=(axis_type,), devices=jax.devices("cpu"))
  table, indices = np.arange(128.0, dtype=np.float32).reshape(2, 64), 3 * np.arange(16)
  with jax.set_mesh(mesh):
    sharded = jax.device_put(table, NamedSharding(mesh, table_spec))
    places = jax.device_put(indices, NamedSharding(mesh, P("data")))
    assert has_explicit_mesh(places) == (axis_type == AxisType.Explicit)

    @jax.jit
    def run(table, places):
      return look_up(table, places), jax.grad(lambda table: look_up(table, places).sum())(table)

    taken, gradient = run(sharded, places)
  np.testing.assert_array_equal(taken, table[:, indices])
  np.testing.assert_array_equal(gradient, np.tile(np.isin(np.arange(64), indices), (2, 1)))
  if axis_type == AxisType.Explicit:
    assert taken.sharding.spec == P(None, "data")


def test_look_up_clips():
  assert look_up(np.array([5, 6]), jnp.array([[-1, 2]])).tolist() == [[5, 6]]


def test_lists_are_arrays_also_where_a_shape_is_asked_for():
  """JAX refuses the shape of a list in later versions, and warns today, which is an error here."""
  logits, labels = [[0.0, 2.0]], [1]
  softmax = functional.softmax(logits, temperature=[1.0, 2.0])
  np.testing.assert_allclose(softmax, [[1 / (1 + np.e), np.e / (1 + np.e)]], rtol=1e-6)
  weighed = functional.cross_entropy(logits, labels, class_weights=[1.0, 3.0])
  np.testing.assert_allclose(weighed, [3 * np.log1p(np.exp(-2))], rtol=1e-6)
  rows = functional.tree_label_rows(functional.balanced_tree(4), labels)
  np.testing.assert_array_equal(rows, [0, 1])
