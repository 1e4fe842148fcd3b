"""The search of hyperparameters: trials, their choice, and what is refused."""

import json

import pytest
from ml_collections import ConfigDict

from configs import default, tables
from experiments.reproduction import search
from softmax_research import study
from softmax_research.study.groups import text_of

_A, _B = ({"batch_size": size} for size in (32, 64))
_CELL = {"setting": "mnist", "method": "softmax"}


def _setting(**options):
  options = {"search": (("batch_size", (32, 64)),), "search_seeds": 2} | options
  return tables.setting(default.get_config(), [("softmax", "softmax")], **options)


def _records(*accuracies):
  """Return the records of two seeds of each trial; an accuracy of None is one that diverged."""
  return [
    {
      "cell": {**_CELL, "trial": values},
      "seed": seed,
      "status": "diverged" if accuracy is None else "finished",
      "metrics": {} if accuracy is None else {"validation": {"accuracy": accuracy}},
      "measured": {},
    }
    for values, pair in zip((_A, _B), (accuracies[:2], accuracies[2:]), strict=True)
    for seed, accuracy in enumerate(pair, 1000)
  ]


def _choose(*accuracies):
  return search.choose(_CELL, _setting(), _records(*accuracies))


def test_the_trial_of_the_best_mean_is_chosen_and_the_first_of_equals():
  assert _choose(0.9, 0.7, 0.85, 0.8) == _B
  assert _choose(0.75, 0.75, 0.75, 0.75) == _A
  assert search.choose(_CELL, _setting(search=()), []) == {}


def test_a_diverged_seed_counts_as_nothing_right():
  assert _choose(0.6, 0.5, 0.99, None) == _A
  with pytest.raises(ValueError, match="All trials of mnist / softmax diverged"):
    _choose(None, None, None, None)


def test_seeds_of_a_larger_search_before_do_not_count():
  records = _records(0.9, 0.5, 0.8, 0.8)
  assert search.choose(_CELL, _setting(), records) == _B
  assert search.choose(_CELL, _setting(search_seeds=1), records) == _A


def test_trials_that_are_missing_are_waited_for():
  with pytest.raises(study.SkippedError, match="its search lacks batch_size=64"):
    search.choose(_CELL, _setting(), _records(0.9, 0.7, 0.8, 0.8)[:3])


def test_trials_of_tuples_are_found_again_in_records_which_hold_lists():
  setting = _setting(search=(("backbone.stages", (((8,), (16,)), ((4,),))),), search_seeds=1)
  records = [
    {
      "cell": json.loads(json.dumps(cell)),
      "seed": 1000,
      "status": "finished",
      "metrics": {"validation": {"accuracy": accuracy}},
      "measured": {},
    }
    for cell, accuracy in zip(search.cells(_CELL, setting), (0.9, 0.8), strict=False)
  ]
  chosen = search.choose(_CELL, setting, records)
  train = default.get_config(backbone={"name": "cnn", "stages": ()})
  search.change(train, chosen)
  assert train.backbone.stages == ((8,), (16,))


def test_several_keys_are_tried_in_all_combinations():
  setting = ConfigDict({"search": (("batch_size", (32, 64)), ("optimizer.learning_rate", (0.1,)))})
  names = [text_of(values) for values in search.trials(setting)]
  assert names == ["batch_size=32, learning_rate=0.1", "batch_size=64, learning_rate=0.1"]
  train = default.get_config()
  search.change(train, search.trials(setting)[1])
  assert (train.batch_size, train.optimizer.learning_rate) == (64, 0.1)
  search.leave_open(train, setting)
  assert "batch_size" not in train and "learning_rate" not in train.optimizer
  with pytest.raises(ValueError, match="no training has"):
    search.change(train, {"optimizer.learning_rates": 0.1})


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"search": (("batch_size", ()),)}, "at least one"),
    ({"search": (("batch_size", (32, 32)),)}, "each once"),
    ({"search_seeds": 0}, "at least 1 seed"),
    ({"protocol": "cross_validation"}, "cross_validation"),
  ],
)
def test_a_search_that_cannot_be_made_is_refused(options, message):
  with pytest.raises(ValueError, match=message):
    search.check(_setting(**options), 5)
  search.check(_setting(), 5)


def test_the_table_of_trials_says_what_was_chosen_or_that_trials_are_missing():
  (row,) = search.table("mnist", _setting(), _records(0.9, 0.7, 0.85, 0.8)).rows
  assert [cell.value for cell in row.cells] == ["80.00", "82.50", "batch_size=64"]
  assert [cell.strong for cell in row.cells] == [False, True, False]
  (row,) = search.table("mnist", _setting(), []).rows
  assert [cell.value for cell in row.cells] == ["–", "–", "not all trials are there"]
