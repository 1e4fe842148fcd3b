"""How the records were made is told whole, and without inventing what was not recorded."""

import pytest

from softmax_research.study.provenance import provenance
from softmax_research.study.record import duration
from tests.study.fake_records import make_ensemble, make_record, make_run


def _facts(records, **options):
  return dict(provenance(records, **options).facts)


def test_facts_of_equal_runs_are_told_once():
  runs = [make_run("a", seed) for seed in range(3)]
  ensemble = make_ensemble("a", [0, 1, 2])
  ensemble["time"]["finished_at"] = "2025-03-15T00:00:00+00:00"
  assert _facts([*runs, ensemble]) == {
    "command": "python -m experiments.compare",
    "dataset": "digits: 1,200 training, 197 validation, 100 test, 10 classes",
    "runs": "3: 1 cell, seeds 0 to 2",
    "device": "cpu x 1 (Example CPU, 2 cores)",
    "versions": "python 3.12.1, jax 0.12.0",
    "git revision": "0123abc",
    "time of the runs": "12.8 s",
    "finished": "2025-03-14T15:09:02+00:00",
  }


def test_differing_facts_are_all_told():
  records = [make_record("a", 3), make_record("b", 0, revision="fff", device="gpu x 1")]
  facts = _facts(records, command="make it")
  assert facts["git revision"] == "fff; 0123abc"
  assert facts["device"] == "gpu x 1; cpu x 1 (Example CPU, 2 cores)"
  assert facts["command"] == "make it" and facts["runs"] == "2: 2 cells, seeds 0, 3"


def test_what_was_not_recorded_is_said_to_be_so():
  record = make_record("a", None, command="", device="", revision="", versions={}, time={})
  facts = _facts([record])
  for name in ("command", "device", "versions", "git revision", "finished"):
    assert facts[name] == "not recorded", name
  assert "dataset" not in facts and facts["runs"] == "1: 1 cell"
  assert _facts([])["runs"] == "0: 0 cells"


@pytest.mark.parametrize(
  ("seconds", "text"),
  [(59.94, "59.9 s"), (61.0, "1 min 1 s"), (3599.0, "59 min 59 s"), (7260.0, "2 h 1 min")],
)
def test_durations(seconds, text):
  assert duration(seconds) == text


def test_the_configuration_is_flat():
  records = [make_record("a")]
  assert ("backbone.widths", "[256, 256]") in provenance(records).config
  assert provenance(records, config={"seeds": 5}).config == [("seeds", "5")]
