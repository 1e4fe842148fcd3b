"""The training loop: epochs of jitted steps, evaluation after each, divergence noticed."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from softmax_research.functional.arrays import check_integer
from softmax_research.training import environment, metrics
from softmax_research.training.parallel import DATA, ParallelPrograms, check_shares, fill_up
from softmax_research.training.step import Divergence, TrainState

# Long enough to hide the cost of a call, short enough for live progress. On CPU a call takes its
# temporary memory from the system, which clears it: where that is a gigabyte, calls of a second
# spend a quarter of the processor's time on it.
_SECONDS_PER_CALL = 3.0

#: A run's learning curves by name; see `Fit`.
Curves = dict[str, list[float]]
_CURVES = ("epoch", "train_loss", "validation_nll", "validation_accuracy", "seconds")


class Progress(NamedTuple):
  """Hold what a display shows of a run under way: means over the seeds that are well.

  The first call of the step compiles it. Before it there is one report without a loss, and it
  counts for no speed and no time left.

  Attributes:
    epoch: the one under way, counted from 1.
    num_epochs: in all.
    step: updates made.
    num_steps: in all.
    loss: the mean of the epoch so far; None while the first call compiles, NaN before a batch that
      has a label.
    validation_accuracy: after the last epoch; None before the first has ended, or without
      validation.
    images_per_second: of measured calls alone; 0 before the first.
    seconds_left: likewise; None before the first.
  """

  epoch: int
  num_epochs: int
  step: int
  num_steps: int
  loss: float | None
  validation_accuracy: float | None
  images_per_second: float
  seconds_left: float | None = None


class Fit(NamedTuple):
  """Hold the outcome of training.

  Attributes:
    states: the final states, with a leading axis of seeds.
    curves: for each seed lists with one number an epoch: `epoch`, `train_loss`,
      `validation_nll`, `validation_accuracy`, `seconds`; None where there is none. The training
      loss is the mean over the batches that have a label.
    diverged: for each seed None, or where the loss ceased to be finite.
    images_per_second: training throughput of all seeds together, without the first call, which
      compiles.
    interrupted: training was asked to stop before its end.
  """

  states: TrainState
  curves: list[Curves]
  diverged: list[Divergence | None]
  images_per_second: float
  interrupted: bool


def check_batch_size(batch_size: int, num_examples: int) -> int:
  """Return the number of whole batches in an epoch.

  The remainder is left out; the next epoch's shuffle leaves out another one.

  Raises:
    ValueError: the batch size is not a positive integer, or exceeds the number of examples.

  Example:
    >>> check_batch_size(128, 1000)
    7
  """
  check_integer("batch_size", batch_size)
  if batch_size > num_examples:
    raise ValueError(
      f"Got batch_size={batch_size} for {num_examples} training examples; a batch must not be "
      f"larger than the data. Pass at most {num_examples}."
    )
  return num_examples // batch_size


def predict(
  programs: ParallelPrograms, states: TrainState, images: np.ndarray, *, batch_size: int = 512
):
  """Compute the log-probabilities of many images for every seed, batch by batch.

  The last batch is padded, so that one compiled program serves them all.

  Args:
    programs: see `parallelise`.
    states: training states.
    images: raw images `[N, ...]`.
    batch_size: number of images at a time.

  Returns:
    A float32 array `[S, N, K]`.
  """
  batch_size = min(batch_size, len(images))
  outputs = []
  for start in range(0, len(images), batch_size):
    padded = fill_up(images[start : start + batch_size], batch_size)
    outputs.append(np.asarray(programs.predict(states, padded), np.float32))
  return np.concatenate(outputs, axis=1)[:, : len(images)]


def fit(
  programs: ParallelPrograms,
  train: Any,
  validation: Any,
  *,
  seeds: Sequence[int],
  num_epochs: int,
  batch_size: int,
  on_progress: Callable[[Progress], None] = lambda progress: None,
  on_epoch: Callable[[TrainState, list[Curves]], None] = lambda states, curves: None,
  should_stop: Callable[[], bool] = lambda: False,
  resume: tuple[TrainState, list[Curves]] | None = None,
) -> Fit:
  """Train one model with many seeds at once.

  The position in the data follows from the number of steps made, so training can be cut and
  resumed between any two calls of a program, in the middle of an epoch too, without changing a
  bit of its outcome.

  Args:
    programs: see `parallelise`.
    train: a split with `images` and `labels`, those of `make_programs`, held on the devices for the
      whole run.
    validation: a split, evaluated after each epoch; or None, for no evaluation, as where examples
      have several labels. Of those `predict` and `evaluate_sets` tell how well they are found.
    seeds: each seeds the parameters, the order of the examples, augmentation and dropout.
    num_epochs: passes over the training split.
    batch_size: examples in a step of one seed.
    on_progress: called about once a second.
    on_epoch: called with the states and the curves so far after each epoch, to save them.
    should_stop: asked about once a second; if it says yes, training ends there as interrupted.
    resume: states and curves as `on_epoch` was given them or an interrupted fit returned them;
      training goes on after them.

  Raises:
    ValueError: the batch size does not fit the data or the devices, the examples for validation
      have several labels, or no example for training or for validation has one.
  """
  num_batches, ignored = check_batch_size(batch_size, len(train.labels)), programs.ignore_label
  _check_labelled("training", train.labels, ignored)
  if validation is not None:
    _check_single(validation.labels)
    _check_labelled("validation", validation.labels, ignored)
  check_shares(batch_size, programs.layout.mesh.shape[DATA])
  held = programs.hold(train.images, train.labels)
  states, curves = resume or (programs.init(seeds), [{n: [] for n in _CURVES} for _ in seeds])
  now, num_steps = _look(programs, states, len(seeds)), num_epochs * num_batches
  clock, batches, asked_to_stop = _Clock(batch_size * len(seeds)), None, False
  lost = None
  began = time.perf_counter()
  while goes_on := bool(np.any((now.bad_step < 0) & (now.step < num_steps))):
    steps, asked_to_stop = environment.agree(clock.steps_per_call(), asked_to_stop)
    if asked_to_stop:
      break
    position = int(now.step.max())  # Of the seeds that are well.
    epoch, start = divmod(position, num_batches)
    if batches is None:
      on_progress(Progress(epoch + 1, num_epochs, position, num_steps, None, None, 0.0))
    if batches is None or start == 0:
      batches = programs.deal(states, held, epoch, num_batches, batch_size)
    stop = min(start + steps, num_batches)
    states = programs.run_steps(states, batches, start, stop)
    now = _look(programs, states, len(seeds))
    clock.count(stop - start)
    well, position = np.flatnonzero(now.bad_step < 0), int(now.step.max())
    with np.errstate(invalid="ignore"):  # Of batches without a label there is no mean.
      losses = now.loss_sum / (stop if now.num_losses is None else np.float32(now.num_losses))
    if stop == num_batches and len(well):
      found = dict.fromkeys(well, (None, None))
      if validation is not None:
        looked = time.perf_counter()
        log_probs = predict(programs, states, validation.images)[: len(seeds)]
        clock.count_look(time.perf_counter() - looked)
        lost = np.isnan(log_probs).any(axis=(1, 2))
        found = {i: _scores(log_probs[i], validation.labels, ignored) for i in well}
      seconds, began = time.perf_counter() - began, time.perf_counter()
      for i in well:
        loss = None if np.isnan(losses[i]) else float(losses[i])
        values = (epoch + 1, loss, *found[i], seconds)
        for name, value in zip(_CURVES, values, strict=True):
          curves[i][name].append(value)
      on_epoch(states, curves)
    if len(well):
      accuracies = [curves[i]["validation_accuracy"][-1] for i in well if curves[i]["epoch"]]
      on_progress(
        Progress(
          epoch + 1,
          num_epochs,
          position,
          num_steps,
          float(np.mean(losses[well])),
          float(np.mean(accuracies)) if accuracies and None not in accuracies else None,
          clock.images_per_second(),
          clock.seconds_left(num_steps - position, num_epochs - (epoch + stop // num_batches)),
        )
      )
    asked_to_stop = should_stop()
  # The last update of all has no loss after it that would tell; its predictions do, or parameters.
  if lost is None:
    lost = _lost(programs.gather(states).params, len(seeds))
  bad_steps = np.where(lost & (now.bad_step < 0), now.step, now.bad_step)
  diverged = [
    Divergence(int(step), float(loss) if np.isfinite(loss) else None) if step >= 0 else None
    for step, loss in zip(bad_steps, now.last_finite_loss, strict=True)
  ]
  return Fit(states, curves, diverged, clock.images_per_second(), goes_on)


def _check_single(labels: np.ndarray) -> None:
  """Raise a ValueError where rows say that examples have several labels, or none."""
  labels = np.asarray(labels)
  if labels.ndim != 2:
    return
  if np.issubdtype(labels.dtype, np.integer) or not metrics.are_distributions(labels).all():
    raise ValueError(
      f"Got labels for validation of type {labels.dtype} and shape {labels.shape}, which are no "
      "distributions over classes; with several labels an example there is no accuracy to follow. "
      "Pass validation=None, and judge what training.predict returns by training.evaluate_sets. "
      "Cast one-hot rows to a floating-point type."
    )


def _check_labelled(purpose: str, labels: np.ndarray, ignore_label: int | None) -> None:
  """Raise a ValueError where no example has a label."""
  labels = np.asarray(labels)
  if not len(labels) or (labels.ndim == 1 and np.all(labels == ignore_label)):
    raise ValueError(
      f"Got {len(labels)} examples for {purpose}, none with a label; at least one must have one. "
      "Give other examples; for no validation pass validation=None."
    )


def _look(programs: ParallelPrograms, states: TrainState, num_seeds: int) -> TrainState:
  """Return the numbers of each seed `[S]`, without the places that repeat the last one."""
  numbers = states._replace(params=None, model_state=None, opt_state=None)
  return jax.tree.map(lambda of: of[:num_seeds], programs.gather(numbers))


def _lost(params: Any, num_seeds: int) -> np.ndarray:
  """Return which seeds have parameters that are not finite."""
  leaves = [of[:num_seeds].reshape(num_seeds, -1) for of in jax.tree.leaves(params)]
  return np.any([~np.isfinite(of).all(1) for of in leaves], axis=0)


def _scores(
  log_probs: np.ndarray, labels: np.ndarray, ignore_label: int | None
) -> tuple[float | None, float]:
  """Return the likelihood and the accuracy; a prediction that is NaN is wrong."""
  if np.isnan(log_probs).any():
    log_probs, labels = metrics.labelled(log_probs, labels, ignore_label)
    right = ~np.isnan(log_probs).any(1) * metrics.hits(np.argmax(log_probs, 1), labels)
    return None, float(np.mean(right))
  scores = metrics.evaluate(log_probs, labels, ignore_label=ignore_label)
  return scores["nll"], scores["accuracy"]


class _Clock:
  """Measure steps a second, and from it how many steps to ask for in one call."""

  def __init__(self, batch_size: int):
    self._batch_size = batch_size
    self._calls = 0
    self._steps = 0
    self._seconds = 0.0
    self._looks: list[float] = []
    self._last = time.perf_counter()

  def steps_per_call(self) -> int:
    self._last = time.perf_counter()
    if not self._seconds:
      return 1 if not self._calls else 2
    return max(1, round(_SECONDS_PER_CALL * self._steps / self._seconds))

  def count(self, steps: int) -> None:
    self._calls += 1
    if self._calls > 1:  # The first call compiles.
      self._steps += steps
      self._seconds += time.perf_counter() - self._last

  def count_look(self, seconds: float) -> None:
    self._looks.append(seconds)

  def seconds_left(self, steps: int, epochs: int) -> float | None:
    if not self._seconds:
      return None
    look = min(self._looks[1:], default=0.0)  # The first one compiles.
    return steps * self._seconds / self._steps + epochs * look

  def images_per_second(self) -> float:
    return self._steps * self._batch_size / self._seconds if self._seconds else 0.0
