"""The contract of every head in the registry; a new one joins by standing there."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from softmax_research import heads

# More classes than the smallest integers can number.
_NUM_CLASSES = 300
_NUM_FEATURES = 6
# Far from uniform, so that a prior or a Huffman tree taken the wrong way round shows.
_COUNTS = np.random.default_rng(0).permutation(np.round(1 + 5000 / np.arange(1, 301) ** 1.5))
# Options that a head needs when there are few features.
_OPTIONS = {
  "sampled": {"num_samples": 5},
  "partial_fc": {"num_samples": 5},
  "adaptive": {"cutoffs": (2, 50)},
}
# Heads with random classes in their loss.
_SAMPLING = ("negative_sampling", "nce", "partial_fc", "sampled")
# Two of eight labels are out of range.
_LABELS = np.array([0, 37, _NUM_CLASSES, 100, 127, -1, 126, 12])
_KNOWN = (_LABELS >= 0) & (_LABELS < _NUM_CLASSES)
_KEY = jax.random.key(3)

_ALL = pytest.mark.parametrize("name", sorted(heads.HEADS))

# These differ from a head that is tried (taylor, sm_taylor, arcface, sparsemax, r_softmax, huffman)
# in a function of logits or a tree alone, which have contracts and tests of their own. So what
# takes long to compile is tried on the others, one of a construction.
_ALIKE = {"relu", "spherical", "stablemax", "sigsoftmax", "soft_cap", "sm", "am_softmax"}
_ALIKE |= {"cosine_softmax", "combined_margin", "entmax", "bi_tempered", "squared_error"}
_ALIKE |= {"ev_softmax", "hierarchical"}
_KINDS = sorted(set(heads.HEADS) - _ALIKE)
_OF_A_KIND = pytest.mark.parametrize("name", _KINDS)


def _make(name, num_classes=_NUM_CLASSES, **options):
  options = _OPTIONS.get(name, {}) | options
  if "class_counts" in heads.head_options(name):
    options.setdefault("class_counts", _COUNTS[:num_classes])
  return heads.make(name, num_classes, **options)


@functools.cache
def _problem(name):
  """Returns a head, parameters and features, which are exact in half precision too."""
  head, rng = _make(name), np.random.default_rng(1)
  shapes = jax.eval_shape(lambda: head.init(jax.random.key(0), _NUM_FEATURES))

  def draw(shape, scale):
    return jnp.asarray(np.round(32 * scale * rng.normal(size=shape)).clip(-127, 127) / 32, "f4")

  return head, jax.tree.map(lambda leaf: draw(leaf.shape, 0.4), shapes), draw((8, 6), 1.0)


def _losses_and_gradients(head, params, features, labels):
  losses, pull_back = jax.vjp(lambda p, x: head.loss(p, x, labels, key=_KEY), params, features)
  return losses, *pull_back(jnp.ones_like(losses))


@functools.cache
def _run(name):
  """Returns what one program says of a head, and its losses where its gradient has led."""
  head, params, features = _problem(name)
  single = None if name == "adaptive" else _make(name, 1, **_SINGLE.get(name, {}))

  @jax.jit
  def run(params, features):
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, 0.5 * leaf]), params)
    both = jnp.stack([features, jnp.zeros_like(features)])
    # Seeds side by side, the second of them with features of zero; two leading axes and labels of
    # eight bits. The tests of one operation after the other and of meshes have one axis of others.
    small = jnp.asarray(np.where(_KNOWN, _LABELS, -1), jnp.int8)
    losses, *gradients = jax.vmap(
      lambda p, x: _losses_and_gradients(head, p, x, small.reshape(2, 4))
    )(stacked, both.reshape(2, 2, 4, -1))
    gradients[1] = gradients[1].reshape(both.shape)
    half = jax.tree.map(jnp.bfloat16, (params, features))
    found = {
      "losses": losses.reshape(2, 8),
      "gradients": gradients,
      "log_probs": jax.vmap(head.log_prob, in_axes=(None, 0))(params, features),
      "bfloat16": head.loss(*half, small.astype(jnp.uint8), key=_KEY),
      "large": head.log_prob(params, 100 * features.astype(jnp.float16)),
      "top": heads.top_k(head, params, features, 4),
      "sample": heads.sample(head, params, features, _KEY),
    }
    if single is not None:
      shapes = jax.eval_shape(lambda: single.init(jax.random.key(0), _NUM_FEATURES))
      ones = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), shapes)
      found["single"] = single.log_prob(ones, features)
    return found

  found = jax.device_get(run(params, features))
  lower = jax.tree.map(
    lambda p, g: np.asarray(p) - np.float32(1e-4) * g[0], params, found["gradients"][0]
  )
  return found | {"lower": jax.device_get(run(lower, features))["losses"][0]}


_SINGLE = {"sampled": {"num_samples": 1}, "partial_fc": {"num_samples": 1}}


@_ALL
def test_probabilities_sum_to_one_and_losses_are_per_example(name):
  found = _run(name)
  log_probs, losses = found["log_probs"], found["losses"][0]
  assert log_probs.shape == (8, _NUM_CLASSES)
  np.testing.assert_allclose(np.exp(log_probs).sum(-1), 1, atol=1e-5)
  assert losses.shape == (8,)
  if name != "adaptive":  # A cluster needs a class of its own.
    np.testing.assert_allclose(found["single"], 0, atol=1e-6)


@_ALL
def test_the_most_probable_classes_are_those_of_the_log_probabilities(name):
  found = _run(name)
  log_probs, top = found["log_probs"], found["top"]
  np.testing.assert_allclose(top.log_probs, np.sort(log_probs)[:, :-5:-1], rtol=1e-5, atol=1e-5)
  own = np.take_along_axis(log_probs, top.classes, axis=-1)
  np.testing.assert_allclose(own, top.log_probs, rtol=1e-5, atol=1e-5)
  classes = found["sample"]
  assert classes.shape == (8,) and classes.dtype == np.int32
  assert np.all(np.take_along_axis(log_probs, classes[:, None], axis=-1) > -np.inf)


_STREAM = [n for n in _KINDS if "implementation" in heads.head_options(n)]


@pytest.mark.parametrize("name", _STREAM)
def test_streaming_gives_the_same_losses_or_is_refused_with_a_remedy(name):
  try:
    head = _make(name, implementation="streaming")
  except ValueError as error:
    assert "Pass implementation='plain' or 'auto'" in str(error)
    return
  _, params, features = _problem(name)
  labels = jnp.asarray(np.where(_KNOWN, _LABELS, -1))
  run = jax.jit(functools.partial(_losses_and_gradients, head))
  losses, of_params, of_features = jax.device_get(run(params, features, labels))
  found = _run(name)
  np.testing.assert_allclose(losses, found["losses"][0], rtol=1e-4, atol=1e-5)
  expected = jax.tree.map(lambda leaf: leaf[0], found["gradients"])
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4),
    [of_params, of_features],
    expected,
  )


@_ALL
def test_half_precision_is_summed_in_float32(name):
  found = _run(name)
  half, full = found["bfloat16"], found["losses"][0]
  assert half.dtype == found["large"].dtype == np.float32
  np.testing.assert_allclose(half[_KNOWN], full[_KNOWN], rtol=2e-2, atol=2e-2)
  assert not np.isnan(found["large"]).any()


@_ALL
def test_a_label_out_of_range_is_nan_and_teaches_nothing(name):
  found = _run(name)
  of_params, of_features = found["gradients"]
  np.testing.assert_array_equal(np.isnan(found["losses"]), np.tile(~_KNOWN, (2, 1)))
  np.testing.assert_array_equal(of_features[:, ~_KNOWN], 0)
  for leaf in jax.tree.leaves((of_params, of_features)):
    assert np.isfinite(leaf).all()


# Heads of which no label is changed by a margin: their losses are expectations over labels.
_EXPECTED = ("adaptive", "hierarchical", "huffman", "softmax", "taylor", "two_level", "hinge")


@_OF_A_KIND
def test_class_weights_ignored_labels_and_distributions(name):
  _, params, features = _problem(name)
  class_weights = np.where(np.arange(_NUM_CLASSES) == 37, 0, _COUNTS**-0.5)
  head = _make(name, class_weights=class_weights, ignore_label=12)
  own = np.eye(_NUM_CLASSES)[np.where(_KNOWN, _LABELS, 0)]
  mixed = 0.25 * own + 0.75 * np.eye(_NUM_CLASSES)[5]

  @jax.jit
  def run(params, features):
    integers = jnp.asarray([_LABELS, np.full(8, 12), np.full(8, 5)])
    of_integers = jax.vmap(lambda y: _losses_and_gradients(head, params, features, y))(integers)
    distributions = np.float32([own, mixed])
    return of_integers, jax.vmap(lambda y: head.loss(params, features, y, key=_KEY))(distributions)

  of_integers, (one_hot, soft) = jax.device_get(run(params, features))
  hard, nothing, (other, *_) = (
    jax.tree.map(lambda leaf, i=i: leaf[i], of_integers) for i in range(3)
  )
  plain = _run(name)["losses"][0][_KNOWN]
  weights = np.where(_LABELS == 12, 0, class_weights[np.clip(_LABELS, 0, 299)])[_KNOWN]
  np.testing.assert_allclose(hard[0][_KNOWN], weights * plain, rtol=1e-5, atol=1e-5)
  assert np.isnan(hard[0][~_KNOWN]).all() and hard[0][-1] == 0
  # What is ignored or has the weight 0 teaches nothing.
  np.testing.assert_array_equal(hard[2][~_KNOWN | np.isin(_LABELS, (12, 37))], 0)
  for leaf in jax.tree.leaves(hard[1:]):
    assert np.isfinite(leaf).all()
  for leaf in jax.tree.leaves(nothing):
    np.testing.assert_array_equal(leaf, 0)
  if name not in _SAMPLING:  # Of a distribution they visit all classes.
    np.testing.assert_allclose(one_hot[:-1][_KNOWN[:-1]], hard[0][:-1][_KNOWN[:-1]], rtol=1e-4)
  if name in _EXPECTED:
    one, other = hard[0][:-1][_KNOWN[:-1]], other[:-1][_KNOWN[:-1]]
    np.testing.assert_allclose(soft[:-1][_KNOWN[:-1]], 0.25 * one + 0.75 * other, rtol=1e-4)


# Heads whose loss is no -log p, or one of a sample with a margin: of a distribution it has no link.
_UNLIKELY = ("bi_tempered", "entmax", "hinge", "one_vs_all", "partial_fc", "sparsemax")
_UNLIKELY += ("squared_error",)


@_OF_A_KIND
def test_a_link_bends_the_loss_of_a_label_and_neither_penalties_nor_weights(name):
  if name == "pc_softmax":
    with pytest.raises(ValueError, match=r"loss may be negative .* Pass 'logit_adjusted'"):
      _make(name, link="focal")
    return
  _, params, features = _problem(name)
  # A penalty, which has the class's weight.
  known = heads.head_options(name)
  heavy = {"weight": 0.01} if "weight" in known else {"z_loss": 0.1} if "z_loss" in known else {}
  # By default there is no z-loss, but another weight.
  plain = _make(name, weight=0.0) if "weight" in known else _problem(name)[0]
  penalised, bent = _make(name, **heavy), _make(name, **heavy, link="generalised:q=0.05")
  weights = {"class_weights": np.arange(_NUM_CLASSES) / 100}
  one_hot = np.eye(_NUM_CLASSES, dtype=np.float32)[_LABELS[_KNOWN]]

  @jax.jit
  def run(params, features):
    losses = [head.loss(params, features, _LABELS, key=_KEY) for head in (plain, penalised)]

    def loss(features):
      found = bent.loss(params, features, _LABELS, key=_KEY, ignore_label=12, **weights)
      return jnp.nansum(found), found

    gradient, found = jax.grad(loss, has_aux=True)(features)
    if name in _UNLIKELY:
      with pytest.raises(ValueError, match="distributions and a link"):
        bent.loss(params, features[_KNOWN], one_hot, key=_KEY)
      return *losses, found, gradient, None
    soft = bent.loss(params, features[_KNOWN], one_hot, key=_KEY, **weights)
    return *losses, found, gradient, soft

  losses, penalised, found, gradient, soft = jax.device_get(run(params, features))
  own = np.where(_KNOWN, _LABELS, 0)

  penalty = penalised - losses

  def bend(losses):
    return own / 100 * (-np.expm1(-0.05 * losses) / 0.05 + penalty)

  expected = np.where(_LABELS == 12, 0, bend(losses))
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
  np.testing.assert_array_equal(gradient[~_KNOWN | (_LABELS == 12)], 0)
  assert np.isfinite(gradient).all() and gradient.any()
  if name in _SAMPLING:  # Of a distribution they visit all classes.
    losses = -np.take_along_axis(_run(name)["log_probs"], own[:, None], axis=-1)[:, 0]
  if name not in _UNLIKELY:
    np.testing.assert_allclose(soft, bend(losses)[_KNOWN], rtol=1e-4, atol=1e-5)


@_ALL
def test_a_step_along_the_gradient_lowers_the_loss(name):
  found = _run(name)
  assert found["lower"][_KNOWN].sum() < found["losses"][0][_KNOWN].sum()


# The margins, scores and losses of dense heads are tried so by themselves.
@pytest.mark.parametrize(
  "name", ["softmax", "l_softmax", "arcface", "adaptive", "huffman", "two_level", "sampled"]
)
def test_no_operation_makes_a_nan_even_one_that_is_masked(name):
  head, params, features = _problem(name)
  run = checkify.checkify(
    functools.partial(_losses_and_gradients, head), errors=checkify.nan_checks
  )
  error, (losses, _, gradient) = jax.jit(run)(params, features[_KNOWN], _LABELS[_KNOWN])
  error.throw()
  found = _run(name)
  np.testing.assert_allclose(losses, found["losses"][0, _KNOWN], rtol=1e-5, atol=1e-5)
  np.testing.assert_allclose(gradient, found["gradients"][1][0, _KNOWN], rtol=1e-4, atol=1e-5)


# Explicit axes reach a head through few paths: plain logits, norms, unit vectors and trees.
@pytest.mark.parametrize(
  ("name", "kind"),
  [(name, AxisType.Auto) for name in _KINDS]
  + [(name, AxisType.Explicit) for name in ("softmax", "l_softmax", "arcface", "huffman")]
  + [("two_level", AxisType.Explicit)],
)
def test_on_a_mesh_sharded_over_batch_and_classes(name, kind):
  head, params, features = _problem(name)
  mesh = jax.make_mesh(
    (2, 4), ("batch", "classes"), axis_types=(kind,) * 2, devices=jax.devices("cpu")
  )

  # The class axis comes last in a dense layer's parameters, and they are sharded over it. Trees,
  # clusters and samples pick rows by number: their parameters stand on every device.
  by_number = ("adaptive", "hierarchical", "huffman", "two_level", *_SAMPLING)

  def place(leaf):
    spread = name not in by_number and leaf.shape[-1:] >= (_NUM_CLASSES,)
    axes = (None,) * (leaf.ndim - 1) + ("classes",) if spread else ()
    return jax.device_put(leaf, NamedSharding(mesh, PartitionSpec(*axes)))

  @jax.jit
  def run(params, features, labels):
    return _losses_and_gradients(head, params, features, labels), head.log_prob(params, features)

  with jax.set_mesh(mesh):
    batch = NamedSharding(mesh, PartitionSpec("batch"))
    found = run(jax.tree.map(place, params), *jax.device_put((features, _LABELS), batch))
  (losses, *gradients), log_probs = jax.device_get(found)
  plain = _run(name)
  np.testing.assert_allclose(losses, plain["losses"][0], rtol=1e-4, atol=2e-5)
  np.testing.assert_allclose(log_probs, plain["log_probs"], rtol=1e-5, atol=1e-5)
  expected = jax.tree.map(lambda leaf: leaf[0], plain["gradients"])
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5), gradients, expected
  )


@_ALL
def test_parameters_begin_in_float32_and_not_weakly_typed(name):
  """Of another type, a step that trains them would be compiled again."""
  head, *_ = _problem(name)
  with jax.enable_x64(True):
    params = jax.eval_shape(lambda: head.init(jax.random.key(0), _NUM_FEATURES))
  types = {(leaf.dtype.name, leaf.weak_type) for leaf in jax.tree.leaves(params)}
  assert types == {("float32", False)}


@_OF_A_KIND
def test_traces_under_every_flag_without_changing_types(name):
  head, *_ = _problem(name)
  run = functools.partial(_losses_and_gradients, head)
  params = jax.eval_shape(lambda: head.init(jax.random.key(0), _NUM_FEATURES))

  def trace(batch, dtype):
    of_type = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), params)
    features = jax.ShapeDtypeStruct((*batch, _NUM_FEATURES), dtype)
    labels = jax.ShapeDtypeStruct(batch, jnp.int32)
    losses, *gradients = jax.eval_shape(run, of_type, features, labels)
    log_probs = jax.eval_shape(head.log_prob, of_type, features)
    assert losses.shape == batch and log_probs.shape == (*batch, _NUM_CLASSES)
    wide = jnp.float64 if dtype == jnp.float64 else jnp.float32
    assert losses.dtype == log_probs.dtype == wide
    assert {leaf.dtype for leaf in jax.tree.leaves(gradients)} == {jnp.dtype(dtype)}

  def trace_over_devices():
    # The checks of what varies between devices are made when a program is traced.
    mesh = jax.make_mesh((2,), ("batch",), (AxisType.Auto,), devices=jax.devices()[:2])
    shards, whole = PartitionSpec("batch"), PartitionSpec()

    def of_shards(params, features, labels):
      classes = heads.top_k(head, params, features, 4).classes
      return run(params, features, labels), (classes, heads.sample(head, params, features, _KEY))

    of_shards = jax.shard_map(
      of_shards,
      mesh=mesh,
      in_specs=(whole, shards, shards),
      out_specs=((shards, whole, shards), shards),
    )
    features = jax.ShapeDtypeStruct((4, _NUM_FEATURES), jnp.float32)
    labels = jax.ShapeDtypeStruct((4,), jnp.int32)
    (losses, *_), (classes, drawn) = jax.eval_shape(of_shards, params, features, labels)
    assert losses.shape == drawn.shape == (4,) and classes.shape == (4, 4)

  with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
    trace((2, 3), jnp.bfloat16)
    trace_over_devices()
    with jax.enable_x64(True):
      trace((0, 3), jnp.float32)
      trace((2,), jnp.float64)


@_ALL
def test_a_bad_number_of_classes_is_refused(name):
  options = {"class_counts": _COUNTS} if "class_counts" in heads.head_options(name) else {}
  for num_classes in (0, -1, 2.0, "10"):
    with pytest.raises(ValueError, match=r"num_classes|classes"):
      heads.make(name, num_classes, **options)


# Specifications, and the one that they must equal on the same parameters.
_NEUTRAL = {
  "softmax": (
    "softmax:temperature=1.0",
    "taylor:order=30",
    "sm:margin=0",
    "sm_taylor:order=30:margin=0",
    "logit_adjusted:tau=0",
  ),
  "softmax:bias=False": ("l_softmax:margin=1", "l_softmax:margin=3:base=1e9:minimum=1e9"),
  "arcface:margin=0:scale=1": ("am_softmax:margin=0:scale=1",),
}


@pytest.mark.parametrize("plain", _NEUTRAL)
def test_a_neutral_parameter_gives_the_plain_head(plain):
  _, params, features = _problem("softmax" if plain == "softmax" else "arcface")
  labels = np.arange(8)

  @jax.jit
  def run(params, features):
    found = []
    for specification in (plain, *_NEUTRAL[plain]):
      options = {"class_counts": _COUNTS} if "adjusted" in specification else {}
      head = heads.make(specification, _NUM_CLASSES, **options)
      found.append((head.loss(params, features, labels), head.log_prob(params, features)))
    return found

  expected, *found = run(params, features)
  for specification, ours in zip(_NEUTRAL[plain], found, strict=True):
    for one, other in zip(ours, expected, strict=True):
      np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6, err_msg=specification)


def test_a_uniform_prior_is_plain_softmax_up_to_the_constant():
  _, params, features = _problem("softmax")
  counts = np.full(_NUM_CLASSES, 7)
  made = [
    heads.make("softmax", _NUM_CLASSES),
    *(heads.make(n, _NUM_CLASSES, class_counts=counts) for n in ("logit_adjusted", "pc_softmax")),
  ]
  plain, adjusted, corrected = jax.jit(
    lambda p, x: [head.loss(p, x, np.arange(8)) for head in made]
  )(params, features)
  np.testing.assert_allclose(adjusted, plain, rtol=1e-5)
  np.testing.assert_allclose(corrected, plain - np.log(_NUM_CLASSES), rtol=1e-4, atol=1e-5)
