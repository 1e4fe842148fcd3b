"""Reports: from a results file to Markdown and one self-contained HTML page."""

import pathlib
from typing import NamedTuple

from softmax_research.reporting.content import make_content
from softmax_research.reporting.records import HeadRecords, group_by_head, read_records


class ReportPaths(NamedTuple):
  """Say where the parts of a report are."""

  html: pathlib.Path
  markdown: pathlib.Path
  figures: list[pathlib.Path]


def write_report(
  results_path: str | pathlib.Path,
  out_dir: str | pathlib.Path,
  *,
  title: str | None = None,
  command: str | None = None,
) -> ReportPaths:
  """Write the report of a results file: `report.html`, `report.md` and `figures/`.

  The first head of the configuration is the one that all others are compared with. The same
  results give the same bytes.

  Args:
    results_path: JSON-lines file of an experiment.
    out_dir: Directory to write to; made when it is missing.
    title: Title; by default made from the heads and the dataset.
    command: Command that made the results, to be shown; by default the one in the records.

  Returns:
    The paths of the page, the Markdown and the figures.

  Raises:
    FileNotFoundError: There is no results file.
    ValueError: The results file is empty or damaged; see `read_records`.
  """
  # Matplotlib takes long to import, and the statistics alone do not need it.
  from softmax_research.reporting import (  # noqa: PLC0415
    figure_style,
    figures,
    markdown,
    page,
    worst_images,
  )

  heads = group_by_head(read_records(results_path))
  content = make_content(heads, title=title, command=command)
  class_names = _class_names(heads)
  plots = figures.draw_plots(heads, class_names)
  tiles = worst_images.worst_tiles(heads, class_names)

  out_dir = pathlib.Path(out_dir)
  figure_dir = out_dir / "figures"
  figure_dir.mkdir(parents=True, exist_ok=True)
  files = {f"{plot.name}.svg": plot.svg.encode() for plot in plots}
  worst = worst_images.worst_images(tiles)
  if worst is not None:
    files["worst_images.png"] = figure_style.to_png(worst)
  for name, data in files.items():
    (figure_dir / name).write_bytes(data)

  linked = [(plot, f"figures/{plot.name}.svg") for plot in plots]
  picture = "figures/worst_images.png" if worst is not None else None
  paths = ReportPaths(
    out_dir / "report.html", out_dir / "report.md", [figure_dir / name for name in files]
  )
  paths.html.write_text(page.make_page(content, plots, tiles), encoding="utf-8")
  paths.markdown.write_text(markdown.make_markdown(content, linked, picture), encoding="utf-8")
  return paths


def _class_names(heads: list[HeadRecords]) -> list[str]:
  """Return the names of the classes as the runs record them, or none."""
  runs = [run for head in heads for run in (*head.finished.values(), *head.diverged.values())]
  return [str(name) for name in (runs[0].get("dataset") or {}).get("class_names") or []]
