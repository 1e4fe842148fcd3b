"""Settings of a study: as JSON holds them, and checks of their numbers."""

import types

import pytest
from ml_collections import ConfigDict

from softmax_research import study
from softmax_research.study import study as of_study
from tests.study import toy


def test_numbers_lie_within_bounds():
  settings = types.SimpleNamespace(errors=(0.0, 0.5, 1.0), seeds=2)
  study.check_numbers(settings, errors=(0, 1), seeds=2)
  for values, message in (
    ((), r"Got no --errors; pass one number in \[0, 1\] or more"),
    ((0.5, 1.5), r"Got --errors=1.5; it must be in \[0, 1\]"),
    (float("nan"), "errors=nan"),
  ):
    with pytest.raises(ValueError, match=message):
      study.check_numbers(types.SimpleNamespace(errors=values), errors=(0, 1))
  with pytest.raises(ValueError, match="seeds=1; it must be at least 2"):
    study.check_numbers(types.SimpleNamespace(seeds=1), seeds=2)


def test_settings_come_back_from_what_json_holds():
  made = toy.Settings(sizes=(1, 2))
  plain = of_study.to_json(made)
  assert plain["sizes"] == [1, 2] and of_study.from_json(toy.STUDY, plain) == made
  config = ConfigDict({"widths": (8, 8), "data_dir": "somewhere"})
  assert of_study.to_json(config) == {"widths": [8, 8]}


def test_a_text_that_names_no_data_is_any_text():
  config = {"text": "a: long (" + "word/" * 99}
  of = toy.STUDY._replace(config=lambda settings, cell: config)
  assert of_study.config_of(of, toy.Settings(), {}) == config


def test_settings_have_their_help_and_configurations_dotted_keys():
  assert of_study.help_of(toy.Settings)["seeds"] == "repetitions of each."
  assert of_study.flatten({"a": 1, "b": {"c": 2}}) == {"a": 1, "b.c": 2}


def test_a_record_takes_the_seconds_since_the_one_before(monkeypatch):
  clock = iter([12.5, 13.5, 20.0, 21.0])
  fake = types.SimpleNamespace(perf_counter=lambda: next(clock))
  monkeypatch.setattr(of_study, "time", fake)
  context = study.Context(toy.STUDY, toy.Settings(), {"size": 10}, (0, 1))
  context.began = 10.0
  seconds = [context.record(seed)["time"]["seconds"] for seed in context.seeds]
  assert seconds == [2.5, 1.0] and context.share() == (20.0 - 13.5) / 2
  assert context.record(2, seconds=0.5)["time"]["seconds"] == 0.5


def test_a_seed_is_summed_up_by_its_test_split_or_by_whatever_its_record_has():
  made = {"status": "finished", "measured": {"bias": 1}, "time": {"seconds": None}}
  metrics = {"validation": {"as_is": {"accuracy": 0.5, "confusion": [[1]]}}}
  assert of_study.summarise(made | {"metrics": metrics}) == "validation.as_is.accuracy 0.5"
  assert of_study.summarise(made | {"metrics": metrics | {"test": {"nll": 2.0}}}) == "nll 2"
  assert of_study.summarise(made | {"metrics": {}}) == "bias 1"
