"""Studied tables: a paper's table whose numbers are those of studies that other scripts run."""

import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict

from experiments.reproduction.queue import Merged
from experiments.reproduction.study_records import READERS
from experiments.reproduction.variant import Variant, check_methods, compile_only
from softmax_research.reporting import papers, tables


class StudiedTable(Variant):
  """Hold a checked variant of such a table; see `configs/studies.py`."""

  def seeds(self, setting: str) -> int:
    """Return how many runs of each method a setting has."""
    return self.config.studies[self.setting(setting).study].seeds

  def command(self, study: str, workdir: str) -> list[str]:
    """Return the command that runs a study, without the interpreter."""
    config = self.config.studies[study]
    arguments = [argument.replace("{seeds}", str(config.seeds)) for argument in config.arguments]
    return ["-m", f"experiments.{config.script}", *arguments, f"--workdir={workdir}"]


def is_studied(config: ConfigDict, variant: str) -> bool:
  """Say whether a configuration's variant is made of studies."""
  return variant in config and "studies" in config[variant]


def make_table(config: ConfigDict, variant: str) -> StudiedTable:
  """Check a paper's configuration and take one variant of it.

  Raises:
    ValueError: a value is bad; the message says which.
  """
  table = StudiedTable(papers.load(config.paper), variant, config[variant])
  for name, study in table.config.studies.items():
    if study.script not in READERS:
      raise ValueError(
        f"{name}: got the script {study.script!r}; scripts of studies are {', '.join(READERS)}."
      )
    if isinstance(study.seeds, bool) or not isinstance(study.seeds, int) or study.seeds < 2:
      raise ValueError(f"{name}: got seeds={study.seeds!r}; give an integer of at least 2.")
  for name, setting in table.config.settings.items():
    check_methods(name, setting)
    if setting.study not in table.config.studies:
      known = ", ".join(table.config.studies)
      raise ValueError(f"{name}: got the study {setting.study!r}; the studies are {known}.")
  return table


def check_unchanged(table: StudiedTable, workdir: pathlib.Path) -> None:
  """Check that finished studies were made with the arguments that the table has now.

  Raises:
    ValueError: one was made with others.
  """
  path = workdir / "config.json"
  before = json.loads(path.read_text(encoding="utf-8")).get("studies", {}) if path.exists() else {}
  for name, study in table.config.studies.items():
    old = before.get(name)
    if old is None or not (workdir / name).exists():
      continue
    if (old["script"], tuple(old["arguments"])) != (study.script, tuple(study.arguments)):
      raise ValueError(
        f"{workdir / name} was made by {old['script']} with {' '.join(old['arguments'])}, and the "
        "table has other arguments now. Give another --workdir, or the former ones."
      )


def choose(table: StudiedTable, only: str) -> list[str]:
  """Return the names of the studies that a regular expression is found in.

  Raises:
    ValueError: the expression is bad, or leaves nothing.
  """
  pattern = compile_only(only)
  chosen = [name for name in table.config.studies if pattern.search(name)]
  if not chosen:
    names = ", ".join(table.config.studies)
    raise ValueError(f"Got --only={only!r}, which no study's name holds; they are {names}.")
  return chosen


def merge(table: StudiedTable, records: Iterable[Mapping[str, Any]]) -> Merged:
  """Sort the records of `study_records.translate` by setting, method and seed."""
  wanted = {
    (name, method, seed)
    for name, setting in table.config.settings.items()
    for method, _ in setting.methods
    for seed in range(table.seeds(name))
  }
  found = {(r["setting"], r["method"], r["seed"]): dict(r) for r in records}
  return Merged({key: run for key, run in found.items() if key in wanted}, {}, 0)


def share_left(table: StudiedTable, study: str, merged: Merged) -> float:
  """Return the share of a study's runs that are not finished; 0 where all are."""
  settings = {n: s for n, s in table.config.settings.items() if s.study == study}
  wanted = sum(len(setting.methods) * table.seeds(name) for name, setting in settings.items())
  return 1 - sum(key[0] in settings for key in merged.finished) / wanted


def other_numbers(table: StudiedTable) -> list[str | tables.Table]:
  """Return what the paper has and nothing here stands beside, as blocks of a report."""
  shown = {
    (setting.published or name, method, metric)
    for name, setting in table.config.settings.items()
    for method, _ in setting.methods
    for metric in setting.metrics
  }
  rows = [
    tables.Row(
      number.setting,
      (tables.Cell(number.method), tables.Cell(number.metric), tables.Cell(number.format())),
    )
    for number in table.paper.numbers
    if (number.setting, number.method, number.metric) not in shown
  ]
  if not rows:
    return []
  return [
    "## Numbers of the paper that nothing here stands beside",
    tables.Table(("method", "measure", "paper"), tuple(rows), name_column="setting"),
  ]


def commands(table: StudiedTable) -> str:
  """List the commands of the studies."""
  lines = [
    " ".join(["python", *table.command(name, f"runs/{name}")]) for name in table.config.studies
  ]
  return "\n".join(f"- `{line}`" for line in lines)
