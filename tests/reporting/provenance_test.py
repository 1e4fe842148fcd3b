"""How the runs were made is told whole, and without inventing what was not recorded."""

import pytest

from softmax_research.reporting import group_by_head
from softmax_research.reporting.provenance import made_with, provenance
from tests.reporting.fake_results import make_run


def _facts(records, **options):
  return dict(provenance(group_by_head(records), **options).facts)


def test_facts_of_equal_runs_are_told_once():
  facts = _facts([make_run("a", 0), make_run("a", 1)], command="python -m experiments.compare")
  assert facts == {
    "command": "python -m experiments.compare",
    "dataset": "digits: 1,200 training, 197 validation, 400 test, 10 classes",
    "runs": "2: 1 head, seeds 0, 1",
    "device": "cpu x 1 (Example CPU, 2 cores)",
    "versions": "python 3.12.1, jax 0.12.0, flax 0.13.0",
    "git revision": "0123abc",
    "training time": "8.5 s",
    "finished": "2025-03-14T15:09:01+00:00",
  }


def test_differing_facts_are_all_told():
  records = [make_run("a", 0), make_run("b", 0) | {"git_revision": "fff", "device": "gpu x 1"}]
  facts = _facts(records)
  assert facts["git revision"] == "0123abc; fff"
  assert facts["device"] == "cpu x 1 (Example CPU, 2 cores); gpu x 1"


def test_what_was_not_recorded_is_said_to_be_so():
  record = make_run("a", 0) | {"git_revision": None}
  for key in ("dataset", "versions", "device", "finished_at", "config"):
    del record[key]
  facts = _facts([record | {"wall_seconds": None}])
  for name in ("command", "dataset", "device", "versions", "git revision", "training time"):
    assert facts[name] == "not recorded", name
  assert facts["finished"] == "not recorded"


def test_a_recorded_command_is_the_default():
  record = make_run("a", 0) | {"command": "make compare"}
  assert _facts([record])["command"] == "make compare"
  assert _facts([record], command="other")["command"] == "other"


@pytest.mark.parametrize(
  ("seconds", "text"),
  [(59.94, "59.9 s"), (61.0, "1 min 1 s"), (3599.0, "59 min 59 s"), (7260.0, "2 h 1 min")],
)
def test_training_time(seconds, text):
  assert _facts([make_run("a", 0) | {"wall_seconds": seconds}])["training time"] == text


def test_the_configuration_is_flat():
  config = provenance(group_by_head([make_run("a", 0)])).config
  assert ("model.widths", "[256, 256]") in config and ("seeds", "5") in config


def test_records_name_all_that_they_were_made_with():
  one, other = make_run("a", 0), make_run("a", 1) | {"device": "a gpu"}
  other["versions"] = other["versions"] | {"jax": "0.13.0"}
  found = made_with([other, one, one | {"git_revision": None}])
  assert found == {
    "versions": "python 3.12.1, jax 0.12.0, flax 0.13.0; python 3.12.1, jax 0.13.0, flax 0.13.0",
    "device": "a gpu; cpu x 1 (Example CPU, 2 cores)",
    "git_revision": "0123abc",
    "finished_at": max(one["finished_at"], other["finished_at"]),
  }
  assert set(made_with([]).values()) == {"not recorded"}
