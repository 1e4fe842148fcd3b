"""Studies of mutual information by name, and their reports."""

import pathlib
from typing import Any

from experiments.information import gaussians, images, staircase, sweep
from softmax_research.reporting import provenance
from softmax_research.training import results

STUDIES = {
  "gaussians": gaussians.STUDY,
  "staircase": staircase.STUDY,
  "images": images.STUDY,
  "sweep": sweep.STUDY,
}


def read_settings(config: dict[str, Any]) -> tuple[str, Any]:
  """Return a study's name and settings from its config.json.

  Example:
    >>> name, settings = read_settings({"study": "sweep", "seeds": 3})
    >>> name, settings.seeds
    ('sweep', 3)
  """
  values = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items() if k != "study"}
  return config["study"], STUDIES[config["study"]].settings(**values)


def write_report(name: str, settings: Any, workdir: pathlib.Path, *, command: str) -> pathlib.Path:
  """Write the report of the results in a working directory.

  Args:
    name: the study's.
    settings: the study's.
    workdir: holds results.jsonl.
    command: the command that made the results.

  Returns:
    The path of the Markdown file.
  """
  records = results.read(workdir / "results.jsonl")
  runs = [record["cell"] | run for record in records for run in record["runs"]]
  facts = {
    "command": f"`{command}`",
    "time of the cells, compilation included": f"{sum(r['seconds'] for r in records):.0f} s",
  }
  return STUDIES[name].report(workdir, settings, runs, facts | provenance.made_with(records))
