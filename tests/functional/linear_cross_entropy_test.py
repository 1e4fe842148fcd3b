"""Linear cross-entropy against numpy in float64 and the plain composition on all logits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from softmax_research.functional import (
  cross_entropy,
  large_margin,
  linear_cross_entropy,
  relu_score,
  soft_margin,
  spherical_score,
  taylor_score,
)

RNG = np.random.default_rng(0)
N, D, K = 7, 4, 11
FEATURES = RNG.normal(size=(N, D))
KERNEL = RNG.normal(size=(D, K))
BIAS = RNG.normal(size=K)
LOG_PRIOR = np.log(RNG.dirichlet(np.ones(K)))
LABELS = np.array([0, 10, 8, 3, 7, 4, 9])  # The first and last of all blocks of four.
MASK = np.arange(K) % 5 != 1
MASKS = np.arange(K) != (LABELS + 1 + np.arange(N) % 3)[:, None]
MASKS[0, 4:7] = False  # So that the examples differ in how many classes are left.
BLOCK = (3, 4)  # Divides neither.


def _soft(logits, labels, norms):
  return soft_margin(logits, labels, margin=0.6)


def _large(logits, labels, norms):
  return large_margin(logits, labels, margin=3, annealing=0.5, **norms)


def _large_by_angle(logits):
  sizes = np.linalg.norm(FEATURES, axis=1)[:, None] * np.linalg.norm(KERNEL, axis=0)
  theta = np.arccos(logits / sizes)
  k = np.floor(theta * 3 / np.pi)
  return (0.5 * logits + sizes * ((-1) ** k * np.cos(3 * theta) - 2 * k)) / 1.5


def _quartic(z):
  return np.log(1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24)


# Options, and the same for the oracle: the label's logit changed, the score.
CASES = {
  "taylor, soft margin, bias, prior": (
    {
      "score": functools.partial(taylor_score, order=4),
      "margin": _soft,
      "bias": BIAS,
      "log_prior": LOG_PRIOR,
    },
    lambda z: z - 0.6,
    _quartic,
  ),
  "spherical, large margin, smoothing": (
    {
      "score": functools.partial(spherical_score, epsilon=0.1),
      "margin": _large,
      "label_smoothing": 0.1,
    },
    _large_by_angle,
    lambda z: np.log(z**2 + 0.1),
  ),
  "relu, bias, a mask, z-loss": (
    {
      "score": functools.partial(relu_score, epsilon=0.01),
      "bias": BIAS,
      "where": MASK,
      "z_loss": 0.1,
    },
    lambda z: z,
    lambda z: np.log(np.maximum(z, 0.01)),
  ),
  "a mask for each example, smoothing, soft margin, prior": (
    {"where": MASKS, "label_smoothing": 0.2, "margin": _soft, "log_prior": LOG_PRIOR},
    lambda z: z - 0.6,
    lambda z: z,
  ),
}


def _oracle(options, change, score):
  logits = FEATURES @ KERNEL + options.get("bias", 0)
  hot = np.eye(K)[LABELS] > 0
  scores = score(np.where(hot, change(logits), logits)) + options.get("log_prior", 0)
  mask = np.broadcast_to(options.get("where", True), scores.shape)
  log_total = np.log(np.sum(np.exp(scores), axis=1, where=mask))
  smoothing = options.get("label_smoothing", 0)
  targets = (1 - smoothing) * hot + smoothing * mask / mask.sum(1, keepdims=True)
  loss = -np.sum(targets * (scores - log_total[:, None]), axis=1, where=mask)
  return loss + options.get("z_loss", 0) * log_total**2


def _plain(features, kernel, labels, *, bias=0, score=None, margin=None, log_prior=0, **options):
  logits = features @ kernel + bias
  if margin is not None:
    norms = jnp.linalg.norm(features, axis=-1), jnp.linalg.norm(kernel, axis=0)
    logits = margin(logits, labels, {"feature_norms": norms[0], "kernel_norms": norms[1]})
  scores = logits if score is None else score(logits)
  return cross_entropy(scores + log_prior, labels, **options)


def _compare(ours, expected, **tolerance):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), ours, expected)


def _derivatives(loss, *arguments):
  """Return losses, and the gradients of their mean and of a sum with other factors.

  Those of the mean come from the forward pass, the others from a second one; both are taken side
  by side, by vmap.
  """
  value, pull = jax.vjp(loss, *arguments)
  cotangents = jnp.stack([jnp.full(N, 1 / N), jnp.arange(N) - 2.0])
  return value, jax.vmap(pull)(cotangents)


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name):
  options, change, score = CASES[name]
  learned = {key: options[key] for key in ("bias", "log_prior") if key in options}
  fixed = {key: value for key, value in options.items() if key not in learned}

  @functools.partial(jax.jit, static_argnums=0)
  def derivatives(function, *arguments):
    def loss(features, kernel, learned):
      return function(features, kernel, LABELS, **learned, **fixed)

    return _derivatives(loss, *arguments)

  with jax.enable_x64(True):
    ours = functools.partial(linear_cross_entropy, block_size=BLOCK)
    value, gradients = derivatives(ours, FEATURES, KERNEL, learned)
    _, expected = derivatives(_plain, FEATURES, KERNEL, learned)
  np.testing.assert_allclose(value, _oracle(options, change, score), rtol=1e-11)
  _compare(gradients, expected, rtol=1e-9, atol=1e-12)


def test_blocks_of_any_size():
  def derivatives(function):
    return _derivatives(lambda x, w: function(x, w, LABELS), FEATURES, KERNEL)

  @jax.jit
  def all_of_them():
    sizes = (1, 1), (1000, 1000)
    ours = [functools.partial(linear_cross_entropy, block_size=size) for size in sizes]
    return [derivatives(loss) for loss in ours], derivatives(_plain)

  with jax.enable_x64(True):
    ours, expected = all_of_them()
  np.testing.assert_allclose(expected[0], _oracle({}, lambda z: z, lambda z: z), rtol=1e-11)
  for derivatives in ours:
    _compare(derivatives, expected, rtol=1e-10, atol=1e-13)


def test_shapes_types_and_transformations():
  loss = functools.partial(linear_cross_entropy, bias=BIAS, block_size=BLOCK)

  @jax.jit
  def in_many_ways(features, kernel, labels):
    rematerialised = jax.checkpoint(lambda kernel: loss(features, kernel, labels).sum())
    return (
      loss(features, kernel, labels),
      loss(features[:6].reshape(3, 2, D), kernel, labels[:6].reshape(3, 2)),
      jax.vmap(loss, in_axes=(0, None, 0))(features, kernel, labels),
      jax.grad(rematerialised)(kernel),
      jax.grad(lambda kernel: _plain(features, kernel, labels, bias=BIAS).sum())(kernel),
    )

  flat, nested, one_by_one, rematerialised, expected = in_many_ways(FEATURES, KERNEL, LABELS)
  assert flat.shape == (N,) and flat.dtype == jnp.float32
  assert nested.shape == (3, 2)
  np.testing.assert_allclose(nested.ravel(), flat[:6], rtol=1e-6)
  np.testing.assert_allclose(one_by_one, flat, rtol=1e-6)
  np.testing.assert_allclose(rematerialised, expected, rtol=1e-4, atol=1e-5)
  assert loss(FEATURES[:0], KERNEL, LABELS[:0]).shape == (0,)


def test_half_precision_is_summed_in_float32():
  # In bfloat16, sums of 512 ones stop at 256.
  features, kernel = np.ones((3, 512)), np.ones((512, 600))
  kernel[:, 1:] *= 1.0078125  # A logit of 512 against 599 of 516.
  kernel[0] += RNG.normal(size=600)
  labels = np.zeros(3, int)

  def loss(features, kernel):
    value = linear_cross_entropy(features, kernel, labels, block_size=(2, 300))
    return value.sum(), value

  half = jnp.asarray(features, jnp.bfloat16), jnp.asarray(kernel, jnp.bfloat16)
  gradients, value = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(*half)
  assert value.dtype == jnp.float32
  assert {array.dtype for array in gradients} == {jnp.dtype(jnp.bfloat16)}
  features, kernel = (np.float64(array) for array in half)
  logits = features @ kernel
  probs = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
  np.testing.assert_allclose(value, -np.log(probs[:, 0]), rtol=1e-5)
  slopes = probs - (np.arange(600) == 0)
  # Slopes are rounded to bfloat16 before they are summed.
  np.testing.assert_allclose(np.float32(gradients[0]), slopes @ kernel.T, atol=2**-7)
  np.testing.assert_allclose(np.float32(gradients[1]), features.T @ slopes, rtol=1e-2)


def test_what_score_and_margin_close_over_is_learned_too():
  step = jnp.asarray(3)  # An integer that is traced, as in a step of training.

  def make(loss):
    def total(temperature, lowered, kernel, step):
      return loss(
        FEATURES,
        kernel,
        LABELS,
        score=lambda logits: taylor_score(logits / temperature),
        margin=lambda logits, labels, norms: soft_margin(logits, labels, margin=step * lowered),
      )

    reduced = [lambda *args: total(*args).mean(), lambda *args: total(*args) @ np.arange(N)]
    arguments = 2.0, 0.3, KERNEL, step
    return jax.jit(lambda *args: [jax.grad(f, (0, 1, 2))(*args) for f in reduced])(*arguments)

  with jax.enable_x64(True):
    ours = make(functools.partial(linear_cross_entropy, block_size=BLOCK))
    _compare(ours, make(_plain), rtol=1e-10, atol=1e-13)


def test_labels_out_of_range_give_nan_and_no_gradient():
  labels = LABELS.copy()
  labels[[1, 4]] = -1, K
  known = np.delete(np.arange(N), [1, 4])
  options = {"label_smoothing": 0.1, "z_loss": 0.1}

  @jax.jit
  def derivatives(features, kernel):
    def ours(features, kernel):
      loss = linear_cross_entropy(features, kernel, labels, block_size=BLOCK, **options)
      return jnp.nansum(loss), loss

    def rest(features, kernel):
      return _plain(features[known], kernel, labels[known], **options).sum()

    arguments = features, kernel
    return jax.grad(ours, (0, 1), has_aux=True)(*arguments), jax.grad(rest, (0, 1))(*arguments)

  (gradients, loss), expected = derivatives(FEATURES, KERNEL)
  np.testing.assert_array_equal(np.isnan(loss), np.isin(np.arange(N), [1, 4]))
  _compare(gradients, expected, rtol=1e-4, atol=1e-6)


def test_impossible_classes():
  log_prior = np.where(np.arange(K) < 3, -np.inf, 0.0)
  labels = np.array([3, 0, 9, 10, 5, 6, 7])
  loss = functools.partial(
    linear_cross_entropy, labels=labels, log_prior=log_prior, block_size=BLOCK
  )
  value = np.asarray(loss(FEATURES, KERNEL))
  rest = cross_entropy(FEATURES @ KERNEL[:, 3:], labels - 3)
  np.testing.assert_allclose(np.delete(value, 1), np.delete(rest, 1), rtol=1e-5)
  assert value[1] == np.inf
  gradients = jax.grad(lambda x, w: loss(x, w).sum(), (0, 1))(FEATURES, KERNEL)
  assert all(np.all(np.isfinite(gradient)) for gradient in gradients)
  assert not np.any(gradients[1][:, :3]) and not np.any(gradients[0][1])
  # A class without rivals is certain; where the mask leaves none, nothing is.
  alone = functools.partial(linear_cross_entropy, FEATURES[:1], KERNEL[:, :1], np.array([0]))
  np.testing.assert_array_equal(alone(), 0)
  np.testing.assert_array_equal(alone(where=[False]), np.inf)


def test_second_derivatives_and_forward_mode_are_refused():
  def loss(kernel):
    return linear_cross_entropy(FEATURES, kernel, LABELS).sum()

  def squared(kernel):
    return jnp.sum(jax.grad(loss)(kernel) ** 2)

  with pytest.raises(NotImplementedError, match=r"no second derivatives.*implementation='plain'"):
    jax.grad(squared)(KERNEL)
  with pytest.raises(NotImplementedError, match="no second derivatives"):
    jax.jvp(jax.grad(loss), (KERNEL,), (KERNEL,))
  with pytest.raises(TypeError, match="forward-mode"):
    jax.jvp(loss, (KERNEL,), (KERNEL,))


def test_memory_does_not_grow_with_the_number_of_examples():
  def temporary(num_examples, num_classes):
    def loss(features, kernel, labels):
      return linear_cross_entropy(features, kernel, labels, block_size=(64, 1024)).mean()

    shapes = (num_examples, 8), (8, num_classes)
    arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    labels = jax.ShapeDtypeStruct((num_examples,), jnp.int32)
    program = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(*arrays, labels).compile()
    return program.memory_analysis().temp_size_in_bytes

  few, many = temporary(1024, 8192), temporary(8192, 8192)
  assert few < 3 * 64 * 8192 * 4  # Not 1024 rows of logits.
  assert many - few < 7168 * 4 * 50  # Some numbers for each of the new examples.


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_on_a_mesh_without_a_word(kind):
  mesh = jax.make_mesh((2, 4), ("batch", "classes"), axis_types=(kind,) * 2)
  features, kernel, labels = FEATURES[:4], KERNEL[:, :8], np.array([0, 7, 3, 4])
  options = {"bias": BIAS[:8], "score": taylor_score, "margin": _soft, "log_prior": LOG_PRIOR[:8]}
  options |= {"label_smoothing": 0.1, "z_loss": 0.1, "where": np.arange(8) != 2}

  def derivatives(features, kernel, labels):
    def loss(features, kernel):
      # All classes in a block: otherwise blocks of the kernel go from device to device.
      return linear_cross_entropy(features, kernel, labels, block_size=(2, 8), **options).mean()

    return jax.value_and_grad(loss, (0, 1))(features, kernel)

  expected = jax.jit(derivatives)(features, kernel, labels)
  features, kernel, labels = (
    jax.device_put(jnp.asarray(array), NamedSharding(mesh, P(*axes)))
    for array, axes in (
      (features, ["batch"]), (kernel, [None, "classes"]), (labels, ["batch"])
    )
  )  # fmt: skip
  program = jax.jit(derivatives).lower(features, kernel, labels).compile()
  if kind == AxisType.Auto:
    assert "all-gather" not in program.as_text()
  _compare(program(features, kernel, labels), expected, rtol=1e-5, atol=1e-6)


_OPTIONS = {
  "plain": {},
  "everything": {"score": taylor_score, "margin": _large, "label_smoothing": 0.1, "z_loss": 0.1},
}


@pytest.mark.parametrize("name", _OPTIONS)
def test_classes_and_examples_sharded_by_shard_map(name):
  mesh = jax.make_mesh((2, 4), ("batch", "classes"), axis_types=(AxisType.Auto,) * 2)
  features, kernel, labels = FEATURES[:6], RNG.normal(size=(D, 12)), np.array([0, 11, 3, 4, -1, 8])
  bias, log_prior = RNG.normal(size=(2, 12))
  # Between the labels some classes are left out; the first example has its label alone.
  where = (np.arange(12) != (labels + 1)[:, None]) & (np.arange(12) % 5 != 2)
  where[0] = np.arange(12) == 0
  arguments = features, kernel, bias, log_prior, labels, where
  specs = [P("batch"), P(None, "classes"), P("classes"), P("classes"), P("batch")]
  specs.append(P("batch", "classes"))

  def total(features, kernel, bias, log_prior, labels, where, factors, **options):
    extra = {} if name == "plain" else {"bias": bias, "log_prior": log_prior, "where": where}
    loss = linear_cross_entropy(
      features, kernel, labels, block_size=(2, 2), **extra, **_OPTIONS[name], **options
    )
    return jnp.nansum(loss * factors)

  def sharded(*arguments):
    @functools.partial(jax.shard_map, mesh=mesh, in_specs=(*specs, P("batch")), out_specs=P())
    def run(*arguments):
      return jax.lax.psum(total(*arguments, axis_name="classes"), "batch")

    return run(*arguments)

  for factors in (np.ones(6), np.arange(6.0)):
    expected = jax.value_and_grad(total, (0, 1, 2, 3))(*arguments, factors)
    derivatives = jax.jit(jax.value_and_grad(sharded, (0, 1, 2, 3)))
    _compare(derivatives(*arguments, factors), expected, rtol=1e-4, atol=1e-5)


def test_devices_that_share_the_classes_exchange_little():
  mesh = jax.make_mesh((8,), ("classes",), axis_types=(AxisType.Auto,))
  specs = P(), P(None, "classes"), P()

  @functools.partial(jax.shard_map, mesh=mesh, in_specs=specs, out_specs=P())
  def loss(features, kernel, labels):
    options = {"block_size": (16, 8), "axis_name": "classes"}
    return linear_cross_entropy(features, kernel, labels, **options).mean()

  shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((16, D), (D, 64))]
  arguments = *shapes, jax.ShapeDtypeStruct((16,), jnp.int32)

  def messages(function):
    text = jax.jit(function).lower(*arguments).compile().as_text()
    assert not any(word in text for word in ("all-gather", "all-to-all", "collective-permute"))
    lines = [line for line in text.splitlines() if " all-reduce(" in line]
    return sorted(line.split(" = ")[1].split("{")[0] for line in lines)

  # The largest score of each example, the sums of exponentials beside the labels' logits, and
  # for the gradients those of the features.
  assert messages(loss) == ["f32[16]", "f32[2,16]"]
  in_one_pass = messages(jax.value_and_grad(lambda *args: loss(*args), (0, 1)))
  assert set(in_one_pass) == {"f32[16]", "f32[2,16]", f"f32[16,{D}]"}


def test_an_axis_over_which_the_kernel_is_not_sharded_is_refused():
  mesh = jax.make_mesh((2,), ("classes",), axis_types=(AxisType.Auto,))

  @functools.partial(jax.shard_map, mesh=mesh, in_specs=P(), out_specs=P())
  def loss(features, kernel, labels):
    return linear_cross_entropy(features, kernel, labels, axis_name="classes")

  with pytest.raises(ValueError, match=r"axis_name='classes'.*the kernel must be sharded"):
    loss(FEATURES, KERNEL, LABELS)


def _called(features=FEATURES, kernel=KERNEL, labels=LABELS, **options):
  return linear_cross_entropy(features, kernel, labels, **options)


@pytest.mark.parametrize(
  ("arguments", "error", "message"),
  [
    ({"labels": np.eye(K)[LABELS]}, TypeError, "use cross_entropy on logits"),
    ({"labels": LABELS[:3]}, ValueError, r"shape \(3,\)"),
    ({"kernel": KERNEL.T}, ValueError, r"\[D, K\]"),
    ({"kernel": KERNEL[:, :0]}, ValueError, "kernel of 0 classes"),
    ({"bias": np.zeros(3)}, ValueError, r"bias of shape \(3,\) for a kernel of 11 columns"),
    ({"log_prior": np.zeros((1, K))}, ValueError, r"log_prior of shape \(1, 11\)"),
    ({"where": np.ones(3, bool)}, ValueError, r"where of shape \(3,\).*broadcast to \(7, 11\)"),
    ({"label_smoothing": 1.0}, ValueError, "label_smoothing=1.0"),
    ({"z_loss": -1.0}, ValueError, "z_loss=-1.0"),
    ({"score": lambda z: jnp.stack([z, z])}, ValueError, "must be elementwise"),
    ({"margin": lambda z, y, norms: z - np.ones(K)}, ValueError, "the label's logit alone"),
    *(
      ({"block_size": size}, ValueError, r"must be \(examples, classes\)")
      for size in (4, (4,), (0, 4), (4, 2.0), [4, 4])
    ),
  ],
)
def test_bad_arguments(arguments, error, message):
  with pytest.raises(error, match=message):
    _called(**arguments)


def test_more_classes_than_int32_can_number_are_refused():
  kernel = jax.ShapeDtypeStruct((1, 2**31), jnp.float32)
  features, labels = jnp.ones((2, 1)), jnp.zeros(2, int)
  with pytest.raises(ValueError, match=r"2147483648 classes.*fewer than 2\^31"):
    jax.eval_shape(linear_cross_entropy, features, kernel, labels)
