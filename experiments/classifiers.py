"""Classifiers: train a head's seeds as a study asks, with checkpoints, and judge the outcome."""

import functools
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments import assembly
from softmax_research import study, training
from softmax_research.data.cache import whole_file
from softmax_research.study import record, workdir
from softmax_research.training import environment

# An epoch that ends sooner after a checkpoint is not saved.
_SECONDS_BETWEEN_SAVES = 10.0
_TIMED_STEPS = 3

#: Called with the programs, the states and the curves.
EpochHook = Callable[[training.ParallelPrograms, training.TrainState, list[training.Curves]], None]


class Predictions(NamedTuple):
  """Hold log-probabilities `[N, K]` on the validation and the test split."""

  validation: np.ndarray
  test: np.ndarray


class Trained(NamedTuple):
  """Hold a seed that was trained: its record, its predictions and its state.

  Where it diverged there are no metrics and no predictions. The seconds are the seed's share of the
  time of all that trained together; a study may add to the record. The state is of NumPy arrays.
  """

  record: study.Record
  predictions: Predictions | None
  state: training.TrainState


def main(
  of: study.Study, *, num_seeds=lambda config: config.get("seeds", 1), **options: Any
) -> None:
  """Run a study as a script with the flag `--devices`, for so many seeds; see `study.main`."""
  study.main(
    of,
    devices=assembly.device_options,
    prepare_devices=lambda devices, settings: assembly.prepare_devices(
      devices, num_seeds(settings), settings.get("batch_size")
    ),
    **options,
  )


def train(
  context: study.Context,
  config: ConfigDict,
  splits: assembly.Splits,
  head: str,
  *,
  on_epoch: EpochHook = lambda programs, states, curves: None,
  seconds_between_saves: float = _SECONDS_BETWEEN_SAVES,
) -> list[Trained]:
  """Train the seeds that a study asks for, going on from the newest checkpoint if there is one.

  Args:
    context: of the study's `run`.
    config: a checked configuration with the keys of `configs/default.py`.
    splits: the data.
    head: the head's specification.
    on_epoch: called after each epoch, before the states are saved; it may add to the curves.
    seconds_between_saves: epochs that end sooner after a checkpoint are not saved.

  Raises:
    SystemExit: SIGTERM or SIGINT came; the state is saved.
    StorageError: a checkpoint cannot be written.
  """
  began = time.perf_counter()
  programs = make_programs(context, config, splits, head)
  saver = _Saver(context, programs, seconds_between_saves)

  def after_epoch(states, curves):
    on_epoch(programs, states, curves)
    saver.save_if_due(states, curves)

  resume = saver.restore()
  spent = max((sum(of["seconds"]) for of in resume[1]), default=0.0) if resume else 0.0
  fitted = fit(
    context, config, programs, splits.train, splits.validation, on_epoch=after_epoch, resume=resume
  )
  if fitted.interrupted:
    step = saver.save(fitted.states, fitted.curves)
    context.interrupt(f"at step {step} and saved")
  predictions = predict(programs, fitted.states, splits)
  seconds = time.perf_counter() - began + spent
  return judge(context, programs, fitted, splits, predictions, seconds)


def make_programs(
  context: study.Context, config: ConfigDict, splits: assembly.Splits, head: str
) -> training.ParallelPrograms:
  """Make the programs that train the context's seeds of a head on the devices at hand."""
  layout = assembly.lay_out(config, splits, context.devices, len(context.seeds))
  kept = context.kept.setdefault("programs", {})
  return assembly.make_parallel_programs(config, splits, head, layout, kept)


def fit(
  context: study.Context,
  config: ConfigDict,
  programs: training.ParallelPrograms,
  train: Any,
  validation: Any,
  **options: Any,
) -> training.Fit:
  """Train the context's seeds on a split; see `training.fit` for its options."""
  return training.fit(
    programs,
    train,
    validation,
    seeds=context.seeds,
    batch_size=config.batch_size,
    on_progress=context.progress,
    should_stop=context.interruption,
    **{"num_epochs": config.num_epochs} | options,
  )


def judge(
  context: study.Context,
  programs: training.ParallelPrograms,
  fitted: training.Fit,
  splits: assembly.Splits,
  predictions: Sequence[Predictions],
  seconds: float,
) -> list[Trained]:
  """Judge the context's seeds, which trained together in so many seconds, by their predictions."""
  seeds = list(context.seeds)
  states = _gather(context, programs, fitted.states)
  common = {
    "num_parameters": sum(p.size for p in jax.tree.leaves(states.params)) // len(seeds),
    "images_per_second": fitted.images_per_second,
    "dataset": splits.describe(),
    "devices": programs.layout.describe() | {"seeds_together": seeds},
  }
  found = []
  for i, seed in enumerate(seeds):
    diverged = fitted.diverged[i]
    made = context.record(
      seed,
      seconds=seconds / len(seeds),
      status="diverged" if diverged else "finished",
      metrics={} if diverged else evaluate(predictions[i], splits),
      curves=fitted.curves[i],
      measured=common | ({"diverged": diverged._asdict()} if diverged else {}),
    )
    state = jax.tree.map(lambda leaf, i=i: leaf[i], states)
    found.append(Trained(made, None if diverged else predictions[i], state))
  return found


def predict(
  programs: training.ParallelPrograms, states: training.TrainState, splits: assembly.Splits
) -> list[Predictions]:
  """Predict the validation and the test split, for each seed."""
  validation = training.predict(programs, states, splits.validation.images)
  test = training.predict(programs, states, splits.test.images)
  return [Predictions(*both) for both in zip(validation, test, strict=True)]


def evaluate(predictions: Predictions, splits: assembly.Splits) -> dict[str, Any]:
  """Compute the metrics of both splits."""
  return {
    part: training.evaluate(
      getattr(predictions, part), getattr(splits, part).labels, ignore_label=splits.ignore_label
    )
    for part in ("validation", "test")
  }


def estimate(
  context: study.Context,
  config: ConfigDict,
  splits: assembly.Splits,
  head: str,
  *,
  test_looks: int = 1,
  extras: Callable[[training.ParallelPrograms, training.TrainState], float] = lambda *_: 0.0,
) -> float:
  """Estimate the seconds of `train`, by a few steps and a look at the data that are thrown away.

  Compiling is measured and counted once, steps and evaluations as often as training makes them, the
  test split being looked at so many times; `extras`, called with the programs and the states,
  returns the seconds of all else.
  """
  began = time.perf_counter()
  programs = make_programs(context, config, splits, head)
  states = programs.init(list(context.seeds))
  held = programs.hold(splits.train.images, splits.train.labels)
  num_batches = training.check_batch_size(config.batch_size, len(splits.train.labels))
  batches = programs.deal(states, held, 0, num_batches, config.batch_size)
  states = jax.block_until_ready(programs.run_steps(states, batches, 0, 1))
  images = splits.validation.images[:512]
  training.predict(programs, states, images)
  compiling = time.perf_counter() - began
  steps, began = min(_TIMED_STEPS, num_batches), time.perf_counter()
  states = jax.block_until_ready(programs.run_steps(states, batches, 0, steps))
  step = (time.perf_counter() - began) / steps
  began = time.perf_counter()
  training.predict(programs, states, images)
  look = (time.perf_counter() - began) / len(images)
  looked_at = len(splits.validation.labels) * (config.num_epochs + 1)
  looked_at += len(splits.test.labels) * test_looks
  training_seconds = step * num_batches * config.num_epochs + look * looked_at
  return compiling + training_seconds + extras(programs, states)


def prediction_path(directory: pathlib.Path, cell: dict[str, Any], seed: int) -> pathlib.Path:
  """Name the file of a seed's predictions."""
  return directory / "predictions" / f"{record.file_name(cell, seed)}.npz"


def model_path(directory: pathlib.Path, cell: dict[str, Any], seed: int) -> pathlib.Path:
  """Name the file of a seed's model."""
  return directory / "models" / f"{record.file_name(cell, seed)}.npz"


def save_predictions(path: pathlib.Path, predictions: Predictions) -> None:
  """Write predictions whole or not at all; a StorageError where they cannot be written."""
  with workdir.storage_errors(path), whole_file(path) as file:
    np.savez(file, **predictions._asdict())


def load_predictions(path: pathlib.Path, splits: assembly.Splits) -> Predictions:
  """Read predictions; a ValueError if the file is missing, damaged or of other data."""
  try:
    with np.load(path) as file:
      found = Predictions(file["validation"], file["test"])
  except Exception as error:  # NumPy and zip files have many errors for damage.
    raise ValueError(f"{path} cannot be read ({type(error).__name__}: {error})") from None
  shapes = tuple(len(split.labels) for split in (splits.validation, splits.test))
  if tuple(map(len, found)) != shapes or found.test.shape[-1] != splits.num_classes:
    raise ValueError(f"{path} holds predictions of other data")
  return found


def keep_models(
  context: study.Context, config: ConfigDict, splits: assembly.Splits, trained: Sequence[Trained]
) -> None:
  """Keep the models of seeds that did not diverge, for `training.load`."""
  finished = [of for of in trained if of.predictions is not None]
  if not finished or not environment.is_first():
    return
  cell = context.cell
  programs = assembly.make_programs(config, splits, cell["head"])
  program = training.export_prediction(programs, finished[0].state, splits.test.images)
  for of in finished:
    seed = of.record["seed"]
    path = model_path(context.workdir, cell, seed)
    about = {"cell": cell, "seed": seed, "dataset": splits.describe()}
    with workdir.storage_errors(path):
      training.save_model(path, program, of.state, about)


def _gather(context, programs, states):
  """Leave out the places that repeat the last seed: their number depends on the devices."""
  return jax.tree.map(lambda leaf: leaf[: len(context.seeds)], programs.gather(states))


class _Saver:
  def __init__(self, context, programs, seconds_between_saves: float):
    self._context, self._programs = context, programs
    self._between, self._last = seconds_between_saves, time.monotonic()

  @functools.cached_property
  def _checkpoints(self) -> training.Checkpoints:
    """Not made before it is needed: a short run saves nothing."""
    with workdir.storage_errors(self._context.directory):
      return training.Checkpoints(self._context.directory)

  def save(self, states, curves) -> int:
    """Save, and return the step."""
    gathered = _gather(self._context, self._programs, states)
    if environment.is_first():
      with workdir.storage_errors(self._context.directory):
        self._checkpoints.save(gathered, curves)
    self._last = time.monotonic()
    return int(gathered.step.max())

  def save_if_due(self, states, curves) -> None:
    passed = time.monotonic() - self._last
    if environment.from_first(lambda: passed >= self._between):
      self.save(states, curves)

  def restore(self):
    """Return the states and curves of the newest checkpoint, or None where there is none."""
    if not environment.from_first(self._context.directory.is_dir):
      return None
    # Of these processes but the first know the shapes alone.
    self._states = _gather(
      self._context, self._programs, self._programs.init(list(self._context.seeds))
    )
    curves = environment.from_first(self._read)
    if curves is None:
      return None
    states = environment.share(self._states)
    epochs = max(len(of["epoch"]) for of in curves)
    name = record.describe(self._context.cell)
    print(f"{name}: resuming at step {states.step.max()}, after {epochs} epochs.")
    return self._programs.scatter(states), curves

  def _read(self):
    if (restored := self._checkpoints.restore(self._states)) is None:
      return None
    self._states, curves = restored
    return curves
