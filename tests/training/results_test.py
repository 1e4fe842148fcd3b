"""Results on disk: whole records survive a cut last line, and a configuration is kept to."""

import json

import pytest

from softmax_research.training import results


def test_records_come_back_in_order(tmp_path):
  path = tmp_path / "results.jsonl"
  assert results.read(path) == []
  for seed in range(3):
    results.append(path, {"seed": seed, "accuracy": 0.1 * seed})
  assert [record["seed"] for record in results.read(path)] == [0, 1, 2]


@pytest.mark.parametrize("cut", [1, 5, 11])
def test_a_cut_last_line_is_left_out_and_replaced(tmp_path, cut):
  path = tmp_path / "results.jsonl"
  for seed in range(2):
    results.append(path, {"seed": seed})
  path.write_bytes(path.read_bytes()[:-cut])
  with pytest.warns(UserWarning, match="What it stood for is repeated"):
    assert results.read(path) == [{"seed": 0}]
  results.append(path, {"seed": 1})
  assert [json.loads(line) for line in path.read_text().splitlines()] == [{"seed": 0}, {"seed": 1}]


def test_records_are_kept_all_or_none(tmp_path, monkeypatch):
  path = tmp_path / "results.jsonl"
  results.append(path, {"seed": 0})
  before = path.read_bytes()

  def fail(_):
    raise OSError("No space left on device")

  with monkeypatch.context() as patched:
    patched.setattr(results.os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
      results.append(path, {"seed": 1}, {"seed": 2})
  assert path.read_bytes() == before
  results.append(path, {"seed": 1}, {"seed": 2})
  assert [record["seed"] for record in results.read(path)] == [0, 1, 2]


def test_a_damaged_middle_line_is_an_error_with_its_number(tmp_path):
  path = tmp_path / "results.jsonl"
  path.write_text('{"seed": 0}\n{"seed": \n{"seed": 2}\n')
  with pytest.raises(ValueError, match="Line 2"):
    results.read(path)


def test_numbers_that_json_lacks_are_refused(tmp_path):
  with pytest.raises(ValueError, match="JSON"):
    results.append(tmp_path / "results.jsonl", {"nll": float("nan")})


def test_a_changed_configuration_is_refused_with_the_change(tmp_path):
  before = {"seeds": 5, "model": {"widths": (4, 5)}, "heads": "softmax"}
  results.check_config(tmp_path, before, may_change=("seeds",))
  results.check_config(tmp_path, before | {"seeds": 7}, may_change=("seeds",))
  with pytest.raises(ValueError, match=r"model.widths: \[4, 5\] -> \[4\]"):
    results.check_config(tmp_path, before | {"model": {"widths": (4,)}}, may_change=("seeds",))
  with pytest.raises(ValueError, match="extra: 'absent' -> 1"):
    results.check_config(tmp_path, before | {"extra": 1}, may_change=("seeds",))
