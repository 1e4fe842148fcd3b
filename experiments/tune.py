"""Compare methods on one or several data sets, each tuned on validation with as many trials.

    python -m experiments.tune --config=configs/label_noise_mnist.py --workdir=runs/label_noise
    python -m experiments.tune --config=configs/label_noise_mnist.py --workdir=runs/wine \\
        --config.datasets=wine,label_noise:of=wine:rate=0.4 --config.num_train=0 \\
        --config.batch_size=32

A method is heads and learning rates. It is trained once for each combination, a trial that never
sees the test split, and then, with those of its best trial, as often as there are seeds: the first
seed of all methods before the second. The same command goes on after an interruption, and takes
more data sets, methods or seeds.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from configs import cifar10_modern, default, label_noise_mnist, mnist_modern
from configs import tables as papers_tables
from experiments import assembly, classifiers
from experiments.ledger.claim_list import CLAIMS
from experiments.reproduction import measures, protocols, search
from softmax_research import heads, registry, study
from softmax_research.functional.arrays import check_integer
from softmax_research.study import claims, classifier_report, ensembles, plots, tables
from softmax_research.study.blocks import table_of
from softmax_research.study.groups import text_of
from softmax_research.study.measures import MISSING
from softmax_research.study.report import count as counted
from softmax_research.study.study import to_json

_ABOUT = (
  "Each method has the head and the learning rate of its best trial: the highest validation "
  "accuracy after the last epoch of {trials}, each of one seed, which no run here has. "
  "Accuracies are those after the last epoch, *selected* that at the epoch of the best validation "
  f"accuracy. {tables.COMPARED}"
)
_TOGETHER = (
  "In percent. *By the test set*: the part of that standard deviation which runs would have that "
  "are equally good on all images there could be, from which examples they are right about in turn "
  "(beside it what the rule error / 2N gives, Jordan 2023); *share*: its share of the variance. "
  "*Agreement*: test images of which two seeds predict one class. *Ensemble*: the seeds' mean "
  "probabilities."
)
_ACCURACY = study.measure_of("accuracy")
_SELECTED = study.measure_of("selected/accuracy")._replace(label="selected")
_MEASURED = tuple(map(study.measure_of, ("class_separation", "mirrors/accuracy")))
_VALIDATION = study.measure_of("metrics/validation/accuracy")._replace(label="validation")


def cells(config: ConfigDict) -> list[dict[str, Any]]:
  """List a method's trials before its own cell, a data set after the other."""
  datasets = registry.split(config.datasets, kind="dataset", example="mnist,cifar10")
  methods = [{"setting": of, "method": name} for of in datasets for name, *_ in config.methods]
  return [cell for of in methods for cell in search.cells(of, _setting(config, of))]


def check(config: ConfigDict) -> None:
  assembly.check_keys(config, label_noise_mnist.get_config(), "label_noise_mnist")
  for key in ("num_train", "trial_epochs"):
    check_integer(key, config[key], 0, remedy="Pass 0 for all that there are.")
  search.check_methods(config.methods, ("SM", "sm:margin=0.2,sm:margin=0.6", (0.1, 0.2)))
  for cell in cells(config):
    setting = _setting(config, cell)
    search.check(setting, config.seeds)
    measures.check(setting.measures)
    assembly.check_config(search.train_config(cell, setting))
  budgets = {name: _budget(config, name) for name, *_ in config.methods}
  if len(set(budgets.values())) > 1:
    raise ValueError(f"Got so many trials by method: {budgets}; give each method equally many.")


def prepare(config: ConfigDict, left: Sequence[dict[str, Any]]) -> dict[str, assembly.Splits]:
  splits = {}
  for cell in left:
    name, setting = cell["setting"], _setting(config, cell)
    heads_tried = dict(setting.search)["heads"]
    if name not in splits:
      splits[name] = protocols.load_splits(setting)
      # The network is one for all heads.
      assembly.make_programs(setting.train, splits[name], heads_tried[0])
    for head in heads_tried:
      measures.measurer(setting.measures, setting.train, splits[name], head)
  return splits


def config_of(config: ConfigDict, cell: dict[str, Any]) -> dict[str, Any]:
  """Return what a cell's results depend on, of a method what is tried: its choice is a result."""
  setting = _setting(config, cell)
  train, searched = search.train_config(cell, setting), {}
  if "trial" not in cell:
    search.leave_open(train, setting)
    searched = {"search": setting.search}
    searched |= {key: config[key] for key in ("trial_epochs", "measures") if config[key]}
  return {"train": train.to_dict(), "num_train": config.num_train} | searched


def run(cell: dict[str, Any], context: study.Context) -> Iterator[list[study.Record]]:
  setting = _setting(context.settings, cell)
  yield protocols.run(context, setting, context.prepared[cell["setting"]])


def report(records: Sequence[study.Record], config: ConfigDict) -> Iterator[study.Block]:
  own = [made for made in records if "trial" not in made["cell"] and made["status"] != "failed"]
  first = config.methods[0][0]
  made, there = len({record["cell"]["method"] for record in own}), len(config.methods)
  yield f"# {f'{made} of ' if made < there else ''}{there} methods, each tuned on validation"
  yield _ABOUT.format(trials=counted(_budget(config, first), "trial"), baseline=study.escape(first))
  if not own:
    yield "No method was trained yet."
    return
  yield study.table(own, rows="method", columns="setting", measure=_ACCURACY, interval=False)
  for dataset in dict.fromkeys(made["cell"]["setting"] for made in own):
    found = study.group([made for made in own if made["cell"]["setting"] == dataset], "method")
    groups = study.arrange(found, _ACCURACY)
    yield f"## {study.escape(dataset)}"
    yield from classifier_report.headline(groups, "method")
    shown = (_ACCURACY, _SELECTED, _VALIDATION)
    yield study.compared(groups, measure=shown, name=f"methods_{dataset}")
    yield from classifier_report.metrics(groups, "method")
    if (plot := plots.difference_plot(groups, measures=classifier_report.COMPARED)) is not None:
      yield plot._replace(name=f"differences_{dataset}")
    values = {of: [v for some in groups for v in some.values(of).values()] for of in _MEASURED}
    if more := [of for of in _MEASURED if not all(map(math.isnan, values[of]))]:
      yield study.compared(groups, measure=more, name=f"measured_{dataset}")
    yield from _together(groups, f"together_{dataset}")
    chosen = [
      f"{of.name}: {text_of(made['measured']['values'])}"
      for of in groups
      for made in list(of.finished.values())[:1]
    ]
    yield f"Chosen: {study.escape('; '.join(chosen))}."


def claims_of(config: ConfigDict) -> tuple[claims.Claim, ...]:
  """Return the claims that the ledger tests by a configuration of today, as it is but for seeds."""
  plain = to_json(config) | {"seeds": None}
  known = {
    "mnist_modern": mnist_modern.get_config(),
    "cifar10_modern": cifar10_modern.get_config(),
    "cifar10_modern_full": cifar10_modern.get_config("full"),
  }
  names = [name for name, of in known.items() if to_json(of) | {"seeds": None} == plain]
  return claims.within(CLAIMS, names[0]) if names else ()


def _together(groups: Sequence[study.Group], name: str) -> Iterator[study.Block]:
  """Yield what runs of methods agree on and their ensembles, where records keep predictions."""
  runs = {of.name: _predictions(of) for of in groups}
  runs = {method: of for method, of in runs.items() if of}
  if not runs:
    return
  rows = [(method, _row_together(list(of.values()))) for method, of in runs.items()]
  yield table_of(rows, "method", name)
  yield _TOGETHER
  if len(runs) > 1 and (common := sorted(set.intersection(*map(set, runs.values())))):
    yield _of_methods(runs, common)


def _predictions(of: study.Group) -> dict[int | None, np.ndarray]:
  return {
    seed: ensembles.decode(made["measured"]["predictions"])
    for seed, made in of.finished.items()
    if "predictions" in made["measured"]
  }


def _row_together(runs: Sequence[np.ndarray]) -> dict[str, str]:
  right = np.stack(list(map(ensembles.is_right, runs)))
  accuracies, examples = right.mean(1), right.shape[1]
  std = accuracies.std(ddof=1) if len(runs) > 1 else math.nan
  of_test = ensembles.std_of_test_set(right)
  rule = math.sqrt((1 - accuracies.mean()) / (2 * examples))
  share = f"{100 * (of_test / std) ** 2:.0f}" if std > 0 else MISSING
  return {
    "n": str(len(runs)),
    "accuracy": _ACCURACY.format(accuracies.mean()),
    "standard deviation": _ACCURACY.format(std),
    "by the test set": f"{_ACCURACY.format(of_test)} ({_ACCURACY.format(rule)})",
    "share": share,
    "agreement": _ACCURACY.format(ensembles.agreement(runs)),
    "ensemble": _ACCURACY.format(ensembles.accuracy_of_mean(runs)) if len(runs) > 1 else MISSING,
  }


def _of_methods(runs: dict[str, dict[int | None, np.ndarray]], common: Sequence) -> str:
  """Say what the mean over methods is worth, and on how much they agree, seed by seed."""
  by_seed = [[of[seed] for of in runs.values()] for seed in common]
  single = np.mean([ensembles.is_right(of).mean() for some in by_seed for of in some])
  together = np.mean([ensembles.accuracy_of_mean(some) for some in by_seed])
  agreement = np.mean([ensembles.agreement(some) for some in by_seed])
  single, together, agreement = map(_ACCURACY.format, (single, together, agreement))
  return (
    f"One run of each of {len(runs)} methods ({study.escape(', '.join(runs))}) of one seed: on "
    f"average {single}% right, their mean probabilities {together}%, two of them agree on "
    f"{agreement}% (n = {len(common)} seeds)."
  )


def _budget(config: ConfigDict, method: str) -> int:
  return len(search.trials(_setting(config, {"setting": "", "method": method})))


def _setting(config: ConfigDict, cell: dict[str, Any]) -> ConfigDict:
  """Return a method on a data set as a setting of `experiments.reproduce`, which searches alike."""
  texts, rates = next(tried for name, *tried in config.methods if name == cell["method"])
  tried = (("heads", heads.split(texts)), ("optimizer.learning_rate", tuple(rates)))
  common = {key: value for key, value in config.to_dict().items() if key in default.get_config()}
  train = ConfigDict(common | {"dataset": cell["setting"], "heads": ""})
  if "trial" in cell and config.trial_epochs:
    train.num_epochs = config.trial_epochs
  methods, measured = ((cell["method"], tried[0][1][0]),), tuple(config.measures)
  return papers_tables.setting(
    train, methods, num_train=config.num_train, search=tried, measures=measured
  )


STUDY = study.Study(
  label_noise_mnist.get_config,
  cells,
  run,
  report,
  name="tune",
  check=check,
  prepare=prepare,
  config=config_of,
  selects=("datasets", "methods", "seeds"),
  seeds=lambda config, cell: search.seeds(cell, _setting(config, cell), config.seeds),
  estimate=lambda cell, of: protocols.estimate(
    of, _setting(of.settings, cell), of.prepared[cell["setting"]]
  ),
  claims=claims_of,
  seed_by_seed=True,
)

if __name__ == "__main__":
  classifiers.main(STUDY, default_config="configs/label_noise_mnist.py")
