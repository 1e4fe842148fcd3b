"""Report of the staircase: estimates over time with the exact stairs, errors, and claims."""

import pathlib
from typing import Any

import numpy as np

from experiments.information import bounds, summary
from softmax_research.reporting import line_plot, note, summarise, tables

_METHOD = (
  "Each estimate is of one batch that its critic had not seen. Over the second half of each stair: "
  "bias is the mean error, variance that of the estimates about their seed's mean, MSE the mean "
  "squared error, all averaged over the seeds. Where some seeds' estimates are not finite, the "
  "figures have no point, and the table averages over the other seeds and says how many they are "
  "(n); – stands where there are none."
)


def write(
  workdir: pathlib.Path, settings: Any, runs: list[dict[str, Any]], facts: dict[str, Any]
) -> pathlib.Path:
  """Write the report of the runs."""
  steps = {"separable": settings.steps, "joint": settings.joint_steps}
  rates = {"separable": settings.rate, "joint": settings.joint_rate}
  blocks = [
    f"X and Y are normal in {settings.dimension} dimensions, correlated component by component; "
    "cubic means that the components of Y are cubed, which leaves the information as it is. "
    f"Batches of {settings.batch_size} pairs, {settings.seeds} seeds, "
    "critics with two layers of 256. "
    + " ".join(
      f"Each stair has {steps[c]:,} steps of Adam at {rates[c]:g} for {c} critics."
      for c in settings.critics
    )
    + " The papers' protocol has 4,000 at 5e-4 for both kinds; with fewer, a critic has less time "
    "to come near the truth. SMILE and JS share a critic trained by the Jensen-Shannon objective; "
    "I-alpha has no baseline.",
    _METHOD,
    claims(settings, runs),
  ]
  for critic in settings.critics:
    blocks.append(f"## {critic.capitalize()} critic")
    panels = [
      _climb_panel(settings, runs, critic, transform, steps[critic])
      for transform in transforms_of(settings, critic)
    ]
    caption = (
      "Means over tenths of a stair, and over the seeds with their 95% intervals; what lies beyond "
      "the axis is cut off."
    )
    name = f"climb_{critic}"
    plot = note.make_plot(
      name, f"Estimates over time, {critic}", caption, line_plot.line_plot(panels)
    )
    blocks.append(plot)
    found = summary.group(
      [run for run in runs if run["critic"] == critic], ("transform", "estimator", "truth")
    )
    panels = [
      _bias_panel(settings, found, transform) for transform in transforms_of(settings, critic)
    ]
    blocks.append(summary.plot(f"bias_{critic}", f"Bias by information, {critic}", panels))
    for transform in transforms_of(settings, critic):
      blocks.append(f"**{critic} critic, {transform}**: bias / variance / MSE, in nats.")
      blocks.append(_table(settings, found, transform))
  title = "Estimates of mutual information up a staircase"
  return note.write_note(workdir, title=title, blocks=blocks, facts=facts)


def transforms_of(settings: Any, critic: str) -> tuple[str, ...]:
  """Return the transforms of y for a kind of critic."""
  return settings.joint_transforms if critic == "joint" else settings.transforms


def claims(settings: Any, runs: list[dict[str, Any]]) -> str:
  """State for each claim of the papers whether it holds in these runs."""
  limit = float(np.log(settings.batch_size))
  lines = []
  of_nce = [run for run in runs if run["estimator"] == bounds.INFO_NCE.name]
  largest = max((run["largest"] for run in of_nce if run["largest"] is not None), default=np.nan)
  lines.append(
    f"InfoNCE never exceeds log B = {limit:.4f} nats {_verdict(largest <= limit + 1e-4)}: "
    f"{largest:.4f} at most in any batch"
  )
  top = max(settings.nats)
  for critic in settings.critics:
    highest = [r for r in runs if r["critic"] == critic and r["truth"] == top]
    transform = transforms_of(settings, critic)[0]
    linear = [r for r in highest if r["transform"] == transform]
    mean = _mean(linear, bounds.INFO_NCE.name, "estimate")
    if top > limit:
      saturated = limit - 1 <= mean <= limit
      lines.append(
        f"InfoNCE saturates within 1 nat below log B at {top:g} nats ({critic}, "
        f"{transform}) {_verdict(saturated)}: {mean:.3f}"
      )
    names = [bounds.SMILE[clip].name for clip in (1, 5, None)]
    spreads = [_mean(linear, name, "variance") for name in names]
    lines.append(
      f"SMILE's variance falls with its clip at {top:g} nats ({critic}) "
      f"{_verdict(spreads[0] <= spreads[1] <= spreads[2])}: "
      + ", ".join(f"{s:.3g} at {n.split()[-1]}" for s, n in zip(spreads, names, strict=True))
    )
    least = _mean(linear, bounds.INFO_NCE.name, "variance")
    others = {name: _mean(linear, name, "variance") for name in ("NWJ", "MINE (DV)")}
    lines.append(
      f"NWJ and MINE vary more than InfoNCE at {top:g} nats ({critic}) "
      f"{_verdict(all(value > least for value in others.values()))}: variances "
      f"{others['NWJ']:.3g} and {others['MINE (DV)']:.3g}, against {least:.3g}"
    )
  return "\n".join(f"- {line}." for line in lines)


def _verdict(holds: bool) -> str:
  return "holds" if holds else "does not hold"


def _mean(runs, estimator, key) -> float:
  values = [run[key] for run in runs if run["estimator"] == estimator]
  return float(np.mean([np.nan if value is None else value for value in values or [None]]))


def _climb_panel(settings, runs, critic, transform, steps) -> line_plot.Panel:
  """Draw the estimates over time, and the truth."""
  tenth = steps // 10
  ends = [(i * steps, (i + 1) * steps) for i in range(len(settings.nats))]
  truth = line_plot.Line(
    "truth",
    [place for pair in ends for place in pair],
    [nats for nats in settings.nats for _ in range(2)],
  )
  lines = [truth]
  places = [start + tenth * (i + 0.5) for start, _ in ends for i in range(10)]
  for bound in bounds.BOUNDS:
    curves = {}
    for run in runs:
      if (run["critic"], run["transform"], run["estimator"]) == (critic, transform, bound.name):
        curves.setdefault(run["seed"], {})[run["stair"]] = run["curve"]
    if not curves:
      continue
    curves = np.array(
      [np.concatenate([of[stair] for stair in sorted(of)]) for of in curves.values()], float
    )
    found = [summarise(column) for column in curves.T]
    ranges = [one.low for one in found], [one.high for one in found]
    lines.append(line_plot.Line(bound.name, places, [one.mean for one in found], ranges))
  limits = (-1.0, 1.4 * max(settings.nats))
  return line_plot.Panel(f"{critic}, {transform}: nats", "step", lines, limits=limits)


def _bias_panel(settings, found, transform) -> line_plot.Panel:
  lines = []

  def bias_at(name, nats):
    runs = found[transform, name, nats]
    if len(runs) < settings.seeds:  # Those that stay finite are no sample of all seeds.
      return summarise([])
    return summarise([run["estimate"] - nats for run in runs])

  for bound in bounds.BOUNDS:
    biases = [bias_at(bound.name, nats) for nats in settings.nats]
    ranges = [bias.low for bias in biases], [bias.high for bias in biases]
    lines.append(line_plot.Line(bound.name, settings.nats, [b.mean for b in biases], ranges))
  limits = (-max(settings.nats), 0.5 * max(settings.nats))
  return line_plot.Panel(f"Bias, nats, {transform}", "information, nats", lines, limits=limits)


def _table(settings, found, transform) -> tables.Table:
  """Tabulate bias, variance and mean squared error of each bound at each stair."""

  def cell(name, nats):
    runs = found[transform, name, nats]
    if not runs:
      return tables.Cell("–")
    values = [
      np.mean([run["estimate"] for run in runs]) - nats,
      *(_mean(runs, name, key) for key in ("variance", "squared_error")),
    ]
    bias = f"{values[0]:+.2f}" if abs(values[0]) < 1000 else f"{values[0]:+.2g}"
    count = f" (n = {len(runs)} of {settings.seeds})" if len(runs) < settings.seeds else ""
    return tables.Cell(f"{bias} / {values[1]:.3g} / {values[2]:.3g}{count}")

  rows = [
    tables.Row(bound.name, tuple(cell(bound.name, nats) for nats in settings.nats))
    for bound in bounds.BOUNDS
  ]
  columns = tuple(f"{nats:g} nats" for nats in settings.nats)
  return tables.Table(columns, tuple(rows), name_column="estimator")
