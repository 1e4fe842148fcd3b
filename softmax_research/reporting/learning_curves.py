"""Learning curves: the mean over seeds against the epoch, with the range of the seeds as a band."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from softmax_research.reporting import figure_style
from softmax_research.reporting.records import HeadRecords, as_float

# Title, name in the records and what is done to it: errors rather than accuracies, because on a
# logarithmic axis they show what still changes when the accuracy is near one.
_PANELS = (
  ("Validation error, %", "validation_accuracy", lambda accuracy: 100 * (1 - accuracy)),
  ("Validation NLL, nats", "validation_nll", lambda nll: nll),
  ("Training loss of the head, nats", "train_loss", lambda loss: loss),
)
# Below this ratio of the largest to the smallest value a logarithmic axis has too few ticks.
_LEAST_RATIO = 4


def learning_curves(heads: list[HeadRecords]) -> Figure | None:
  """Plot the learning curves of every head.

  Args:
    heads: Heads with their runs.

  Returns:
    A figure of one panel for each quantity, or None when no run has curves.
  """
  curves = {
    name: [(i, head.name, *_over_seeds(head, name)) for i, head in enumerate(heads)]
    for _, name, _ in _PANELS
  }
  panels = [p for p in _PANELS if any(epochs.size for _, _, epochs, _ in curves[p[1]])]
  if not panels:
    return None
  with figure_style.style_context():
    figure = Figure(figsize=(figure_style.WIDTH, 2.5 * len(panels)))
    right = 1 - 0.06 - 0.0075 * max(len(head.name) for head in heads)
    figure.subplots_adjust(
      left=0.055, right=right, top=1 - 0.09 / len(panels), bottom=0.17 / len(panels), hspace=0.32
    )
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for panel, (title, name, change) in zip(axes, panels, strict=True):
      _draw(panel, [(i, label, x, change(y)) for i, label, x, y in curves[name]])
      panel.set_title(title)
    axes[-1].set_xlabel("epoch")
  return figure


def _draw(axes: Axes, curves: list[tuple[int, str, np.ndarray, np.ndarray]]) -> None:
  """Draw one quantity: for each head a line, a band and its name."""
  drawn = [(i, name, x, y) for i, name, x, y in curves if np.isfinite(y).any()]
  ends = []
  for index, name, epochs, values in drawn:
    style = figure_style.head_style(index)
    masked = np.ma.masked_invalid(values)
    mean = masked.mean(axis=0)
    marker = "o" if epochs.size == 1 else None
    axes.plot(epochs, mean, zorder=3 + (index == 0), marker=marker, markersize=4, **style)
    if len(values) > 1:
      alpha = 0.18 if len(drawn) <= 6 else 0.09
      axes.fill_between(
        epochs,
        masked.min(axis=0),
        masked.max(axis=0),
        color=style["color"],
        alpha=alpha,
        linewidth=0,
      )
    ends.append((name, float(mean.filled(np.nan)[-1]), style))
  finite = np.concatenate([y[np.isfinite(y)] for *_, y in drawn])
  if finite.min() > 0 and finite.max() > _LEAST_RATIO * finite.min():
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
  last = max(epochs[-1] for _, _, epochs, _ in drawn)
  axes.set_xlim(min(1, last - 1), last)
  axes.xaxis.set_major_locator(MaxNLocator(integer=True))
  axes.grid(axis="x", visible=False)
  figure_style.label_line_ends(axes, ends)


def _over_seeds(head: HeadRecords, name: str) -> tuple[np.ndarray, np.ndarray]:
  """Return the epochs `[E]` and the values `[seeds, E]` of a curve, NaN where a seed has none."""
  by_seed = []
  for run in head.finished.values():
    curves = run.get("curves") or {}
    if curves.get(name):
      by_seed.append(dict(zip(curves["epoch"], map(as_float, curves[name]), strict=True)))
  epochs = sorted(set().union(*by_seed))
  values = [[curve.get(epoch, np.nan) for epoch in epochs] for curve in by_seed]
  return np.array(epochs), np.array(values, np.float64).reshape(len(by_seed), len(epochs))
