"""The report of a localisation study: tables of the shares of boxes found, and maps."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from experiments import pictures
from experiments.localization import maps
from experiments.localization.maps import KINDS, SMOOTHINGS
from softmax_research import study
from softmax_research.study import measures, tables

_RULES = {"chosen": "of validation", "paper": "0.2"}
_SHARE = study.Measure("share", "share", "%", 100.0, 1, True)
_ABOUT = (
  "Nets learn the classes of scenes alone. A box bounds the largest region in which the map of "
  "the true class is at least a threshold times its maximum: the paper's 0.2, or what finds most "
  "boxes on validation scenes, for each overlap. Smoothed maps are averaged over the paper's "
  "4 by 4 positions. A box is found if its intersection over union with the true one reaches "
  "the overlap; with class means that the scene is classified right too. All numbers are of test "
  "scenes; all seeds have the same scenes, so intervals are of training seeds alone."
)


def blocks(records: Sequence[study.Record], config: ConfigDict) -> Iterator[study.Block]:
  """Yield the blocks of the report."""
  heads = [of for of in study.group(records, "head") if of.finished]
  if not heads:
    yield "# Class activation maps"
    yield "All runs diverged; lower optimizer.learning_rate."
    return
  last = list(heads[-1].finished.values())[-1]
  yield f"# Class activation maps on {last['measured']['dataset']['name']}"
  yield _ABOUT
  yield _accuracy(heads)
  yield _fixed_box(last)
  if len(heads) > 1:
    here = "the training scenes are as imbalanced as the configuration says, the test scenes not"
    if config.folder:
      here = "the classes are as frequent as in the folder"
    yield f"With equal classes PC-softmax's loss is softmax's less a constant; here {here}."
  yield "## Boxes found"
  yield "Means over seeds ± standard deviation, in percent."
  for of in heads:
    yield f"**{study.escape(of.name)}**"
    yield _shares(of)
    yield _by_size(of)
  yield _thresholds(heads)
  for number, of in enumerate(heads):
    if (examples := _examples(of, records, number)) is not None:
      yield examples


def share(record: study.Record, kind: str, smoothing: str, rule: str, measure: str) -> float:
  """Return a share of boxes found at an overlap of 0.5."""
  found = record["measured"]["localisation"]["maps"][kind][smoothing][rule][measure]
  return found[maps.HALF]


def _localisations(of: study.Group) -> list[dict[str, Any]]:
  return [made["measured"]["localisation"] for made in of.finished.values()]


def _accuracy(heads: Sequence[study.Group]) -> study.Table:
  rows = []
  for of in heads:
    accuracies = list(of.values("accuracy").values())
    means = [found["mean_share"] for found in _localisations(of)]
    seconds = [made["time"]["seconds"] for made in of.finished.values()]
    cells = (
      study.Cell(str(len(accuracies))),
      tables.mean_cell(accuracies, _SHARE, interval=False),
      study.Cell(f"{np.mean(means):.3f}"),
      study.Cell(f"{np.median(seconds):.0f}"),
    )
    rows.append(study.Row(of.name, cells))
  columns = ("n", "accuracy, %", "mean kernel", "seconds a run, median")
  return study.Table(columns, tuple(rows), "head", "accuracy")


def _fixed_box(record: study.Record) -> str:
  shares = record["measured"]["localisation"]["fixed_box"]
  text = ", ".join(
    f"{100 * share:.1f}% at {level}" for share, level in zip(shares, maps.LEVELS, strict=True)
  )
  return (
    "Mean kernel: the length of the kernel's mean column over the columns' mean length; at 0 "
    f"infoCAM bounds CAM's boxes. Validation's mean box, which looks at no image, finds {text}."
  )


def _shares(of: study.Group) -> study.Table:
  rows = []
  for kind in KINDS:
    for smoothing in SMOOTHINGS:
      for rule, words in _RULES.items():
        found = [one["maps"][kind][smoothing][rule] for one in _localisations(of)]
        cells = [
          tables.mean_cell([one[measure][i] for one in found], _SHARE, interval=False)
          for measure in ("known", "top_1")
          for i in range(len(maps.LEVELS))
        ]
        thresholds = sorted({one["thresholds"][maps.HALF] for one in found})
        cells.append(study.Cell(", ".join(map(str, thresholds))))
        rows.append(study.Row(f"{kind}, {smoothing}, threshold {words}", tuple(cells)))
  columns = (
    *(f"found at {level}" for level in maps.LEVELS),
    *(f"with class at {level}" for level in maps.LEVELS),
    "thresholds at 0.5",
  )
  return study.Table(columns, tuple(rows), "maps", f"boxes_{of.name}")


def _by_size(of: study.Group) -> study.Table:
  rows = []
  for kind in KINDS:
    parts = [one["maps"][kind]["plain"]["chosen"]["by_size"] for one in _localisations(of)]
    cells = [
      study.Cell(measures.MISSING)
      if None in shares
      else tables.mean_cell(shares, _SHARE, interval=False)
      for shares in zip(*parts, strict=True)
    ]
    rows.append(study.Row(kind, tuple(cells)))
  columns = ("smallest third", "middle", "largest")
  return study.Table(columns, tuple(rows), "found at 0.5 by the box's area", f"by_size_{of.name}")


def _thresholds(heads: Sequence[study.Group]) -> study.Plot:
  from softmax_research.study import line_plot  # noqa: PLC0415  # Matplotlib takes long to import.

  panels = []
  for of in heads:
    lines = []
    for kind in KINDS:
      for smoothing in SMOOTHINGS:
        found = [one["maps"][kind][smoothing]["validation_curve"] for one in _localisations(of)]
        curves = 100 * np.array(found)[:, maps.HALF]
        ranges = (curves.min(0), curves.max(0)) if len(curves) > 1 else None
        name = f"{kind}, {smoothing}"
        lines.append(line_plot.Line(name, maps.THRESHOLDS, curves.mean(0), ranges))
    title = f"Validation boxes found at 0.5, {of.name}, %"
    panels.append(line_plot.Panel(title, "threshold", lines))
  return study.Plot(
    "thresholds",
    "Boxes found by threshold",
    "Thresholds are fractions of a map's maximum. Lines are means over seeds, bands their range.",
    line_plot.line_plot(panels),
  )


def _examples(of: study.Group, records: Sequence[study.Record], number: int) -> study.Plot | None:
  """Draw the maps of a head's first seed, which its record holds."""
  shown = next((made for made in of.finished.values() if "examples" in made["measured"]), None)
  if shown is None:
    return None
  again = shown["measured"].get("examples_from")
  note = ""
  if again:  # Of records that were made before records had them.
    note = (
      f" The net was trained again for this picture, on {again['finished_at'][:10]}, with a test "
      f"accuracy of {100 * again['accuracy']:.1f} %; the tables are of the first training."
    )
  return study.Plot(
    f"examples_{number}",
    f"Maps and boxes, {of.name}",
    f"The first test scenes, {of.name}, seed {shown['seed']}: white the true box, dashed orange "
    "the found one; above each scene its class, and what was predicted where that is wrong."
    f"{note}",
    example_figure(shown["measured"]["examples"]),
  )


def example_figure(examples: Sequence[Mapping[str, Any]]) -> Any:
  """Draw a column for each scene of a record: the scene, and below it a map of each kind."""
  from matplotlib.figure import Figure  # noqa: PLC0415

  from softmax_research.study import figure_style  # noqa: PLC0415

  number, side = len(examples), figure_style.WIDTH / max(len(examples), 4)
  with figure_style.style_context():
    figure = Figure(figsize=(side * number, side * (1 + len(KINDS)) * 1.08), layout="constrained")
    axes = figure.subplots(1 + len(KINDS), number, squeeze=False)
    for column, of in zip(axes.T, examples, strict=True):
      label, predicted = of["label"], of["predicted"]
      column[0].imshow(pictures.from_text(of["image"]), cmap="gray", vmin=0, vmax=255)
      column[0].set_title(label if label == predicted else f"{label}, not {predicted}")
      for place, picture, found in zip(column[1:], of["maps"], of["found"], strict=True):
        place.imshow(pictures.from_text(picture), cmap="viridis", vmin=0)
        _outline(place, found, "#ff7f0e", "dashed")
      for place in column:
        _outline(place, of["box"], "#ffffff", "solid")
        place.set(xticks=[], yticks=[])
        place.grid(visible=False)
    for place, name in zip(axes[:, 0], ("scene", *KINDS), strict=True):
      place.set_ylabel(name)
  return figure


def _outline(axes, box, colour: str, dashes: str) -> None:
  from matplotlib.patches import Rectangle  # noqa: PLC0415

  top, left, bottom, right = box
  # Pixels are drawn around their centres.
  corner, size = (left - 0.5, top - 0.5), (right - left, bottom - top)
  axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=colour, linestyle=dashes))
