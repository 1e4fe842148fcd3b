"""Runs: train a head with its seeds and turn the outcomes into records and predictions."""

import base64
import datetime
import hashlib
import io
import pathlib
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import PIL.Image
from ml_collections import ConfigDict

from experiments import assembly
from softmax_research import training
from softmax_research.training import environment, results

_NUM_WORST = 16
_LONGEST_NAME = 100


class Predictions(NamedTuple):
  """Hold log-probabilities `[N, K]` on the validation and the test split."""

  validation: np.ndarray
  test: np.ndarray


def prediction_path(workdir: pathlib.Path, head: str, seed: int) -> pathlib.Path:
  """Name the file of a run's predictions."""
  return workdir / "predictions" / f"{file_name(head)}-seed{seed}.npz"


def file_name(head: str) -> str:
  """Turn a head's specification into what file names may hold."""
  return re.sub(r"[^A-Za-z0-9=._-]+", "_", head)


def save_predictions(path: pathlib.Path, predictions: Predictions) -> None:
  """Write predictions whole or not at all."""
  path.parent.mkdir(exist_ok=True)
  partial = path.with_suffix(".partial")
  with partial.open("wb") as file:
    np.savez(file, **predictions._asdict())
  partial.replace(path)


def keep(workdir: pathlib.Path, outcomes: Sequence[tuple[dict[str, Any], Any]]) -> None:
  """Write the predictions of finished runs, then append all their records to the results."""
  for record, predictions in outcomes:
    if predictions is not None:
      save_predictions(prediction_path(workdir, record["head"], record["seed"]), predictions)
  results.append(workdir / "results.jsonl", *(record for record, _ in outcomes))


def load_predictions(path: pathlib.Path) -> Predictions:
  """Read the predictions that `save_predictions` wrote."""
  with np.load(path) as file:
    return Predictions(file["validation"], file["test"])


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
    "validation": training.evaluate(predictions.validation, splits.validation.labels),
    "test": training.evaluate(predictions.test, splits.test.labels),
  }


def run_record(
  config: ConfigDict,
  splits: assembly.Splits,
  head: str,
  seed: int,
  *,
  curves: dict[str, list[float]],
  diverged: training.Divergence | None,
  predictions: Predictions | None,
  **circumstances: Any,
) -> dict[str, Any]:
  """Make the record of a finished or diverged run."""
  record = {
    "kind": "run",
    "head": head,
    "seed": seed,
    "status": "diverged" if diverged else "finished",
    "metrics": None if predictions is None else evaluate(predictions, splits),
    "curves": curves,
    "config": to_json(config),
    "dataset": splits.describe(),
  }
  diverged = {"diverged": diverged._asdict()} if diverged else {}
  return record | circumstances | diverged | provenance()


def ensemble_record(
  head: str, seeds: list[int], members: list[Predictions], splits: assembly.Splits
) -> dict[str, Any]:
  """Make the record of an ensemble: the mean of its members' probabilities."""
  mean = Predictions(
    _log_mean([member.validation for member in members]),
    _log_mean([member.test for member in members]),
  )
  return {
    "kind": "ensemble",
    "head": head,
    "seeds": seeds,
    "metrics": evaluate(mean, splits),
    "worst": _worst(mean.test, splits.test),
  } | provenance()


def provenance() -> dict[str, Any]:
  """Say with what, on what and when a record was made."""
  return {
    "versions": environment.versions(),
    "device": environment.device(),
    "git_revision": environment.git_revision(),
    "finished_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
  }


def to_json(config: ConfigDict) -> dict[str, Any]:
  """Turn a configuration into what JSON holds; where data lie is not part of a result."""
  plain = config.to_dict()
  del plain["data_dir"], plain["cache_dir"]
  return plain


def train(
  config: ConfigDict,
  splits: assembly.Splits,
  programs: training.ParallelPrograms,
  head: str,
  seeds: Sequence[int],
  *,
  measure: Callable[[training.TrainState], list[dict[str, Any]]] | None = None,
  **hooks: Any,
) -> tuple[training.Fit, list[tuple[dict[str, Any], Predictions | None]]]:
  """Train a head, predict and make the records of its seeds, which train together.

  Args:
    config: a checked configuration.
    splits: the data.
    programs: made of the head.
    head: its specification.
    seeds: one for each run.
    measure: from trained states to what else was measured, a dictionary a run, which becomes
      `measured` of the records.
    **hooks: `on_progress`, `on_epoch`, `should_stop` and `resume` of `training.fit`.

  Returns:
    The fit; and for each run a record and its predictions, which are None where it diverged.
    The list is empty if training was interrupted.
  """
  began = time.perf_counter()
  _, curves = hooks.get("resume") or (None, [])
  seconds_before = max((sum(of["seconds"]) for of in curves), default=0.0)
  fit = training.fit(
    programs,
    splits.train,
    splits.validation,
    seeds=seeds,
    num_epochs=config.num_epochs,
    batch_size=config.batch_size,
    **hooks,
  )
  if fit.interrupted:
    return fit, []
  predictions = predict(programs, fit.states, splits)
  measured = measure(fit.states) if measure else []
  num_parameters = sum(p.size for p in jax.tree.leaves(fit.states.params))
  circumstances = {
    "num_parameters": num_parameters // fit.states.step.size,
    "images_per_second": fit.images_per_second,
    # Runs that trained together share the time.
    "wall_seconds": (time.perf_counter() - began + seconds_before) / len(seeds),
  }
  outcomes = []
  for i, seed in enumerate(seeds):
    diverged = fit.diverged[i]
    predicted = None if diverged else predictions[i]
    more = {"measured": measured[i]} if measured and not diverged else {}
    record = run_record(
      config,
      splits,
      head,
      seed,
      curves=fit.curves[i],
      diverged=diverged,
      predictions=predicted,
      devices=programs.layout.describe() | {"seeds_together": list(seeds)},
      **circumstances,
      **more,
    )
    outcomes.append((record, predicted))
  return fit, outcomes


def name(head: str, seeds: Sequence[int]) -> str:
  """Name runs for a person.

  Example:
    >>> name("sm", [0, 1])
    'sm, seeds 0, 1'
  """
  return f"{head}, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def directory_name(head: str, seeds: Sequence[int]) -> str:
  """Name a directory that belongs to these runs alone.

  Example:
    >>> directory_name("sm", [0, 1])
    'sm-seeds0-1'
    >>> len(directory_name("sm", range(100)))
    25
  """
  name = f"{file_name(head)}-seeds{'-'.join(map(str, seeds))}"
  if len(name) <= _LONGEST_NAME:
    return name
  # A name of all of them could be longer than file systems allow.
  return f"together-{hashlib.sha256(repr((head, list(seeds))).encode()).hexdigest()[:16]}"


def summarise(record: dict[str, Any]) -> str:
  """Say in a line how a run ended."""
  if record["status"] == "diverged":
    last = record["diverged"]["last_finite_loss"]
    return f"diverged at step {record['diverged']['step']}, last finite loss {last}"
  test = record["metrics"]["test"]
  return (
    f"test accuracy {test['accuracy']:.2%}, {record['wall_seconds']:.1f} s, "
    f"{record['images_per_second']:,.0f} images/s"
  )


def _log_mean(log_probs: list[np.ndarray]) -> np.ndarray:
  """Return the logarithm of the mean probability; -inf where all members say zero."""
  return np.logaddexp.reduce(np.asarray(log_probs, np.float64), axis=0) - np.log(len(log_probs))


def _worst(log_probs: np.ndarray, split: Any) -> list[dict[str, Any]]:
  """List the examples whose label got the smallest probability, with their pictures."""
  of_label = log_probs[np.arange(len(log_probs)), split.labels]
  return [
    {
      "index": int(i),
      "label": int(split.labels[i]),
      "predicted": int(np.argmax(log_probs[i])),
      "probability": float(np.exp(of_label[i])),
      "png": _png(split.images[i]),
    }
    for i in np.argsort(of_label, kind="stable")[:_NUM_WORST]
  ]


def _png(image: np.ndarray) -> str | None:
  """Encode an image as base64 PNG; None for data that are not images."""
  if image.ndim != 3 or image.dtype != np.uint8:
    return None
  encoded = io.BytesIO()
  PIL.Image.fromarray(image.squeeze()).save(encoded, "png")
  return base64.b64encode(encoded.getvalue()).decode()
