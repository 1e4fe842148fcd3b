"""Records: their shape, the file they stand in, and the numbers looked up in them."""

import json
import math

import pytest

from softmax_research.study import record

WHOLE = {
  "study": "toy",
  "cell": {"head": "sm"},
  "seed": 0,
  "status": "finished",
  "metrics": {"test": {"accuracy": 0.5, "nll": None}},
  "curves": {"epoch": [1]},
  "measured": {"noise": {"accuracy": 0.25}, "selected": {"accuracy": 0.75}},
  "config": {"num_epochs": 1},
  "command": "python -m experiments.compare",
  "versions": {"jax": "0.10"},
  "device": "cpu x 1",
  "revision": "abc",
  "time": {"finished_at": "2026-01-01", "seconds": 1.0},
}


def test_what_was_appended_is_read(tmp_path):
  path = tmp_path / "results.jsonl"
  record.append(path, WHOLE, WHOLE | {"seed": 1})
  record.append(path, WHOLE | {"seed": 2})
  assert [r["seed"] for r in record.read(path)] == [0, 1, 2]
  assert record.read(tmp_path / "none.jsonl") == []


def test_a_cut_last_line_is_left_out_and_overwritten(tmp_path):
  path = tmp_path / "results.jsonl"
  record.append(path, WHOLE)
  with path.open("a") as file:
    file.write(json.dumps(WHOLE)[:40])
  with pytest.warns(UserWarning, match="incomplete"):
    assert len(record.read(path)) == 1
  record.append(path, WHOLE | {"seed": 1})
  assert [r["seed"] for r in record.read(path)] == [0, 1]


def test_a_blank_line_is_no_record(tmp_path):
  path = tmp_path / "results.jsonl"
  path.write_text(f"\n{json.dumps(WHOLE)}\n   \n")
  assert len(record.read(path)) == 1


@pytest.mark.parametrize(
  ("line", "expected"),
  [
    ("{not json", ["is not JSON"]),
    ("[1, 2]", ["must be a JSON object"]),
    *(
      (json.dumps({k: v for k, v in WHOLE.items() if k != missing}), [f"lacks '{missing}'"])
      for missing in record.FIELDS
    ),
    (json.dumps(WHOLE | {"kind": "run"}), ["unknown key 'kind'"]),
    (json.dumps(WHOLE | {"seed": "0"}), ["seed='0'"]),
    (json.dumps(WHOLE | {"seed": True}), ["seed=True"]),
    (json.dumps(WHOLE | {"status": "done"}), ["status='done'", "diverged"]),
    (json.dumps(WHOLE | {"time": {}}), ["'seconds'"]),
    (
      json.dumps(WHOLE | {"metrics": {"test": {"accuracy": "0.5"}}}),
      ["metrics/test/accuracy='0.5'"],
    ),
    (json.dumps(WHOLE | {"curves": {"epoch": ["1"]}}), ["curves/epoch='1'"]),
  ],
)
def test_lines_that_are_no_records_are_named(tmp_path, line, expected):
  path = tmp_path / "results.jsonl"
  path.write_text(f"{json.dumps(WHOLE)}\n{line}\n")
  with pytest.raises(ValueError) as caught:
    record.read(path)
  for part in (f"Line 2 of {path}", *expected):
    assert part in str(caught.value)


def test_numbers_that_json_lacks_are_refused_and_leave_the_file(tmp_path):
  path = tmp_path / "results.jsonl"
  record.append(path, WHOLE)
  before = path.read_bytes()
  with pytest.raises(ValueError):
    record.append(path, WHOLE | {"seed": 1}, WHOLE | {"measured": {"loss": math.nan}})
  assert path.read_bytes() == before


def test_of_one_name_the_first_that_is_no_failure_counts():
  failed = WHOLE | {"seed": None, "status": "failed", "measured": {"seeds": [0, 1]}}
  later = WHOLE | {"command": "later"}
  assert record.unique([WHOLE, failed]) == [WHOLE, failed]  # Of another seed.
  found = record.unique([failed, WHOLE, later, WHOLE | {"seed": 1}])
  assert [(r["seed"], r["command"]) for r in found] == [
    (0, WHOLE["command"]),
    (1, WHOLE["command"]),
  ]
  other = failed | {"cell": {"head": "softmax"}}
  assert record.unique([other, WHOLE, other | {"command": "again"}])[0]["command"] == "again"


def test_numbers_are_looked_up_by_path():
  expected = {
    "accuracy": 0.5,
    "nll": math.inf,
    "noise/accuracy": 0.25,
    "measured/selected/accuracy": 0.75,
    "metrics/test/accuracy": 0.5,
    "time/seconds": 1.0,
    "curves/epoch/0": 1.0,
  }
  for path, value in expected.items():
    assert record.look_up(WHOLE, path) == value
  for path in (
    "ece",
    "metrics/validation/nll",
    "noise",
    "curves/epoch/1",
    "config/num_epochs/more",
    "device",
  ):
    assert math.isnan(record.look_up(WHOLE, path))


def test_files_of_different_cells_never_collide():
  texts = ["a/b", "a_b", "a b", "x" * 300, "x" * 301, "$\\frac{1}{0$", "\n"]
  names = {record.file_name({"head": text}, seed) for text in texts for seed in (0, 1, 10)}
  assert len(names) == 3 * len(texts)
  assert all(len(name) < 100 and "/" not in name and "\n" not in name for name in names)
