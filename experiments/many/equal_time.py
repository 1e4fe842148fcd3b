"""Equal time: train one head for so many seconds, compiling and judging left out."""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.many import imprint
from experiments.many.task import Task
from softmax_research import functional, heads, training

# Long enough to hide the cost of a call.
_SECONDS_PER_CALL = 0.25


class OutputLayer(NamedTuple):
  """Hold a head, and for trees the tree: only the rows of a batch's paths are updated then.

  `init` and `run` are the programs that start and train it, which all seeds share.
  """

  head: heads.Head
  tree: functional.Tree | None
  optimizer: optax.GradientTransformation
  init: Callable[..., Any]
  run: Callable[..., Any]


class Outcome(NamedTuple):
  """Hold what came out of a run: `curves` has `seconds`, `steps` and the metrics at each look."""

  curves: dict[str, list[float | None]]
  diverged: int | None
  num_parameters: int


def make_output_layer(
  specification: str, task: Task, optimizer: optax.GradientTransformation, batch_size: int
) -> OutputLayer:
  """Build the head of a specification, such as `sampled:num_samples=1024`, and its programs.

  Args:
    specification: of the head.
    task: the task.
    optimizer: an elementwise optax gradient transformation.
    batch_size: examples in a step, drawn anew for each.

  Raises:
    ValueError: the head or an option is unknown, or does not fit the classes; or the task has
      vectors for the classes, and the head no kernel to hold them.
  """
  name, options = heads.parse(specification)
  if "class_counts" in heads.head_options(name):
    options = {"class_counts": task.class_counts} | options
  head, tree = heads.make(name, task.num_classes, **options), None
  if name in heads.TREES:
    tree = heads.TREES[name](task.num_classes, **options)
    head = heads.hierarchical(tree)
  elif task.class_vectors is not None:
    _check_one_column_each(specification, head, task)
  init = jax.jit(functools.partial(_init, task, head))
  run = _make_run(task, head, tree, optimizer, batch_size)
  return OutputLayer(head, tree, optimizer, init, jax.jit(run, donate_argnums=(0, 1)))


def train(task: Task, layer: OutputLayer, *, seed: int, seconds: float, num_looks: int) -> Outcome:
  """Train for so many seconds, and judge the model before, and at equal distances on the way.

  Args:
    task: the task.
    layer: the output layer.
    seed: of the parameters, the batches and the samples.
    seconds: of training.
    num_looks: how often the model is judged after the start, the last time at the end.

  Returns:
    The outcome.
  """
  params = layer.init(seed)
  if task.class_vectors is not None:
    params["head"]["kernel"] = jnp.asarray(
      imprint.kernel(task.class_vectors(params["net"]), layer.tree)
    )
  opt_state = jax.jit(layer.optimizer.init)(params)
  examples = jax.device_put((task.inputs, task.labels))
  key = jax.random.key(seed)
  # No step, so that compiling is over before time is taken.
  params, opt_state, _ = layer.run(params, opt_state, examples, key, 0, 0)

  curves: dict[str, list[float | None]] = {"seconds": [], "steps": []}
  spent, steps, looks = 0.0, 0, np.linspace(0, seconds, num_looks + 1)
  for until in looks:
    while spent < until:
      count = 1
      if steps:
        count = max(1, round(min(_SECONDS_PER_CALL, until - spent) * steps / spent))
      began = time.perf_counter()
      params, opt_state, loss = layer.run(params, opt_state, examples, key, steps, steps + count)
      loss = float(loss)
      spent += time.perf_counter() - began
      steps += count
      if not np.isfinite(loss):
        return Outcome(curves, steps, _count(params))
    curves["seconds"].append(spent)
    curves["steps"].append(steps)
    for name, value in task.evaluate(params["net"], layer.head, params["head"]).items():
      curves.setdefault(name, []).append(value)
  return Outcome(curves, None, _count(params))


def _init(task: Task, head: heads.Head, seed: jax.Array) -> dict[str, Any]:
  net_key, head_key = jax.random.split(jax.random.key(seed))
  return {"net": task.init(net_key), "head": head.init(head_key, task.num_features)}


def _check_one_column_each(specification: str, head: heads.Head, task: Task) -> None:
  params = jax.eval_shape(lambda key: head.init(key, task.num_features), jax.random.key(0))
  shape = getattr(params.get("kernel"), "shape", None)
  if shape != (task.num_features, task.num_classes):
    raise ValueError(
      f"Got the head {specification}, which has no kernel with a column for each class to start "
      "from the features of the class. Pass --config.imprint=0 to start all heads at random."
    )


def _make_run(task: Task, head: heads.Head, tree, optimizer, batch_size: int):
  """Return `(params, opt_state, examples, key, start, stop) -> params, opt_state, loss`."""

  def step(params, opt_state, examples, key):
    batch_key, net_key, head_key = jax.random.split(key, 3)
    chosen = jax.random.randint(batch_key, (batch_size,), 0, len(task.labels))
    inputs, labels = (array[chosen] for array in examples)
    net_rows, head_rows = task.rows(inputs), None
    if tree is not None:
      head_rows = functional.tree_label_rows(tree, labels)

    def loss(some):
      features = task.features(some["net"], net_rows, inputs, net_key)
      if tree is None:
        return jnp.mean(head.loss(some["head"], features, labels, key=head_key))
      log_prob = functional.tree_label_log_prob(
        features, some["head"], tree, labels, rows=head_rows
      )
      return -jnp.mean(log_prob)

    rows = {"net": net_rows, "head": training.ALL_ROWS if head_rows is None else head_rows}
    return training.update_rows(optimizer, loss, params, opt_state, rows)

  def run(params, opt_state, examples, key, start, stop):
    def body(i, state):
      params, opt_state, _ = state
      loss, params, opt_state = step(params, opt_state, examples, jax.random.fold_in(key, i))
      return params, opt_state, loss

    return jax.lax.fori_loop(start, stop, body, (params, opt_state, jnp.zeros(())))

  return run


def _count(params: Any) -> int:
  return sum(leaf.size for leaf in jax.tree.leaves(params))
