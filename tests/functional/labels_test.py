"""Labels: checks, selection and replacement."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research.functional import labels as module
from softmax_research.functional.labels import check_labels, is_known, map_label
from tests.programs import program, values_and_gradient

is_label = program(module.is_label)
replace_label = program(module.replace_label)
select_label = program(module.select_label)

INTEGER_TYPES = [jnp.int8, jnp.uint8, jnp.int16, jnp.int32, jnp.uint32]


def test_checked_labels_come_back_as_arrays():
  assert check_labels([1, 0], np.zeros((2, 3))).tolist() == [1, 0]
  assert check_labels(np.full((2, 3), 0.5), np.zeros((2, 3))).shape == (2, 3)
  assert check_labels(np.zeros((2, 4), int), np.zeros((2, 3, 4)), axis=1).shape == (2, 4)


@pytest.mark.parametrize(
  "labels, error, message",
  [
    (np.zeros((2, 1), int), ValueError, r"shape \(2, 1\).*must have shape \(2,\)"),
    (np.zeros(3, int), ValueError, "one class index for each example"),
    (np.zeros((2, 4), int), ValueError, "Cast rows .* to a floating-point type"),
    (np.zeros(2), ValueError, "Cast class indices to an integer type"),
    (np.zeros((2, 4)), ValueError, "distributions over classes"),
    (np.zeros(2, bool), TypeError, "type bool"),
    (np.zeros(2, complex), TypeError, "type complex"),
  ],
)
def test_labels_that_do_not_fit(labels, error, message):
  with pytest.raises(error, match=message):
    check_labels(labels, np.zeros((2, 3)))


def test_a_scalar_has_no_classes():
  with pytest.raises(ValueError, match=r"\[\.\.\., K\]"):
    check_labels(0, np.zeros(()))


@pytest.mark.parametrize("dtype", INTEGER_TYPES)
def test_one_mark_an_example_for_every_integer_type(dtype):
  # 1000 classes do not fit the 8-bit types: their iota would wrap around.
  marks = is_label(np.array([3, 100], dtype), np.zeros((2, 1000)))
  np.testing.assert_array_equal(np.argwhere(marks), [[0, 3], [1, 100]])


@pytest.mark.parametrize("dtype", INTEGER_TYPES)
def test_selection_for_every_integer_type(dtype):
  values = np.random.default_rng(0).normal(size=(2, 1000)).astype(np.float32)
  picked = select_label(values, np.array([3, 100], dtype))
  np.testing.assert_array_equal(picked, values[[0, 1], [3, 100]])


def test_selection_along_another_axis():
  values = np.arange(24.0).reshape(2, 3, 4)
  labels = np.array([[0, 1, 2, 0], [2, 2, 1, 1]])
  expected = np.take_along_axis(values, labels[:, None], 1)[:, 0]
  np.testing.assert_array_equal(select_label(values, labels, axis=1), expected)


@pytest.mark.parametrize("label", [-1, 3, 2**31 - 1, -(2**31)])
def test_a_label_out_of_range_selects_zero_and_has_no_gradient(label):
  labels = np.array([label])
  assert not is_known(labels, 3)
  selected, gradient = values_and_gradient(lambda v: select_label(v, labels), np.ones((1, 3)))
  assert selected == 0
  np.testing.assert_array_equal(gradient, np.zeros((1, 3)))


def test_selection_does_not_scatter():
  values, labels = np.ones((2, 3)), np.array([0, 2])
  gradient = jax.jit(jax.grad(lambda v: select_label(v, labels).sum()))
  assert "scatter" not in gradient.lower(values).as_text()


def test_replacement_of_labels_and_in_proportion():
  values, replacements = np.array([[1.0, 2.0, 3.0]]), np.array([[5.0, 6.0, 8.0]])
  hard = replace_label(values, replacements, np.array([2]))
  np.testing.assert_array_equal(hard, [[1, 2, 8]])
  one_hot = replace_label(values, replacements, np.array([[0.0, 0.0, 1.0]]))
  np.testing.assert_array_equal(one_hot, hard)
  soft = replace_label(values, replacements, np.array([[0.25, 0.0, 0.75]]))
  np.testing.assert_allclose(soft, [[2, 2, 6.75]])
  np.testing.assert_array_equal(replace_label(values, replacements, np.array([3])), values)


def test_the_gradient_reaches_a_distribution_where_it_is_zero():
  values, replacements = np.array([1.0, 2.0]), np.array([5.0, 7.0])
  gradient = jax.jit(jax.grad(lambda q: replace_label(values, replacements, q).sum()))
  np.testing.assert_array_equal(gradient(np.array([0.0, 1.0])), [4, 5])


def test_an_impossible_class_stays_impossible_under_a_distribution():
  values = np.array([[-np.inf, 2.0]])
  replaced = replace_label(values, values - 1, np.array([[0.5, 0.5]]))
  np.testing.assert_array_equal(replaced, [[-np.inf, 1.5]])


@pytest.mark.parametrize("soft", [False, True])
def test_a_function_is_applied_at_the_label_alone(soft):
  values, weights = np.array([[2.0, 3.0], [4.0, -np.inf]]), np.array([10.0, 20.0])
  labels = np.float32([[0, 1], [0, 1]]) if soft else np.array([1, 1])

  @jax.jit
  @functools.partial(jax.grad, has_aux=True)
  def run(values):
    mapped = map_label(lambda a, b: a**2 * b, labels, values, weights)
    return jnp.where(jnp.isfinite(mapped), mapped, 0).sum(), mapped

  gradient, mapped = run(values)
  np.testing.assert_array_equal(mapped, [[2, 180], [4, -np.inf]])
  np.testing.assert_array_equal(gradient, [[1, 120], [1, 0]])


def test_a_function_at_a_label_out_of_range_changes_nothing_and_has_finite_gradients():
  values, weights = np.array([[2.0, 3.0]]), np.array([10.0, 20.0])

  @jax.jit
  @functools.partial(jax.grad, argnums=(0, 1), has_aux=True)
  def run(values, weights):
    mapped = map_label(lambda a, b: a * b, np.array([2]), values, weights)
    return mapped.sum(), mapped

  gradients, mapped = run(values, weights)
  np.testing.assert_array_equal(mapped, values)
  np.testing.assert_array_equal(gradients[0], np.ones((1, 2)))
  np.testing.assert_array_equal(gradients[1], np.zeros(2))


def test_labels_of_64_bits_do_not_wrap_into_range():
  far = np.array([2**32, 1, -(2**32)])
  for labels in (far, far[:2].astype(np.uint64)):
    checked = check_labels(labels, np.zeros((len(labels), 4)))
    assert (
      checked[1] == 1
      and ((checked < 0) | (checked > 3)).tolist() == [True, False, True][: len(labels)]
    )
