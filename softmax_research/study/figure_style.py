"""One style for every figure, and figures as SVG text that is the same on every run."""

import io
import logging
import re
import warnings
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import optimize

INK = "#1f2328"
MUTED = "#656d76"
RULE = "#d0d7de"
PAPER = "#ffffff"
LONGEST_LABEL = 48
WIDTH = 9.6  # inches; the page scales its figures to its own width

# Okabe and Ito's colours, which the colour-blind can tell apart, without black and yellow: the
# first head has the ink's colour, and yellow is invisible on white.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_DASHES = ("solid", (0, (4, 1.5)), (0, (1, 1.2)))

# Text is measured in the font that comes with Matplotlib, which is wider than those of a page.
_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
_RC = {
  "axes.axisbelow": True,
  "axes.edgecolor": RULE,
  "axes.facecolor": "none",
  "axes.grid": True,
  "axes.labelcolor": MUTED,
  "axes.labelsize": 8,
  "axes.spines.right": False,
  "axes.spines.top": False,
  "axes.titlecolor": INK,
  "axes.titlelocation": "left",
  "axes.titlesize": 9,
  "axes.titleweight": "bold",
  "axes.titlepad": 8,
  "figure.facecolor": PAPER,
  "font.family": "DejaVu Sans",
  "font.size": 8,
  "grid.color": RULE,
  "grid.linewidth": 0.5,
  "image.interpolation": "none",
  "lines.linewidth": 1.4,
  "pdf.fonttype": 42,
  "svg.fonttype": "none",
  "text.color": INK,
  # Names are somebody's own: a dollar sign in them begins no formula.
  "text.parse_math": False,
  "xtick.color": RULE,
  "xtick.labelcolor": MUTED,
  "xtick.labelsize": 7.5,
  "ytick.color": RULE,
  "ytick.labelcolor": MUTED,
  "ytick.labelsize": 7.5,
}


def style_context():
  """Return a context in which figures are made, whatever the user's own settings are."""
  return matplotlib.rc_context({**matplotlib.rcParamsDefault, **_RC, "backend": "agg"})


def head_style(index: int) -> dict:
  """Return colour and dashes of the head at a position; the first is the one compared with."""
  if index == 0:
    return {"color": INK, "linestyle": "solid"}
  turn, place = divmod(index - 1, len(_COLOURS))
  return {"color": _COLOURS[place], "linestyle": _DASHES[turn % len(_DASHES)]}


def grid_of_axes(names: Sequence[str], *, columns: int, height: float) -> tuple[Figure, list[Axes]]:
  """Make a figure of small panels in rows of nearly equal length, `height` inches each.

  A long title is broken where its options begin. There are at most so many columns; fewer panels
  keep the size that they have in a full row.
  """
  count = len(names)
  rows = -(-count // columns)
  columns_used = -(-count // rows)
  figure = Figure(figsize=(WIDTH * columns_used / columns, height * rows), layout="constrained")
  figure.get_layout_engine().set(h_pad=0.09, w_pad=0.06)
  axes = list(figure.subplots(rows, columns_used, squeeze=False).flat)
  most = int(WIDTH / columns * 72 / 7)
  for panel, name in zip(axes, names, strict=False):
    lines = [name] if len(name) <= most else name.replace(":", "\n", 1).split("\n")
    panel.set_title("\n".join(shorten(line, most + 2) for line in lines))
  for unused in axes[count:]:
    unused.set_visible(False)
  return figure, axes[:count]


def label_rows(axes: Axes, names: Sequence[str]) -> None:
  """Name rows at the left, from the top; no line stands at the left edge."""
  axes.set_yticks(range(len(names)), names)
  axes.set_ylim(len(names) - 0.4, -0.6)
  axes.tick_params(axis="y", length=0, labelcolor=INK)
  axes.spines["left"].set_visible(False)
  axes.grid(axis="y", visible=False)


def label_line_ends(axes: Axes, ends: Sequence[tuple[str, float, dict]]) -> None:
  """Write each line's name at its right end, moved up or down until no two overlap.

  The limits of the axes are final; an end is a name, the last value and a style.
  """
  ends = [end for end in ends if np.isfinite(end[1])]
  if not ends:
    return
  to_fraction = axes.transAxes.inverted().transform
  fractions = np.array([to_fraction(axes.transData.transform((0, y)))[1] for _, y, _ in ends])
  height = axes.get_window_extent().height / axes.figure.dpi * 72
  gap = min(10.5 / height, 1 / len(ends))
  order = np.argsort(fractions, kind="stable")
  # The nearest places at least a gap apart: least squares under an order, once gaps are taken off.
  gaps = gap * np.arange(len(ends))
  places = optimize.isotonic_regression(fractions[order] - gaps).x
  places = np.clip(places, 0, max(0, 1 - gaps[-1])) + gaps
  for place, index in zip(places, order, strict=True):
    name, _, style = ends[index]
    axes.plot(
      [1.005, 1.025, 1.045],
      [fractions[index], place, place],
      transform=axes.transAxes,
      clip_on=False,
      linewidth=1.2,
      solid_capstyle="butt",
      **style,
    )
    label = shorten(name, LONGEST_LABEL)
    axes.text(1.055, place, label, transform=axes.transAxes, va="center", fontsize=7.5)


def to_svg(figure: Figure, name: str) -> str:
  """Return a figure as an SVG document; the same figure and name give the same text.

  The name is put before every identifier, so that many figures fit on one page.
  """
  buffer = io.StringIO()
  with matplotlib.rc_context({**_RC, "svg.hashsalt": name}), warnings.catch_warnings():
    # A page's fonts have letters that Matplotlib's own, which measures the text, lacks.
    warnings.filterwarnings("ignore", "Glyph .* missing from font")
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
  svg = buffer.getvalue()
  svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
  svg = re.sub(r'\bid="', f'id="{name}-', svg)
  svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
  # The font list also stands in attributes in double quotes, so its own quotes are single.
  svg = svg.replace("'DejaVu Sans'", _FONTS)
  # A style sheet within an SVG would hold for the whole page.
  svg = re.sub(r'\s*<style type="text/css">.*?</style>', "", svg, flags=re.DOTALL)
  return svg.replace("<svg ", '<svg stroke-linejoin="round" stroke-linecap="butt" ', 1)


def to_pdf(figure: Figure) -> bytes:
  """Return a figure as the bytes of a PDF; the same figure gives the same bytes."""
  # It tells of each glyph that it embeds.
  logging.getLogger("fontTools").setLevel(logging.WARNING)
  buffer = io.BytesIO()
  with matplotlib.rc_context(_RC):
    figure.savefig(buffer, format="pdf", metadata={"CreationDate": None})
  return buffer.getvalue()


def inline_svg(svg: str) -> str:
  """Return an SVG document as an element of a page, in the page's width and colours."""
  svg = svg[svg.index("<svg ") :]
  opening, rest = svg.split(">", 1)
  width = re.search(r'\bwidth="([\d.]+)pt"', opening)
  share = min(1.0, float(width.group(1)) / (WIDTH * 72)) if width else 1.0
  opening = re.sub(r'\s(width|height)="[\d.]+pt"', "", opening)
  svg = f'{opening} style="width: {100 * share:.1f}%" aria-hidden="true">{rest}'
  named = {INK: "ink", MUTED: "muted", RULE: "rule", PAPER: "paper"}
  named |= {colour: f"head-{number}" for number, colour in enumerate(_COLOURS, start=1)}
  for colour, variable in named.items():
    svg = svg.replace(colour, f"var(--{variable})")
  return svg


def shorten(text: str, most: int) -> str:
  """Return text of at most so many characters, the rest as an ellipsis."""
  return text if len(text) <= most else text[: most - 1] + "…"
