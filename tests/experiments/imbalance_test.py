"""Imbalanced classes: judging, claims and settings by hand, and the script from end to end."""

import json
import math

import numpy as np
import pytest

from configs import imbalance_cifar10, imbalance_mnist
from experiments.imbalanced import claims, judging, report, rows, settings
from softmax_research import reporting
from softmax_research.training import metrics
from tests.experiments.scripts import expect_error, run_script

_DIGITS = (
  "--config=configs/imbalance_mnist.py",
  "--config.dataset=digits",
  "--config.train_range=(0,1000)",
  "--config.test_range=(1000,1200)",
  "--config.validation_range=(1200,1437)",
  "--config.settings=alternating:even=20:odd=80",
  "--config.heads=softmax,pc_softmax",
  "--config.seeds=2",
  "--config.num_epochs=2",
  "--config.backbone.stages=((2,),)",
  "--config.backbone.dense=(8,)",
)


def _predictions(num_examples=400, num_classes=4, seed=0):
  rng = np.random.default_rng(seed)
  logits = rng.normal(size=(num_examples, num_classes))
  labels = rng.choice(num_classes, num_examples, p=[0.4, 0.3, 0.2, 0.1])
  logits[np.arange(num_examples), labels] += 1
  return logits - np.log(np.exp(logits).sum(1, keepdims=True)), labels


def test_under_the_frequencies_of_the_examples_the_metrics_are_the_plain_ones():
  log_probs, labels = _predictions()
  found = judging.evaluate_under(log_probs, labels, np.bincount(labels) / len(labels))
  plain = metrics.evaluate(log_probs, labels)
  for name, value in found.items():
    np.testing.assert_allclose(value, plain[name], rtol=1e-12, err_msg=name)


def test_a_prior_weighs_examples_as_repeating_them_does():
  log_probs, labels = _predictions()
  times = np.array([1, 2, 5, 3])
  repeated = np.repeat(np.arange(len(labels)), times[labels])
  plain = metrics.evaluate(log_probs[repeated], labels[repeated])
  prior = np.bincount(labels[repeated]) / len(repeated)
  found = judging.evaluate_under(log_probs, labels, prior)
  for name, value in found.items():
    np.testing.assert_allclose(value, plain[name], rtol=1e-10, err_msg=name)


def test_classes_without_examples_and_labels_without_probability():
  log_probs = np.array([[0.0, -np.inf, -np.inf], [-np.inf, 0.0, -np.inf]])
  found = judging.evaluate_under(log_probs, np.array([0, 0]), np.array([1.0, 0, 0]))
  assert found["nll"] is None and found["accuracy"] == 0.5 and found["ece"] == 0.5
  assert found["per_class_accuracy"] == [0.5, None, None] and found["macro_accuracy"] == 0.5


def test_predictions_are_moved_by_bayes_rule():
  before, after = np.array([0.8, 0.2]), np.array([0.5, 0.5])
  moved = judging._move(np.log([[0.8, 0.2], [0.5, 0.5]]), before, after)
  # p(k) after / before, normalised: 0.8 / 1.6 to 0.2 / 0.4; and 0.5 / 1.6 to 0.5 / 0.4.
  np.testing.assert_allclose(np.exp(moved), [[0.5, 0.5], [0.2, 0.8]], rtol=1e-6)


def test_the_prior_behind_predictions():
  training = np.array([0.64, 0.36])
  for head, expected in {
    "softmax": [0.64, 0.36],
    "l_softmax:margin=2": [0.64, 0.36],
    "pc_softmax": [0.5, 0.5],
    "prior_shift": [0.5, 0.5],
    "logit_adjusted": [0.5, 0.5],
    "logit_adjusted:tau=0.5": [0.8 / 1.4, 0.6 / 1.4],
  }.items():
    np.testing.assert_allclose(judging.prior_of_predictions(head, training), expected, rtol=1e-12)


def _paired(mean, spread=0.001):
  ours = 0.9 + mean + spread * np.array([-1, 0, 1, -1, 1, 0])
  return reporting.paired_difference(ours, np.full(6, 0.9))


@pytest.mark.parametrize(
  ("sign", "mean", "p", "expected"),
  [
    (1, 0.02, 0.001, "holds"),
    (-1, -0.02, 0.001, "holds"),
    (1, -0.02, 0.001, "does not hold"),
    (-1, 0.02, 0.001, "does not hold"),
    (1, 0.0001, 0.5, "does not hold"),
    (1, 0.0045, 0.2, "undecided"),
    (0, 0.0001, 0.5, "holds"),
    (0, 0.02, 0.001, "does not hold"),
    (0, 0.0045, 0.2, "undecided"),
  ],
)
def test_verdicts(sign, mean, p, expected):
  assert claims.decide(sign, _paired(mean), p, margin=0.005) == expected


def test_verdicts_without_pairs_or_spread():
  alone = reporting.paired_difference([0.9], [0.8])
  assert claims.decide(1, alone, math.nan, 0.005) == "undecided"
  assert claims.decide(0, alone, math.nan, 0.005) == "undecided"
  equal = reporting.paired_difference([0.9, 0.9], [0.9, 0.9])
  assert claims.decide(0, equal, math.nan, 0.005) == "holds"
  assert claims.decide(1, equal, math.nan, 0.005) == "does not hold"


def _runs(counts, accuracies):
  def judged(accuracy, nll):
    found = {"accuracy": accuracy, "macro_accuracy": accuracy, "nll": nll, "ece": 0.1}
    return {"as_is": found, "moved": found | {"nll": nll + 1}}

  return [
    {
      "head": head,
      "seed": seed,
      "status": "finished",
      "dataset": {"class_counts": counts},
      "metrics": {name: judged(value, 0.1) for name in ("balanced", "training")},
    }
    for head, values in accuracies.items()
    for seed, value in enumerate(values)
  ]


def test_settings_without_a_finished_run_are_left_out_of_the_report(tmp_path):
  config = {"heads": "softmax", "settings": "natural:size=110,natural:size=120"}
  config |= {"num_epochs": 1, "batch_size": 8, "dataset": "digits"}
  dataset = {"class_counts": [10, 100], "num_test": 9, "num_capped": 0, "num_validation": 9}
  dataset["class_names"] = ["zero", "one"]
  (lost,) = (run | {"wall_seconds": 1.0} for run in _runs([10, 100], {"softmax": [0.8]}))
  lost |= {"setting": "natural:size=110", "dataset": dataset}
  good = json.loads(json.dumps(lost | {"setting": "natural:size=120"}))
  for judged in good["metrics"].values():
    for metrics_of_variant in judged.values():
      metrics_of_variant["per_class_accuracy"] = [0.5, 0.9]
  lost |= {"status": "diverged", "metrics": None}

  def write(*records):
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    return report.write(tmp_path, config, command="run it").read_text()

  text = write(good, lost)
  assert "| natural:size=120 |" in text and "| natural:size=110 |" not in text
  assert "softmax, seed 0, in natural:size=110" in text and "- training time: 2 s" in text
  assert text.count("zero (10)") == 1  # the table of each class, with its training examples
  each = text.split("## Accuracy of each class")[1].split("## Tables")[0]
  assert "50.00 ± " in each and "90.00 ± " in each and "softmax, moved" in each
  with pytest.raises(ValueError, match=r"All runs in .* diverged; lower optimizer.learning_rate"):
    write(lost)


def test_claims_are_ruled_where_they_are_about_something():
  noise = 0.001 * np.array([1, -1, 0, 1, -1, 0])
  heads = {"softmax": 0.8 + noise, "pc_softmax": 0.85 + noise[::-1]}
  studies = {"uneven": _runs([10, 100], heads), "even": _runs([60, 50], heads)}
  found = {(r.claim.text, r.setting): r for r in claims.rule(studies, list(heads))}
  raised = found["PC-softmax raises macro accuracy", "uneven"]
  assert raised.verdict == "holds" and raised.difference.mean == pytest.approx(0.05)
  assert found["PC-softmax costs micro accuracy", "uneven"].verdict == "does not hold"
  same = found["With balanced classes PC-softmax has softmax's accuracy", "even"]
  assert same.verdict == "does not hold"
  assert len(found) == 5  # None of the capped test set, which there is not.
  assert raised.p_corrected == pytest.approx(5 * raised.difference.p_value)
  assert not claims.rule(studies, ["softmax"])


def test_moved_rows_stand_where_moving_changes_something():
  runs = _runs([10, 100], {"softmax": [0.8], "taylor": [0.8], "pc_softmax": [0.8]})
  for run in runs:
    if run["head"] == "pc_softmax":
      run["metrics"]["balanced"]["moved"] = run["metrics"]["balanced"]["as_is"]
  names = [h.name for h in rows.heads_of(runs, ["softmax", "taylor", "pc_softmax"], "balanced")]
  assert names == ["softmax", "softmax, moved", "taylor", "pc_softmax"]
  names = [h.name for h in rows.heads_of(runs, ["softmax", "taylor", "pc_softmax"], "training")]
  assert names == ["softmax", "softmax, moved", "taylor", "pc_softmax", "pc_softmax, moved"]


@pytest.mark.parametrize("module", [imbalance_mnist, imbalance_cifar10])
def test_the_configurations_are_valid(module):
  settings.check_config(module.get_config())


@pytest.mark.parametrize(
  ("key", "value", "message"),
  [
    ("settings", "steps:ratio=10", "the settings are alternating, long_tailed, natural, step"),
    ("settings", "step:ratio=10", "largest too many or too few"),
    ("settings", "step:largest=10:ratio=2:size=3", "size too many or too few"),
    ("settings", "", "Got no settings"),
    ("test_range", (30_000, 50_000), r"train_range=\(0, 40000\) and test_range.*share examples"),
    ("train_range", (5, 5), r"train_range=\(5, 5\); it must be two places"),
    ("validation_range", (), "validation_range"),
    ("heads", "softmax,pc", "Got the head 'pc'"),
    ("num_epochs", 0, "num_epochs=0"),
  ],
)
def test_bad_configurations(key, value, message):
  config = imbalance_mnist.get_config()
  config[key] = value
  with pytest.raises(ValueError, match=message):
    settings.check_config(config)


@pytest.mark.parametrize(
  ("key", "value", "message"),
  [
    ("settings", "step:largest=100:ratio=200", "ratio=200 for largest=100"),
    ("settings", "alternating:even=0:odd=10", "even=0"),
    ("settings", "alternating:even=10:odd=500", "needs 500 training examples of class 1"),
    ("settings", "natural:size=5000", "size=5000"),
    ("settings", "natural:size=3", "needs 1 training examples of class"),
    ("test_range", (1437, 1500), "whose training split holds 1437"),
    ("validation_range", (1430, 1437), "holds no example of the classes"),
  ],
)
def test_settings_that_do_not_fit_the_data(key, value, message):
  config = imbalance_mnist.get_config()
  config.dataset, config.settings = "digits", "natural:size=500"
  config.train_range, config.test_range, config.validation_range = (0, 1000), (), (1200, 1437)
  config[key] = value
  settings.check_config(config)
  with pytest.raises(ValueError, match=message):
    settings.make_settings(config)


def test_the_test_sets_of_a_setting():
  config = imbalance_mnist.get_config()
  config.dataset, config.settings = "digits", "alternating:even=10:odd=40,natural:size=300"
  config.train_range, config.test_range, config.validation_range = (0, 1000), (1000, 1300), ()
  config.validation_range = (1300, 1437)
  uneven, natural = settings.make_settings(config)
  assert uneven.counts.tolist() == [10, 40] * 5 and natural.counts.sum() == 300
  capped = np.bincount(uneven.capped.labels)
  assert capped[::2].max() == 10 and capped[1::2].max() <= 40
  assert len(natural.capped.labels) < 300
  np.testing.assert_array_equal(
    uneven.splits.test.labels, np.concatenate([uneven.test.labels, uneven.capped.labels])
  )


def test_the_script_from_end_to_end(tmp_path):
  run_script("imbalance", *_DIGITS, f"--workdir={tmp_path}")
  lines = (tmp_path / "results.jsonl").read_text().splitlines()
  records = [json.loads(line) for line in lines]
  assert [(r["head"], r["seed"]) for r in records] == [
    (head, seed) for head in ("softmax", "pc_softmax") for seed in (0, 1)
  ]
  for record in records:
    assert record["dataset"]["class_counts"] == [20, 80] * 5
    assert record["dataset"]["num_test"] == 360 and record["dataset"]["num_capped"] < 200
    judged = record["metrics"]["training"]
    moved_by = abs(judged["as_is"]["nll"] - judged["moved"]["nll"])
    assert (moved_by > 1e-3) == (record["head"] == "pc_softmax")
    balanced = record["metrics"]["balanced"]["as_is"]
    assert balanced["accuracy"] == pytest.approx(balanced["macro_accuracy"])
  report = (tmp_path / "report.md").read_text()
  assert "PC-softmax raises macro accuracy" in report and "softmax, moved" in report
  assert (tmp_path / "figures" / "by_frequency.svg").exists()
  # Killed before the last record: that run alone is made again.
  (tmp_path / "results.jsonl").write_text("\n".join(lines[:-1]) + "\n")
  run_script("imbalance", *_DIGITS, f"--workdir={tmp_path}")
  again = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
  assert again[:-1] == records[:-1] and again[-1]["seed"] == 1
  for judgement in ("balanced", "training", "capped"):
    ours, theirs = (r["metrics"][judgement]["as_is"]["nll"] for r in (again[-1], records[-1]))
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_another_experiments_configuration_is_refused(tmp_path):
  message = expect_error("imbalance", f"--workdir={tmp_path}/no")
  assert "configs/imbalance_mnist.py" in message and not (tmp_path / "no").exists()
