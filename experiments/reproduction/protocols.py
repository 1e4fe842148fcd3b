"""Protocols: how a cell's seeds are trained and judged: on the splits, or by cross-validation.

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
from experiments.reproduction import model_measures
from softmax_research import data, study, training
from softmax_research.study.study import Record

_FOLD_SEED = 10  # Agarap's.
# Images that a look is timed with.
_LOOKED_AT = 512


def train(
  context: study.Context,
  setting: ConfigDict,
  config: ConfigDict,
  splits: assembly.Splits,
  head: str,
  values: dict[str, Any],
) -> list[Record]:
  """Train the seeds of a cell and measure them; a trial's are judged by validation alone.

  Args:
    context: of the cell.
    setting: its setting.
    config: a checked configuration.
    splits: the data.
    head: the head's specification.
    values: of hyperparameters that a search chose.

  Returns:
    The records.
  """
  if "trial" in context.cell:  # The test split is not even looked at.
    found = classifiers.train(context, config, splits, head)
    return [of.record(context, metrics=_validation(of)) for of in found]
  found = classifiers.train(context, config, splits, head, on_epoch=looker(splits))
  said = {"values": values} if values else {}
  measure = model_measures.measurer(setting.measures, config, splits, head)
  records = []
  for of in found:
    began = time.perf_counter()
    measured = said | measure(of)
    if chosen := selected(of.curves):
      measured["selected"] = chosen
    of = of._replace(seconds=of.seconds + time.perf_counter() - began)
    records.append(of.record(context, measured=measured))
  return records


def cross_validate(
  context: study.Context,
  setting: ConfigDict,
  config: ConfigDict,
  splits: assembly.Splits,
  head: str,
  values: dict[str, Any],
) -> list[Record]:
  """Train on all folds of the training split but one, for each fold; see `train`.

  With `carry_over` one model goes from fold to fold, so from the second fold on it has been
  trained on the examples that it is judged by; its scores there are too good. The test split is
  predicted by the last model. Without it each fold has a new model, and the first fold's predicts
  the test split.
  """
  began = time.perf_counter()
  programs = classifiers.make_programs(context, config, splits, head)
  curves, diverged, resume, judged = [], [None] * len(context.seeds), None, None
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
    curves.append(fit.curves)
    diverged = [before or now for before, now in zip(diverged, fit.diverged, strict=True)]
  seconds = time.perf_counter() - began
  # A fold that diverged spoils the run, whichever it is.
  whole = fit._replace(curves=curves[0], diverged=diverged)
  measure = model_measures.measurer(setting.measures, config, splits, head)
  records = []
  for i, of in enumerate(classifiers.judge(context, programs, whole, splits, judged, seconds)):
    measured = {}
    if of.status == "finished":
      accuracies = [of_fold[i]["validation_accuracy"][-1] for of_fold in curves]
      measured = summarise_folds(accuracies) | measure(of)
    records.append(of.record(context, measured=measured))
  return records


def estimate(
  context: study.Context,
  setting: ConfigDict,
  config: ConfigDict,
  splits: assembly.Splits,
  head: str,
) -> float:
  """Estimate the seconds that a cell's seeds take, looks at the test split and measures included.

  Of folds the first is timed, and all are taken to cost the same.
  """
  config, of_fold = config.copy_and_resolve_references(), splits
  if setting.protocol == "cross_validation":
    rest, held = next(folds_of(splits.train, setting.folds))
    of_fold = splits._replace(train=rest, validation=held)
    config.num_epochs *= setting.folds

  def extras(programs, states):
    began = time.perf_counter()
    images = splits.test.images[:_LOOKED_AT]
    training.predict(programs, states, images)
    looks = config.num_epochs if setting.protocol == "train" and "trial" not in context.cell else 0
    seconds = looks * (time.perf_counter() - began) * len(splits.test.labels) / len(images)
    if not setting.measures or "trial" in context.cell:
      return seconds
    seeds, predictions = context.seeds, classifiers.predict(programs, states, splits)
    fit = training.Fit(states, [{} for _ in seeds], [None for _ in seeds], 0.0, False)
    first, *_ = classifiers.judge(context, programs, fit, splits, predictions, 0.0)
    return seconds + model_measures.estimate(
      setting.measures, config, splits, head, first, len(seeds)
    )

  return classifiers.estimate(context, config, of_fold, head, extras=extras)


def looker(splits: assembly.Splits) -> classifiers.EpochHook:
  """Return a function to be called after each epoch, which adds `test_accuracy` to the curves.

  Args:
    splits: the data.

  Returns:
    `(programs, states, curves) -> None`. It appends the test accuracy where an epoch is the best so
    far by validation accuracy, the first of equals, and else None.
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
        accuracy = float(np.mean(log_probs[i].argmax(-1) == splits.test.labels))
      looked.append(accuracy)

  return look


def selected(curves: training.Curves) -> dict[str, Any] | None:
  """Return the epoch that the validation split selects, and its accuracies.

  Args:
    curves: with `test_accuracy`, of one seed.

  Returns:
    `epoch`, `validation_accuracy`, and `accuracy` and `error` on the test split; None where
    nothing was looked at.

  Example:
    >>> curves = {"epoch": [1, 2, 3], "validation_accuracy": [0.8, 0.9, 0.9]}
    >>> selected(curves | {"test_accuracy": [0.7, 0.75, None]})["accuracy"]
    0.75
  """
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


def folds_of(split: data.Split, folds: int) -> Iterator[tuple[data.Split, data.Split]]:
  """Yield for each fold the rest of the examples and the fold's own, the same for every run.

  Folds are stratified by class.
  """
  from sklearn.model_selection import StratifiedKFold  # noqa: PLC0415  # Slow to import.

  splitter = StratifiedKFold(folds, shuffle=True, random_state=_FOLD_SEED)
  for _, held in splitter.split(np.zeros(len(split.labels)), split.labels):
    rest = np.ones(len(split.labels), bool)
    rest[held] = False
    yield (
      data.Split(split.images[rest], split.labels[rest]),
      data.Split(split.images[held], split.labels[held]),
    )


def summarise_folds(accuracies: Sequence[float]) -> dict[str, float]:
  """Return the folds' accuracies with their mean and population standard deviation.

  Example:
    >>> found = summarise_folds([0.5, 1.0])
    >>> found["cv_accuracy"], found["cv_std"], found["fold2_accuracy"]
    (0.75, 0.25, 1.0)
  """
  each = {f"fold{i}_accuracy": float(value) for i, value in enumerate(accuracies, 1)}
  return {"cv_accuracy": float(np.mean(accuracies)), "cv_std": float(np.std(accuracies))} | each


def _validation(of: classifiers.Trained) -> dict[str, Any]:
  return {"validation": of.metrics["validation"]} if of.metrics else {}


#: Protocols by name.
PROTOCOLS = {"train": train, "cross_validation": cross_validate}
