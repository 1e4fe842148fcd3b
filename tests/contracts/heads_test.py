"""The contract of every head in the registry; a new one joins by standing there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from softmax_research import heads

_NUM_CLASSES = 8
_NUM_FEATURES = 6
# Far from uniform, so that a prior or a Huffman tree taken the wrong way round shows.
_COUNTS = np.array([500, 20, 100, 3, 60, 1, 250, 40])
# Options that a head needs when there are so few classes.
_OPTIONS = {"sampled": {"num_samples": 5}, "adaptive": {"cutoffs": (2, 5)}}

_ALL = pytest.mark.parametrize("name", sorted(heads.HEADS))


def _make(name, num_classes=_NUM_CLASSES, **options):
  options = _OPTIONS.get(name, {}) | options
  if "class_counts" in heads.head_options(name):
    options.setdefault("class_counts", _COUNTS[:num_classes])
  return heads.make(name, num_classes, **options)


def _problem(name, **options):
  head = _make(name, **options)
  features = jax.random.normal(jax.random.key(1), (8, _NUM_FEATURES))
  params = head.init(jax.random.key(0), _NUM_FEATURES)
  # Biases begin at zero: move everything, so that nothing is symmetric.
  leaves, tree = jax.tree.flatten(params)
  keys = jax.random.split(jax.random.key(2), len(leaves))
  moved = [
    leaf + 0.3 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)
  ]
  return head, jax.tree.unflatten(tree, moved), features, jnp.arange(8) % _NUM_CLASSES


@_ALL
def test_probabilities_sum_to_one_and_losses_are_per_example(name):
  head, params, features, labels = _problem(name)
  log_probs = head.log_prob(params, features)
  assert log_probs.shape == (8, _NUM_CLASSES)
  np.testing.assert_allclose(np.exp(log_probs).sum(-1), 1, atol=3e-6)
  losses = head.loss(params, features, labels, key=jax.random.key(3))
  assert losses.shape == (8,) and bool(jnp.all(jnp.isfinite(losses)))
  # Any number of leading axes.
  folded = head.loss(
    params, features.reshape(2, 4, -1), labels.reshape(2, 4), key=jax.random.key(3)
  )
  assert folded.shape == (2, 4)
  if name != "sampled":  # It draws other classes for another shape.
    np.testing.assert_allclose(folded.reshape(8), losses, rtol=1e-5, atol=1e-5)


@_ALL
def test_a_step_along_the_gradient_lowers_the_loss(name):
  head, params, features, labels = _problem(name)

  def loss(params):
    return jnp.mean(head.loss(params, features, labels, key=jax.random.key(3)))

  before, gradient = jax.value_and_grad(loss)(params)
  assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(gradient))
  after = loss(jax.tree.map(lambda p, g: p - 1e-3 * g, params, gradient))
  assert float(after) < float(before)


@_ALL
def test_eager_jit_and_vmap_agree(name):
  head, params, features, labels = _problem(name)
  key = jax.random.key(3)
  losses = np.asarray(head.loss(params, features, labels, key=key))
  jitted = jax.jit(lambda p, x, y: head.loss(p, x, y, key=key))(params, features, labels)
  np.testing.assert_allclose(jitted, losses, rtol=1e-5, atol=1e-5)
  log_probs = head.log_prob(params, features)
  mapped = jax.vmap(head.log_prob, in_axes=(None, 0))(params, features)
  np.testing.assert_allclose(mapped, log_probs, rtol=1e-5, atol=1e-5)
  if name != "sampled":
    mapped = jax.vmap(lambda x, y: head.loss(params, x, y))(features, labels)
    np.testing.assert_allclose(mapped, losses, rtol=1e-5, atol=1e-5)
  # Seeds side by side: every leaf of the parameters with an axis in front.
  stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, 0.5 * leaf]), params)
  both = jax.vmap(lambda p: head.loss(p, features, labels, key=key))(stacked)
  np.testing.assert_allclose(both[0], losses, rtol=1e-5, atol=1e-5)


# Explicit axes reach a head through few paths: plain logits, norms, unit vectors and trees.
@pytest.mark.parametrize(
  ("name", "kind"),
  [(name, AxisType.Auto) for name in sorted(heads.HEADS)]
  + [(name, AxisType.Explicit) for name in ("softmax", "l_softmax", "arcface", "huffman")]
  + [("two_level", AxisType.Explicit)],
)
def test_on_a_mesh_sharded_over_batch_and_classes(name, kind):
  head, params, features, labels = _problem(name)

  def loss(params, features, labels):
    return jnp.mean(head.loss(params, features, labels, key=jax.random.key(3)))

  expected = jax.value_and_grad(loss)(params, features, labels)
  log_probs = np.asarray(head.log_prob(params, features))
  mesh = jax.make_mesh(
    (2, 4), ("batch", "classes"), axis_types=(kind,) * 2, devices=jax.devices("cpu")
  )

  # The class axis comes last in a dense layer's parameters, and they are sharded over it. Trees,
  # clusters and samples pick rows by number: their parameters stand on every device.
  by_number = ("adaptive", "hierarchical", "huffman", "sampled", "two_level")

  def place(leaf):
    axes = () if name in by_number else (None,) * (leaf.ndim - 1) + ("classes",)
    return jax.device_put(leaf, NamedSharding(mesh, PartitionSpec(*axes)))

  params = jax.tree.map(place, params)
  batch = NamedSharding(mesh, PartitionSpec("batch"))
  features, labels = jax.device_put((features, labels), batch)
  with jax.set_mesh(mesh):
    ours = jax.jit(jax.value_and_grad(loss))(params, features, labels)
    sharded = jax.jit(head.log_prob)(params, features)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6), ours, expected)
  np.testing.assert_allclose(sharded, log_probs, rtol=1e-5, atol=1e-5)


@_ALL
def test_jaxs_switches_forbid_nothing_and_change_no_type(name):
  head = _make(name)

  def trace():
    """The types of parameters, loss, gradient and log-probabilities."""
    key, features = jax.random.key(0), jnp.zeros((2, 3, _NUM_FEATURES), jnp.float32)
    labels = jnp.zeros((2, 3), jnp.int32)
    params = head.init(key, _NUM_FEATURES)
    loss, gradient = jax.value_and_grad(
      lambda params: jnp.sum(head.loss(params, features, labels, step=1, key=key))
    )(params)
    return params, loss, gradient, head.log_prob(params, features)

  with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
    strict = jax.eval_shape(trace)
  with jax.enable_x64(True):
    wide = jax.eval_shape(trace)
  assert {leaf.dtype.name for leaf in jax.tree.leaves((strict, wide))} == {"float32"}


@_ALL
def test_a_label_out_of_range_spoils_its_own_example_alone(name):
  head, params, features, labels = _problem(name)
  labels = labels.at[2].set(_NUM_CLASSES).at[5].set(-1)
  losses = np.asarray(head.loss(params, features, labels, key=jax.random.key(3)))
  assert np.isnan(losses[[2, 5]]).all()
  assert np.isfinite(np.delete(losses, [2, 5])).all()


@_ALL
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_features_in_half_precision_are_summed_in_float32(name, dtype):
  head, params, features, labels = _problem(name)
  features = features.astype(dtype)
  key = jax.random.key(3)
  half = head.loss(params, features, labels, key=key)
  full = head.loss(params, features.astype(jnp.float32), labels, key=key)
  np.testing.assert_allclose(np.asarray(half, np.float32), full, rtol=2e-2, atol=2e-2)
  log_probs = np.asarray(head.log_prob(params, 100 * features), np.float32)
  assert not np.isnan(log_probs).any()


@_ALL
def test_an_empty_batch(name):
  head, params, _, _ = _problem(name)
  features, labels = jnp.zeros((0, _NUM_FEATURES)), jnp.zeros(0, int)
  assert head.loss(params, features, labels, key=jax.random.key(0)).shape == (0,)
  assert head.log_prob(params, features).shape == (0, _NUM_CLASSES)


@_ALL
def test_zero_features_and_a_single_class_have_finite_gradients(name):
  head, params, features, labels = _problem(name)
  gradient = jax.grad(lambda x: jnp.sum(head.loss(params, x, labels, key=jax.random.key(3))))(
    jnp.zeros_like(features)
  )
  assert bool(jnp.all(jnp.isfinite(gradient)))
  if name == "adaptive":
    return  # A cluster needs a class of its own.
  options = {"num_samples": 1} if name == "sampled" else {}
  single = _make(name, 1, **options)
  params = single.init(jax.random.key(0), _NUM_FEATURES)
  np.testing.assert_allclose(single.log_prob(params, features), 0, atol=1e-6)


@pytest.mark.parametrize("num_classes", [0, -1, 2.0, "10"])
@_ALL
def test_a_bad_number_of_classes_is_refused(name, num_classes):
  options = {"class_counts": _COUNTS} if "class_counts" in heads.head_options(name) else {}
  with pytest.raises(ValueError, match=r"num_classes|classes"):
    heads.make(name, num_classes, **options)


# A specification, and the one it must equal on the same parameters.
_NEUTRAL = [
  ("softmax:temperature=1.0", "softmax"),
  ("taylor:order=30", "softmax"),
  ("sm:margin=0", "softmax"),
  ("sm_taylor:order=30:margin=0", "softmax"),
  ("l_softmax:margin=1", "softmax:bias=False"),
  ("l_softmax:margin=3:base=1e9:minimum=1e9", "softmax:bias=False"),
  ("am_softmax:margin=0:scale=1", "arcface:margin=0:scale=1"),
  ("logit_adjusted:tau=0", "softmax"),
]


@pytest.mark.parametrize(("spec", "plain"), _NEUTRAL)
def test_a_neutral_parameter_gives_the_plain_head(spec, plain):
  options = {"class_counts": _COUNTS} if spec.startswith("logit_adjusted") else {}
  head, reference = heads.make(spec, _NUM_CLASSES, **options), heads.make(plain, _NUM_CLASSES)
  features = jax.random.normal(jax.random.key(1), (8, _NUM_FEATURES))
  params = reference.init(jax.random.key(0), _NUM_FEATURES)
  labels = jnp.arange(8)
  np.testing.assert_allclose(
    head.loss(params, features, labels), reference.loss(params, features, labels), rtol=1e-5
  )
  np.testing.assert_allclose(
    head.log_prob(params, features), reference.log_prob(params, features), rtol=1e-5, atol=1e-6
  )


def test_a_uniform_prior_is_plain_softmax_up_to_the_constant():
  params = heads.make("softmax", 8).init(jax.random.key(0), _NUM_FEATURES)
  features, labels = jax.random.normal(jax.random.key(1), (8, _NUM_FEATURES)), jnp.arange(8)
  plain = heads.make("softmax", 8).loss(params, features, labels)
  uniform = np.full(8, 7)
  adjusted = heads.make("logit_adjusted", 8, class_counts=uniform).loss(params, features, labels)
  np.testing.assert_allclose(adjusted, plain, rtol=1e-5)
  corrected = heads.make("pc_softmax", 8, class_counts=uniform).loss(params, features, labels)
  np.testing.assert_allclose(corrected, plain - np.log(8), rtol=1e-4, atol=1e-5)
