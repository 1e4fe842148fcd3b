"""Committed results: a directory's report and figures, made anew without training."""

import json
import pathlib

from ml_collections import ConfigDict

from experiments.imbalanced import report as imbalance_report
from experiments.reproduction import queue, report, studied, study_runs
from experiments.reproduction.protocol import Protocol, make_protocol
from softmax_research import reporting
from softmax_research.training import results

# What a comparison of heads is configured by, and localisation too, which has scenes as well.
_COMPARES = {"dataset", "split_seed", "validation_fraction"}


def remake(directory: pathlib.Path) -> bool:
  """Make a directory's report and figures from its results.jsonl and config.json alone.

  Args:
    directory: what a comparison of heads, a paper's table or a study left.

  Returns:
    Whether it was made; false for a study whose report needs more than is committed, as that of
    localisation, which shows maps.

  Raises:
    ValueError: the results do not fit the configuration, or nothing is finished.
  """
  config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
  typed = command_of(directory / "report.md")
  if "studies" in config:
    table = studied.make_table(*_of_paper(config))
    merged = studied.merge(table, results.read(directory / "results.jsonl"))
    study_runs.write_report(table, directory, merged, typed)
  elif "paper" in config:
    protocol = _protocol_of(config)
    merged = queue.merge(results.read(directory / "results.jsonl"), protocol)
    report.write(directory, protocol, merged, command=typed)
  elif "settings" in config:
    imbalance_report.write(directory, config, command=typed)
  elif "scenes" not in config and set(config) >= _COMPARES:
    reporting.write_report(directory / "results.jsonl", directory, command=typed)
  else:
    return False
  return True


def _protocol_of(plain: dict) -> Protocol:
  """Return the protocol of a table from its config.json."""
  for setting in plain["settings"].values():
    setting["train"] |= {"data_dir": "", "cache_dir": ""}
  return make_protocol(*_of_paper(plain))


def _of_paper(plain: dict) -> tuple[ConfigDict, str]:
  """Return a paper's configuration with the one variant that its config.json has, and its name."""
  rest = {key: value for key, value in plain.items() if key not in ("paper", "variant")}
  return ConfigDict({"paper": plain["paper"], plain["variant"]: rest}), plain["variant"]


def command_of(report_path: pathlib.Path) -> str | None:
  """Return the command that a former report names; results do not hold it."""
  if not report_path.is_file():
    return None
  for line in report_path.read_text(encoding="utf-8").splitlines():
    if line.startswith("- command: `"):
      return line.removeprefix("- command: `").rstrip("`")
  return None
