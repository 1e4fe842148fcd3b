"""Imbalanced classes: judging, settings and the report by hand, and the study from end to end."""

import numpy as np
import pytest

from configs import imbalance_cifar10, imbalance_mnist
from experiments import assembly, imbalance, imbalanced
from softmax_research import study
from softmax_research.study import runner, workdir
from softmax_research.training import metrics
from tests.study.record_test import WHOLE


def _predictions(num_examples=400, num_classes=4, seed=0):
  rng = np.random.default_rng(seed)
  logits = rng.normal(size=(num_examples, num_classes))
  labels = rng.choice(num_classes, num_examples, p=[0.4, 0.3, 0.2, 0.1])
  logits[np.arange(num_examples), labels] += 1
  return logits - np.log(np.exp(logits).sum(1, keepdims=True)), labels


def test_under_the_frequencies_of_the_examples_the_metrics_are_the_plain_ones():
  log_probs, labels = _predictions()
  found = imbalanced.evaluate_under(log_probs, labels, np.bincount(labels) / len(labels))
  plain = metrics.evaluate(log_probs, labels)
  for name, value in found.items():
    np.testing.assert_allclose(value, plain[name], rtol=1e-12, err_msg=name)


def test_a_prior_weighs_examples_as_repeating_them_does():
  log_probs, labels = _predictions()
  times = np.array([1, 2, 5, 3])
  repeated = np.repeat(np.arange(len(labels)), times[labels])
  plain = metrics.evaluate(log_probs[repeated], labels[repeated])
  prior = np.bincount(labels[repeated]) / len(repeated)
  found = imbalanced.evaluate_under(log_probs, labels, prior)
  for name, value in found.items():
    np.testing.assert_allclose(value, plain[name], rtol=1e-10, err_msg=name)


def test_classes_without_examples_and_labels_without_probability():
  log_probs = np.array([[0.0, -np.inf, -np.inf], [-np.inf, 0.0, -np.inf]])
  found = imbalanced.evaluate_under(log_probs, np.array([0, 0]), np.array([1.0, 0, 0]))
  assert found["nll"] is None and found["accuracy"] == 0.5 and found["ece"] == 0.5
  assert found["per_class_accuracy"] == [0.5, None, None] and found["macro_accuracy"] == 0.5


def test_predictions_are_moved_by_bayes_rule():
  before, after = np.array([0.8, 0.2]), np.array([0.5, 0.5])
  moved = imbalanced._move(np.log([[0.8, 0.2], [0.5, 0.5]]), before, after)
  # p(k) after / before, normalised: 0.8 / 1.6 to 0.2 / 0.4; and 0.5 / 1.6 to 0.5 / 0.4.
  np.testing.assert_allclose(np.exp(moved), [[0.5, 0.5], [0.2, 0.8]], rtol=1e-6)


def test_examples_without_a_label_are_not_judged(tmp_path):
  images = np.random.default_rng(0).random((40, 4, 4), np.float32)
  labels = np.tile(np.arange(4), 10).astype(np.int32)
  arrays = {"train_images": images, "train_labels": labels, "test_images": images}
  arrays |= {"test_labels": np.where(np.arange(40) == 7, -1, labels), "ignore_label": -1}
  np.savez(tmp_path / "own.npz", **arrays)
  config = imbalance_mnist.get_config()
  config.dataset = f"{tmp_path}/own.npz"
  config.train_range, config.validation_range, config.test_range = (0, 20), (20, 40), ()
  with pytest.raises(ValueError, match=r"test split of .* has examples without a label"):
    imbalanced.make_settings(config, ["step:largest=2:ratio=2"])


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
    np.testing.assert_allclose(
      imbalanced.prior_of_predictions(head, training), expected, rtol=1e-12
    )


def _records(counts, heads):
  def judged(way):
    found = {"accuracy": 0.8, "macro_accuracy": 0.7, "nll": 0.1 + way, "ece": 0.1}
    return found | {"per_class_accuracy": [0.5, 0.9]}

  return [
    WHOLE
    | {
      "cell": {"setting": "natural:size=110", "head": head},
      "metrics": {
        name: {"as_is": judged(0), "moved": judged(1)} for name in ("balanced", "training")
      },
      "measured": {
        "dataset": {
          "class_counts": counts,
          "class_names": ["zero", "one"],
          "num_test": 9,
          "num_capped": 0,
        }
      },
    }
    for head in heads
  ]


def test_moved_rows_stand_where_moving_changes_something():
  heads = ["softmax", "taylor", "pc_softmax"]
  records = _records([10, 100], heads)
  same = records[2]["metrics"]["balanced"]
  same["moved"] = same["as_is"]
  names = [r["cell"]["head"] for r in imbalance.judged(records, "balanced")]
  assert names == ["softmax", "softmax, moved", "taylor", "pc_softmax"]
  names = [r["cell"]["head"] for r in imbalance.judged(records, "training")]
  assert names == ["softmax", "softmax, moved", "taylor", "pc_softmax", "pc_softmax, moved"]


def test_settings_without_a_finished_run_are_left_out_of_the_report():
  config = imbalance_mnist.get_config()
  config.settings = "natural:size=110,alternating:even=3:odd=30"
  good, lost = _records([10, 100], ["softmax", "pc_softmax"])
  good["cell"]["setting"] = "alternating:even=3:odd=30"
  lost |= {"status": "diverged", "metrics": {}}
  blocks = list(imbalance.report([good, lost], config))
  tables = [block for block in blocks if isinstance(block, study.Table)]
  assert [row.name for row in tables[0].rows] == ["alternating:even=3:odd=30"]
  of_class = next(table for table in tables if table.name.startswith("classes_"))
  assert of_class.columns == ("zero (10)", "one (100)")
  assert [row.name for row in of_class.rows] == ["softmax", "softmax, moved"]
  assert [cell.value for cell in of_class.rows[0].cells] == ["50.00", "90.00"]


@pytest.mark.parametrize("module", [imbalance_mnist, imbalance_cifar10])
def test_the_configurations_are_valid(module):
  imbalanced.check_config(module.get_config())


@pytest.mark.parametrize(
  ("key", "value", "message"),
  [
    ("settings", "steps:ratio=10", "the settings are alternating, long_tailed, natural, step"),
    ("settings", "step:ratio=10", "without largest"),
    ("settings", "step:largest=10:ratio=2:size=3", "Got option 'size' for the setting 'step'"),
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
    imbalanced.check_config(config)


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
  imbalanced.check_config(config)
  with pytest.raises(ValueError, match=message):
    imbalanced.make_settings(config, imbalanced.names(config))


def test_the_test_sets_of_a_setting():
  config = imbalance_mnist.get_config()
  config.dataset, config.settings = "digits", "alternating:even=10:odd=40,natural:size=300"
  config.train_range, config.test_range, config.validation_range = (0, 1000), (1000, 1300), ()
  config.validation_range = (1300, 1437)
  uneven, natural = imbalanced.make_settings(config, imbalanced.names(config)).values()
  assert uneven.counts.tolist() == [10, 40] * 5 and natural.counts.sum() == 300
  capped = np.bincount(uneven.capped.labels)
  assert capped[::2].max() == 10 and capped[1::2].max() <= 40
  assert len(natural.capped.labels) < 300
  np.testing.assert_array_equal(
    uneven.splits.test.labels, np.concatenate([uneven.test.labels, uneven.capped.labels])
  )


def test_the_study_from_end_to_end(tmp_path):
  config = imbalance_mnist.get_config()
  config.dataset, config.settings = "digits", "alternating:even=20:odd=80"
  config.train_range, config.test_range = (0, 1000), (1000, 1200)
  config.validation_range = (1200, 1437)
  config.heads, config.seeds, config.num_epochs = "softmax,pc_softmax", 2, 2
  config.backbone.stages, config.backbone.dense = ((2,),), (8,)
  options = runner.Options(tmp_path, "command", devices=assembly.device_options())
  assert runner.run(imbalance.STUDY, config, options) == []
  records = workdir.read(tmp_path)
  assert [(r["cell"]["head"], r["seed"]) for r in records] == [
    (head, seed) for head in ("softmax", "pc_softmax") for seed in (0, 1)
  ]
  for record in records:
    dataset = record["measured"]["dataset"]
    assert dataset["class_counts"] == [20, 80] * 5
    assert dataset["num_test"] == 360 and dataset["num_capped"] < 200
    judged = record["metrics"]["training"]
    moved_by = abs(judged["as_is"]["nll"] - judged["moved"]["nll"])
    assert (moved_by > 1e-3) == (record["cell"]["head"] == "pc_softmax")
    balanced = record["metrics"]["balanced"]["as_is"]
    assert balanced["accuracy"] == pytest.approx(balanced["macro_accuracy"])
  assert "softmax, moved" in (tmp_path / "report.md").read_text()
  assert (tmp_path / "figures" / "by_frequency.svg").exists()
