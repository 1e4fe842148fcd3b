"""Top-k and log-normaliser of a dense layer against float64 numpy with all logits in memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from softmax_research.functional import linear_log_normaliser, linear_top_k, taylor_score
from tests.derivatives import differences
from tests.programs import program

RNG = np.random.default_rng(0)
N, D, K = 7, 4, 11
FEATURES = RNG.normal(size=(N, D))
KERNEL = RNG.normal(size=(D, K))
BIAS = RNG.normal(size=K)
LOG_PRIOR = np.log(RNG.dirichlet(np.ones(K)))
MASK = np.arange(K) % 5 != 1
MASKS = RNG.random((N, K)) < 0.6
MASKS[0] = np.arange(K) == 10  # fewer classes than are asked for

MANY_OPTIONS = "taylor, bias, prior, one mask"
CASES = {
  "plain": ({}, lambda z: z),
  MANY_OPTIONS: (
    {"bias": BIAS, "log_prior": LOG_PRIOR, "where": MASK, "score": taylor_score},
    lambda z: np.log(1 + z + z**2 / 2),
  ),
  "a mask for each example": ({"bias": BIAS, "where": MASKS}, lambda z: z),
}


def _scores(options, score, features=FEATURES, kernel=KERNEL):
  scores = score(features @ kernel + options.get("bias", 0)) + options.get("log_prior", 0)
  return np.where(options.get("where", True), scores, -np.inf)


def _log_normaliser(*arguments):
  return np.log(np.exp(_scores(*arguments)).sum(-1))


@pytest.mark.parametrize(
  ("name", "block_size"),
  [*((name, (3, 4)) for name in CASES), (MANY_OPTIONS, "lean"), (MANY_OPTIONS, None)],
)
def test_log_normaliser_and_its_gradients(name, block_size):
  options, score = CASES[name]
  weights = np.arange(N) - 2.0

  @jax.jit
  def run(features, kernel):
    ours = functools.partial(linear_log_normaliser, block_size=block_size, **options)
    values, pull = jax.vjp(ours, features, kernel)
    return values, *pull(weights)

  with jax.enable_x64(True):
    values, *gradients = run(FEATURES, KERNEL)
  np.testing.assert_allclose(values, _log_normaliser(options, score), rtol=1e-12)
  slopes = (
    differences(lambda x: _log_normaliser(options, score, x) @ weights, FEATURES),
    differences(lambda w: _log_normaliser(options, score, FEATURES, w) @ weights, KERNEL),
  )
  for ours, expected in zip(gradients, slopes, strict=True):
    np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("block_size", [4, 8192])
def test_top_k(name, block_size):
  options, score = CASES[name]
  with jax.enable_x64(True):
    found = jax.jit(
      lambda x, w: linear_top_k(x, w, 3, block_size=block_size, **options)
    )(FEATURES, KERNEL)  # fmt: skip
  scores = _scores(options, score)
  log_probs = scores - _log_normaliser(options, score)[:, None]
  order = np.argsort(-scores, axis=1, kind="stable")[:, :3]
  expected = np.take_along_axis(log_probs, order, 1)
  np.testing.assert_allclose(found.log_probs, expected, rtol=1e-12)
  np.testing.assert_array_equal(found.classes, np.where(expected > -np.inf, order, -1))
  assert found.classes.dtype == np.int32


def test_equal_classes_come_in_their_order_and_nan_stays():
  run = jax.jit(functools.partial(linear_top_k, k=5, block_size=2))
  found = jax.device_get(run(np.array([[1.0], [np.nan]]), np.zeros((1, 5))))
  np.testing.assert_array_equal(found.classes[0], np.arange(5))
  np.testing.assert_allclose(found.log_probs[0], -np.log(5), rtol=1e-6)
  assert np.isnan(found.log_probs[1]).all()


def test_the_gradient_of_top_log_probs_and_of_a_learned_temperature():
  def ours(features, temperature):
    found = linear_top_k(features, KERNEL, 2, score=lambda z: z / temperature, block_size=4)
    log_total = linear_log_normaliser(
      features, KERNEL, score=lambda z: z / temperature, block_size=(3, 4)
    )
    return found.log_probs.sum() + log_total.sum()

  def oracle(features, temperature):
    scores = features @ KERNEL / temperature
    log_total = np.log(np.exp(scores).sum(1))
    return np.sum(np.sort(scores, 1)[:, -2:]) - log_total.sum()

  with jax.enable_x64(True):
    by_features, by_temperature = jax.jit(jax.grad(ours, argnums=(0, 1)))(FEATURES, 1.5)
  np.testing.assert_allclose(
    by_features, differences(lambda x: oracle(x, 1.5), FEATURES), rtol=1e-6, atol=1e-8
  )
  np.testing.assert_allclose(
    by_temperature, differences(lambda t: oracle(FEATURES, t), np.array(1.5)), rtol=1e-6
  )


@pytest.mark.parametrize("kind", ["explicit", "auto", "shard_map"])
def test_on_a_mesh(kind):
  axis_type = AxisType.Explicit if kind == "explicit" else AxisType.Auto
  mesh = jax.make_mesh((2,), ("batch",), (axis_type,), devices=jax.devices("cpu")[:2])
  features, kernel = np.float32(FEATURES[:6]), np.float32(KERNEL)

  def ours(features, kernel):
    found = linear_top_k(features, kernel, 3, bias=BIAS.astype(np.float32), block_size=4)

    def total(kernel):
      return linear_log_normaliser(features, kernel, block_size=(2, 4)).sum()

    return found, jax.grad(total)(kernel)

  expected = jax.jit(ours)(features, kernel)
  run = ours
  if kind == "shard_map":
    run = jax.shard_map(ours, mesh=mesh, in_specs=(P("batch"), P()), out_specs=(P("batch"), P()))
  with jax.set_mesh(mesh):
    placed = jax.device_put(features, NamedSharding(mesh, P("batch")))
    found = jax.jit(run)(placed, jax.device_put(kernel, NamedSharding(mesh, P())))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected)


@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_batch_shapes_and_types(shape):
  def run(features, kernel):
    options = {"bias": jnp.ones(K), "where": np.ones((*shape, K), bool), "score": taylor_score}
    found = linear_top_k(features, kernel, 2, **options)
    return found, linear_log_normaliser(features, kernel, **options)

  half = (jax.ShapeDtypeStruct(size, jnp.bfloat16) for size in ((*shape, D), (D, K)))
  with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
    found, log_total = jax.eval_shape(run, *half)
  assert found.log_probs.shape == found.classes.shape == (*shape, 2)
  assert log_total.shape == shape
  assert found.log_probs.dtype == log_total.dtype == jnp.float32


def test_no_possible_class():
  where = np.zeros(K, bool)

  @jax.jit
  def run(features):
    found = linear_top_k(features, KERNEL, 2, where=where, block_size=4)
    return found, *jax.value_and_grad(
      lambda x: jnp.exp(linear_log_normaliser(x, KERNEL, where=where)).sum()
    )(features)

  with jax.debug_nans(True):
    found, value, gradient = run(FEATURES)
  assert value == 0 and not np.any(gradient)
  assert np.all(np.asarray(found.classes) == -1) and np.all(np.isneginf(found.log_probs))


_top_k, _of_all = program(linear_top_k), program(linear_log_normaliser)


def test_bad_arguments():
  with pytest.raises(ValueError, match="k=12; it must be an integer between 1 and 11"):
    _top_k(FEATURES, KERNEL, 12)
  with pytest.raises(ValueError, match="block_size=0; it must be an integer"):
    _top_k(FEATURES, KERNEL, 1, block_size=0)
  with pytest.raises(ValueError, match="a score that is not elementwise"):
    _top_k(FEATURES, KERNEL, 1, score=lambda z: z / jnp.linalg.norm(z))
  with pytest.raises(ValueError, match=r"bias of shape \(3,\) for 11 classes"):
    _of_all(FEATURES, KERNEL, bias=np.zeros(3))
  with pytest.raises(ValueError, match="kernel of 0 classes"):
    _of_all(FEATURES, KERNEL[:, :0])
  with pytest.raises(ValueError, match=r"block_size=3; it must be \(examples, classes\)"):
    _of_all(FEATURES, KERNEL, block_size=3)
  with pytest.raises(ValueError, match=r"where of shape \(7,\); it must broadcast"):
    _top_k(FEATURES, KERNEL, 1, where=np.ones(7, bool))
