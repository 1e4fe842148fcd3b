"""Robustness: the accuracy of trained models under attacks and under noise."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments import assembly
from experiments.reproduction import attacks, corruptions
from softmax_research import data, heads, training

_BATCH = 100


class Model(NamedTuple):
  """Hold a trained model as a function of images.

  Attributes:
    log_prob: `(variables, images [N, ...] in [0, 1]) -> [N, K]`; the same for all seeds.
    variables: parameters and the backbone's state.
    temperature: of the softmax that was trained; 1 of any other head.
    features: `(variables, images) -> [N, D]`, likewise of images as uint8.
    seed: the run's.
  """

  log_prob: Callable[[Any, jax.Array], jax.Array]
  variables: Any
  temperature: float
  features: Callable[[Any, jax.Array], jax.Array] | None = None
  seed: int = 0


def models(
  config: ConfigDict,
  splits: assembly.Splits,
  programs: training.ParallelPrograms,
  states: training.TrainState,
  head: str,
  seeds: Sequence[int],
) -> list[Model]:
  """Return the trained models of a cell.

  Args:
    config: a checked configuration.
    splits: the data, of uint8 images.
    programs: that trained.
    states: trained; places beyond those of the seeds repeat the last one.
    head: the cell's.
    seeds: likewise.

  Returns:
    A model a seed.
  """
  backbone, layer = assembly.make_backbone(config), assembly.make_head_for(splits, head)

  def features(variables, images):
    params, model_state = variables
    inputs = data.standardise(images, splits.mean, splits.std)
    return backbone.apply(params["backbone"], model_state, inputs, train=False)[0]

  def log_prob(variables, images):
    return layer.log_prob(variables[0]["head"], features(variables, images))

  gathered = programs.gather(states)
  temperature = heads.parse(head)[1].get("temperature", 1.0)
  return [
    Model(
      log_prob,
      jax.tree.map(lambda leaf, i=i: leaf[i], (gathered.params, gathered.model_state)),
      temperature,
      features,
      seed,
    )
    for i, seed in enumerate(seeds)
  ]


def pgd(
  model: Model,
  split: data.Split,
  *,
  epsilon: float = 8.0,
  step: float = 2.0,
  num_steps: int = 20,
  num_images: int = 1000,
) -> dict[str, Any]:
  """Measure the accuracy under untargeted PGD, for each objective that an attacker may raise.

  Cross-entropy at a temperature that the model was not trained at may have no gradient left where
  the model is sure, and then the attack fails, though others succeed. So `worst` counts an image
  as classified only where no attacker misleads the model.

  Args:
    model: a trained model.
    split: raw uint8 images and labels, of which a stratified sample is attacked.
    epsilon: the ball's radius in 255ths.
    step: likewise.
    num_steps: of the attack.
    num_images: the sample's size; of a smaller split all are attacked.

  Returns:
    Under `PGD EPSILON`: `clean_accuracy` of the sample, an accuracy for each of
    `attacks.OBJECTIVES`, and `worst_accuracy`.
  """
  images, labels = _sample(split, num_images)
  clean, attacked = [], []
  for i, start in enumerate(range(0, len(labels), _BATCH)):
    rows = slice(start, start + _BATCH)
    found = _attack(
      model.log_prob,
      model.variables,
      float(model.temperature),
      images[rows],
      labels[rows],
      jax.random.key(i),
      epsilon / 255,
      step / 255,
      num_steps=int(num_steps),
    )
    clean.append(found[0])
    attacked.append(found[1])
  survived = np.concatenate(attacked, axis=1)
  each = {
    f"{name}_accuracy": float(row.mean())
    for name, row in zip(attacks.OBJECTIVES, survived, strict=True)
  }
  scores = {"clean_accuracy": float(np.concatenate(clean).mean())} | each
  return {f"PGD {epsilon:g}": scores | {"worst_accuracy": float(survived.all(0).mean())}}


def noise(
  model: Model, split: data.Split, *, strength: float = 1.0, num_images: int = 1000
) -> dict[str, Any]:
  """Measure the accuracy under each kind of noise.

  Args:
    model: a trained model.
    split: raw uint8 images and labels, of which a stratified sample is corrupted.
    strength: see `corruptions.corrupt`.
    num_images: the sample's size.

  Returns:
    Under `KIND noise` the `accuracy` over all severities and `severity1_accuracy` and so on; under
    `noise` the mean `accuracy` of all kinds, and `clean_accuracy`.
  """
  images, labels = _sample(split, num_images)

  def accuracy(points):
    batches = [
      _log_prob(model.log_prob, model.variables, points[start : start + _BATCH])
      for start in range(0, len(points), _BATCH)
    ]
    return float(np.mean(np.concatenate(batches).argmax(-1) == labels))

  found = {}
  for kind in corruptions.KINDS:
    each = {
      f"severity{s}_accuracy": accuracy(corruptions.corrupt(images, kind, s, strength=strength))
      for s in corruptions.SEVERITIES
    }
    found[f"{kind} noise"] = {"accuracy": float(np.mean(list(each.values())))} | each
  mean = float(np.mean([of["accuracy"] for of in found.values()]))
  return found | {"noise": {"accuracy": mean, "clean_accuracy": accuracy(images)}}


def check_images(split: data.Split) -> None:
  """Raise a ValueError unless the split holds images whose range is known."""
  if split.images.dtype != np.uint8:
    raise ValueError(
      f"Got examples of {split.images.dtype}; attacks and noise need uint8 images, as MNIST's. "
      "Leave the measures out."
    )


def _sample(split: data.Split, size: int) -> tuple[np.ndarray, np.ndarray]:
  """Return images in [0, 1] and labels of the same sample for every model."""
  rows = np.arange(len(split.labels))
  if size < len(rows):
    rows = data.stratified_sample(split.labels, int(size), seed=0)
  return np.asarray(split.images[rows], np.float32) / 255, np.asarray(split.labels[rows])


_log_prob = jax.jit(lambda log_prob, *arguments: log_prob(*arguments), static_argnums=0)


@functools.partial(jax.jit, static_argnums=0, static_argnames="num_steps")
def _attack(
  log_prob, variables, temperature, images, labels, key, epsilon, step_size, *, num_steps
):
  """Return whether the model is right `[N]`, and whether it is under each attack `[A, N]`."""
  objectives: Sequence[attacks.Objective] = tuple(attacks.OBJECTIVES.values())

  def right(points):
    return log_prob(variables, points).argmax(-1) == labels

  def right_under(number):
    def loss(points):
      return jax.lax.switch(number, objectives, log_prob(variables, points), labels, temperature)

    points = attacks.projected_gradient(
      loss, images, key, epsilon=epsilon, step_size=step_size, num_steps=num_steps
    )
    return right(points)

  # One after another, so that the network is compiled once.
  return right(images), jax.lax.map(right_under, jnp.arange(len(objectives)))


#: Measures of a trained model and a split, by name; their options are positive numbers.
MEASURES: dict[str, Callable[..., dict[str, Any]]] = {"pgd": pgd, "noise": noise}
