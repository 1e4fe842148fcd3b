"""Make the reports of committed results anew, without training.

    python -m experiments.results

Every directory under results/ that a comparison of heads or a paper's table left gets its report
and figures again, made from results.jsonl and config.json alone. Other studies are left as they
are: their reports come from their own commands, run again in a copy of the directory.
"""

import json
import pathlib

from absl import flags
from ml_collections import ConfigDict

from experiments import command
from experiments.reproduction import queue, report, studied, study_runs
from experiments.reproduction.protocol import Protocol, make_protocol
from softmax_research import reporting
from softmax_research.training import results

_RESULTS = flags.DEFINE_string("results", "results", "Directory of the committed results.")
# What every comparison of heads is configured by, and what only other studies are.
_COMPARES = {"dataset", "split_seed", "validation_fraction"}
_OTHERS = {"settings", "scenes"}


def main() -> None:
  """Rebuild what can be rebuilt."""
  with command.errors_explained():
    for path in sorted(pathlib.Path(_RESULTS.value).glob("*/config.json")):
      directory, config = path.parent, json.loads(path.read_text(encoding="utf-8"))
      typed = command_of(directory / "report.md")
      if "studies" in config:
        table = studied.make_table(*_of_paper(config))
        merged = studied.merge(table, results.read(directory / "results.jsonl"))
        study_runs.write_report(table, directory, merged, typed)
      elif "paper" in config:
        protocol = protocol_of(config)
        merged = queue.merge(results.read(directory / "results.jsonl"), protocol)
        report.write(directory, protocol, merged, command=typed)
      elif set(config) >= _COMPARES and not _OTHERS & set(config):
        reporting.write_report(directory / "results.jsonl", directory, command=typed)
      else:
        print(f"{directory}: left as it is")
        continue
      print(f"{directory}: made anew")


def protocol_of(plain: dict) -> Protocol:
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


if __name__ == "__main__":
  command.run(main)
