"""Tasks for attention, as images, bytes of a text and recall, and a seed's training on them.

A task knows a network for it, draws batches by a key, and has tests: inputs, and labels that are -1
where nothing is asked.
"""

import functools
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from experiments.many.equal_time import in_batches
from softmax_research import data, heads, nn

# How many sequences show their weights, and of one how many positions are kept for a picture.
_LOOKED_AT, _PICTURE = 16, 24
# A key is in the support if it has this share of the weights.
_LEAST_SHARE = 1e-3


class Task(NamedTuple):
  """Hold a task.

  Attributes:
    num_classes: of the labels.
    network: `rngs -> module`, an `nn.Transformer` or `nn.Decoder`.
    draw: `key -> (inputs, labels)` of a batch.
    tests: by name; the measures of the first are also taken in training.
    bits: whether tests are measured in bits, or else by accuracy.
    causal: whether a position sees none that are later.
  """

  num_classes: int
  network: Callable[[nnx.Rngs], nnx.Module]
  draw: Callable[[jax.Array], tuple[jax.Array, jax.Array]]
  tests: Mapping[str, tuple[np.ndarray, np.ndarray]]
  bits: bool
  causal: bool


def images(settings: Any, attention: str) -> Task:
  """Make the task of classifying images by patches."""
  dataset = data.load(settings.dataset, data_dir=settings.data_dir or None)
  train, test = dataset.train, dataset.test
  mean, std = data.channel_statistics(train.images)
  shape = train.images.shape[1:]

  def prepare(pictures):
    return data.standardise(jnp.asarray(pictures), jnp.asarray(mean), jnp.asarray(std))

  inputs, labels = jnp.asarray(train.images), jnp.asarray(train.labels)

  def draw(key):
    rows = jax.random.randint(key, (settings.image_batch,), 0, len(labels))
    return prepare(inputs[rows]), labels[rows]

  def network(rngs):
    return nn.Transformer(
      shape, patch=settings.patch, attention=attention, rngs=rngs, **_sizes(settings)
    )

  chosen = slice(settings.num_test)
  tests = {"test": (np.asarray(prepare(test.images[chosen])), test.labels[chosen])}
  return Task(dataset.num_classes, network, draw, tests, bits=False, causal=False)


def language(settings: Any, attention: str) -> Task:
  """Make the task of predicting the next byte, judged on the same bytes with longer contexts.

  Bytes that the training part lacks are not asked.
  """
  longest = settings.length * max(settings.longer)
  text = encode_bytes(settings.text, longest)
  num_classes = len(text.vocabulary)
  train = jnp.asarray(text.train)

  def draw(key):
    starts = jax.random.randint(key, (settings.text_batch,), 0, len(train) - settings.length - 1)
    windows = train[starts[:, None] + jnp.arange(settings.length + 1)[None]]
    return windows[:, :-1], windows[:, 1:]

  # Windows that end at the same bytes: what is asked of all are the last bytes of each.
  usable = (len(text.test) - 1) // longest * longest
  ends = np.arange(longest, usable + 1, longest)[: settings.num_test // 4]
  tests = {}
  for times in (1, *settings.longer):
    length = times * settings.length
    windows = text.test[ends[:, None] + np.arange(-length, 1)[None]]
    labels = np.where(windows[:, 1:] < num_classes, windows[:, 1:], -1)
    labels[:, : length - settings.length] = -1
    tests[_name(times)] = (np.minimum(windows[:, :-1], num_classes - 1), labels)
  return Task(num_classes, _decoder(settings, attention, num_classes), draw, tests, True, True)


@functools.lru_cache(maxsize=1)
def encode_bytes(text: str, longest: int) -> data.Text:
  """Read a text as bytes, and check that it suffices for contexts of this length."""
  return data.encode_text(data.read_text(text, unit="bytes"), passage=4 * longest)


def recall(settings: Any, attention: str) -> Task:
  """Make the task of multi-query associative recall, judged with more pairs than in training.

  A sequence has pairs of a key and a value, then all of its keys in another order; at each of these
  the value is asked.
  """
  num_keys, num_values = settings.keys, settings.values

  def draw_pairs(key, count, pairs):
    of_keys, of_values, of_order = jax.random.split(key, 3)

    def permute(key, size):
      return jnp.argsort(jax.random.uniform(key, (count, size)), axis=1)[:, :pairs]

    keys = permute(of_keys, num_keys)
    values = jax.random.randint(of_values, (count, pairs), 0, num_values)
    order = permute(of_order, pairs)
    first = jnp.stack([keys, num_keys + values], axis=-1).reshape(count, 2 * pairs)
    asked = jnp.take_along_axis(keys, order, axis=1)
    inputs = jnp.concatenate([first, asked], axis=1)
    nothing = jnp.full((count, 2 * pairs), -1, values.dtype)
    return inputs, jnp.concatenate([nothing, jnp.take_along_axis(values, order, axis=1)], axis=1)

  def draw(key):
    return draw_pairs(key, settings.recall_batch, settings.pairs)

  tests = {}
  for times in (1, *settings.longer):
    key = jax.random.fold_in(jax.random.key(2**31), times)
    found = draw_pairs(key, settings.num_test // 4, times * settings.pairs)
    tests[_name(times)] = tuple(map(np.asarray, found))
  network = _decoder(settings, attention, num_keys + num_values)
  return Task(num_values, network, draw, tests, bits=False, causal=True)


TASKS = {"images": images, "language": language, "recall": recall}


def _name(times: int) -> str:
  return "test" if times == 1 else f"{times} times as long"


def _sizes(settings: Any) -> dict[str, int]:
  return {name: getattr(settings, name) for name in ("width", "depth", "heads")}


def _decoder(settings: Any, attention: str, num_tokens: int) -> Callable[[nnx.Rngs], nnx.Module]:
  def network(rngs):
    return nn.Decoder(num_tokens, attention=attention, rngs=rngs, **_sizes(settings))

  return network


class Trainer:
  """Hold the compiled programs of a task, which serve all seeds."""

  def __init__(self, task: Task, settings: Any, steps: int):
    self.task, self.steps, self.points = task, steps, settings.points
    self.head = heads.make(settings.head, task.num_classes)
    self.width = settings.width
    self.graph, _, self.rest = nnx.split(
      nnx.eval_shape(lambda: task.network(nnx.Rngs(0))), nnx.Param, ...
    )
    rate = optax.warmup_cosine_decay_schedule(
      0.0, settings.learning_rate, max(steps // 10, 1), max(steps, 2)
    )
    self.optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate))
    self._run, self._log_probs = jax.jit(self._train), jax.jit(self._predict)
    self._look = jax.jit(self._describe)

  def _network(self, params):
    return nnx.merge(self.graph, params, self.rest)

  def init(self, seed: int) -> tuple[Any, Any]:
    """Return parameters and the optimiser's state."""
    of_net, of_head = jax.random.split(jax.random.key(seed))
    _, params, _ = nnx.split(self.task.network(nnx.Rngs(of_net)), nnx.Param, ...)
    params = {"net": params, "head": self.head.init(of_head, self.width)}
    return params, self.optimizer.init(params)

  def _train(self, state, key, start, stop):
    def loss(params, inputs, labels, **options):
      features = self._network(params["net"])(inputs, train=True)
      losses = self.head.loss(params["head"], features, jnp.maximum(labels, 0), **options)
      asked = (labels >= 0).astype(losses.dtype)
      return jnp.sum(losses * asked) / jnp.maximum(jnp.sum(asked), 1)

    def body(step, state):
      params, moments = state
      own = jax.random.fold_in(key, step)
      # A margin may grow with the step, and a head may draw classes.
      options = {"step": step, "key": jax.random.fold_in(own, 0)}
      gradient = jax.grad(loss)(params, *self.task.draw(own), **options)
      updates, moments = self.optimizer.update(gradient, moments, params)
      return optax.apply_updates(params, updates), moments

    return jax.lax.fori_loop(start, stop, body, state)

  def _predict(self, params, inputs):
    features = self._network(params["net"])(inputs, train=False)
    return self.head.log_prob(params["head"], features)

  def test(self, params, name: str) -> dict[str, float]:
    """Return what a test measures: bits a label, or the accuracy; and the NLL."""
    inputs, labels = self.task.tests[name]
    (log_probs,) = in_batches(lambda rows: (self._log_probs(params, rows),), inputs)
    log_probs, wanted = log_probs[labels >= 0], labels[labels >= 0]
    nll = -float(np.mean(log_probs[np.arange(len(wanted)), wanted], dtype=np.float64))
    found = {"accuracy": float(np.mean(log_probs.argmax(-1) == wanted)), "nll": nll}
    return found | ({"bits": nll / math.log(2)} if self.task.bits else {})

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
    network, found = self._network(params["net"]), []
    sequence = network.begin(inputs)
    for block in network.stack.blocks:
      weights = block.attention.weights(block.first_norm(sequence))
      sequence = block(sequence, train=False)
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
