"""The report of classifiers explains all that it holds, and says what the data say, no more."""

import numpy as np
import pytest

from softmax_research.study import classifier_report, group
from softmax_research.study.blocks import Plot, Table
from softmax_research.study.classifier_report import caveats, headline
from tests.study.fake_records import make_diverged, make_ensemble, make_record, make_run, make_runs


def _blocks(records):
  return list(classifier_report.report(records))


def _texts(blocks):
  return [block for block in blocks if isinstance(block, str)]


def test_every_part_is_there_in_its_order():
  records = make_runs({"softmax": [0.95, 0.94, 0.96], "taylor": [0.96, 0.99, 0.95]})
  records += [make_ensemble("softmax", [0, 1, 2]), make_diverged("sm", 0)]
  blocks = _blocks(records)
  assert blocks[0] == "# 3 softmax heads on digits"
  headings = [text.removeprefix("## ") for text in _texts(blocks) if text.startswith("## ")]
  assert headings == [
    "Test metrics",
    "Paired differences",
    "Learning curves",
    "Reliability on the test split",
    "Confusion on the test split",
    "Worst-classified images",
    "Caveats",
    "Cost",
  ]
  assert [block.name for block in blocks if isinstance(block, Table)] == [
    "summary",
    "differences_accuracy",
    "differences_nll",
    "cost",
  ]
  assert [block.name for block in blocks if isinstance(block, Plot)] == [
    "paired_differences",
    "learning_curves",
    "reliability",
    "confusion",
    "worst_images",
  ]
  assert all(len(block.rows) in (2, 3, 4) for block in blocks if isinstance(block, Table))
  assert "among the worst" not in blocks[-6].caption if isinstance(blocks[-6], Plot) else True


def test_rows_are_named_by_what_differs():
  records = [
    run | {"cell": {"head": "sm", "backbone": name}}
    for name in ("mlp", "cnn")
    for run in make_runs({name: [0.9, 0.95]})
  ]
  blocks = _blocks(records)
  assert blocks[0] == "# 2 backbones on digits"
  assert "No two" not in blocks[1] and "backbone" in " ".join(_texts(blocks))
  summary = next(block for block in blocks if isinstance(block, Table))
  assert (summary.name_column, [row.name for row in summary.rows]) == ("backbone", ["mlp", "cnn"])


@pytest.mark.parametrize(
  ("records", "expected"),
  [
    ([make_run("softmax", 0)], "one seed has no spread"),
    ([make_run("softmax", 0), make_run("softmax", 1), make_run("taylor", 1)], "No two heads share"),
    ([make_diverged("softmax", 0), make_diverged("taylor", 0)], "No run finished"),
    ([make_diverged("softmax", 0), make_run("taylor", 0)], "taylor classifies"),
    ([make_record("softmax", metrics={"test": {"accuracy": 0.5}})], "softmax classifies 50.00%"),
  ],
)
def test_odd_results_have_a_report(records, expected):
  blocks = _blocks(records)
  assert blocks[0].startswith("# ") and expected in blocks[1]
  assert "Worst-classified" not in " ".join(_texts(blocks))


def test_notes_explain_what_stands_in_the_summary():
  runs = [make_run("softmax", seed) for seed in range(3)]

  def notes(records):
    return [b for b in classifier_report.metrics(group(records)) if isinstance(b, str)]

  assert len(notes(runs)) == 1
  assert "ensemble" in notes([*runs, make_ensemble("softmax", [0, 1, 2])])[1]
  assert "one seed has neither" in notes(runs[:1])[1]
  runs[0]["metrics"]["test"]["nll"] = None
  assert "∞" in notes(runs)[1]


@pytest.mark.parametrize(
  ("change", "reason"),
  [
    (lambda run: run.update(seed=7), "a test needs two seeds in common"),
    (lambda run: run["metrics"]["test"].update(accuracy=0.95), "all seeds differ by the same"),
    (lambda run: run["metrics"]["test"].update(accuracy=None), "a value is not finite"),
  ],
)
def test_notes_explain_undefined_tests(change, reason):
  runs = make_runs({"softmax": [0.95, 0.94], "taylor": [0.96, 0.99]})
  change(runs[3])
  notes = _texts(classifier_report.differences(group(runs)))
  assert any(note.startswith("– for taylor: ") and reason in note for note in notes)


_BASE = np.array([0.951, 0.948, 0.953, 0.949, 0.950])
_NOISE = np.array([0.001, -0.001, 0.0005, -0.0008, 0.0002])


def _records(accuracies, nlls=None):
  """Return runs with the given accuracies of each head, and an NLL of 0.2 unless given."""
  records = make_runs(accuracies)
  for record in records:
    if nlls and (name := record["cell"]["head"]) in nlls:
      record["metrics"]["test"]["nll"] = float(nlls[name][record["seed"]])
  return records


def _headline(records):
  return headline(group(records))


def test_no_difference_comes_with_what_could_have_been_shown():
  sentences = _headline(
    _records({"softmax": _BASE, "taylor": _BASE + _NOISE, "sm": _BASE - 2 * _NOISE})
  )
  assert sentences[0] == (
    "No head differs from softmax in test accuracy at the 5% level (paired t-test over n = 5 "
    "seeds, Holm-corrected for 2 comparisons)."
  )
  assert "a true difference of 0.18 to 0.35 points (it depends on the head)" in sentences[1]
  assert "80% power" in sentences[1]


def test_one_other_head_is_named():
  sentences = _headline(_records({"softmax": _BASE, "taylor": _BASE + _NOISE}))
  assert sentences[0] == (
    "taylor does not differ from softmax in test accuracy at the 5% level (paired t-test over "
    "n = 5 seeds, one comparison)."
  )
  assert "a true difference of about 0.14 points would" in sentences[1]


def test_differences_are_named_with_interval_and_p_value():
  records = _records(
    {"softmax": _BASE, "sm": _BASE + _NOISE, "best": _BASE + 0.02 + _NOISE, "bad": _BASE / 2}
  )
  sentences = _headline(records)
  assert sentences[0].startswith("best is 2.00 points more accurate than softmax (95% interval +")
  assert "corrected p < 0.001, n = 5 seeds)" in sentences[0]
  assert sentences[1].startswith("bad is 47.51 points less accurate than softmax (95% interval −")
  assert sentences[2].startswith("The other head does not differ from it at the 5% level (paired")


def test_many_differences_are_counted_first():
  shifts = {"a": 0.01, "b": 0.02, "c": 0.03, "d": 0.04, "broken": -0.5}
  heads = {"softmax": _BASE} | {name: _BASE + s + _NOISE for name, s in shifts.items()}
  sentences = _headline(_records(heads | {"same": _BASE + _NOISE}))
  assert sentences[:3] == [
    "Of 6 heads, 4 are more accurate than softmax at the 5% level, 1 is less accurate, and for 1 "
    "no difference is found (paired t-test over n = 5 seeds, Holm-corrected for 6 comparisons).",
    "More accurate, in points: d (+4.00), c (+3.00), b (+2.00), a (+1.00).",
    "Less accurate, in points: broken (−50.00).",
  ]


def test_names_cannot_break_the_text():
  name = "<script>*x*</script>"
  text = " ".join(_headline(_records({"softmax": _BASE, name: _BASE + 0.02 + _NOISE})))
  assert "<script" not in text and "\\*x\\*" in text


def test_nll_is_said_to_be_better_or_worse():
  accuracies = {"softmax": _BASE, "low": _BASE + _NOISE, "high": _BASE - _NOISE}
  nlls = {"low": 0.15 + _NOISE, "high": 0.9 + _NOISE}
  sentences = _headline(_records(accuracies, nlls))
  assert (
    "Test NLL, against softmax and in nats, is lower (better) with low (−0.0500) and higher "
    "(worse) with high (+0.7000)."
  ) in sentences
  nlls = {"low": 0.2 + _NOISE, "high": 0.2 - _NOISE}
  assert "In test NLL no head differs from softmax at that level." in _headline(
    _records(accuracies, nlls)
  )


def test_constant_differences_are_not_tested():
  sentences = _headline(_records({"softmax": _BASE, "taylor": _BASE + 0.01}))
  assert sentences[0].startswith("No difference from softmax in test accuracy can be tested")
  assert not any("power" in sentence for sentence in sentences)


def test_one_seed_tests_nothing():
  sentences = _headline(_records({"softmax": [0.95], "taylor": [0.96]}))
  assert sentences[0].startswith("No two heads share more than one seed")
  assert sentences[1] == "The highest mean test accuracy is 96.00%, by taylor."
  sentences = _headline(_records({"softmax": [0.95], "taylor": [0.96], "a*b": [0.96]}))
  assert sentences[1].endswith(r"96.00%, by taylor, a\*b.")


def test_one_head_is_described():
  assert _headline(_records({"softmax": [0.95, 0.96, 0.97]})) == [
    "softmax classifies 96.00% of the test set correctly (mean of 3 seeds, 95% interval 93.52 to "
    "98.48)."
  ]
  assert "one seed has no spread" in _headline(_records({"softmax": [0.95]}))[0]


def test_heads_that_did_not_finish():
  everything = [make_diverged("softmax", 0), make_diverged("taylor", 0)]
  assert _headline(everything) == ["No run finished: there is nothing to compare."]
  sentences = _headline([make_diverged("softmax", 0), *_records({"a": [0.9], "b": [0.8]})])
  assert sentences[0].startswith("softmax finished with no seed, so the other heads")
  assert sentences[1] == "The highest mean test accuracy is 90.00%, by a."


def test_the_gain_of_ensembles():
  records = _records({"softmax": [0.95, 0.96], "taylor": [0.95, 0.97]})
  for name, accuracy in (("softmax", 0.96), ("taylor", 0.95)):
    records.append(make_ensemble(name, [0, 1], accuracy=accuracy))
  assert _headline(records)[-1] == (
    "Averaging the probabilities of a head's seeds changes its accuracy by −1.00 to +0.50 points."
  )


def test_caveats_always_name_seeds_and_test_set():
  notes = caveats(group(_records({"softmax": _BASE})))
  assert len(notes) == 2
  assert "All runs share one test set" in notes[0] and "normally distributed" in notes[1]


@pytest.mark.parametrize(
  ("change", "expected"),
  [
    (
      lambda records: records.append(make_diverged("softmax", 5)),
      "1 of 5 runs diverged and are left out",
    ),
    (lambda records: records.pop(), "The heads did not finish the same seeds"),
    (
      lambda records: records[0].update(revision="other"),
      "The runs were made by 2 revisions of the code.",
    ),
    (
      lambda records: [r.update(revision="0123abc+changes") for r in records],
      "The code had changes that were not committed.",
    ),
    (lambda records: records[0].update(device="gpu"), "The runs were made on different devices"),
  ],
)
def test_caveats_name_what_is_uneven(change, expected):
  records = _records({"softmax": [0.95, 0.96], "taylor": [0.95, 0.97]})
  assert not any(expected in note for note in caveats(group(records)))
  change(records)
  assert any(expected in note for note in caveats(group(records)))
