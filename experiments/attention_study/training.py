"""Training for the study of attention: one seed of a task, its tests, and a look at its weights."""

import functools
import itertools
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from experiments.attention_study.tasks import Task
from softmax_research import heads

# How many sequences show their weights, and of one how many positions are kept for a picture.
_LOOKED_AT, _PICTURE = 16, 24
# A key is in the support if it has this share of the weights.
_LEAST_SHARE = 1e-3


class Trainer:
  """Hold the compiled programs of a task, which serve all seeds."""

  def __init__(self, task: Task, settings: Any, steps: int):
    self.task, self.steps, self.points = task, steps, settings.points
    self.head = heads.make(settings.head, task.num_classes)
    self.width = settings.width
    self.graph, _, self.rest = self._split(nnx.eval_shape(lambda: task.network(nnx.Rngs(0))))
    rate = optax.warmup_cosine_decay_schedule(
      0.0, settings.learning_rate, max(steps // 10, 1), max(steps, 2)
    )
    self.optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate))
    self._run, self._log_probs = jax.jit(self._train), jax.jit(self._predict)
    self._look = jax.jit(self._describe)

  @staticmethod
  def _split(module):
    return nnx.split(module, nnx.Param, ...)

  def _network(self, params):
    return nnx.merge(self.graph, params, self.rest)

  def init(self, seed: int) -> tuple[Any, Any]:
    """Return parameters and the optimiser's state."""
    of_net, of_head = jax.random.split(jax.random.key(seed))
    _, params, _ = self._split(self.task.network(nnx.Rngs(of_net)))
    params = {"net": params, "head": self.head.init(of_head, self.width)}
    return params, self.optimizer.init(params)

  def _train(self, state, key, start, stop):
    def loss(params, inputs, labels):
      features = self._network(params["net"])(inputs, train=True)
      losses = self.head.loss(params["head"], features, jnp.maximum(labels, 0))
      asked = (labels >= 0).astype(losses.dtype)
      return jnp.sum(losses * asked) / jnp.maximum(jnp.sum(asked), 1)

    def body(step, state):
      params, moments = state
      batch = self.task.draw(jax.random.fold_in(key, step))
      updates, moments = self.optimizer.update(jax.grad(loss)(params, *batch), moments, params)
      return optax.apply_updates(params, updates), moments

    return jax.lax.fori_loop(start, stop, body, state)

  def _predict(self, params, inputs):
    features = self._network(params["net"])(inputs, train=False)
    return self.head.log_prob(params["head"], features)

  def test(self, params, name: str) -> dict[str, float]:
    """Return what a test measures: bits a label, or the accuracy; and the NLL."""
    inputs, labels = self.task.tests[name]
    total = right = count = 0.0
    for start in range(0, len(labels), 64):
      rows = slice(start, start + 64)
      log_probs, asked = np.asarray(self._log_probs(params, inputs[rows])), labels[rows] >= 0
      log_probs, wanted = log_probs[asked], labels[rows][asked]
      total -= log_probs[np.arange(len(wanted)), wanted].sum(dtype=np.float64)
      right += (log_probs.argmax(-1) == wanted).sum()
      count += len(wanted)
    found = {"accuracy": right / count, "nll": total / count}
    return found | ({"bits": total / count / math.log(2)} if self.task.bits else {})

  def train(self, seed: int) -> Iterator[dict[str, Any]]:
    """Yield now and then the step, the seconds of training so far and the first test's measures."""
    state, key, seconds = self.init(seed), jax.random.fold_in(jax.random.key(seed), 7), 0.0
    marks = np.unique(np.linspace(0, self.steps, self.points + 1).astype(int))
    # What compiles is not training.
    jax.block_until_ready(self._run(state, key, 0, 0))
    for start, stop in itertools.pairwise(marks):
      began = time.perf_counter()
      state = jax.block_until_ready(self._run(state, key, int(start), int(stop)))
      seconds += time.perf_counter() - began
      self.params = state[0]
      yield {"step": int(stop), "seconds": seconds} | self.test(state[0], "test")

  def describe(self) -> tuple[dict[str, float], list[list[float]]]:
    """Return measures of the weights and activations, and a picture of one head's weights."""
    numbers, picture = self._look(self.params, self.task.tests["test"][0][:_LOOKED_AT])
    return {name: float(value) for name, value in numbers.items()}, np.round(
      np.asarray(picture, np.float64), 4
    ).tolist()

  def _describe(self, params, inputs):
    network, seen = self._network(params["net"]), []
    network(inputs, train=False, seen=seen)
    found, weights = [], None
    for block, (query, key, sequence) in zip(network.stack.blocks, seen, strict=True):
      weights = block.attention.weights(query, key)
      found.append(weights_in_numbers(weights, causal=self.task.causal))
      centred = sequence - jnp.mean(sequence)
      variance = jnp.mean(centred**2)
      found[-1]["kurtosis"] = jnp.mean(centred**4) / variance**2
    numbers = {name: sum(one[name] for one in found) / len(found) for name in found[0]}
    return numbers, weights[0, 0, :_PICTURE, :_PICTURE]


def weights_in_numbers(weights: jax.Array, *, causal: bool) -> dict[str, jax.Array]:
  """Measure weights `[B, H, T, S]`: of causal ones the later half of the queries, with many keys.

  Returns:
    `entropy` of the shares, in nats; `support`, the number of keys with a thousandth of the weights
    or more; `first`, the share of the first key; `total`, the sum of the weights.

  Example:
    >>> found = weights_in_numbers(jnp.full((1, 1, 4, 4), 0.25), causal=False)
    >>> round(float(found["support"]), 3), round(float(found["first"]), 3)
    (4.0, 0.25)
  """
  if causal:
    weights = weights[:, :, weights.shape[2] // 2 :]
  total = jnp.sum(weights, axis=-1, keepdims=True)
  shares = weights / jnp.where(total > 0, total, 1)
  entropy = -jnp.sum(jax.scipy.special.xlogy(shares, shares), axis=-1)
  measures = {
    "entropy": entropy,
    "support": jnp.sum(shares >= _LEAST_SHARE, axis=-1),
    "first": shares[..., 0],
    "total": total,
  }
  return {name: jnp.mean(values.astype(weights.dtype)) for name, values in measures.items()}


@functools.lru_cache(maxsize=1)
def trainer(make: Callable[..., Task], settings: Any, attention: str, steps: int) -> Trainer:
  """Return a cell's trainer, whose programs serve its seeds."""
  return Trainer(make(settings, attention), settings, steps)
