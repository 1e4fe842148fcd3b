"""The queue of a table: its cells, what is missing, and results merged by concatenation."""

import pytest

from configs import default, tables
from experiments.reproduction import queue
from experiments.reproduction.cells import Context, checkpoint_directory
from experiments.reproduction.protocol import make_protocol


def _protocol(*, seeds=3, together=0, num_epochs=1, seeds_of_setting=0, **options):
  train = default.get_config()
  train.num_epochs = num_epochs
  settings = {
    name: tables.setting(
      train.copy_and_resolve_references(),
      [("softmax", "softmax"), ("m=2", "sm")],
      seeds=seeds_of_setting,
      **options,
    )
    for name in ("mnist", "cifar10")
  }
  variant = tables.variant(settings, deviations=(), seeds=seeds)
  variant.seeds_together = together
  return make_protocol(tables.table("liu2016", full=variant, cpu=variant), "full")


def _run(protocol, setting, method, seed, **changes):
  head = dict(protocol.setting(setting).methods)[method]
  return {
    "kind": "run",
    "paper": "liu2016",
    "variant": "full",
    "setting": setting,
    "method": method,
    "seed": seed,
    "fingerprint": protocol.fingerprint(setting, head),
  } | changes


def test_cells_are_settings_by_methods_by_groups_of_seeds():
  cells = queue.make_cells(_protocol(together=2))
  assert len(cells) == 2 * 2 * 2
  assert [cell.seeds for cell in cells[:2]] == [(0, 1), (2,)]
  assert cells[0].name == "cifar10 / softmax / seeds 0, 1"  # Settings by the alphabet.
  assert [cell.seeds for cell in queue.make_cells(_protocol())] == [(0, 1, 2)] * 4


def test_a_setting_can_have_another_number_of_seeds():
  protocol, common = _protocol(), _protocol()
  protocol.config.settings.mnist.seeds = 2
  seeds = {cell.setting: cell.seeds for cell in queue.make_cells(protocol)}
  assert seeds == {"mnist": (0, 1), "cifar10": (0, 1, 2)}
  assert protocol.fingerprint("mnist", "sm") == common.fingerprint("mnist", "sm")
  with pytest.raises(ValueError, match="cifar10: got seeds=-1"):
    _protocol(seeds_of_setting=-1)


def test_some_cells_can_be_chosen():
  cells = queue.make_cells(_protocol(), only="cifar10 / m=")
  assert [(cell.setting, cell.method) for cell in cells] == [("cifar10", "m=2")]
  with pytest.raises(ValueError, match="mnist / softmax"):
    queue.make_cells(_protocol(), only="mnits")
  with pytest.raises(ValueError, match="regular expression"):
    queue.make_cells(_protocol(), only="(")


def test_files_of_two_machines_merge_in_any_order_with_repetitions():
  protocol = _protocol()
  here = [_run(protocol, "mnist", "softmax", seed, host="here") for seed in (0, 1)]
  there = [_run(protocol, "mnist", "softmax", seed, host="there") for seed in (1, 2)]
  merged = queue.merge(here + there, protocol)
  assert sorted(merged.finished) == [("mnist", "softmax", seed) for seed in (0, 1, 2)]
  assert merged.duplicates == 1
  assert merged.finished["mnist", "softmax", 1]["host"] == "here"
  assert set(queue.merge(there + here, protocol).finished) == set(merged.finished)
  left = queue.missing(queue.make_cells(protocol), merged.finished)
  assert [(cell.setting, cell.method) for cell in left] == [
    ("cifar10", "softmax"),
    ("cifar10", "m=2"),
    ("mnist", "m=2"),
  ]


def test_a_cell_half_finished_is_left_with_the_rest_of_its_seeds():
  protocol = _protocol()
  merged = queue.merge([_run(protocol, "mnist", "m=2", 1)], protocol)
  left = queue.missing(queue.make_cells(protocol, only="mnist / m=2"), merged.finished)
  assert [cell.seeds for cell in left] == [(0, 2)]


def test_a_failure_stands_until_all_seeds_are_finished():
  protocol = _protocol(seeds=2)
  failure = {
    "kind": "failure",
    "paper": "liu2016",
    "variant": "full",
    "setting": "mnist",
    "method": "m=2",
    "error": "no",
  }
  one, two = (_run(protocol, "mnist", "m=2", seed) for seed in (0, 1))
  assert list(queue.merge([failure, one], protocol).failures) == [("mnist", "m=2")]
  assert not queue.merge([failure, one, two], protocol).failures
  assert not queue.merge([one, two, failure], protocol).failures


def test_other_papers_variants_and_former_methods_are_left_alone():
  protocol = _protocol()
  others = [
    _run(protocol, "mnist", "m=2", 0, paper="guo2017"),
    _run(protocol, "mnist", "m=2", 0, variant="cpu"),
    _run(protocol, "mnist", "m=2", 0) | {"method": "m=9"},
  ]
  assert not queue.merge(others, protocol).finished


def test_results_of_another_protocol_are_refused():
  before = _run(_protocol(num_epochs=2), "mnist", "m=2", 0)
  with pytest.raises(ValueError, match="another protocol"):
    queue.merge([before], _protocol())


def test_what_names_a_protocol_is_what_results_depend_on():
  protocol, more = _protocol(), _protocol(seeds=9)
  assert protocol.fingerprint("mnist", "sm") == more.fingerprint("mnist", "sm")
  assert protocol.fingerprint("mnist", "sm") != protocol.fingerprint("mnist", "softmax")
  more.config.settings.mnist.num_train = 100
  assert protocol.fingerprint("mnist", "sm") != more.fingerprint("mnist", "sm")


def test_checkpoints_of_other_settings_are_not_gone_on_from(tmp_path):
  names = set()
  for options in ({}, {"num_epochs": 2}, {"seeds": 2}):
    protocol = _protocol(**options)
    cell = queue.make_cells(protocol, only="mnist / m=2")[0]
    names.add(checkpoint_directory(Context(protocol, *[tmp_path] * 5), cell).name)
  assert len(names) == 3


_RATE = "optimizer.learning_rate"
_SEARCH = {"search": ((_RATE, (0.01, 0.1)),), "search_seeds": 2}


def _trial(protocol, rate, seed, accuracy):
  values = ((_RATE, rate),)
  return _run(protocol, "mnist", "m=2", seed) | {
    "kind": "trial",
    "status": "finished",
    "values": dict(values),
    "fingerprint": protocol.fingerprint("mnist", "sm", values),
    "metrics": {"validation": {"accuracy": accuracy}},
  }


def _searched(protocol, rate, seed):
  values = ((_RATE, rate),)
  fingerprint = protocol.fingerprint("mnist", "sm", values)
  return _run(protocol, "mnist", "m=2", seed, values=dict(values), fingerprint=fingerprint)


def test_trials_are_cells_before_the_runs_that_take_the_best_ones_values():
  protocol = _protocol(**_SEARCH)
  cells = queue.make_cells(protocol, only="mnist / m=2")
  assert [cell.name for cell in cells] == [
    "mnist / m=2, learning_rate=0.01 / seeds 1000, 1001",
    "mnist / m=2, learning_rate=0.1 / seeds 1000, 1001",
    "mnist / m=2 / seeds 0, 1, 2",
  ]
  scores = {(0.01, 1000): 0.9, (0.01, 1001): 0.5, (0.1, 1000): 0.8, (0.1, 1001): 0.8}
  trials = [_trial(protocol, *key, accuracy) for key, accuracy in scores.items()]
  finished = queue.merge(trials, protocol).finished
  assert queue.missing(cells, finished) == cells[-1:]
  assert queue.settle(protocol, cells[-1], finished).values == ((_RATE, 0.1),)
  assert queue.settle(protocol, cells[0], {}) == cells[0]
  with pytest.raises(ValueError, match=r"lacks learning_rate=0\.1\b"):
    queue.settle(protocol, cells[-1], queue.merge(trials[:2], protocol).finished)

  runs = [_searched(protocol, 0.1, seed) for seed in range(3)]
  assert not queue.missing(cells, queue.merge(runs + trials, protocol).finished)
  assert len(queue.merge(runs, protocol).finished) == 3  # Their trials may be in another file.
  with pytest.raises(ValueError, match="search chooses"):
    queue.merge([*trials, _searched(protocol, 0.01, 0)], protocol)


def test_a_search_changes_no_name_of_what_was_not_searched():
  head = ("mnist", "sm")
  assert _protocol().fingerprint(*head) == _protocol(**_SEARCH).fingerprint(*head)
  searched = _protocol(**_SEARCH).fingerprint(*head, ((_RATE, 0.1),))
  assert searched != _protocol().fingerprint(*head)
