"""Tasks for attention: images, bytes of a text, and recall of associations.

A task knows a network for it, draws batches by a key, and has tests: inputs, and labels that are -1
where nothing is asked.
"""

import pathlib
import pydoc_data.topics
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from softmax_research import data, nn


class Task(NamedTuple):
  """Hold a task.

  Attributes:
    num_classes: of the labels.
    network: `rngs -> module`, called as `module(inputs, train=..., seen=...)`.
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
  if settings.text == "pydoc":
    raw = "\n".join(pydoc_data.topics.topics.values()).encode()
  else:
    raw = pathlib.Path(settings.text).read_bytes()
  longest = settings.length * max(settings.longer)
  text = data.encode_text(list(raw), passage=4 * longest)
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
