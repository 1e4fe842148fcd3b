"""Reports: blocks as files: Markdown, a page, tables in CSV and LaTeX, plots in SVG and PDF."""

import math
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from softmax_research.study import exports, markdown, tables, workdir
from softmax_research.study.blocks import Block, Plot, Table
from softmax_research.study.markdown import Pairs
from softmax_research.study.record import NOT_RECORDED, duration, span
from softmax_research.study.study import flatten

#: Formats of a report. Markdown and the page have plots as SVG beside them.
FORMATS = ("md", "html", "csv", "latex", "svg", "pdf")
_LONGEST_NAME = 80


def write_report(
  directory: pathlib.Path | str,
  blocks: Iterable[Block],
  records: Sequence[Mapping[str, Any]],
  *,
  config: Mapping[str, Any] | None = None,
  formats: Sequence[str] = ("md", "html"),
) -> list[pathlib.Path]:
  """Write a report: `report.md`, `report.html`, `figures/` and `tables/`.

  The same blocks give the same bytes.

  Args:
    directory: to write to; made where it is missing.
    blocks: of the report; text that begins with ``#`` and a space is the title.
    records: that it is of; which did not finish and how they were made stands at its end.
    config: the settings; by default those of the last record.
    formats: of `FORMATS`; where there is none, nothing is drawn.

  Returns:
    The paths of all files; the page or else the Markdown is the first.

  Raises:
    ValueError: a format is unknown.
  """
  for name in formats:
    if name not in FORMATS:
      raise ValueError(f"Got the format {name!r}; the formats are {', '.join(FORMATS)}.")
  if not formats:
    return []
  blocks = _titled(list(blocks), records)
  if (table := tables.unfinished(records)) is not None:
    blocks += ["## Runs that did not finish", table]
  blocks = _named(blocks)
  facts, settings = provenance(records, config=config)
  plots = [block for block in blocks if isinstance(block, Plot)]
  if plots:
    # Matplotlib takes long to import, and without plots it is not needed.
    from softmax_research.study import figure_style  # noqa: PLC0415
  draws = {"md", "html", "svg"} & set(formats)
  svgs = {of.name: figure_style.to_svg(of.figure, of.name) for of in plots if draws}
  texts: dict[str, str | bytes] = {}
  if "html" in formats:
    inline = {name: figure_style.inline_svg(svg) for name, svg in svgs.items()}
    texts["report.html"] = make_page(blocks, facts, settings, inline)
  if "md" in formats:
    figures = {name: f"figures/{name}.svg" for name in svgs}
    text = markdown.render(blocks, figures)
    texts["report.md"] = f"{text}\n{markdown.how_it_was_run(facts, settings)}"
  texts |= {f"figures/{name}.svg": svg for name, svg in svgs.items()}
  if "pdf" in formats:
    texts |= {f"figures/{of.name}.pdf": figure_style.to_pdf(of.figure) for of in plots}
  for name, suffix, render in (("csv", "csv", exports.to_csv), ("latex", "tex", exports.to_latex)):
    rendered = [block for block in blocks if name in formats and isinstance(block, Table)]
    texts |= {f"tables/{block.name}.{suffix}": render(block) for block in rendered}
  for name, text in texts.items():
    # Letters that the locale lacks stand as they came, as bytes.
    content = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    workdir.write_whole(pathlib.Path(directory, name), content)
  return [pathlib.Path(directory, name) for name in texts]


def make_page(blocks: Sequence[Block], facts: Pairs, config: Pairs, svgs: Mapping[str, str]) -> str:
  """Render a report as one page of HTML, with no script, no font and no file from elsewhere.

  The title is the first block; each plot's SVG element is found by its name.
  """
  import jinja2  # noqa: PLC0415  # Takes long, and a report in Markdown does without.

  environment = jinja2.Environment(
    loader=jinja2.PackageLoader("softmax_research.study", "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
  )
  environment.filters["html"] = markdown.to_html
  title, *rest = blocks
  return environment.get_template("report.html").render(
    title=title.removeprefix("# ").strip(),
    blocks=rest,
    provenance={"facts": facts, "config": config},
    svgs=svgs,
  )


def _titled(blocks: list[Block], records: Sequence[Mapping[str, Any]]) -> list[Block]:
  titles = [block for block in blocks if isinstance(block, str) and block[:2] == "# "]
  name = markdown.escape(records[0]["study"] if records else "Report")
  title = titles[0] if titles else f"# {name}"
  return [title, *(block for block in blocks if not isinstance(block, str) or block[:2] != "# ")]


def _named(blocks: list[Block]) -> list[Block]:
  """Give tables and plots names that can name files, and that differ."""
  taken: set[tuple[type, str]] = set()
  named = []
  for block in blocks:
    if isinstance(block, Table | Plot):
      plain = re.sub(r"[^A-Za-z0-9=.-]+", "_", block.name).strip("._") or "unnamed"
      plain = name = plain[:_LONGEST_NAME]
      number = 1
      while (type(block), name.lower()) in taken:  # Some file systems know no case.
        number += 1
        name = f"{plain}_{number}"
      taken.add((type(block), name.lower()))
      block = block._replace(name=name)
    named.append(block)
  return named


def provenance(
  records: Sequence[Mapping[str, Any]], *, config: Mapping[str, Any] | None = None
) -> tuple[Pairs, Pairs]:
  """Collect how records were made: facts, as `("device", "cpu x 1")`, and settings by dotted names.

  A fact in which they differ lists every value; settings are by default those of the last record.
  """
  # An ensemble follows from runs, and is none.
  runs = [made for made in records if "ensemble" not in made["cell"]]
  runs.sort(key=lambda made: str(made["time"].get("finished_at") or ""))
  last = runs[-1] if runs else {}
  datasets = [_dataset(made["measured"].get("dataset")) for made in runs]
  cells = count(len({str(made["cell"]) for made in runs}), "cell")
  seeds = sorted({made["seed"] for made in runs if made["seed"] is not None})
  seconds = [s for made in runs if (s := made["time"].get("seconds")) is not None]
  facts = [
    ("command", _distinct([made["command"] for made in runs])),
    ("dataset", _distinct(datasets)),
    ("runs", f"{len(runs)}: {cells}" + f", seeds {span(seeds)}" * bool(seeds)),
    ("device", _distinct([made["device"] for made in runs])),
    ("versions", _distinct([", ".join(map(" ".join, m["versions"].items())) for m in runs])),
    ("git revision", _distinct([made["revision"] for made in runs])),
    ("time of the runs", duration(sum(seconds) if seconds else math.nan)),
    ("finished", (last.get("time") or {}).get("finished_at") or NOT_RECORDED),
  ]
  if not any(datasets):
    del facts[1]
  settings = flatten(last.get("config") or {} if config is None else config)
  return facts, [(name, str(value)) for name, value in settings.items()]


def _dataset(dataset: Mapping[str, Any] | None) -> str:
  if dataset is None:
    return ""
  sizes = [
    f"{dataset[f'num_{split}']:,} {word}"
    for split, word in (("train", "training"), ("validation", "validation"), ("test", "test"))
    if dataset.get(f"num_{split}") is not None
  ]
  if dataset.get("num_classes") is not None:
    sizes.append(count(dataset["num_classes"], "class", "classes"))
  name = str(dataset.get("name") or NOT_RECORDED)
  return f"{name}: {', '.join(sizes)}" if sizes else name


def _distinct(values: Sequence[str]) -> str:
  return "; ".join(dict.fromkeys(value for value in values if value)) or NOT_RECORDED


def count(number: int, noun: str, plural: str | None = None) -> str:
  """Write a number with its noun, of which one is in the singular."""
  return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
