"""The training loop: epochs of jitted steps, evaluation after each, divergence noticed."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from softmax_research.training import metrics
from softmax_research.training.step import Programs, TrainState

# Long enough to hide the cost of a call, short enough for live progress.
_SECONDS_PER_CALL = 1.0


class Progress(NamedTuple):
  """Hold what a display shows of a run under way."""

  epoch: int
  num_epochs: int
  step: int
  num_steps: int
  loss: float
  validation_accuracy: float | None
  images_per_second: float


class Divergence(NamedTuple):
  """Hold where a run met a loss that is not finite."""

  step: int
  last_finite_loss: float | None


class Fit(NamedTuple):
  """Hold the outcome of a run.

  Attributes:
    state: the final training state.
    curves: lists with one number an epoch: `epoch`, `train_loss`, `validation_nll`,
      `validation_accuracy`, `seconds`.
    diverged: None, or where the loss ceased to be finite.
    images_per_second: training throughput without the first call, which compiles.
  """

  state: TrainState
  curves: dict[str, list[float]]
  diverged: Divergence | None
  images_per_second: float


def check_batch_size(batch_size: int, num_examples: int) -> int:
  """Return the number of whole batches in an epoch.

  The remainder is left out; the next epoch's shuffle leaves out another one.

  Raises:
    ValueError: the batch size is not a positive integer, or exceeds the number of examples.

  Example:
    >>> check_batch_size(128, 1000)
    7
  """
  if not isinstance(batch_size, int) or batch_size < 1:
    raise ValueError(f"Got batch_size={batch_size!r}; it must be an integer of at least 1.")
  if batch_size > num_examples:
    raise ValueError(
      f"Got batch_size={batch_size} for {num_examples} training examples; a batch must not be "
      f"larger than the data. Pass at most {num_examples}."
    )
  return num_examples // batch_size


def predict(programs: Programs, state: TrainState, images: np.ndarray, *, batch_size: int = 500):
  """Compute the log-probabilities of many images, batch by batch.

  The last batch is padded, so that one compiled program serves them all.

  Args:
    programs: see `make_programs`.
    state: a training state.
    images: raw images `[N, ...]`.
    batch_size: number of images at a time.

  Returns:
    A float32 array `[N, K]`.
  """
  batch_size = min(batch_size, len(images))
  outputs = []
  for start in range(0, len(images), batch_size):
    batch = np.asarray(images[start : start + batch_size])
    missing = batch_size - len(batch)
    padded = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)]) if missing else batch
    outputs.append(np.asarray(programs.predict(state, padded), np.float32)[: len(batch)])
  return np.concatenate(outputs)


def fit(
  programs: Programs,
  train: Any,
  validation: Any,
  *,
  seed: int,
  num_epochs: int,
  batch_size: int,
  on_progress: Callable[[Progress], None] = lambda progress: None,
  on_epoch: Callable[[TrainState, dict[str, list[float]]], None] = lambda state, curves: None,
  resume: tuple[TrainState, dict[str, list[float]]] | None = None,
) -> Fit:
  """Train one model with one seed.

  Args:
    programs: see `make_programs`.
    train: a split with `images` and `labels`, held on the device for the whole run.
    validation: a split, evaluated after each epoch.
    seed: seeds the parameters, the order of the examples, augmentation and dropout.
    num_epochs: passes over the training split.
    batch_size: examples in a step.
    on_progress: called about once a second.
    on_epoch: called with the state and the curves so far after each epoch, to save them.
    resume: a state and its curves as `on_epoch` was given them; training goes on after them.

  Returns:
    The outcome.

  Raises:
    ValueError: the batch size does not fit the data.
  """
  num_batches = check_batch_size(batch_size, len(train.labels))
  images, labels = jax.device_put((np.asarray(train.images), np.asarray(train.labels)))
  if resume is None:
    state = programs.init(seed)
    curves = {k: [] for k in ("epoch", "train_loss", "validation_nll", "validation_accuracy")}
    curves["seconds"] = []
  else:
    state, curves = resume
  clock = _Clock(batch_size)
  for epoch in range(len(curves["epoch"]), num_epochs):
    began = time.perf_counter()
    order = programs.shuffle(state, epoch, num_batches, batch_size, len(train.labels))
    done = 0
    while done < num_batches:
      stop = min(done + clock.steps_per_call(), num_batches)
      state = programs.run_steps(state, images, labels, order, done, stop)
      state.step.block_until_ready()
      clock.count(stop - done)
      done = stop
      on_progress(
        Progress(
          epoch + 1,
          num_epochs,
          epoch * num_batches + done,
          num_epochs * num_batches,
          float(state.loss_sum) / done,
          curves["validation_accuracy"][-1] if epoch else None,
          clock.images_per_second(),
        )
      )
      if int(state.bad_step) >= 0:
        last = float(state.last_finite_loss)
        divergence = Divergence(int(state.bad_step), last if np.isfinite(last) else None)
        return Fit(state, curves, divergence, clock.images_per_second())
    scores = metrics.evaluate(predict(programs, state, validation.images), validation.labels)
    curves["epoch"].append(epoch + 1)
    curves["train_loss"].append(float(state.loss_sum) / num_batches)
    curves["validation_nll"].append(scores["nll"])
    curves["validation_accuracy"].append(scores["accuracy"])
    curves["seconds"].append(time.perf_counter() - began)
    on_epoch(state, curves)
  return Fit(state, curves, None, clock.images_per_second())


class _Clock:
  """Measure steps a second, and from it how many steps to ask for in one call."""

  def __init__(self, batch_size: int):
    self._batch_size = batch_size
    self._calls = 0
    self._steps = 0
    self._seconds = 0.0
    self._last = time.perf_counter()

  def steps_per_call(self) -> int:
    self._last = time.perf_counter()
    if not self._seconds:
      return 1 if not self._calls else 10
    return max(1, round(_SECONDS_PER_CALL * self._steps / self._seconds))

  def count(self, steps: int) -> None:
    self._calls += 1
    if self._calls > 1:  # The first call compiles.
      self._steps += steps
      self._seconds += time.perf_counter() - self._last

  def images_per_second(self) -> float:
    return self._steps * self._batch_size / self._seconds if self._seconds else 0.0
