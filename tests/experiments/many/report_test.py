"""The report of heads at equal time, from records alone."""

import json

import pytest
from matplotlib.figure import Figure

from experiments.many import report


def make_run(head, seed, perplexities, *, accuracy=0.5):
  """Return a record; a perplexity of None stands for a label without probability."""
  nll = [None if p is None else p / 10 for p in perplexities]
  return {
    "kind": "run",
    "head": head,
    "seed": seed,
    "status": "finished",
    "metrics": {
      "test": {"nll": nll[-1], "perplexity": perplexities[-1], "accuracy": accuracy},
    },
    "curves": {
      "seconds": [float(i) for i in range(len(nll))],
      "steps": [10 * i for i in range(len(nll))],
      "nll": nll,
      "perplexity": perplexities,
      "accuracy": [accuracy] * len(nll),
    },
    "config": {"heads": "softmax,sparsemax", "seconds": 1.0},
    "dataset": {
      "name": "a text", "num_classes": 9, "num_train": 90, "num_test": 50, "measure": "nll",
    },
    "num_parameters": 100,
    "versions": {"jax": "1", "numpy": "2"},
    "device": "cpu x 1",
    "git_revision": "0123abc",
    "finished_at": f"2026-01-0{seed + 1}T00:00:00+00:00",
  }  # fmt: skip


def write(workdir, records):
  (workdir / "results.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
  return report.write(workdir, command="run it").read_text()


def row(text, name):
  """Return the cells of the first row of a name."""
  line = next(line for line in text.splitlines() if line.startswith(f"| {name} "))
  return [cell.strip() for cell in line.strip("|").split("|")][1:]


@pytest.mark.parametrize("lost", [[None, None, None], [9.0, None, 7.0]])
def test_labels_without_probability_are_shown_as_such(tmp_path, lost):
  records = [make_run("softmax", seed, [8.0, 5.0, 4.0 + seed]) for seed in (0, 1)]
  records += [make_run("sparsemax", 0, [8.0, 6.0, None]), make_run("sparsemax", 1, lost)]
  text = write(tmp_path, records)
  assert row(text, "softmax")[2:4] == ["0.4500 ± 0.0707", "4.5 ± 0.7"]
  assert row(text, "sparsemax")[:4] == ["2", "50.00 ± 0.00", "∞ ± –", "– ± –"]
  paired = row(text.partition("paired over seeds")[2], "sparsemax")
  assert paired[:4] == ["2", "–", "–", "–"]
  assert "probability 0" in text
  assert "probability 0" not in write(tmp_path, records[:2])


def test_curves_that_lack_the_first_look_are_aligned_by_their_ends(monkeypatch, tmp_path):
  seen = []
  monkeypatch.setattr(report.line_plot, "line_plot", lambda panels: seen.extend(panels) or Figure())
  write(tmp_path, [make_run("softmax", 0, [9.0, 6.0, 4.0]), make_run("softmax", 1, [8.0, 5.0])])
  line = seen[-1].lines[0]
  assert line.name == "softmax" and list(line.values) == [9.0, 7.0, 4.5]
  assert [list(edge) for edge in line.ranges] == [[9.0, 6.0, 4.0], [9.0, 8.0, 5.0]]


def test_features_are_compared_with_those_before_training(tmp_path):
  records = []
  for seed, (before, after) in enumerate([(0.5, 0.4), (0.6, 0.54), (0.7, 0.65)]):
    run = make_run("softmax", seed, [8.0, 4.0])
    run["curves"]["accuracy"] = [before, after]
    records.append(run | {"dataset": run["dataset"] | {"measure": "accuracy"}})
  text = write(tmp_path, records)
  gains = row(text.partition("What training changed")[2], "softmax")
  # Differences of -10, -6 and -5 points: a standard error of 1.5275, and t = 4.3027.
  assert gains[:3] == ["3", "60.00 ± 10.00", "−7.00 [−13.57, −0.43]"]
  assert "What training changed" not in write(tmp_path, [make_run("softmax", 0, [8.0, 5.0])])


def test_what_the_runs_were_made_with_is_told_of_all(tmp_path):
  other = {"device": "gpu x 1", "git_revision": "fff", "versions": {"jax": "2", "numpy": "2"}}
  text = write(
    tmp_path, [make_run("softmax", 0, [8.0, 5.0]) | other, make_run("softmax", 1, [8.0, 5.0])]
  )
  for line in (
    "- versions: jax 1, numpy 2; jax 2, numpy 2",
    "- device: cpu x 1; gpu x 1",
    "- git_revision: 0123abc; fff",
    "- finished_at: 2026-01-02T00:00:00+00:00",
  ):
    assert line in text


def test_where_every_run_diverged_the_report_says_so(tmp_path):
  lost = make_run("softmax", 0, [8.0]) | {"status": "diverged", "metrics": None}
  with pytest.raises(ValueError, match=r"All runs in .* diverged; lower optimizer.learning_rate"):
    write(tmp_path, [lost])
  text = write(tmp_path, [lost | {"head": "sparsemax"}, make_run("softmax", 0, [8.0, 5.0])])
  assert row(text, "sparsemax")[0] == "0" and row(text, "softmax")[0] == "1"
