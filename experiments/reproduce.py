"""Run a paper's table, under its own protocol or a smaller one, beside the paper's numbers.

    python -m experiments.reproduce --config=configs/liu2016.py --variant=cpu \\
        --workdir=runs/liu2016_cpu

A cell is a method in a setting with its seeds; the settings are one variant of a paper's
configuration, see configs/tables.py. Finished seeds are appended to results.jsonl in the
working directory; the same command goes on from wherever it was interrupted. Where a table
searches hyperparameters, each method's trials are cells before its own. A cell that fails is
recorded, the others go on, and the exit status is 1. --dry_run lists the cells that are left with
their estimated time, --estimate_all the finished ones beside what they took. --only=REGEX and
--shard=3/16 take some of the cells, so that machines can share a table; see docs/own_study.rst.

Where a paper's numbers are those of another study, as in configs/qin2019.py, its cells are that
study's: what the study has recorded below the working directory is taken over.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from configs import tables
from experiments import assembly, classifiers
from experiments.ledger.claim_list import CLAIMS
from experiments.reproduction import borrowed, measures, protocols, search
from softmax_research import data, study, training
from softmax_research.functional.arrays import check_integer
from softmax_research.study import claims, papers, record
from softmax_research.study.study import Cell, Record

# What a setting's results depend on, beside its training.
_CAUSES = ("num_train", "transform", "protocol", "folds", "carry_over", "measures")


class Flags(NamedTuple):
  """Hold what the command line says beside the configuration.

  Attributes:
    variant: full, the paper's protocol, or cpu, a smaller one.
  """

  variant: str = "full"


class Prepared(NamedTuple):
  """Hold what cells share."""

  #: Of each setting, or why there are none.
  splits: dict[str, assembly.Splits | str]
  #: What each study prepared whose cells are borrowed.
  lent: dict[str, Any]


def choose(config: ConfigDict) -> ConfigDict:
  """Take the variant that `config.variant` names out of a paper's configuration."""
  if "paper" not in config:
    raise ValueError(
      "Got a configuration without a paper; give that of one, as --config=configs/liu2016.py."
    )
  variants = sorted(name for name in config if name not in ("paper", "variant"))
  if config.variant not in variants:
    raise ValueError(f"Got --variant={config.variant}; the variants are {', '.join(variants)}.")
  common = {"paper": config.paper, "variant": config.variant}
  return ConfigDict(config[config.variant].to_dict() | common)


def check(settings: ConfigDict) -> None:
  papers.load(settings.paper)
  check_integer("seeds", settings.seeds)
  for name, setting in settings.settings.items():  # Cells are made of all settings' methods.
    with _named(name):
      search.check_methods(setting.methods, ("m=2", "l_softmax:margin=2"))
  for name, setting in settings.settings.items():
    with _named(name):
      _check_setting(settings, name, setting)


def cells(settings: ConfigDict) -> list[Cell]:
  """List the cells, a method's trials before its own."""
  return [
    cell
    for name, setting in settings.settings.items()
    for method, _ in setting.methods
    for cell in search.cells({"setting": name, "method": method}, setting)
  ]


def seeds(settings: ConfigDict, cell: Cell) -> Sequence[int]:
  name = cell["setting"]
  return search.seeds(cell, settings.settings[name], tables.num_seeds(settings, name))


def config_of(settings: ConfigDict, cell: Cell) -> dict[str, Any]:
  """Return what a cell's results depend on; see `study.Study`.

  Of a method that searches it has what is tried, since what was chosen is a result.
  """
  setting = settings.settings[cell["setting"]]
  common = {"paper": settings.paper, "variant": settings.variant}
  if setting.protocol == "study":
    return common | borrowed.config(settings, cell)
  train = search.train_config(cell, setting)
  searched = {}
  if setting.search and "trial" not in cell:
    search.leave_open(train, setting)
    searched = {"search": setting.search, "search_seeds": setting.search_seeds}
  plain = train.to_dict()
  del plain["heads"], plain["seeds"]
  causes = {key: setting[key] for key in _CAUSES}
  return common | {"head": train.heads, "train": plain} | causes | searched


def prepare(settings: ConfigDict, left: Sequence[Cell]) -> Prepared:
  splits: dict[str, assembly.Splits | str] = {}
  networks = set()  # Those that fit the data.
  borrows = [cell for cell in left if settings.settings[cell["setting"]].protocol == "study"]
  for cell in left:
    name, setting = cell["setting"], settings.settings[cell["setting"]]
    if cell in borrows:
      continue
    with _named(name):
      if name not in splits:
        try:
          splits[name] = protocols.load_splits(setting)
        except data.DataUnavailableError as error:
          if not setting.optional:
            raise
          splits[name] = str(error)
      if not isinstance(splits[name], str):
        config = search.train_config(cell, setting)
        measures.measurer(setting.measures, config, splits[name], config.heads)
        if (network := (name, str(config.backbone))) not in networks:
          assembly.make_programs(config, splits[name], config.heads)
          networks.add(network)
  return Prepared(splits, borrowed.prepare(settings, borrows))


def run(cell: Cell, context: study.Context) -> Iterator[list[Record]]:
  setting = context.settings.settings[cell["setting"]]
  own = [r for r in context.finished if r["cell"]["setting"] == cell["setting"]]
  for metric in setting.metrics:  # What the first cell lacks is a typing error.
    record.check_path([r for r in own if "trial" not in r["cell"]], metric)
  if setting.protocol == "study":
    yield from borrowed.run(context)
  else:
    yield protocols.run(context, setting, _splits(context))


def estimate(cell: Cell, context: study.Context) -> float:
  """Estimate the seconds of a cell, of steps, looks and measures that are thrown away."""
  setting = context.settings.settings[cell["setting"]]
  if setting.protocol == "study":
    return borrowed.estimate(context)
  return protocols.estimate(context, setting, _splits(context))


def report(records: Sequence[Record], settings: ConfigDict) -> Iterator[study.Block]:
  from experiments.reproduction import paper_report  # noqa: PLC0415  # It loads Matplotlib.

  return paper_report.report(records, settings)


def claims_of(settings: ConfigDict) -> tuple[claims.Claim, ...]:
  """Return the claims that the ledger tests by this table's results."""
  suffix = "" if settings.variant == "full" else f"_{settings.variant}"
  return claims.within(CLAIMS, settings.paper + suffix)


def _splits(context: study.Context) -> assembly.Splits:
  splits = context.prepared.splits[context.cell["setting"]]
  if isinstance(splits, str):
    raise study.SkippedError(splits)
  return splits


@contextlib.contextmanager
def _named(setting: str) -> Iterator[None]:
  """Put the setting's name before the message of a ValueError."""
  try:
    yield
  except ValueError as error:
    raise ValueError(f"{setting}: {error}") from None


def _check_setting(settings: ConfigDict, name: str, setting: ConfigDict) -> None:
  own = [cell for cell in cells(settings) if cell["setting"] == name]
  if setting.protocol == "study":
    for cell in own:
      borrowed.lender(settings, cell)
    return
  for key, known in (("protocol", protocols.PROTOCOLS), ("transform", protocols.TRANSFORMS)):
    if setting[key] not in known:
      raise ValueError(f"got {key}={setting[key]!r}; the {key}s are {', '.join(known)}.")
  if setting.protocol == "cross_validation" and setting.folds < 2:
    raise ValueError(f"got folds={setting.folds}; pass 2 or more.")
  for key in ("num_train", "seeds"):
    check_integer(key, setting[key], 0, remedy="Pass 0 for all that there are.")
  if setting.num_train:
    training.check_batch_size(setting.train.batch_size, setting.num_train)
  measures.check(setting.measures)
  whole = setting.protocol == "train" and setting.transform == "none"
  if measures.ask_images(setting.measures) and not whole:
    raise ValueError(
      f"got measures={setting.measures} with protocol={setting.protocol!r} and "
      f"transform={setting.transform!r}; models are asked of images, under the protocol 'train' "
      "without a transform."
    )
  search.check(setting, setting.seeds or settings.seeds)
  for cell in own:
    assembly.check_config(search.train_config(cell, setting))


STUDY = study.Study(
  settings=tables.table,
  cells=cells,
  run=run,
  report=report,
  name="reproduce",
  choose=choose,
  check=check,
  prepare=prepare,
  config=config_of,
  seeds=seeds,
  estimate=estimate,
  claims=claims_of,
  seed_by_seed=borrowed.seed_by_seed,
)

if __name__ == "__main__":
  classifiers.main(
    STUDY,
    num_seeds=lambda settings: max(len(seeds(settings, cell)) for cell in cells(settings)),
    more=Flags,
  )
