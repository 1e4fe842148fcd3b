"""Contrastive losses against float64 numpy, and the bound that they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from softmax_research import heads, information
from softmax_research.functional import info_nce_loss, nt_xent_loss
from tests.derivatives import differences
from tests.programs import program, values_and_gradient

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(2, 6, 3))


def _info_nce(x, y, labels=None, temperature=0.7):
  scores = x @ y.T / temperature
  labels = np.arange(len(x)) if labels is None else labels
  return np.log(np.exp(scores).sum(1)) - scores[np.arange(len(x)), labels]


def _nt_xent(x, y, temperature=0.7):
  views = np.concatenate([x, y])
  views = views / np.linalg.norm(views, axis=1, keepdims=True)
  scores = np.exp(views @ views.T / temperature)
  n = len(x)
  pairs = np.concatenate([np.arange(n, 2 * n), np.arange(n)])
  losses = np.log(scores.sum(1) - np.diag(scores)) - np.log(scores[np.arange(2 * n), pairs])
  return (losses[:n] + losses[n:]) / 2


@pytest.mark.parametrize(("ours", "oracle"), [(info_nce_loss, _info_nce), (nt_xent_loss, _nt_xent)])
def test_value_and_gradient(ours, oracle):
  weights = RNG.normal(size=6)

  def run(x, y):
    losses, pull = jax.vjp(lambda x, y: ours(x, y, temperature=0.7), x, y)
    return losses, *pull(weights)

  with jax.enable_x64(True):
    losses, by_x, by_y = jax.jit(run)(X, Y)
  np.testing.assert_allclose(losses, oracle(X, Y), rtol=1e-12)
  np.testing.assert_allclose(
    by_x, differences(lambda x: weights @ oracle(x, Y), X), rtol=1e-6, atol=1e-9
  )
  np.testing.assert_allclose(
    by_y, differences(lambda y: weights @ oracle(X, y), Y), rtol=1e-6, atol=1e-9
  )


def test_log_of_the_batch_less_the_loss_is_the_bound_of_mutual_information():
  scores = np.float32(X @ Y.T)
  loss = np.mean(jax.jit(info_nce_loss)(np.float32(X), np.float32(Y)))
  bound = jax.jit(information.info_nce)(scores)
  np.testing.assert_allclose(np.log(6) - loss, bound, rtol=1e-5)


def test_labels_say_which_y_is_whose_and_more_of_them_are_more_classes():
  labels = np.array([5, 0, 1, 7, 7, 2])
  more = RNG.normal(size=(8, 3))
  losses = program(info_nce_loss)(X, more, labels=labels, temperature=0.7)
  np.testing.assert_allclose(losses, _info_nce(X, more, labels), rtol=1e-5)


@pytest.mark.parametrize("make", [heads.info_nce, heads.nt_xent])
def test_heads_whose_classes_are_the_batch(make):
  head = make(temperature=0.7)
  params = jax.tree.map(np.float64, head.init(jax.random.key(0), 3))
  labels = np.array([3, 4, 5, 0, 1, 2])

  with jax.enable_x64(True):
    loss, log_prob = jax.jit(lambda p, f: (head.loss(p, f, labels), head.log_prob(p, f)))(
      params, (X, Y)
    )
    kernel = params.get("kernel", np.eye(3))
    oracle = _info_nce if make is heads.info_nce else _nt_xent
    np.testing.assert_allclose(loss, oracle(X @ kernel, Y[labels]), rtol=1e-12)
  x, y = X @ kernel, Y
  if make is heads.nt_xent:
    x, y = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (X, Y))
  expected = np.stack([-_info_nce(x, y, np.full(6, j)) for j in range(6)], axis=1)
  np.testing.assert_allclose(log_prob, expected, rtol=1e-12)
  with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
    half = jax.tree.map(
      lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16), (params, (X, Y))
    )
    loss, log_prob = jax.eval_shape(
      lambda p, f: (head.loss(p, f, labels), head.log_prob(p, f)), *half
    )
    assert loss.dtype == log_prob.dtype == jnp.float32


def _by_hand(x, y, labels, cosines):
  """Each x's loss: that of its own view and that of its y's, of plain loops."""
  if cosines:
    x, y = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y))
  views, losses = np.concatenate([x, y]) if cosines else y, []
  for i, label in enumerate(labels):
    if not 0 <= label < len(y):
      losses.append(np.nan)
      continue

    def lost(of, partner, but=None):
      scores = np.exp([of @ v / 0.7 for k, v in enumerate(views) if k != but])
      return np.log(scores.sum()) - of @ partner / 0.7

    if cosines:
      place = len(x) + label
      losses.append((lost(x[i], y[label], i) + lost(y[label], x[i], place)) / 2)
    else:
      losses.append(lost(x[i], y[label]))
  return np.array(losses)


@pytest.mark.parametrize("make", [heads.info_nce, heads.nt_xent])
@pytest.mark.parametrize("dtype", [np.int8, np.int64])
def test_a_label_out_of_range_is_nan_and_an_ignored_one_is_nothing(make, dtype):
  head, labels = make(temperature=0.7), np.array([0, 1, 2, -1, 4, 9], dtype)
  params = jax.tree.map(np.float64, head.init(jax.random.key(0), 3))
  known = np.isin(labels, range(6))

  @jax.jit
  def run(x, y):
    def total(x, y, rows):
      return jnp.where(rows, head.loss(params, (x, y), labels), 0).sum()

    ignoring = head.loss(params, (x, y), labels, ignore_label=-1)
    losses = head.loss(params, (x, y), labels)
    slopes = (jax.grad(total, (0, 1))(x, y, rows) for rows in (known, ~known))
    return losses, ignoring, *slopes

  with jax.enable_x64(True):
    losses, ignoring, slopes, none = jax.device_get(run(X, Y))
  x = X @ params.get("kernel", np.eye(3))

  def oracle(x, y):
    return _by_hand(x, y, labels, make is heads.nt_xent)

  np.testing.assert_allclose(losses, oracle(x, Y), rtol=1e-12)  # NaN where the oracle is.
  np.testing.assert_array_equal(np.isnan(losses), ~known)
  np.testing.assert_allclose(ignoring[:5], np.where(known, losses, 0)[:5], rtol=1e-15)
  assert ignoring[3] == 0 and np.isnan(ignoring[5])
  of_kernel = params.get("kernel", np.eye(3))
  expected = (
    differences(lambda x: np.nansum(oracle(x @ of_kernel, Y)), X),
    differences(lambda y: np.nansum(oracle(x, y)), Y),
  )
  for ours, theirs in zip(slopes, expected, strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)
  for leaf in none:  # What has no label teaches nothing.
    np.testing.assert_array_equal(leaf, 0)
  with jax.enable_x64(True), pytest.raises(TypeError, match="class_weights"):
    head.loss(params, (X, Y), labels, class_weights=np.ones(6))


def test_the_predictions_of_nt_xent_are_its_loss_given_that_the_partner_is_a_y():
  head, (x, y) = heads.nt_xent(temperature=0.7), (np.float32(X), np.float32(Y))
  loss = jax.jit(lambda labels: head.loss({}, (x, y), labels))
  losses = np.stack([loss(np.full(6, j)) for j in range(6)], axis=1)
  views = np.concatenate([X, Y])
  views /= np.linalg.norm(views, axis=1, keepdims=True)
  scores = np.exp(views @ views.T / 0.7)
  np.fill_diagonal(scores, 0)
  among_all = scores / scores.sum(1, keepdims=True)
  both = np.log(among_all[:6, 6:]) + np.log(among_all[6:, :6]).T
  np.testing.assert_allclose(losses, -both / 2, rtol=1e-5)
  given_y = among_all[:6, 6:] / among_all[:6, 6:].sum(1, keepdims=True)
  np.testing.assert_allclose(np.exp(program(head.log_prob)({}, (x, y))), given_y, rtol=1e-5)


@pytest.mark.parametrize("kind", ["explicit", "auto", "shard_map"])
def test_on_a_mesh(kind):
  axis_type = AxisType.Explicit if kind == "explicit" else AxisType.Auto
  mesh = jax.make_mesh((2,), ("batch",), (axis_type,), devices=jax.devices("cpu")[:2])

  def ours(x, y):
    def losses(x):
      others = nt_xent_loss(x, y, labels=np.array([1, 0, 2, 5, -1, 3]), ignore_label=-1)
      return info_nce_loss(x, y) + nt_xent_loss(x, y) + others

    return jax.value_and_grad(lambda x: losses(x).sum())(x)

  x, y = np.float32(X), np.float32(Y)
  run, expected = ours, jax.jit(ours)(x, y)
  if kind == "shard_map":  # Each device's own batch has classes of its own.
    run = jax.shard_map(ours, mesh=mesh, in_specs=P(), out_specs=P())
  with jax.set_mesh(mesh):
    rows = NamedSharding(mesh, P() if kind == "shard_map" else P("batch"))
    found = jax.jit(run)(*jax.device_put((x, y), rows))
  for one, other in zip(found, expected, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_zero_vectors_and_bad_arguments():
  with jax.debug_nans(True):
    losses, gradient = values_and_gradient(lambda x: nt_xent_loss(x, x), np.zeros((3, 2)))
  np.testing.assert_allclose(losses, np.log(5), rtol=1e-6)
  assert np.all(np.isfinite(gradient))
  with pytest.raises(ValueError, match=r"x of shape \(6, 3\) and y of shape \(5, 3\)"):
    info_nce_loss(X, Y[:5])
  with pytest.raises(ValueError, match="temperature=0"):
    nt_xent_loss(X, Y, temperature=0)
  for loss in (info_nce_loss, nt_xent_loss):
    with pytest.raises(ValueError, match=r"temperature of shape \(6,\)"):
      loss(X, Y, temperature=np.ones(6))
    with jax.enable_x64(True):  # A number of NumPy's widens nothing.
      x = jax.ShapeDtypeStruct((6, 3), jnp.float32)
      found = jax.eval_shape(lambda x, loss=loss: loss(x, x, temperature=np.float64(0.5)), x)
    assert found.dtype == jnp.float32
