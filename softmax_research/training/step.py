"""The training step: backbone, head and optimiser composed into jitted programs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from softmax_research.functional.labels import is_known, read_several
from softmax_research.registry import accepted

_WHOLE = P()


class TrainState(NamedTuple):
  """Hold all that changes during training.

  Attributes:
    params: `{"backbone": ..., "head": ...}`.
    model_state: the backbone's own state, as running batch statistics.
    opt_state: the optimiser's state.
    step: number of updates made, int32.
    key: the run's random key; each step folds its number into it.
    loss_sum: sum of the batch losses of the current epoch, float32.
    last_finite_loss: the newest loss of a batch with a label that was finite; infinite before the
      first.
    bad_step: the step whose loss was not finite and which was not made; -1 while there is none.
    numbers: those of the method, which stay as they are; see `make_programs`.
    num_losses: the current epoch's batches with a label, int32; None where no label is ignored.
  """

  params: Any
  model_state: Any
  opt_state: Any
  step: jax.Array
  key: jax.Array
  loss_sum: jax.Array
  last_finite_loss: jax.Array
  bad_step: jax.Array
  numbers: Any = None
  num_losses: Any = None


class Divergence(NamedTuple):
  """Hold where a run met a loss that is not finite."""

  step: int
  last_finite_loss: float | None


class Programs(NamedTuple):
  """Hold the jitted programs that train one model with one seed; see `parallelise` for many.

  Attributes:
    init: `(seed, numbers=numbers) -> TrainState`.
    run_steps: `(state, order, images, labels, start, stop) -> state`, which makes the updates
      `start` to `stop` of an epoch whose batches are the rows of `order`; without an order (None)
      the batches are the rows of images and labels. The bounds are traced: one program serves any
      number of steps, and cutting an epoch in pieces changes no bit. At a loss that is not finite
      the state freezes, but for the optimiser's moments.
    predict: `(state, images) -> log_probs`.
    shuffle: `(state, epoch, num_batches, batch_size, num_examples) -> order`.
    ignore_label: the number in place of a label where an example has none; None if all have one.
    numbers: see `make_programs`.
  """

  init: Callable[..., TrainState]
  run_steps: Callable[..., TrainState]
  predict: Callable[..., jax.Array]
  shuffle: Callable[..., jax.Array]
  ignore_label: int | None = None
  numbers: Any = None


def make_programs(
  backbone: Any,
  head: Any,
  optimizer: optax.GradientTransformation,
  *,
  input_shape: tuple[int, ...],
  preprocess: Callable[[jax.Array], jax.Array],
  augment: Callable[[jax.Array, jax.Array], Any],
  ignore_label: int | None = None,
  numbers: Any = None,
  axis_name: str | None = None,
  mesh: Mesh | None = None,
) -> Programs:
  """Compose a backbone, a head and an optimiser into jitted programs.

  Labels are integers `[N]` or distributions `[N, K]`; for a head that takes several labels an
  example, as `one_vs_all`, also rows of zeros and ones `[N, K]`, of any type.

  Args:
    backbone: pure functions `init(key, input_shape) -> (params, state)` and
      `apply(params, state, images, *, train, key) -> (features, state)`; see `nn.Backbone`.
    head: pure functions `init`, `loss` and `log_prob`; see `heads.Head`.
    optimizer: an optax gradient transformation.
    input_shape: the shape of one image.
    preprocess: raw images to floats, inside the step.
    augment: `(key, raw images) -> raw images`, inside the step and in training alone; one that
      takes `epoch` and `run_key` is given the epoch's number and the run's key. One that mixes
      images in pairs returns `(images, partners, shares)`, as `data.augment.Mixed`, and the labels
      are mixed likewise.
    ignore_label: the number in place of an example's label where it has none; losses are averaged
      over the other examples. None where all have labels, and for rows of zeros and ones.
    numbers: a tree of numbers, as margins and rates, that the programs take as arguments, so that
      methods which differ in them alone have the same programs. `head` and `optimizer` are then
      functions of them, and are called with traced ones.
    axis_name: the axis whose devices each take their share of a batch; random numbers are those
      of the whole batch, and losses and gradients are averaged.
    mesh: holds the axis; without it, `jax.pmap` does.
  """

  def made(of: Any, numbers: Any) -> Any:
    # Weakly typed, as Python's own numbers are, they widen no other.
    return of if numbers is None else of(jax.tree.map(lambda n: jnp.full_like(0.0, n), numbers))

  def init(seed: jax.Array, numbers: Any = numbers) -> TrainState:
    backbone_key, head_key, run_key = jax.random.split(jax.random.key(seed), 3)
    params, model_state = backbone.init(backbone_key, input_shape)
    # One example gives the number of features, without running the network.
    images = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
    features, _ = jax.eval_shape(
      lambda p, s, x: backbone.apply(p, s, x, train=False), params, model_state, images
    )
    numbers = jax.tree.map(lambda number: jnp.asarray(number, jnp.float32), numbers)
    head_params = made(head, numbers).init(head_key, features.shape[-1])
    params, model_state = _typed(({"backbone": params, "head": head_params}, model_state))
    return TrainState(
      params,
      model_state,
      _typed(made(optimizer, numbers).init(params)),
      step=jnp.zeros((), jnp.int32),
      key=run_key,
      loss_sum=jnp.zeros((), jnp.float32),
      last_finite_loss=jnp.full((), jnp.inf, jnp.float32),
      bad_step=jnp.full((), -1, jnp.int32),
      numbers=numbers,
      num_losses=None if ignore_label is None else jnp.zeros((), jnp.int32),
    )

  def update(
    state: TrainState, images: jax.Array, labels: jax.Array, epoch: jax.Array
  ) -> TrainState:
    augment_key, dropout_key, sample_key = jax.random.split(
      jax.random.fold_in(state.key, state.step), 3
    )
    images = augment(augment_key, images, **accepted(augment, epoch=epoch, run_key=state.key))
    images, *pairs = images if isinstance(images, tuple) else (images,)
    weights = None
    if pairs or ignore_label is not None:
      log_probs = jax.eval_shape(
        predict_share, state.params, state.model_state, state.numbers, images
      )
      labels, weights = _weigh_labels(labels, log_probs, ignore_label)
    if pairs:
      labels, weights = _mix_labels(labels, weights, *pairs, log_probs.shape[-1])
    any_label = weights is None or jnp.any(weights > 0)

    def share_gradient(params, model_state, numbers, step, keys, images, labels, weights):
      own_head = made(head, numbers)
      tracker = getattr(own_head, "tracker", None)
      dropout_key, sample_key = keys
      images = preprocess(images)
      if weights is not None:
        number = jnp.sum(weights)
        number = number if axis_name is None else jax.lax.pmean(number, axis_name)

      def mean(numbers):
        if weights is None:
          return jnp.mean(numbers, dtype=jnp.float32)
        total = jnp.sum(weights * jnp.where(weights == 0, 0, numbers), dtype=jnp.float32)
        return total / jnp.where(number == 0, 1, number)

      def mean_loss(params):
        features, new_state = backbone.apply(
          params["backbone"], model_state, images, train=True, key=dropout_key
        )
        losses = own_head.loss(params["head"], features, labels, step=step, key=sample_key)
        measured = tracker.measure(params["head"], features, labels) if tracker else {}
        return mean(losses), (new_state, jax.tree.map(mean, measured))

      (loss, (new_state, means)), grads = jax.value_and_grad(mean_loss, has_aux=True)(params)
      if axis_name is not None:
        loss, grads, means = jax.lax.pmean((loss, grads, means), axis_name)
      return loss, new_state, grads, means

    if mesh is not None:
      specs = (_WHOLE,) * 5 + (P(axis_name),) * 3
      gradient = _by_shares(share_gradient, mesh, axis_name, specs, _WHOLE)
    else:
      gradient = share_gradient
      if axis_name is not None:
        images, labels, weights = jax.tree.map(
          lambda array: _own_share(array, axis_name), (images, labels, weights)
        )
    loss, model_state, grads, means = gradient(
      state.params,
      state.model_state,
      state.numbers,
      state.step,
      (dropout_key, sample_key),
      images,
      labels,
      weights,
    )
    updates, opt_state = made(optimizer, state.numbers).update(grads, state.opt_state, state.params)
    finite = jnp.isfinite(loss)
    well = finite & (state.bad_step < 0)

    def unless_diverged(new, old, also=True):
      return jax.tree.map(lambda n, o: jnp.where(well & also, n, o), new, old)

    # A choice between the new and the old parameters and moments would take a tenth of the step.
    params = jax.tree.map(
      lambda p, u: p + jnp.where(well, u, 0).astype(p.dtype), state.params, updates
    )
    if tracker := getattr(made(head, state.numbers), "tracker", None):
      # Whatever the optimiser made of numbers without a gradient, as decayed weights.
      old = state.params["head"]
      new = tracker.update(old, means)  # Of no example there is no mean.
      params["head"] |= unless_diverged(new, {name: old[name] for name in new}, any_label)
    return TrainState(
      params,
      unless_diverged(model_state, state.model_state),
      opt_state,
      step=state.step + well,
      key=state.key,
      loss_sum=state.loss_sum + jnp.where(well, loss, 0),
      last_finite_loss=unless_diverged(loss, state.last_finite_loss, any_label),
      bad_step=jnp.where(finite | (state.bad_step >= 0), state.bad_step, state.step),
      numbers=state.numbers,
      num_losses=None if ignore_label is None else state.num_losses + (well & any_label),
    )

  def run_steps(state, order, images, labels, start, stop):
    num_batches = len(labels if order is None else order)

    def body(i, state):
      rows = i if order is None else order[i]
      return update(state, images[rows], labels[rows], state.step // num_batches)

    sums = {"loss_sum": state.loss_sum, "num_losses": state.num_losses}
    state = state._replace(**jax.tree.map(lambda of: jnp.where(start == 0, 0, of), sums))
    return jax.lax.fori_loop(start, stop, body, state)

  def predict_share(params, model_state, numbers, images):
    features, _ = backbone.apply(params["backbone"], model_state, preprocess(images), train=False)
    return made(head, numbers).log_prob(params["head"], features)

  def predict(state: TrainState, images: jax.Array) -> jax.Array:
    function = predict_share
    if mesh is not None and len(images) % mesh.shape[axis_name] == 0:
      specs = (_WHOLE,) * 3 + (P(axis_name),)
      function = _by_shares(function, mesh, axis_name, specs, P(axis_name))
    return function(state.params, state.model_state, state.numbers, images)

  def shuffle(state, epoch, num_batches, batch_size, num_examples):
    # The epoch's number is folded in beyond any step's number.
    key = jax.random.fold_in(jax.random.fold_in(state.key, 2**31 - 1), epoch)
    order = jax.random.permutation(key, num_examples)
    return order[: num_batches * batch_size].reshape(num_batches, batch_size)

  return Programs(
    init=jax.jit(init),
    run_steps=jax.jit(run_steps, donate_argnums=0),
    predict=jax.jit(predict),
    shuffle=jax.jit(shuffle, static_argnums=(2, 3, 4)),
    ignore_label=ignore_label,
    numbers=numbers,
  )


def _weigh_labels(labels, log_probs, ignore_label: int | None):
  """Return labels without the ignored one, and how much each example counts; None if all do."""
  labels, known = read_several(labels, log_probs, ignore_label)
  if known is not None:
    return jnp.where(known[:, None], labels, jnp.nan), None
  if ignore_label is None:
    return labels, None
  if not jnp.issubdtype(labels.dtype, jnp.integer):
    return labels, jnp.ones(labels.shape[:-1], jnp.float32)
  has_label = labels != ignore_label
  return jnp.where(has_label, labels, 0), has_label.astype(jnp.float32)


def _mix_labels(labels, weights, partners, shares, num_classes: int):
  """Return rows over the classes, each the mean of two, and how much each example counts.

  Of an example that was mixed with one without a label only its part counts.
  """
  if jnp.issubdtype(labels.dtype, jnp.integer):
    known = is_known(labels, num_classes)[:, None]
    labels = jnp.where(known, jax.nn.one_hot(labels, num_classes, dtype=jnp.float32), jnp.nan)

  def mix(rows):
    own = shares.reshape(-1, *[1] * (rows.ndim - 1))
    return own * rows + (1 - own) * rows[partners]

  if weights is None:
    return mix(labels), None
  counted = mix(weights)
  return mix(weights[:, None] * labels) / jnp.where(counted == 0, 1, counted)[:, None], counted


def _typed(tree: Any) -> Any:
  """Return the arrays with a type that is not weak: a step would turn a weak one into another.

  The step would then be compiled once more after its first call.
  """
  return jax.tree.map(lambda array: jnp.asarray(array, jnp.result_type(array)), tree)


def _by_shares(function: Callable, mesh: Mesh, axis_name: str, in_specs, out_specs) -> Callable:
  """Return a function of a batch, of which each device takes its share.

  Left to itself, the compiler divides products well, but gathers the maps of a convolution that is
  written as products.
  """
  outer = jax.sharding.get_abstract_mesh()  # Of the map over seeds, if there is one.
  return jax.shard_map(
    function,
    mesh=mesh if outer.empty else outer,
    in_specs=in_specs,
    out_specs=out_specs,
    axis_names={axis_name},
    check_vma=False,
  )


def _own_share(batch: jax.Array, axis_name: str) -> jax.Array:
  """Return this device's rows of a batch, the same number for every device."""
  size = len(batch) // jax.lax.axis_size(axis_name)
  return jax.lax.dynamic_slice_in_dim(batch, jax.lax.axis_index(axis_name) * size, size)
