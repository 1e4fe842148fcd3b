"""The search of hyperparameters: trials, their choice, and what is refused."""

import pytest
from ml_collections import ConfigDict

from configs import default, tables
from experiments.reproduction import search

_A, _B = ((("batch_size", size),) for size in (32, 64))


def _setting(**options):
  options = {"search": (("batch_size", (32, 64)),), "search_seeds": 2} | options
  return tables.setting(default.get_config(), [("softmax", "softmax")], **options)


def _finished(scores):
  """Return records by key; an accuracy of None is a run that diverged."""
  return {
    ("mnist", search.row("softmax", values), seed): {
      "status": "diverged" if accuracy is None else "finished",
      "metrics": accuracy and {"validation": {"accuracy": accuracy}},
    }
    for (values, seed), accuracy in scores.items()
  }


def _choose(scores):
  return search.choose("mnist", _setting(), "softmax", _finished(scores))


def test_the_trial_of_the_best_mean_is_chosen_and_the_first_of_equals():
  assert _choose({(_A, 1000): 0.9, (_A, 1001): 0.7, (_B, 1000): 0.85, (_B, 1001): 0.8}) == _B
  assert _choose({(_A, 1000): 0.75, (_A, 1001): 0.75, (_B, 1000): 0.75, (_B, 1001): 0.75}) == _A


def test_a_diverged_seed_counts_as_nothing_right():
  assert _choose({(_A, 1000): 0.6, (_A, 1001): 0.5, (_B, 1000): 0.99, (_B, 1001): None}) == _A
  with pytest.raises(ValueError, match="All trials of mnist / softmax diverged"):
    _choose(dict.fromkeys([(_A, 1000), (_A, 1001), (_B, 1000), (_B, 1001)]))


def test_several_keys_are_tried_in_all_combinations():
  setting = ConfigDict({"search": (("batch_size", (32, 64)), ("optimizer.learning_rate", (0.1,)))})
  names = [search.describe(values) for values in search.trials(setting)]
  assert names == ["batch_size=32, learning_rate=0.1", "batch_size=64, learning_rate=0.1"]
  train = default.get_config()
  search.change(train, search.trials(setting)[1])
  assert (train.batch_size, train.optimizer.learning_rate) == (64, 0.1)
  with pytest.raises(ValueError, match="no training has"):
    search.change(train, (("optimizer.learning_rates", 0.1),))


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
  scores = {(_A, 1000): 0.9, (_A, 1001): 0.7, (_B, 1000): 0.85, (_B, 1001): 0.8}
  (row,) = search.table("mnist", _setting(), _finished(scores)).rows
  assert [cell.value for cell in row.cells] == ["80.00", "82.50", "batch_size=64"]
  (row,) = search.table("mnist", _setting(), {}).rows
  assert row.cells[-1].value == "not all trials are there"
