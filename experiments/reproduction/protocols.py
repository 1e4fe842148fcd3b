"""Protocols: which data a cell's seeds are trained on, and how they are trained and judged.

Beside the accuracy after the last epoch stands that at the epoch which the validation split
selects. The test split is predicted where the validation accuracy is the best so far, because
parameters of past epochs are not kept; it selects nothing. These accuracies stand among the
learning curves, so checkpoints hold them and a resumed run has the same.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from experiments import assembly, classifiers
from experiments.reproduction import measures, search
from softmax_research import data, study, training
from softmax_research.study.study import Record
from softmax_research.training import metrics

_COMPONENTS = 256
_FOLD_SEED = 10  # Agarap's.


def load_splits(setting: ConfigDict) -> assembly.Splits:
  """Load the splits of a setting, cut down and transformed as it says.

  The validation split is taken out first, then the training split is cut down, so all sizes are
  judged by the same validation images.
  """
  splits, size = assembly.load_splits(setting.train), setting.num_train
  if size:
    images, labels = splits.train
    if size > len(labels):
      raise ValueError(
        f"Got num_train={size} of {len(labels)} training examples; pass fewer, or 0."
      )
    if size < len(labels):
      rows = data.stratified_sample(labels, size, seed=setting.train.split_seed)
      mean, std = data.channel_statistics(images[rows])
      splits = splits._replace(train=data.Split(images[rows], labels[rows]), mean=mean, std=std)
  if setting.protocol == "cross_validation":
    check_folds(splits.train, setting)
  return TRANSFORMS[setting.transform](splits)


def principal_components(splits: assembly.Splits) -> assembly.Splits:
  """Standardise each pixel, keep the 256 first principal components, and lay them out as 16 x 16.

  Everything is fitted on the training split. Pixels that never vary become 0.
  """
  from sklearn.decomposition import PCA  # noqa: PLC0415  # Slow to import.
  from sklearn.pipeline import make_pipeline  # noqa: PLC0415
  from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

  def flat(split):
    return np.asarray(split.images, np.float32).reshape(len(split.labels), -1)

  transform = make_pipeline(StandardScaler(), PCA(_COMPONENTS, svd_solver="covariance_eigh"))
  transform.fit(flat(splits.train))

  def change(split):
    images = transform.transform(flat(split)).reshape(len(split.labels), 16, 16, 1)
    return data.Split(images, split.labels)

  parts = {name: change(getattr(splits, name)) for name in ("train", "validation", "test")}
  return as_measured(splits._replace(**parts))


def as_measured(splits: assembly.Splits) -> assembly.Splits:
  """Leave the inputs as they are: nothing is standardised."""
  return splits._replace(mean=np.zeros(1, np.float32), std=np.ones(1, np.float32))


#: What becomes of images before training, by name.
TRANSFORMS = {
  "none": lambda splits: splits,
  "pca": principal_components,
  "as_measured": as_measured,
}


def train(
  context: study.Context,
  setting: ConfigDict,
  config: ConfigDict,
  splits: assembly.Splits,
  values: dict[str, Any],
) -> list[Record]:
  """Train the seeds of a cell and measure them; a trial's are judged by validation alone.

  The values are of hyperparameters, which a search tries or chose.
  """
  if "trial" in context.cell:  # The test split is not even looked at.
    records = [of.record for of in classifiers.train(context, config, splits, config.heads)]
    for made in records:
      made["metrics"].pop("test", None)
    return records
  measure = measures.measurer(setting.measures, config, splits, config.heads)
  found = classifiers.train(context, config, splits, config.heads, on_epoch=looker(splits))
  for of in found:
    began, measured = time.perf_counter(), of.record["measured"]
    measured |= ({"values": values} if values else {}) | measure(of)
    if chosen := selected(of.record["curves"]):
      measured["selected"] = chosen
    of.record["time"]["seconds"] += round(time.perf_counter() - began, 3)
  return [of.record for of in found]


def cross_validate(
  context: study.Context,
  setting: ConfigDict,
  config: ConfigDict,
  splits: assembly.Splits,
  values: dict[str, Any],
) -> list[Record]:
  """Train on all folds of the training split but one, for each fold; see `train`.

  With `carry_over` one model goes from fold to fold, so from the second fold on it has been
  trained on the examples that it is judged by; its scores there are too good. The test split is
  predicted by the last model. Without it each fold has a new model, and the first fold's predicts
  the test split.
  """
  del values
  began = time.perf_counter()
  measure = measures.measurer(setting.measures, config, splits, config.heads)
  # A schedule of the learning rate is one model's, over all the folds that it goes through.
  whole = config.copy_and_resolve_references()
  whole.num_epochs *= setting.folds if setting.carry_over else 1
  programs = classifiers.make_programs(context, whole, splits, config.heads)
  fits, resume, judged = [], None, None
  for index, (rest, held) in enumerate(folds_of(splits.train, setting.folds)):
    num_epochs = config.num_epochs * (index + 1 if setting.carry_over else 1)
    fit = classifiers.fit(
      context, config, programs, rest, held, num_epochs=num_epochs, resume=resume
    )
    if fit.interrupted:
      context.interrupt()
    if setting.carry_over:
      # The curves start anew: they are of this fold's examples.
      resume = fit.states, [{name: [] for name in of} for of in fit.curves]
    if setting.carry_over or index == 0:
      # Now, because the next fold's first step uses the states up.
      judged = classifiers.predict(programs, fit.states, splits)
    fits.append(fit)
  seconds = time.perf_counter() - began
  # A fold that diverged spoils the run, whichever it is.
  by_seed = zip(*(fit.diverged for fit in fits), strict=True)
  diverged = [next(filter(None, of_folds), None) for of_folds in by_seed]
  fit = fits[-1]._replace(curves=fits[0].curves, diverged=diverged)
  found = classifiers.judge(context, programs, fit, splits, judged, seconds)
  for i, of in enumerate(found):
    if of.record["status"] == "finished":
      accuracies = [fit.curves[i]["validation_accuracy"][-1] for fit in fits]
      of.record["measured"] |= summarise_folds(accuracies) | measure(of)
  return [of.record for of in found]


def estimate(context: study.Context, setting: ConfigDict, splits: assembly.Splits) -> float:
  """Estimate the seconds that a cell's seeds take, looks at the test split and measures included.

  Of folds the first is timed, and all are taken to cost the same. What was measured of a head in a
  setting serves all its options and trials.
  """
  known = context.kept.setdefault("seconds", {})
  head = search.train_config(context.cell, setting).heads.partition(":")[0]
  key = context.cell["setting"], "trial" in context.cell, head, len(context.seeds)
  if key not in known:
    known[key] = _measure_seconds(context, setting, splits)
  return known[key]


def _measure_seconds(context: study.Context, setting: ConfigDict, splits: assembly.Splits) -> float:
  config, of_fold = search.train_config(context.cell, setting), splits
  is_trial = "trial" in context.cell
  if setting.protocol == "cross_validation":
    rest, held = next(folds_of(splits.train, setting.folds))
    of_fold = splits._replace(train=rest, validation=held)
    config.num_epochs *= setting.folds

  def extras(programs, states):
    if is_trial or not setting.measures:
      return 0.0
    seeds, predictions = context.seeds, classifiers.predict(programs, states, splits)
    fit = training.Fit(states, [{} for _ in seeds], [None for _ in seeds], 0.0, False)
    first, *_ = classifiers.judge(context, programs, fit, splits, predictions, 0.0)
    return measures.estimate(setting.measures, config, splits, config.heads, first, len(seeds))

  looks = config.num_epochs if setting.protocol == "train" and not is_trial else 0
  own = {"test_looks": 1 + looks, "extras": extras}
  return classifiers.estimate(context, config, of_fold, config.heads, **own)


def looker(splits: assembly.Splits) -> classifiers.EpochHook:
  """Return a function that adds to the curves the test accuracy where an epoch is the best so far
  by validation accuracy, the first of equals, and else None.
  """

  def look(programs, states, curves):
    log_probs = None
    for i, of in enumerate(curves):
      looked = of.setdefault("test_accuracy", [])
      if len(looked) == len(of["epoch"]):  # Diverged, so no epoch was added.
        continue
      *before, last = of["validation_accuracy"]
      accuracy = None
      if not before or last > max(before):
        if log_probs is None:
          log_probs = training.predict(programs, states, splits.test.images)
        known, labels = metrics.labelled(log_probs[i], splits.test.labels, splits.ignore_label)
        accuracy = float(np.mean(metrics.hits(known.argmax(-1), labels)))
      looked.append(accuracy)

  return look


def selected(curves: training.Curves) -> dict[str, Any] | None:
  """Return the epoch that the validation split selects, with its accuracies; None without looks."""
  if not curves.get("test_accuracy"):
    return None
  best = int(np.argmax(curves["validation_accuracy"]))
  accuracy = curves["test_accuracy"][best]
  return {
    "epoch": curves["epoch"][best],
    "validation_accuracy": curves["validation_accuracy"][best],
    "accuracy": accuracy,
    "error": 1 - accuracy,
  }


def check_folds(split: data.Split, setting: ConfigDict) -> None:
  """Raise a ValueError unless a setting's folds can be made and trained on."""
  size, all_rows = setting.train.batch_size, _rows_of_folds(split, setting.folds)
  numbers = {training.check_batch_size(size, len(rest)) for rest, _ in all_rows}
  if setting.carry_over and len(numbers) > 1:
    # Where a model that goes on stands in its epochs is told by their number of batches.
    raise ValueError(
      f"Got batch_size={size}, of which the folds' epochs have {sorted(numbers)} batches; a model "
      "that is carried over needs as many in all. Take another size."
    )


def folds_of(split: data.Split, folds: int) -> Iterator[tuple[data.Split, data.Split]]:
  """Yield for each fold the rest of the examples and the fold's own, the same for every run.

  Folds are stratified by class.
  """
  for both in _rows_of_folds(split, folds):
    yield tuple(data.Split(split.images[rows], split.labels[rows]) for rows in both)


def _rows_of_folds(split: data.Split, folds: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  from sklearn.model_selection import StratifiedKFold  # noqa: PLC0415  # Slow to import.

  splitter = StratifiedKFold(folds, shuffle=True, random_state=_FOLD_SEED)
  yield from splitter.split(np.zeros(len(split.labels)), split.labels)


def summarise_folds(accuracies: Sequence[float]) -> dict[str, float]:
  """Return the folds' accuracies with their mean and population standard deviation."""
  each = {f"fold{i}_accuracy": float(value) for i, value in enumerate(accuracies, 1)}
  return {"cv_accuracy": float(np.mean(accuracies)), "cv_std": float(np.std(accuracies))} | each


#: Protocols by name.
PROTOCOLS = {"train": train, "cross_validation": cross_validate}


def run(context: study.Context, setting: ConfigDict, splits: assembly.Splits) -> list[Record]:
  """Train the seeds of a cell, which is a trial or has the values of its best trial."""
  cell = context.cell
  values = cell.get("trial") or search.choose(cell, setting, context.finished)
  config = search.train_config(cell, setting, values)
  return PROTOCOLS[setting.protocol](context, setting, config, splits, values)
