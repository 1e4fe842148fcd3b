"""Study records: what each study writes becomes runs of a table."""

import pytest

from configs import studies
from experiments.reproduction.study_records import translate
from softmax_research.reporting.observations import observe

_MADE = {"versions": {"jax": "1"}, "device": "cpu", "git_revision": "0", "finished_at": "now"}


def test_estimates_of_information():
  def cell(prior, *runs):
    return _MADE | {"cell": {"prior": prior, "dimension": 2}, "seconds": 8.0, "runs": list(runs)}

  def run(estimator, seed, estimate):
    return {"estimator": estimator, "seed": seed, "estimate": estimate, "truth": 1.5}

  records = [
    cell("balanced", run("softmax + log K", 0, 1.4), run("softmax + log K", 1, None)),
    cell("imbalanced", run("softmax + log K", 0, 9.0)),
    cell("balanced", run("NWJ", 0, 9.0)),
  ]
  methods = [("softmax", "softmax + log K"), ("MINE", "MINE (DV)")]
  setting = studies.setting("g", methods, metrics=("bias",), prior="balanced", dimension=2)
  first, second = translate("mutual_information", records, "balanced", setting)
  assert (first["setting"], first["method"], first["seed"]) == ("balanced", "softmax", 0)
  assert observe(first, "information") == 1.4 and observe(first, "bias") == pytest.approx(-0.1)
  assert first["wall_seconds"] == 4.0 and first["device"] == "cpu"
  assert observe(second, "bias") != observe(second, "bias")  # NaN.


def test_runs_under_imbalance():
  def run(setting, seed, status="finished"):
    judged = {"capped": {"as_is": {"accuracy": 0.9}}, "balanced": {"as_is": {"accuracy": 0.8}}}
    record = {"setting": setting, "head": "pc_softmax", "seed": seed, "status": status}
    judged = judged if status == "finished" else None
    return record | _MADE | {"wall_seconds": 3.0, "metrics": judged}

  records = [run("step", 0), run("natural", 0), run("step", 1, "diverged")]
  methods = [("PC-softmax", "pc_softmax")]
  setting = studies.setting("i", methods, metrics=("accuracy",), setting="step", judgement="capped")
  found, diverged = translate("imbalance", records, "mnist", setting)
  assert observe(found, "accuracy") == 90 and found["method"] == "PC-softmax"
  assert (diverged["status"], diverged["metrics"]) == ("diverged", None)


def test_runs_of_many_classes():
  record = _MADE | {
    "head": "huffman",
    "seed": 0,
    "status": "finished",
    "metrics": {"test": {"perplexity": 88.0}},
    "curves": {"seconds": [6.0, 12.0], "steps": [300, 600]},
  }
  setting = studies.setting("w", [("HSM", "huffman")], metrics=("perplexity",))
  (found,) = translate("many_classes", [record, record | {"head": "other"}], "words", setting)
  assert [observe(found, m) for m in ("perplexity", "minutes", "step_ms")] == [88.0, 0.2, 20.0]
