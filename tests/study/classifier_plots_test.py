"""Plots of classifiers: bins pooled by count, shares averaged over seeds, the worst images."""

import numpy as np
import pytest

from softmax_research.study import classifier_plots, group
from tests.study.fake_records import make_diverged, make_ensemble, make_png, make_run


def _with_bins(record, count, confidence, accuracy):
  record["metrics"]["test"]["reliability"] = {
    "count": count,
    "confidence": confidence,
    "accuracy": accuracy,
  }
  return record


def test_bins_are_pooled_by_count():
  runs = [
    _with_bins(make_run("a", 0), [0, 10, 30], [None, 0.5, 0.90], [None, 0.4, 1.0]),
    _with_bins(make_run("a", 1), [2, 30, 8], [0.2, 0.6, 0.95], [0.5, 0.8, 0.5]),
  ]
  (axes,) = classifier_plots.reliability(group(runs)).figure.axes
  line = axes.lines[1].get_xydata()  # after the diagonal
  # (10 * 0.5 + 30 * 0.6) / 40 and so on; the bin of two examples is no part of the line.
  np.testing.assert_allclose(line, [[0.575, 0.7], [(27 + 7.6) / 38, 34 / 38]])
  faint = axes.collections[0].get_offsets()
  np.testing.assert_allclose(faint, [[0.2, 0.5]])
  heights = [bar.get_height() for bar in axes.patches]
  np.testing.assert_allclose(heights, np.array([2, 40, 38]) / 40 * 0.25)


def test_the_error_counts_each_image_once():
  runs = [_with_bins(make_run("a", s), [0, 100], [None, 0.9], [None, 0.8]) for s in range(4)]
  (axes,) = classifier_plots.reliability(group(runs)).figure.axes
  (segment,) = axes.collections[1].get_segments()
  np.testing.assert_allclose(segment[:, 1], [0.8 - 2 * 0.04, 0.8 + 2 * 0.04])


def test_every_head_with_runs_has_a_panel_with_its_ece():
  run = make_run("a", 0)
  figure = classifier_plots.reliability(group([run, make_diverged("b", 0)])).figure
  assert len(figure.axes) == 1
  (text,) = figure.axes[0].texts
  assert text.get_text() == f"ECE {100 * run['metrics']['test']['ece']:.2f}%"


def test_without_bins_there_is_no_plot():
  run = make_run("a", 0)
  del run["metrics"]["test"]["reliability"]
  assert classifier_plots.reliability(group([run])) is None
  empty = _with_bins(run, [0, 0], [None] * 2, [None] * 2)
  assert classifier_plots.reliability(group([empty])) is None


def _with_confusion(seed, matrix, class_names=()):
  record = make_run("a", seed)
  record["metrics"]["test"]["confusion"] = matrix
  record["measured"]["dataset"]["class_names"] = class_names
  return record


def _confusion(*runs):
  return classifier_plots.confusion(group(runs)).figure.axes


def test_shares_are_averaged_over_seeds():
  (axes,) = _confusion(
    _with_confusion(0, [[8, 2, 0], [0, 5, 0], [0, 0, 0]], ["x", "y", "z"]),
    _with_confusion(1, [[9, 0, 1], [1, 4, 0], [0, 0, 0]], ["x", "y", "z"]),
  )
  numbers = {text.get_position(): text.get_text() for text in axes.texts}
  # Positions are (column, row); the third class has no examples.
  assert numbers == {(0, 0): "85", (1, 0): "10", (2, 0): "5.0", (0, 1): "10", (1, 1): "90"}
  alpha = np.asarray(axes.images[0].get_array())[..., 3]
  assert alpha[0, 1] == alpha[1, 0] == pytest.approx(0.85) and alpha[2, 0] == 0
  assert [label.get_text() for label in axes.get_xticklabels()] == ["x", "y", "z"]


def test_perfect_heads_are_drawn():
  (axes,) = _confusion(_with_confusion(0, [[3, 0], [0, 4]]))
  assert [text.get_text() for text in axes.texts] == ["100", "100"]
  (axes,) = _confusion(_with_confusion(0, [[0.3, 0.1], [0, 0.2]]))  # Labels are distributions.
  assert [text.get_text() for text in axes.texts] == ["75", "25", "100"]


def test_many_classes_have_neither_numbers_nor_names():
  names = [f"class {i}" for i in range(40)]
  (axes,) = _confusion(make_run("a", 0, class_names=names, per_class=2))
  assert not axes.texts and axes.images[0].get_array().shape == (40, 40, 4)
  assert "class 0" not in [label.get_text() for label in axes.get_xticklabels()]


def test_many_panels_are_small_and_have_no_numbers():
  runs = []
  for i in range(12):
    runs.append(_with_confusion(0, [[3, 1], [0, 4]], ["cat", "dog"]))
    runs[-1]["cell"] = {"head": f"head {i}"}
  axes = _confusion(*runs)
  assert len(axes) == 12 and not any(panel.texts for panel in axes)


def test_without_finished_runs_there_is_no_plot():
  assert classifier_plots.confusion(group([make_diverged("a", 0)])) is None


def _worst(names=("cat", "dog"), **worst):
  records = []
  for head, entries in worst.items():
    records += [make_run(head, 0), make_ensemble(head, [0, 1], images=1)]
    records[-2]["measured"]["dataset"]["class_names"] = names
    records[-1]["measured"]["worst"] = entries
  return classifier_plots.worst_images(group(records))


def _words(**worst):
  (axes,) = _worst(**worst).figure.axes
  return [text.get_text() for text in axes.texts][1]


def _entry(index=0, probability=0.25, png=None):
  png = png or make_png(np.random.default_rng(0))
  return {"index": index, "label": 1, "predicted": 0, "probability": probability, "png": png}


@pytest.mark.parametrize(
  ("probability", "text"),
  [(0.996, "99.6%"), (0.01, "1.0%"), (0.0042, "0.42%"), (0.0001, "0.01%"), (1e-9, "< 0.01%")],
)
def test_tiles_have_their_classes_and_probability(probability, text):
  assert _words(a=[_entry(probability=probability)]) == f"dog → cat\n{text}"


def test_classes_are_named_as_there_is_room_or_else_numbered():
  assert _words(a=[_entry() | {"label": 5}]) == "5 → cat\n25.0%"
  assert _words(a=[_entry() | {"predicted": 1}]) == "dog, right\n25.0%"
  names = ["a rather long class name", "airplane"]
  assert _words(names=names, a=[_entry()]) == "airplane →\na rather long…\n25.0%"


@pytest.mark.parametrize("png", [None, "", "no base64!", "aGVsbG8=", '"><script>'])
def test_what_is_no_png_is_left_out(png):
  assert _worst(a=[_entry() | {"png": png}]) is None


def test_groups_without_an_ensemble_have_no_images():
  assert classifier_plots.worst_images(group([make_run("a", 0), make_run("b", 0)])) is None


def test_images_shared_by_all_heads_are_counted():
  plot = _worst(a=[_entry(1), _entry(2), _entry(3)], b=[_entry(3), _entry(1), _entry(9)])
  assert "2 of them are among the worst of every row" in plot.caption


def test_twelve_images_of_the_first_eight_heads_are_drawn():
  (axes,) = _worst(a=[_entry(i) for i in range(20)], b=[_entry()]).figure.axes
  assert len(axes.images) == 13
  texts = [text.get_text() for text in axes.texts]
  assert texts[0] == "a" and texts[1] == "dog → cat\n25.0%" and texts[13] == "b"
  plot = _worst(**{f"head{i}": [_entry()] for i in range(9)})
  assert len(plot.figure.axes[0].images) == 8
  assert "first 8 of 9 rows" in plot.caption
  assert "1 of them is among the worst of every row" in plot.caption
