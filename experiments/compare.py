"""Compare heads, networks and optimisers over several seeds on one data set, and write a report.

    python -m experiments.compare --config=configs/digits.py --workdir=runs/digits \\
        --config.heads=softmax,taylor:order=4,sm:margin=0.6 --config.seeds=5
    python -m experiments.compare --workdir=runs/activations \\
        --config.heads=softmax --config.backbone=mlp:activation=relu,mlp:activation=tanh

Networks and optimisers are compared like heads: each combination of those that are named is a row.
All seeds of a row train at once, over the devices that there are; see docs/devices.rst. Every
finished seed is appended at once to results.jsonl in the working directory. The same command run
again makes only what is missing; more heads or seeds may be asked for. Seeds under way are saved at
the end of an epoch, at most every ten seconds, and on SIGTERM and SIGINT (Ctrl-C); the same command
goes on from there. With --keep_models what was trained is kept for experiments.predict.
"""

import itertools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from configs import default
from experiments import assembly, classifiers
from softmax_research import study
from softmax_research.study import record
from softmax_research.training import environment

_NUM_WORST = 16
#: What is compared, and how messages call it.
_COMPARED = {"heads": "head", "backbone": "backbone", "optimizer": "optimizer"}


class More(NamedTuple):
  """Hold what is kept.

  Attributes:
    keep_models: keep what was trained, for experiments.predict and training.load.
  """

  keep_models: bool = False


def cells(config: ConfigDict) -> list[dict[str, Any]]:
  """List the combinations of heads, networks and optimisers.

  Networks and optimisers that the configuration spells out, rather than names, are one for all.
  """
  texts = {name: assembly.texts_of(config, key) for key, name in _COMPARED.items()}
  named = {name: of for name, of in texts.items() if of is not None}
  # The head is what turns fastest, so that rows of one network stand together.
  order = [*(name for name in named if name != "head"), "head"]
  found = [
    dict(zip(order, texts, strict=True))
    for texts in itertools.product(*(named[name] for name in order))
  ]
  return [{name: cell[name] for name in named} for cell in found]


def config_of(config: ConfigDict, cell: dict[str, Any]) -> dict[str, Any]:
  """Return what a cell's results depend on: the configuration with what the cell names."""
  plain = _config_for(without(More, config), cell).to_dict()
  del plain["heads"], plain["seeds"]
  return plain


def prepare(config: ConfigDict, left: Sequence[dict[str, Any]]) -> assembly.Splits:
  splits = assembly.load_splits(config)
  for cell in left:
    assembly.make_programs(_config_for(config, cell), splits, cell["head"])
  return splits


def run(cell: dict[str, Any], context: study.Context) -> Iterator[list[study.Record]]:
  config = _config_for(context.settings, cell)
  trained = classifiers.train(context, config, context.prepared, cell["head"])
  environment.from_first(lambda: _keep(context, trained))
  if context.settings.get("keep_models"):
    classifiers.keep_models(context, config, context.prepared, trained)
  yield [of.record for of in trained]


def derive(
  config: ConfigDict, records: Sequence[study.Record], directory: pathlib.Path
) -> Iterator[study.Record]:
  """Yield the records of ensembles, which average the probabilities of a cell's seeds."""
  known = [r["cell"] for r in records]
  splits = None
  for cell in cells(config):
    seeds = sorted(r["seed"] for r in records if r["cell"] == cell and r["status"] == "finished")
    seeds = [seed for seed in seeds if seed < config.seeds]
    if config.get("keep_models"):
      _tell_of_lacking_models(directory, cell, seeds)
    of = cell | {"ensemble": seeds}
    if len(seeds) < 2 or of in known:
      continue
    splits = splits or assembly.load_splits(config)
    paths = [classifiers.prediction_path(directory, cell, seed) for seed in seeds]
    try:
      members = [classifiers.load_predictions(path, splits) for path in paths]
    except ValueError as error:
      print(f"{cell['head']}: no ensemble, because {error}; its seeds' own numbers stand.")
      continue
    log_sums = (np.logaddexp.reduce(each, dtype=float) for each in zip(*members, strict=True))
    mean = classifiers.Predictions(*(log_sum - np.log(len(seeds)) for log_sum in log_sums))
    yield study.make_record(
      STUDY,
      config,
      of,
      None,
      seconds=None,
      metrics=classifiers.evaluate(mean, splits),
      measured={"worst": _worst(mean.test, splits)},
      command=records[-1]["command"],
    )


def report(records: Sequence[study.Record], config: ConfigDict) -> Iterator[study.Block]:
  from softmax_research.study import classifier_report  # noqa: PLC0415  # For reports alone.

  yield from classifier_report.report(records)


def without(more: type, config: ConfigDict) -> ConfigDict:
  """Return a configuration without the settings that a script adds to it."""
  return ConfigDict({key: value for key, value in config.items() if key not in more._fields})


def _keep(context: study.Context, trained: Sequence[classifiers.Trained]) -> None:
  for of in trained:
    if of.predictions is not None:
      path = classifiers.prediction_path(context.workdir, context.cell, of.record["seed"])
      classifiers.save_predictions(path, of.predictions)


def _tell_of_lacking_models(
  directory: pathlib.Path, cell: dict[str, Any], seeds: Sequence[int]
) -> None:
  paths = {seed: classifiers.model_path(directory, cell, seed) for seed in seeds}
  lacking = [seed for seed, path in paths.items() if not path.exists()]
  if lacking:
    print(
      f"{record.describe(cell)}: no models of the seeds {record.span(lacking)}, which were trained "
      "without --keep_models; the same command with another --workdir trains and keeps them."
    )


def _config_for(config: ConfigDict, cell: dict[str, Any]) -> ConfigDict:
  own = config.copy_and_resolve_references()
  own.heads = cell["head"]
  for key in ("backbone", "optimizer"):
    if key in cell:
      own[key] = cell[key]
  return own


def _worst(log_probs: np.ndarray, splits: assembly.Splits) -> list[dict[str, Any]]:
  """List the test examples whose label got the smallest probability, with their pictures.

  Of a distribution the largest entry counts as the label.
  """
  images, labels = splits.test
  labels = np.argmax(labels, 1) if labels.ndim == 2 else labels
  known = np.flatnonzero(labels != splits.ignore_label)
  of_label = log_probs[known, labels[known]]
  return [
    {
      "index": int(i),
      "label": int(labels[i]),
      "predicted": int(np.argmax(log_probs[i])),
      "probability": float(np.exp(log_probs[i, labels[i]])),
      "png": _png(images[i]),
    }
    for i in known[np.argsort(of_label, kind="stable")[:_NUM_WORST]]
  ]


def _png(image: np.ndarray) -> str | None:
  """Encode an image; None for data that no picture shows."""
  shown = image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] in (1, 3, 4)
  return record.to_text(image) if shown else None


STUDY = study.Study(
  default.get_config,
  cells,
  run,
  report,
  name="compare",
  check=lambda config: assembly.check_config(without(More, config)),
  prepare=prepare,
  config=config_of,
  selects=("heads", "seeds"),
  estimate=lambda cell, of: classifiers.estimate(
    of, _config_for(of.settings, cell), of.prepared, cell["head"]
  ),
  derive=derive,
)

if __name__ == "__main__":
  classifiers.main(STUDY, default_config="configs/digits.py", more=More)
