"""Checkpoints: all of the state comes back, and a damaged one gives way to the one before."""

import jax
import numpy as np
import pytest

from softmax_research import training
from tests.training.models import bright_rows, tiny_programs


def _plain(state):
  return state._replace(key=jax.random.key_data(state.key))


@pytest.fixture(name="saved")
def _saved(tmp_path):
  """A directory with checkpoints after epochs 1 to 3, and the programs that made them."""
  programs = tiny_programs()
  checkpoints = training.Checkpoints(tmp_path / "checkpoints")
  fit = training.fit(
    programs,
    bright_rows(),
    bright_rows(40, seed=1),
    seed=0,
    num_epochs=3,
    batch_size=16,
    on_epoch=checkpoints.save,
  )
  return tmp_path / "checkpoints", programs, fit


def test_the_newest_checkpoint_holds_everything(saved):
  directory, programs, fit = saved
  state, curves = training.Checkpoints(directory).restore(programs.init(9))
  jax.tree.map(np.testing.assert_array_equal, _plain(state), _plain(fit.state))
  assert curves == fit.curves


def test_a_damaged_checkpoint_is_reported_and_the_one_before_is_used(saved):
  directory, programs, _ = saved
  for path in (directory / "3" / "state").rglob("*"):
    if path.is_file():
      path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
  with pytest.warns(UserWarning, match="after epoch 3 cannot be read"):
    state, curves = training.Checkpoints(directory).restore(programs.init(0))
  assert int(state.step) == 12 and curves["epoch"] == [1, 2]


def test_only_the_newest_few_are_kept(saved):
  directory, _, fit = saved
  checkpoints = training.Checkpoints(directory, max_to_keep=2)
  checkpoints.save(fit.state, {"epoch": [1, 2, 3, 4]})
  assert checkpoints.epochs() == [3, 4]


def test_an_empty_directory_restores_nothing(tmp_path):
  assert training.Checkpoints(tmp_path / "new").restore(tiny_programs().init(0)) is None
