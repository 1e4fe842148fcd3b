"""Published errors: test errors of the committed tables beside those of their papers."""

import json
import pathlib

from softmax_research.reporting import papers
from softmax_research.reporting.observations import observe
from softmax_research.reporting.published_plot import Point
from softmax_research.training import results


def points(directory: pathlib.Path) -> list[Point]:
  """Collect the methods of all tables whose paper has a test error or an accuracy of them.

  Args:
    directory: of the results, with a directory a table.

  Returns:
    A point for each method and setting with a finished run; none where there is no table.
  """
  found = []
  for path in sorted(directory.glob("*/config.json")):
    config = json.loads(path.read_text(encoding="utf-8"))
    if "paper" in config:
      found += _points(path.parent, config)
  return found


def _points(directory: pathlib.Path, config: dict) -> list[Point]:
  paper, found = papers.load(config["paper"]), []
  runs = [
    run
    for run in results.read(directory / "results.jsonl")
    if run["kind"] == "run" and run["status"] == "finished"
  ]
  for name, setting in config["settings"].items():
    for method, _ in setting["methods"]:
      # Of one seed the first counts, as in the table's report.
      by_seed = {
        run["seed"]: observe(run, "error")
        for run in reversed(runs)
        if (run["setting"], run["method"]) == (name, method)
      }
      number = _published(paper, setting["published"] or name, method)
      if by_seed and number is not None:
        errors = [by_seed[seed] for seed in sorted(by_seed)]
        found.append(Point(directory.name, number[0], errors, number[1]))
  return found


def _published(paper: papers.Paper, setting: str, method: str) -> tuple[float, bool] | None:
  """Return the published error, or what an accuracy leaves, and whether it was read."""
  for metric in ("error", "accuracy"):
    number = paper.find(setting, method, metric)
    if number.value is not None:
      value = number.value if metric == "error" else 100 - number.value
      return value, number.verified
  return None
