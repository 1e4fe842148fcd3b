"""Equal time: train one head for so many seconds, compiling and judging left out."""

import itertools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from softmax_research import functional, heads, nn, training

# Long enough to hide the cost of a call.
_SECONDS_PER_CALL = 0.25
# Batches of the evaluation have so many examples.
_EVALUATED_TOGETHER = 200


class Task(NamedTuple):
  """Hold a task of many classes: examples, a network without its output layer, and its judge.

  Attributes:
    name: of the data, for the report.
    class_counts: how often each class occurs in training, `[K]`.
    inputs: of the training examples, `[N, ...]`.
    labels: of the training examples, int32 `[N]`.
    init: `key -> params`, of the network.
    num_features: D.
    features: `(params, rows, inputs, key) -> [B, D]`, in training; `params` hold those rows only.
    evaluate: `(params, head, head_params) -> metrics`, None where one is infinite.
    measure: the metric to compare by, a key of the metrics.
    num_test: how many examples the metrics are of.
    rows: `inputs -> rows` of the parameters that a batch needs, as `training.update_rows` takes.
    class_vectors: `params -> [K, D]`, where the output layer starts; None to draw it at random.
    fingerprint: of the data, where its name and sizes leave open which they are.
  """

  name: str
  class_counts: np.ndarray
  inputs: np.ndarray
  labels: np.ndarray
  init: Callable[[jax.Array], Any]
  num_features: int
  features: Callable[..., jax.Array]
  evaluate: Callable[[Any, heads.Head, Any], dict[str, float | None]]
  measure: str
  num_test: int
  rows: Callable[[jax.Array], Any] = lambda inputs: training.ALL_ROWS
  class_vectors: Callable[[Any], np.ndarray] | None = None
  fingerprint: str | None = None

  def describe(self) -> dict[str, Any]:
    """Return the record of the task that stands beside a result."""
    described = {
      "name": self.name,
      "num_classes": len(self.class_counts),
      "num_train": len(self.labels),
      "num_test": self.num_test,
      "measure": self.measure,
    }
    return described | ({"fingerprint": self.fingerprint} if self.fingerprint else {})


def make_backbone(specification: Any, shape: tuple[int, ...]) -> tuple[nn.Backbone, Any, int]:
  """Make a backbone for inputs of a shape; return its empty state and its number of features."""
  backbone = nn.make(specification)
  params, state = jax.eval_shape(lambda key: backbone.init(key, shape), jax.random.key(0))
  if jax.tree.leaves(state):
    raise ValueError(
      "Got a backbone with a state of its own, as batch statistics; here choose one without, as "
      "batch_norm=False."
    )
  features, _ = jax.eval_shape(
    lambda params: backbone.apply(params, state, jnp.zeros((1, *shape)), train=False), params
  )
  return backbone, state, features.shape[-1]


def in_batches(function: Callable[..., Any], *arrays: np.ndarray) -> list[np.ndarray]:
  """Apply a jitted function to batches of one size and join what it returns, without padding."""
  size = min(_EVALUATED_TOGETHER, len(arrays[0]))
  outputs = []
  for start in range(0, len(arrays[0]), size):
    batch = [array[start : start + size] for array in arrays]
    count = len(batch[0])
    # The last batch is filled up, so that one program serves all.
    batch = [np.concatenate([part, np.repeat(part[:1], size - count, axis=0)]) for part in batch]
    outputs.append([np.asarray(output)[:count] for output in function(*batch)])
  return [np.concatenate(parts) for parts in zip(*outputs, strict=True)]


def make_trainer(
  specification: str, task: Task, optimizer: optax.GradientTransformation, batch_size: int
) -> Callable[..., tuple[dict[str, list[float | None]], int | None, int]]:
  """Build the head of a specification, such as `sampled:num_samples=1024`, and what trains it.

  Of trees only the rows of a batch's paths are updated.

  Returns:
    A function `(seed, seconds, num_looks) -> curves, diverged, num_parameters`, whose programs all
    seeds share. It judges the model before training, and so many times at equal distances on the
    way and at the end: the curves have `seconds`, `steps` and the metrics at each look. Diverged is
    the step at which the loss was not finite, or None.

  Raises:
    ValueError: the head or an option is unknown, or does not fit the classes; or the task has
      vectors for the classes, and the head no kernel to hold them.
  """
  name, options = heads.parse(specification)
  if "class_counts" in heads.head_options(name):
    options = {"class_counts": task.class_counts} | options
  num_classes, tree = len(task.class_counts), None
  head = heads.make(name, num_classes, **options)
  if name in heads.TREES:
    tree = heads.TREES[name](num_classes, **options)
    head = heads.hierarchical(tree)

  @jax.jit
  def init(seed):
    net_key, head_key = jax.random.split(jax.random.key(seed))
    return {"net": task.init(net_key), "head": head.init(head_key, task.num_features)}

  if tree is None and task.class_vectors is not None:
    kernel = jax.eval_shape(init, 0)["head"].get("kernel")
    if getattr(kernel, "shape", None) != (task.num_features, num_classes):
      raise ValueError(
        f"Got the head {specification}, which has no kernel with a column for each class to start "
        "from the features of the class. Pass --config.imprint=0 to start all heads at random."
      )
  run = jax.jit(_make_run(task, head, tree, optimizer, batch_size), donate_argnums=(0, 1))

  def train(seed, seconds, num_looks):
    params = init(seed)
    if task.class_vectors is not None:
      kernel = imprinted_kernel(task.class_vectors(params["net"]), tree)
      params["head"]["kernel"] = jnp.asarray(kernel)
    opt_state = jax.jit(optimizer.init)(params)
    examples, key = jax.device_put((task.inputs, task.labels)), jax.random.key(seed)
    # No step, so that compiling is over before time is taken.
    params, opt_state, _ = run(params, opt_state, examples, key, 0, 0)
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    curves, spent, steps = {"seconds": [], "steps": []}, 0.0, 0
    for until in np.linspace(0, seconds, num_looks + 1):
      while spent < until:
        count = 1
        if steps:
          count = max(1, round(min(_SECONDS_PER_CALL, until - spent) * steps / spent))
        began = time.perf_counter()
        params, opt_state, loss = run(params, opt_state, examples, key, steps, steps + count)
        loss = float(loss)
        spent += time.perf_counter() - began
        steps += count
        if not np.isfinite(loss):
          return curves, steps, size
      found = task.evaluate(params["net"], head, params["head"])
      for metric, value in {"seconds": spent, "steps": steps, **found}.items():
        curves.setdefault(metric, []).append(value)
    return curves, None, size

  return train


def _make_run(task: Task, head: heads.Head, tree, optimizer, batch_size: int):
  """Return `(params, opt_state, examples, key, start, stop) -> params, opt_state, loss`."""

  def step(params, opt_state, examples, key):
    batch_key, net_key, head_key = jax.random.split(key, 3)
    chosen = jax.random.randint(batch_key, (batch_size,), 0, len(task.labels))
    inputs, labels = (array[chosen] for array in examples)
    net_rows, head_rows = task.rows(inputs), training.ALL_ROWS
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

    rows = {"net": net_rows, "head": head_rows}
    return training.update_rows(optimizer, loss, params, opt_state, rows)

  def run(params, opt_state, examples, key, start, stop):
    def body(i, state):
      params, opt_state, _ = state
      loss, params, opt_state = step(params, opt_state, examples, jax.random.fold_in(key, i))
      return params, opt_state, loss

    return jax.lax.fori_loop(start, stop, body, (params, opt_state, jnp.zeros(())))

  return run


def imprinted_kernel(vectors: np.ndarray, tree: functional.Tree | None) -> np.ndarray:
  r"""Return the kernel with which each class, or part of a tree, is at its own vector.

  Inner nodes have the mean of their classes' vectors, scaled to the same length; in a binary tree
  the row of a choice is the difference of the two nodes.

  Vectors are of one length, `[K, D]`; the kernel is `[D, K]`, or of a tree's rows `[R, D]`.

  Reference:
    Qi, Brown & Lowe 2018, "Low-Shot Learning with Imprinted Weights" (arXiv 1712.07136).
  """
  if tree is None:
    return vectors.T
  nodes = np.zeros((tree.num_nodes, vectors.shape[1]), np.float32)
  nodes[tree.leaves] = vectors
  for start, stop in reversed(list(itertools.pairwise(tree.level_starts[1:]))):
    np.add.at(nodes, tree.parents[start:stop], nodes[start:stop])
  lengths = np.linalg.norm(nodes, axis=1, keepdims=True)
  nodes *= np.linalg.norm(vectors, axis=1).max() / np.maximum(lengths, 1e-12)
  return nodes[1::2] - nodes[2::2] if tree.is_binary else nodes[1:]
