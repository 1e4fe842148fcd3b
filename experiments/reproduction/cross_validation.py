"""Cross-validation: folds of the training split, with a new model each or one carried over."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments import assembly, runs
from softmax_research import data, training

_FOLD_SEED = 10  # Agarap's.


def train(
  config: ConfigDict,
  splits: assembly.Splits,
  programs: training.ParallelPrograms,
  head: str,
  seeds: Sequence[int],
  *,
  folds: int,
  carry_over: bool,
  on_progress: Callable[[training.Progress], None],
  should_stop: Callable[[], bool],
) -> list[tuple[dict[str, Any], runs.Predictions | None]] | None:
  """Train on all folds but one, for each fold.

  With `carry_over` one model goes from fold to fold, so from the second fold on it has been
  trained on the examples that it is judged by; its scores there are too good. The test split is
  predicted by the last model. Without it each fold has a new model, and the first fold's predicts
  the test split.

  Args:
    config: a checked configuration; `num_epochs` are those of one fold.
    splits: the data; the folds are of the training split.
    programs: made of the head.
    head: its specification.
    seeds: those that train together.
    folds: the number of folds, stratified by class.
    carry_over: see above.
    on_progress: see `training.fit`.
    should_stop: likewise.

  Returns:
    For each run its record, with the folds' accuracies in `measured`, and its predictions; None
    if training was interrupted.
  """
  began = time.perf_counter()
  labels = splits.train.labels
  fold_curves, resume, judged, diverged = [], None, None, [None] * len(seeds)
  for index, held in enumerate(stratified_folds(labels, folds)):
    rest = np.ones(len(labels), bool)
    rest[held] = False
    fit = training.fit(
      programs,
      data.Split(splits.train.images[rest], labels[rest]),
      data.Split(splits.train.images[held], labels[held]),
      seeds=seeds,
      num_epochs=config.num_epochs * (index + 1 if carry_over else 1),
      batch_size=config.batch_size,
      on_progress=on_progress,
      should_stop=should_stop,
      resume=resume,
    )
    if fit.interrupted:
      return None
    fold_curves.append(fit.curves)
    diverged = [before or now for before, now in zip(diverged, fit.diverged, strict=True)]
    if carry_over:
      # The curves start anew: they are of this fold's examples.
      resume = fit.states, [{name: [] for name in of} for of in fit.curves]
    if carry_over or index == 0:
      # A copy: the next fold's first step uses the states up.
      judged = runs.predict(programs, fit.states, splits)
    parameters = _num_parameters(fit.states)
  seconds = (time.perf_counter() - began) / len(seeds)
  outcomes = []
  for i, seed in enumerate(seeds):
    accuracies = [(curves[i]["validation_accuracy"] or [None])[-1] for curves in fold_curves]
    bad = diverged[i] is not None or None in accuracies
    record = runs.run_record(
      config,
      splits,
      head,
      seed,
      curves=fold_curves[0][i],
      diverged=diverged[i],
      predictions=None if bad else judged[i],
      num_parameters=parameters,
      images_per_second=fit.images_per_second,
      wall_seconds=seconds,
      measured={} if bad else summarise(accuracies),
      devices=programs.layout.describe(),
    )
    if bad:
      record["status"] = "diverged"
      record.setdefault("diverged", {"step": 0, "last_finite_loss": None})
    outcomes.append((record, None if bad else judged[i]))
  return outcomes


def summarise(accuracies: Sequence[float]) -> dict[str, float]:
  """Return the folds' accuracies with their mean and population standard deviation.

  Example:
    >>> found = summarise([0.5, 1.0])
    >>> found["cv_accuracy"], found["cv_std"], found["fold2_accuracy"]
    (0.75, 0.25, 1.0)
  """
  each = {f"fold{i}_accuracy": float(value) for i, value in enumerate(accuracies, 1)}
  return {"cv_accuracy": float(np.mean(accuracies)), "cv_std": float(np.std(accuracies))} | each


def stratified_folds(labels: np.ndarray, folds: int) -> list[np.ndarray]:
  """Return each fold's rows: the same for every run, whatever its seed."""
  from sklearn.model_selection import StratifiedKFold  # noqa: PLC0415  # Slow to import.

  splitter = StratifiedKFold(folds, shuffle=True, random_state=_FOLD_SEED)
  return [held for _, held in splitter.split(np.zeros(len(labels)), labels)]


def _num_parameters(states) -> int:
  return sum(p.size for p in jax.tree.leaves(states.params)) // states.step.size
