"""Checkpoints: all of the state comes back, and a damaged one gives way to the one before."""

import shutil

import jax
import numpy as np
import optax
import pytest

from softmax_research import heads, training
from tests.training.models import bright_rows, tiny_programs


@pytest.fixture(name="made", scope="module")
def _made(tmp_path_factory):
  """A directory with checkpoints after epochs 1 to 3, the programs that made them and the last."""
  programs, directory = training.parallelise(tiny_programs()), tmp_path_factory.mktemp("made")
  checkpoints = training.Checkpoints(directory)
  fit = training.fit(
    programs,
    bright_rows(),
    bright_rows(40, seed=1),
    seeds=[0, 1],
    num_epochs=3,
    batch_size=16,
    on_epoch=lambda states, curves: checkpoints.save(programs.gather(states), curves),
  )
  return directory, programs, fit


@pytest.fixture(name="saved")
def _saved(made, tmp_path):
  """The same, in a directory of the test's own."""
  return shutil.copytree(made[0], tmp_path / "checkpoints"), *made[1:]


def _like(programs):
  return programs.gather(programs.init([8, 9]))


def test_the_newest_checkpoint_holds_everything(saved):
  directory, programs, fit = saved
  states, curves = training.Checkpoints(directory).restore(_like(programs))
  jax.tree.map(np.testing.assert_array_equal, states, programs.gather(fit.states))
  assert curves == fit.curves


def test_a_methods_numbers_are_not_saved_with_it(saved):
  directory, programs, fit = saved
  numbers = {"margin": 0.6, "rate": 1e-2}
  programs = training.parallelise(
    tiny_programs(
      head=lambda of: heads.make("sm_taylor", 3, margin=of["margin"]),
      optimizer=lambda of: optax.adam(of["rate"]),
      numbers=numbers,
    )
  )
  states, _ = training.Checkpoints(directory).restore(_like(programs))
  assert states.numbers == {name: pytest.approx([of] * 2) for name, of in numbers.items()}
  jax.tree.map(np.testing.assert_array_equal, states.params, programs.gather(fit.states).params)


def _cut(path):
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip_a_bit(path):
  """Change one parameter."""
  content = bytearray(path.read_bytes())
  with np.load(path) as file:
    leaf = max(file.values(), key=lambda of: of.nbytes if of.dtype == np.uint8 else 0)
  content[content.index(leaf.tobytes())] ^= 1
  path.write_bytes(content)


def _change_a_number(path):
  text = "[1, 2, 3]".encode("utf-32-le")  # As NumPy keeps text.
  assert path.read_bytes().count(text) == 2
  path.write_bytes(path.read_bytes().replace(text, "[1, 2, 7]".encode("utf-32-le"), 1))


@pytest.mark.parametrize("damage", [_cut, _flip_a_bit, _change_a_number])
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_used(saved, damage):
  directory, programs, fit = saved
  damage(directory / "18.npz")
  checkpoints = training.Checkpoints(directory)
  with pytest.warns(UserWarning, match="at step 18 cannot be read"):
    states, curves = checkpoints.restore(_like(programs))
  assert states.step.tolist() == [12, 12] and curves[0]["epoch"] == [1, 2]
  assert {path.name for path in directory.iterdir()} == {"12.npz", "6.npz", "damaged-18.npz"}
  # It gives way: what is saved at its step now is what the next start finds.
  checkpoints.save(programs.gather(fit.states), fit.curves)
  assert training.Checkpoints(directory).restore(_like(programs))[0].step.tolist() == [18, 18]


@pytest.mark.parametrize(
  ("changed", "message"),
  [
    (
      {"head": heads.make("hierarchical", 3)},
      r"params/head/bias is float32\[2, 3\] there and float32\[2, 2\] here; params/head/kernel",
    ),
    ({"optimizer": optax.sgd(0.1)}, r"opt_state/0/count is int32\[2\] there and absent here"),
    ({"seeds": [1, 2, 3]}, r"bad_step is int32\[2\] there and int32\[3\] here; .* and \d+ more"),
  ],
)
def test_another_model_optimiser_or_number_of_seeds_is_an_error_and_deletes_nothing(
  saved, changed, message
):
  directory, _, _ = saved
  seeds = changed.pop("seeds", [8, 9])
  other = training.parallelise(tiny_programs(**changed))
  checkpoints = training.Checkpoints(directory)
  with pytest.raises(ValueError, match=message):
    checkpoints.restore(other.gather(other.init(seeds)))
  assert checkpoints.steps() == [6, 12, 18]
  assert {path.name for path in directory.iterdir()} == {"6.npz", "12.npz", "18.npz"}


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


def test_an_empty_directory_restores_nothing(made, tmp_path):
  assert training.Checkpoints(tmp_path / "new").restore(_like(made[1])) is None
