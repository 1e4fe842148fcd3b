"""The report of heads at equal time, from records alone."""

import pytest
from ml_collections import ConfigDict

from experiments.many import report
from softmax_research import study
from tests.study.fake_records import make_record

_CONFIG = ConfigDict({"seconds": 2.0, "looks": 2})


def make_run(head, seed, perplexities, *, accuracy=(0.5, 0.5), measure="nll"):
  """Return a record; a perplexity of None stands for a label without probability."""
  nll = [None if p is None else p / 10 for p in perplexities]
  dataset = {"name": "a text", "num_classes": 9, "num_test": 50, "measure": measure}
  return make_record(
    head,
    seed,
    metrics={
      "test": {"nll": nll[-1], "perplexity": perplexities[-1], "accuracy": accuracy[-1]},
    },
    curves={
      "seconds": [float(i) for i in range(len(nll))],
      "steps": [10 * i for i in range(len(nll))],
      "nll": nll,
      "perplexity": perplexities,
      "accuracy": [accuracy[0]] * (len(nll) - 1) + [accuracy[1]],
    },
    measured={"dataset": dataset, "num_parameters": 100},
  )


def tables(records):
  """Return the tables of the report by their names, each with its rows' texts by their names."""
  return {
    block.name: {
      row.name: [" ".join(part for part in cell[:3] if part) for cell in row.cells]
      for row in block.rows
    }
    for block in report.blocks(records, _CONFIG)
    if isinstance(block, study.Table)
  }


def texts(records):
  return "\n".join(block for block in report.blocks(records, _CONFIG) if isinstance(block, str))


@pytest.mark.parametrize("lost", [[None, None, None], [9.0, None, 7.0]])
def test_labels_without_probability_are_shown_as_such(lost):
  records = [make_run("softmax", seed, [8.0, 5.0, 4.0 + seed]) for seed in (0, 1)]
  records += [make_run("sparsemax", 0, [8.0, 6.0, None]), make_run("sparsemax", 1, lost)]
  found = tables(records)
  assert found["summary"]["softmax"][2:] == ["0.4500 ± 0.0707", "4.5 ± 0.7", "10", "100"]
  assert found["summary"]["sparsemax"][:4] == ["2", "50.00 ± 0.00", "∞ ± –", "– ± –"]
  assert found["differences_nll"]["sparsemax"][:4] == ["2", "–", "–", "–"]
  assert "probability 0" in texts(records)
  assert "probability 0" not in texts(records[:2])


def test_curves_that_lack_the_first_look_are_aligned_by_their_ends():
  records = [make_run("softmax", 0, [9.0, 6.0, 4.0]), make_run("softmax", 1, [8.0, 5.0])]
  placed = [report._with_places(record, _CONFIG)["curves"]["seconds"] for record in records]
  assert placed == [[0.0, 1.0, 2.0], [1.0, 2.0]]


def test_features_are_compared_with_those_before_training():
  records = [
    make_run("softmax", seed, [8.0, 5.0, 4.0], accuracy=pair, measure="accuracy")
    for seed, pair in enumerate([(0.5, 0.4), (0.6, 0.54), (0.7, 0.65)])
  ]
  # Differences of -10, -6 and -5 points: a standard error of 1.5275, and t = 4.3027.
  expected = ["3", "60.00 ± 10.00", "−7.00 [−13.57, −0.43]"]
  assert tables(records)["gains"]["softmax"][:3] == expected
  assert "gains" not in tables([make_run("softmax", 0, [8.0, 5.0])])


def test_where_every_run_diverged_the_report_says_so():
  lost = make_record("softmax", 0, status="diverged", curves={"seconds": [0.0], "steps": [0]})
  assert "lower `optimizer.learning_rate`" in texts([lost])
  found = tables([lost | {"cell": {"head": "sparsemax"}}, make_run("softmax", 0, [8.0, 5.0])])
  assert found["summary"]["sparsemax"][0] == "0" and found["summary"]["softmax"][0] == "1"
