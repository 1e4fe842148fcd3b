"""Divergences of two dense layers against PyTorch in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research.functional import linear_kl_divergence

RNG = np.random.default_rng(0)
N, K = 5, 7
STUDENT, TEACHER = (RNG.normal(size=(N, size)) for size in (3, 4))
ARRAYS = (STUDENT, RNG.normal(size=(3, K)), TEACHER, RNG.normal(size=(4, K)))
BIASES = RNG.normal(size=(2, K))


def _call(student, of_student, teacher, of_teacher, student_bias, teacher_bias, **options):
  biases = {"student_bias": student_bias, "teacher_bias": teacher_bias}
  return linear_kl_divergence(student, of_student, teacher, of_teacher, **biases, **options)


@pytest.mark.parametrize("direction", ["forward", "reverse", "jensen_shannon"])
def test_values_and_gradients_against_pytorch(direction):
  torch = pytest.importorskip("torch")
  given = [torch.tensor(array, requires_grad=True) for array in (*ARRAYS, *BIASES)]
  student, of_student, teacher, of_teacher, student_bias, teacher_bias = given
  log_q = torch.log_softmax((student @ of_student + student_bias) / 2.5, -1)
  log_p = torch.log_softmax((teacher @ of_teacher + teacher_bias) / 2.5, -1)
  log_mean = torch.log((log_p.exp() + log_q.exp()) / 2)

  def divergence(log_a, log_b):
    return torch.nn.functional.kl_div(log_b, log_a, reduction="none", log_target=True).sum(-1)

  expected = {
    "forward": divergence(log_p, log_q),
    "reverse": divergence(log_q, log_p),
    "jensen_shannon": (divergence(log_p, log_mean) + divergence(log_q, log_mean)) / 2,
  }[direction]
  factors = np.arange(N) - 1.5
  (expected * torch.tensor(factors)).sum().backward()

  @jax.jit
  def run(*arrays):
    loss = functools.partial(_call, temperature=2.5, direction=direction, block_size=2)
    values, pull = jax.vjp(loss, *arrays)
    return values, pull(factors)

  with jax.enable_x64(True):
    values, gradients = run(*ARRAYS, *BIASES)
  np.testing.assert_allclose(values, expected.detach(), rtol=1e-11)
  for gradient, theirs in zip(gradients, given, strict=True):
    np.testing.assert_allclose(gradient, theirs.grad, rtol=1e-9, atol=1e-13)


def test_of_itself_it_is_zero_and_an_excluded_class_is_no_harm():
  student, of_student, *_ = ARRAYS
  bias = np.where(np.arange(K) == 2, -np.inf, 0)
  for direction in ("forward", "reverse", "jensen_shannon"):
    loss = functools.partial(_call, direction=direction)

    @jax.jit
    def run(*arrays, loss=loss):
      values, pull = jax.vjp(loss, *arrays)
      return values, pull(jnp.ones(N))

    values, gradients = run(student, of_student, student, of_student, bias, bias)
    np.testing.assert_allclose(values, 0, atol=1e-6)
    for gradient in gradients:
      np.testing.assert_allclose(gradient, 0, atol=1e-5)


def test_what_one_layer_excludes_makes_no_gradient_nan():
  out = np.float32([0, -np.inf, 0])
  layers = np.float32([[1], [2]]), np.float32([[0.5, -1, 2]])
  for direction, student, teacher, is_lost in (
    ("forward", out, np.zeros(3, np.float32), True),
    ("forward", np.zeros(3, np.float32), out, False),
    ("reverse", np.zeros(3, np.float32), out, True),
    ("jensen_shannon", out, out, False),
    ("forward", out, np.float32([0, -200, 0]), False),  # float32 knows no e^-200.
  ):

    def total(temperature, student, teacher, direction=direction):
      options = {"temperature": temperature, "direction": direction}
      values = _call(*layers, *layers, student, teacher, **options)
      return values.sum(), values

    slopes, values = jax.jit(jax.grad(total, (0, 1, 2), has_aux=True))(2.0, student, teacher)
    assert np.isposinf(values).all() if is_lost else np.isfinite(values).all()
    assert all(np.isfinite(slope).all() for slope in slopes)


def test_of_nearly_the_same_it_is_at_least_zero_up_to_rounding():
  student, of_student = map(np.float32, ARRAYS[:2])
  change = np.float32(1e-6 * RNG.normal(size=of_student.shape))
  for direction in ("forward", "reverse", "jensen_shannon"):
    run = jax.jit(functools.partial(linear_kl_divergence, direction=direction))
    found = run(student, of_student, student, of_student + change)
    np.testing.assert_allclose(found, 0, atol=5e-7)  # In float64 it is 1e-12 or so.


def test_logits_are_in_memory_for_a_block_alone():
  def loss(*arrays):
    return linear_kl_divergence(*arrays, block_size=64).mean()

  shapes = (2048, 8), (8, 4096), (2048, 8), (8, 4096)
  arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
  program = jax.jit(jax.value_and_grad(loss, (0, 1, 2, 3))).lower(*arrays).compile()
  assert program.memory_analysis().temp_size_in_bytes < 2048 * 4096


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"temperature": 0.0}, "temperature=0.0; it must be finite and > 0"),
    ({"temperature": np.ones(1)}, r"temperature of shape \(1,\)"),
    ({"direction": "sideways"}, "direction='sideways'; it must be one of forward, reverse"),
    ({"block_size": 0}, "block_size=0"),
    ({"student_bias": np.zeros(3)}, r"bias of shape \(3,\) for"),
  ],
)
def test_bad_options(options, message):
  with pytest.raises(ValueError, match=message):
    linear_kl_divergence(*ARRAYS, **options)


def test_bad_shapes():
  with pytest.raises(ValueError, match="the same number of classes"):
    linear_kl_divergence(*ARRAYS[:3], ARRAYS[3][:, :5])
  with pytest.raises(ValueError, match="the same examples"):
    linear_kl_divergence(*ARRAYS[:2], TEACHER[:3], ARRAYS[3])
