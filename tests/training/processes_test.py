"""What several processes decide alike; with two of them in earnest, see distributed_test.py."""

import json

import numpy as np
import pytest

from softmax_research.training import processes


@pytest.fixture(name="second_of_two")
def _second_of_two(monkeypatch):
  """This process is the second of two; returns a function that sets what the first broadcasts."""
  monkeypatch.setattr(processes.jax, "process_count", lambda: 2)
  monkeypatch.setattr(processes, "is_first", lambda: False)

  def hear(answer):
    monkeypatch.setattr(processes, "_broadcast", lambda data: json.dumps(answer).encode())

  return hear


def test_steps_are_the_firsts_and_any_may_stop(second_of_two, monkeypatch):
  wishes = np.array([[7, False], [30, True], [2, False]])
  monkeypatch.setattr(processes.multihost_utils, "process_allgather", lambda own: wishes)
  assert processes.agree(30, True) == (7, True)
  wishes[:, 1] = False
  assert processes.agree(30, False) == (7, False)


def test_what_the_first_returns_is_heard_and_not_computed_again(second_of_two):
  second_of_two({"value": [1, 2]})
  assert processes.from_first(lambda: pytest.fail("called in the second process")) == [1, 2]


@pytest.mark.parametrize(("error", "of_storage"), [(ValueError, False), (OSError, True)])
def test_an_error_of_the_first_is_everyones(second_of_two, error, of_storage):
  second_of_two({"error": "no room", "of_storage": of_storage})
  with pytest.raises(error, match="no room"):
    processes.from_first(lambda: None)


@pytest.mark.parametrize("error", [ValueError, OSError])
def test_the_first_tells_the_others_of_its_error_and_raises_it(monkeypatch, error):
  told = []
  monkeypatch.setattr(processes.jax, "process_count", lambda: 2)
  monkeypatch.setattr(processes, "_broadcast", lambda data: told.append(data) or data)

  def fail():
    raise error("no room")

  with pytest.raises(error, match="no room"):
    processes.from_first(fail)
  assert json.loads(told[0]) == {"error": "no room", "of_storage": error is OSError}
