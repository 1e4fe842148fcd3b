"""Checkpoints: all of the state comes back, and a damaged one gives way to the one before."""

import jax
import numpy as np
import pytest

from softmax_research import training
from tests.training.models import bright_rows, tiny_programs


@pytest.fixture(name="saved")
def _saved(tmp_path):
  """A directory with checkpoints after epochs 1 to 3, the programs that made them and the last."""
  programs = training.parallelise(tiny_programs())
  checkpoints = training.Checkpoints(tmp_path / "checkpoints")
  fit = training.fit(
    programs,
    bright_rows(),
    bright_rows(40, seed=1),
    seeds=[0, 1],
    num_epochs=3,
    batch_size=16,
    on_epoch=lambda states, curves: checkpoints.save(programs.gather(states), curves),
  )
  return tmp_path / "checkpoints", programs, fit


def _like(programs):
  return programs.gather(programs.init([8, 9]))


def test_the_newest_checkpoint_holds_everything(saved):
  directory, programs, fit = saved
  states, curves = training.Checkpoints(directory).restore(_like(programs))
  jax.tree.map(np.testing.assert_array_equal, states, programs.gather(fit.states))
  assert curves == fit.curves


def _cut(checkpoint):
  for path in (checkpoint / "states").rglob("*"):
    if path.is_file():
      path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _change_a_number(checkpoint):
  path = checkpoint / "curves" / "metadata"
  assert path.read_bytes().count(b"[1, 2, 3]") == 2
  path.write_bytes(path.read_bytes().replace(b"[1, 2, 3]", b"[1, 2, 7]", 1))


@pytest.mark.parametrize("damage", [_cut, _change_a_number])
def test_a_damaged_checkpoint_is_reported_and_the_one_before_is_used(saved, damage):
  directory, programs, fit = saved
  damage(directory / "18")
  checkpoints = training.Checkpoints(directory)
  with pytest.warns(UserWarning, match="at step 18 cannot be read"):
    states, curves = checkpoints.restore(_like(programs))
  assert states.step.tolist() == [12, 12] and curves[0]["epoch"] == [1, 2]
  # It gives way: what is saved at its step now is what the next start finds.
  checkpoints.save(programs.gather(fit.states), fit.curves)
  assert training.Checkpoints(directory).restore(_like(programs))[0].step.tolist() == [18, 18]


def test_only_the_newest_few_are_kept(saved):
  directory, programs, fit = saved
  checkpoints = training.Checkpoints(directory, max_to_keep=2)
  states = programs.gather(fit.states)
  checkpoints.save(states._replace(step=states.step + 3), fit.curves)
  assert checkpoints.steps() == [18, 21]


def test_a_step_saved_before_is_not_saved_again(saved):
  directory, programs, fit = saved
  checkpoints = training.Checkpoints(directory)
  checkpoints.save(programs.gather(fit.states), fit.curves)
  assert checkpoints.steps() == [6, 12, 18]


def test_an_empty_directory_restores_nothing(tmp_path):
  like = _like(training.parallelise(tiny_programs()))
  assert training.Checkpoints(tmp_path / "new").restore(like) is None
