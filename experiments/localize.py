"""Localise objects by class activation maps (CAM, infoCAM, infoCAM+) and by a sliding window.

    python -m experiments.localize --config=configs/localize_digits.py --workdir=runs/digits
    python -m experiments.localize --config=configs/localize_objects.py --workdir=runs/objects
    python -m experiments.localize --config=configs/localize_objects.py --workdir=runs/birds \\
        --config.folder=CUB_200_2011

A net learns the classes of scenes alone; boxes are then cut from its maps and judged by the true
ones. A sliding window's map is the net's probability of the class in windows of half the side, a
quarter of a window apart, averaged at each position. Thresholds are the paper's, or chosen on
validation scenes. Seeds train side by side; every finished (head, seed) is appended at once to
results.jsonl, and the same command run again makes only what is missing.
"""

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from configs import localize_digits
from experiments import assembly, classifiers
from experiments.ledger import study_claims
from experiments.localization import maps, material
from softmax_research import data, heads, registry, study
from softmax_research.study import record, tables
from softmax_research.study.blocks import table_of

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


def prepare(
  config: ConfigDict, left: Sequence[dict[str, Any]]
) -> tuple[assembly.Splits, dict[str, Any]]:
  """Make the scenes and, by head, what computes a net's maps; see that these can be computed."""
  splits = material.make(config)
  options = registry.parse(config.backbone)[1]
  preprocess = functools.partial(data.standardise, mean=splits.mean, std=splits.std)
  log_probs = np.zeros((1, splits.num_classes), np.float32)
  scene = splits.test.images[:1], splits.test.labels[:1], log_probs
  mappers = {}
  for head in dict.fromkeys(cell["head"] for cell in left):
    state = jax.eval_shape(assembly.make_programs(config, splits, head).init, 0)
    maps.check_head(head, state.params["head"], splits.num_classes)
    log_prob = assembly.make_head_for(splits, head).log_prob
    mappers[head] = maps.make_mapper(options, preprocess, log_prob)
    # Windows are half as wide as scenes, which may be too small for the network.
    jax.eval_shape(mappers[head], state.params, state.model_state, *scene)
  return splits, mappers


def run(cell: dict[str, Any], context: study.Context) -> Iterator[list[study.Record]]:
  splits, mappers = context.prepared
  trained = classifiers.train(context, context.settings, splits, cell["head"])
  for made, predictions, state in trained:
    if predictions is not None:
      localisation, examples = maps.judge(mappers[cell["head"]], splits, state, predictions)
      made["measured"]["localisation"] = localisation
      if made["seed"] == 0:
        made["measured"]["examples"] = examples
  yield [of.record for of in trained]


def report(records: Sequence[study.Record], config: ConfigDict) -> Iterator[study.Block]:
  heads = [of for of in study.group(records, "head") if of.finished]
  last = list(heads[-1].finished.values())[-1]
  yield f"# Class activation maps on {study.escape(last['measured']['dataset']['name'])}"
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
    yield from _examples(of, number)


def _path(*parts: str) -> str:
  return "/".join(("localisation/maps", *parts))


def _mean(of: study.Group, path: str) -> study.Cell:
  return tables.mean_cell(list(of.values(path).values()), _SHARE, interval=False)


def _accuracy(heads: Sequence[study.Group]) -> study.Table:
  rows = []
  for of in heads:
    means = list(of.values("localisation/mean_share").values())
    seconds = list(of.values("time/seconds").values())
    cells = {
      "n": str(len(of.finished)),
      "accuracy, %": _mean(of, "accuracy"),
      "mean kernel": f"{np.mean(means):.3f}",
      "seconds a run, median": f"{np.median(seconds):.0f}",
    }
    rows.append((of.name, cells))
  return table_of(rows, "head", "accuracy")


def _fixed_box(made: study.Record) -> str:
  shares = zip(made["measured"]["localisation"]["fixed_box"], maps.LEVELS, strict=True)
  text = ", ".join(f"{100 * share:.1f}% at {level}" for share, level in shares)
  return (
    "Mean kernel: the length of the kernel's mean column over the columns' mean length; at 0 "
    f"infoCAM bounds CAM's boxes. Validation's mean box, which looks at no image, finds {text}."
  )


def _shares(of: study.Group) -> study.Table:
  rows = []
  for kind, smoothing, rule in itertools.product(maps.KINDS, maps.SMOOTHINGS, _RULES):
    at = _path(kind, smoothing, rule)
    cells = {
      f"{what} at {level}": _mean(of, f"{at}/{measure}/{place}")
      for measure, what in (("known", "found"), ("top_1", "with class"))
      for place, level in enumerate(maps.LEVELS)
    }
    thresholds = sorted(set(of.values(f"{at}/thresholds/{maps.HALF}").values()))
    cells["thresholds at 0.5"] = ", ".join(map(str, thresholds))
    rows.append((f"{kind}, {smoothing}, threshold {_RULES[rule]}", cells))
  return table_of(rows, "maps", f"boxes_{of.name}")


def _by_size(of: study.Group) -> study.Table:
  rows = []
  for kind in maps.KINDS:
    at, parts = _path(kind, "plain", "chosen", "by_size"), ("smallest third", "middle", "largest")
    cells = {part: _mean(of, f"{at}/{place}") for place, part in enumerate(parts)}
    rows.append((kind, cells))
  return table_of(rows, "found at 0.5 by the box's area", f"by_size_{of.name}")


def _thresholds(heads: Sequence[study.Group]) -> study.Plot:
  from softmax_research.study import line_plot  # noqa: PLC0415  # Matplotlib takes long to import.

  panels = []
  for of in heads:
    lines = []
    for kind, smoothing in itertools.product(maps.KINDS, maps.SMOOTHINGS):
      found = [
        made["measured"]["localisation"]["maps"][kind][smoothing]["validation_curve"][maps.HALF]
        for made in of.finished.values()
      ]
      curves = 100 * np.array(found)
      ranges = (curves.min(0), curves.max(0)) if len(curves) > 1 else None
      lines.append(line_plot.Line(f"{kind}, {smoothing}", maps.THRESHOLDS, curves.mean(0), ranges))
    title = f"Validation boxes found at 0.5, {of.name}, %"
    panels.append(line_plot.Panel(title, "threshold", lines))
  return study.Plot(
    "thresholds",
    "Boxes found by threshold",
    "Thresholds are fractions of a map's maximum. Lines are means over seeds, bands their range.",
    line_plot.line_plot(panels),
  )


def _examples(of: study.Group, number: int) -> Iterator[study.Plot]:
  """Draw the maps of a head's first seed, if its record holds them."""
  shown = next((made for made in of.finished.values() if "examples" in made["measured"]), None)
  if shown is not None:
    yield study.Plot(
      f"examples_{number}",
      f"Maps and boxes, {of.name}",
      f"The first test scenes, {of.name}, seed {shown['seed']}: white the true box, dashed orange "
      "the found one; above each scene its class, and what was predicted where that is wrong.",
      example_figure(shown["measured"]["examples"]),
    )


def example_figure(examples: Sequence[Mapping[str, Any]]) -> Any:
  """Draw a column for each scene of a record: the scene, and below it a map of each kind."""
  from matplotlib.figure import Figure  # noqa: PLC0415

  from softmax_research.study import figure_style  # noqa: PLC0415

  number, side = len(examples), figure_style.WIDTH / max(len(examples), 4)
  rows = 1 + len(maps.KINDS)
  with figure_style.style_context():
    figure = Figure(figsize=(side * number, side * rows * 1.08), layout="constrained")
    axes = figure.subplots(rows, number, squeeze=False)
    for column, of in zip(axes.T, examples, strict=True):
      label, predicted = of["label"], of["predicted"]
      column[0].imshow(record.from_text(of["image"]), cmap="gray", vmin=0, vmax=255)
      column[0].set_title(label if label == predicted else f"{label}, not {predicted}")
      for place, picture, found in zip(column[1:], of["maps"], of["found"], strict=True):
        place.imshow(record.from_text(picture), cmap="viridis", vmin=0)
        _outline(place, found, "#ff7f0e", "dashed")
      for place in column:
        _outline(place, of["box"], "#ffffff", "solid")
        place.set(xticks=[], yticks=[])
        place.grid(visible=False)
    for place, name in zip(axes[:, 0], ("scene", *maps.KINDS), strict=True):
      place.set_ylabel(name)
  return figure


def _outline(axes, box, colour: str, dashes: str) -> None:
  from matplotlib.patches import Rectangle  # noqa: PLC0415

  top, left, bottom, right = box
  # Pixels are drawn around their centres.
  corner, size = (left - 0.5, top - 0.5), (right - left, bottom - top)
  axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=colour, linestyle=dashes))


STUDY = study.Study(
  localize_digits.get_config,
  lambda config: [{"head": head} for head in heads.split(config.heads)],
  run,
  report,
  name="localize",
  check=material.check_config,
  prepare=prepare,
  selects=("heads", "seeds"),
  estimate=lambda cell, of: classifiers.estimate(of, of.settings, of.prepared[0], cell["head"]),
  claims=study_claims.OF_MAPS,
)

if __name__ == "__main__":
  classifiers.main(STUDY, default_config="configs/localize_digits.py")
