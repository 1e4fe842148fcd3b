"""Finished models: their predictions are the program's, and what does not fit is refused."""

import numpy as np
import pytest

from softmax_research import training
from tests.training.models import SHAPE, bright_rows, tiny_programs


@pytest.fixture(name="images", scope="module")
def _images():
  return bright_rows(300).images


@pytest.fixture(name="saved", scope="module")
def _saved(tmp_path_factory, images):
  """A working directory with two heads' models, their programs and their states."""
  directory, programs = tmp_path_factory.mktemp("run"), tiny_programs()
  program = training.export_prediction(programs, programs.init(0), images)
  states = [programs.init(seed) for seed in (0, 1)]
  for seed, state in enumerate(states):
    for network in ("mlp", "cnn"):
      about = {"cell": {"head": "sm", "backbone": network}, "seed": seed}
      path = directory / "models" / f"{network}-{seed}.npz"
      training.save_model(path, program, state, about)
  return directory, programs, states


def test_a_model_predicts_as_its_program_did_in_any_number(saved, images):
  directory, programs, states = saved
  model = training.load(directory, "sm", seed=1, backbone="cnn")
  assert model.image_shape == SHAPE and model.about["seed"] == 1
  wanted = programs.predict(states[1], images)
  for many in (0, 1, 300):
    np.testing.assert_allclose(model(images[:many]), wanted[:many], atol=1e-6)
  # Gray images need no axis of channels, and whole numbers may be of any type.
  np.testing.assert_allclose(model(images[:, :, :, 0].astype(int)), wanted, atol=1e-6)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda images: images[:, 1:], r"shape \(300, 3, 4, 1\); the model takes \[N, 4, 4, 1\]"),
    (lambda images: images / 255, r"float64; the model was trained on uint8 ones.*from 0 to 255"),
    (lambda images: images[0, 0, 0], r"must be numbers"),
    (lambda images: images * np.nan, r"float64; the model was trained on uint8"),
  ],
)
def test_images_that_do_not_fit_are_refused(saved, images, change, message):
  with pytest.raises(ValueError, match=message):
    training.load(saved[0], "sm", backbone="cnn")(change(images))


def test_values_that_are_not_finite_are_refused(tmp_path, images):
  programs, floats = tiny_programs(), images.astype(np.float32) / 7
  state = programs.init(0)
  program = training.export_prediction(programs, state, floats)
  training.save_model(
    tmp_path / "models/m.npz", program, state, {"cell": {"head": "sm"}, "seed": 0}
  )
  model = training.load(tmp_path, "sm")
  assert np.isfinite(model(floats)).all()
  with pytest.raises(ValueError, match="values that are not finite; leave them out"):
    model(floats * np.nan)
  with pytest.raises(ValueError, match="type uint8; the model was trained on float32 ones"):
    model(images)


def test_a_model_that_is_not_there_or_not_the_only_one_is_an_error(saved, tmp_path):
  directory, _, _ = saved
  with pytest.raises(
    ValueError, match=r"head='sm', seed=0; 2 models .*Name .*head=sm, backbone=cnn"
  ):
    training.load(directory, "sm")
  with pytest.raises(ValueError, match=r"head='softmax', seed=7; no model of .* is so"):
    training.load(directory, "softmax", 7)
  with pytest.raises(ValueError, match=r"There are no models in .*--keep_models"):
    training.load(tmp_path, "sm")


def test_a_damaged_model_is_an_error_that_names_it(saved, tmp_path):
  (tmp_path / "models").mkdir()
  content = bytearray((saved[0] / "models" / "mlp-0.npz").read_bytes())
  content[len(content) // 2] ^= 1
  (tmp_path / "models" / "a.npz").write_bytes(content)
  with pytest.raises(ValueError, match=r"a.npz cannot be read \("):
    training.load(tmp_path, "sm")(bright_rows().images)


def test_a_damaged_model_keeps_no_other_from_being_loaded(saved, tmp_path):
  (tmp_path / "models").mkdir()
  content = (saved[0] / "models" / "mlp-0.npz").read_bytes()
  (tmp_path / "models" / "a.npz").write_bytes(content[: len(content) // 2])
  with pytest.raises(ValueError, match=r"a.npz cannot be read \("):
    training.load(tmp_path, "sm")
  (tmp_path / "models" / "b.npz").write_bytes(content)
  training.load(tmp_path, "sm")
  with pytest.raises(ValueError, match=r"a.npz cannot be read \("):
    training.load(tmp_path, "sm", seed=9)
