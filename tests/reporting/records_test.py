"""Reading of results: cut and damaged files, grouping, order."""

import json
import math

import pytest

from softmax_research.reporting import group_by_head, read_records
from tests.reporting.fake_results import (
  make_diverged,
  make_ensemble,
  make_results,
  make_run,
  write_results,
)


@pytest.fixture(name="path")
def _path(tmp_path):
  return write_results(tmp_path / "results.jsonl", make_results({"softmax": 0.03}, 2))


def test_records_come_back_as_written(path):
  assert read_records(path) == make_results({"softmax": 0.03}, 2)


def test_blank_lines_are_nothing(path):
  path.write_text(path.read_text().replace("\n", "\n\n"))
  assert len(read_records(path)) == 3


@pytest.mark.parametrize("cut", [1, 5, 1000])
def test_a_cut_last_line_is_left_out_with_a_warning(path, cut):
  whole = read_records(path)
  path.write_bytes(path.read_bytes()[: -1 - cut])
  with pytest.warns(UserWarning, match="line 3 is cut off"):
    assert read_records(path) == whole[:-1]


def test_a_line_cut_within_a_character_is_cut(tmp_path):
  path = write_results(tmp_path / "results.jsonl", [make_run("softmax", 0)])
  path.write_bytes(path.read_bytes() + b'{"kind": "run", "head": "\xc3')
  with pytest.warns(UserWarning, match="line 2 is cut off"):
    assert len(read_records(path)) == 1


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_a_damaged_line_is_named(path, damaged):
  lines = path.read_text().splitlines()
  lines[damaged] = lines[damaged][:40]
  path.write_text("\n".join(lines) + "\n")
  with pytest.raises(ValueError, match=rf"line {damaged + 1} is not JSON.*run the experiment"):
    read_records(path)


@pytest.mark.parametrize(
  ("line", "message"),
  [
    ("[1, 2]", "line 1 is not a record"),
    ('{"head": "softmax"}', "line 1 is not a record: it must be a JSON object with a 'kind'"),
    ('{"kind": "run", "head": "softmax", "status": "finished"}', "lacks seed, metrics"),
    ('{"kind": "ensemble", "head": "softmax"}', "the ensemble record lacks seeds, metrics"),
    (
      '{"kind": "run", "head": "softmax", "seed": 0, "status": "lost", "metrics": null}',
      "status 'lost' is unknown; it must be 'finished' or 'diverged'",
    ),
    (
      '{"kind": "run", "head": "softmax", "seed": 0, "status": "finished", "metrics": null}',
      "has no metrics of the test split",
    ),
  ],
)
def test_a_record_that_lacks_something_is_refused(tmp_path, line, message):
  path = tmp_path / "results.jsonl"
  path.write_text(line + "\n")
  with pytest.raises(ValueError, match=message):
    read_records(path)


def test_missing_and_empty_files_are_refused(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"give the results\.jsonl"):
    read_records(tmp_path / "results.jsonl")
  (tmp_path / "results.jsonl").write_text("\n")
  with pytest.raises(ValueError, match="holds no results yet"):
    read_records(tmp_path / "results.jsonl")


def test_runs_are_grouped_by_head_and_seed():
  records = [
    make_run("b", 2),
    make_run("b", 0),
    make_diverged("a", 1),
    make_run("a", 0),
    make_ensemble("b", [0, 2]),
  ]
  for record in records:
    record.pop("config", None)
  b, a = group_by_head(records)
  assert (b.name, list(b.finished), list(b.diverged)) == ("b", [0, 2], [])
  assert (a.name, list(a.finished), list(a.diverged)) == ("a", [0], [1])
  assert b.ensemble == records[-1] and a.ensemble is None
  assert b.values("accuracy") == {
    0: records[1]["metrics"]["test"]["accuracy"],
    2: records[0]["metrics"]["test"]["accuracy"],
  }
  assert b.values("nll", split="validation")[2] == records[0]["metrics"]["validation"]["nll"]


@pytest.mark.parametrize("given", [["b", "a", "c:x=(1,2)"], "b,a,c:x=(1,2)"])
def test_the_configuration_orders_the_heads(given):
  records = [make_run(head, 0) for head in ("other", "c:x=(1,2)", "a", "b")]
  for record in records:
    record["config"]["heads"] = given
  assert [head.name for head in group_by_head(records)] == ["b", "a", "c:x=(1,2)", "other"]


def test_a_later_record_replaces_an_earlier_one():
  (head,) = group_by_head([make_diverged("a", 0), make_run("a", 0), make_run("a", 0, error=0.2)])
  assert not head.diverged
  assert head.values("accuracy")[0] == make_run("a", 0, error=0.2)["metrics"]["test"]["accuracy"]


def test_a_null_nll_is_infinite_and_other_nulls_are_nan():
  run = json.loads(json.dumps(make_run("a", 0)))
  run["metrics"]["test"] |= {"nll": None, "ece": None}
  (head,) = group_by_head([run])
  assert head.values("nll") == {0: math.inf}
  assert math.isnan(head.values("ece")[0]) and math.isnan(head.values("unheard_of")[0])


def test_results_without_runs_or_of_two_datasets_are_refused():
  with pytest.raises(ValueError, match="hold no run"):
    group_by_head([make_ensemble("a", [0, 1])])
  other = make_run("a", 1)
  other["dataset"]["name"] = "mnist"
  with pytest.raises(ValueError, match="mix the datasets digits, mnist"):
    group_by_head([make_run("a", 0), other])
