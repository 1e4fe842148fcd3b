"""Localisation end to end: trained, judged and reported; bad input is refused."""

import PIL.Image
import pytest
from ml_collections import ConfigDict

from configs import localize_digits, localize_objects
from experiments import assembly, localize
from experiments.localization import material
from softmax_research.study import runner, workdir
from softmax_research.study.record import from_text


def _config(**changes):
  config = localize_digits.get_config()
  config.dataset, config.num_epochs, config.batch_size = "digits", 1, 16
  config.scenes.canvas, config.scenes.sizes, config.scenes.piece = 16, (6, 10), 3
  config.scenes.num_train, config.scenes.num_validation, config.scenes.num_test = 110, 20, 30
  config.backbone.stages, config.backbone.pool = ((4,), (8,)), (2, 2)
  config.update(changes)
  return config


def _run(directory, **changes):
  options = runner.Options(directory, "command", devices=assembly.device_options())
  options.devices.seed = 1
  assert runner.run(localize.STUDY, _config(**changes), options) == []
  return workdir.read(directory)


def test_a_study_is_trained_judged_and_reported(tmp_path):
  records = _run(tmp_path, seeds=2, heads="softmax")
  assert [record["seed"] for record in records] == [0, 1]
  for record in records:
    assert record["metrics"]["test"]["num_examples"] == 30
    for kind in ("CAM", "infoCAM", "infoCAM+"):
      found = record["measured"]["localisation"]["maps"][kind]["plain"]["chosen"]
      assert 1 >= found["known"][0] >= found["top_1"][0] >= 0
      assert len(found["thresholds"]) == len(found["known"]) == 3
    assert ("examples" in record["measured"]) == (record["seed"] == 0)
  example = records[0]["measured"]["examples"][0]
  assert from_text(example["image"]).shape == (16, 16)
  assert from_text(example["maps"][0]).max() == 255
  for name in ("thresholds", "examples_0"):
    assert (tmp_path / "figures" / f"{name}.svg").stat().st_size > 5000


def test_scenes_too_small_for_the_windows_are_refused_before_training():
  config = _config()
  config.backbone.pool = (4, 4)
  localize.STUDY.check(config)
  with pytest.raises(ValueError, match="images of 8 by 8, too small"):
    localize.prepare(config, [{"head": "softmax"}])


def _write_folder(folder, classes, in_train, boxes):
  """Write a tree as CUB-200-2011's, whose images are all the same."""
  (folder / "images").mkdir(parents=True)
  PIL.Image.new("RGB", (8, 8)).save(folder / "images" / "a.png")
  for name, rest in (
    ("images.txt", ["a.png"] * len(boxes)),
    ("image_class_labels.txt", classes),
    ("train_test_split.txt", in_train),
    ("bounding_boxes.txt", boxes),
  ):
    (folder / name).write_text("".join(f"{i} {text}\n" for i, text in enumerate(rest)))


def test_a_folder_is_split_for_training_validation_and_test(tmp_path):
  boxes = [f"{i % 4} 1 4 4" for i in range(24)]
  _write_folder(tmp_path / "birds", [1, 2] * 12, [1] * 20 + [0] * 4, boxes)
  config = localize_objects.get_config()
  config.folder, config.scenes.canvas = str(tmp_path / "birds"), 16
  material.check_config(config)
  made = material.make(config)
  assert [len(part.labels) for part in made[1:4]] == [18, 2, 4]
  assert sorted(made.validation.labels) == [0, 1]
  lefts = sorted(box[1] for part in made[1:4] for box in part.boxes.tolist())
  assert lefts == sorted(2.0 * (i % 4) for i in range(24))  # each image once, at twice the size
  assert made.num_classes == 2 and made.train.images.shape == (18, 16, 16, 3)


def test_a_box_outside_its_image_is_refused(tmp_path):
  folder = tmp_path / "birds"
  _write_folder(folder, [1, 2, 1], [1, 1, 0], ["1 1 4 4", "1 1 4 4", "5 1 6 4"])
  with pytest.raises(ValueError) as caught:
    _run(tmp_path / "run", folder=str(folder))
  assert "a.png is 8 pixels wide and 8 high, and its box is left 5, top 1, width 6" in str(
    caught.value
  )


@pytest.mark.parametrize(
  ("key", "value", "message"),
  [
    ("scenes", ConfigDict({"kind": "people"}), "scenes.kind='people'"),
    ("scenes.tile", 3, "scenes.tile too many or too few"),
    ("scenes.classes", (0, 10), "two or more different labels from 0 to 9"),
    ("scenes.num_test", 0, "scenes.num_test=0"),
    ("backbone.dense", (8,), "without class activation maps"),
    ("heads", "sofmax", "sofmax"),
  ],
)
def test_bad_configurations(key, value, message):
  config = localize_digits.get_config()
  node, _, last = key.rpartition(".")
  holder = config[node] if node else config
  with config.unlocked():
    holder[last] = value
  with pytest.raises(ValueError, match=message):
    material.check_config(config)


def test_the_configurations_are_good():
  for module in (localize_digits, localize_objects):
    material.check_config(module.get_config())
