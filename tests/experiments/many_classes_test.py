"""Output layers of many classes at equal time: both tasks run, and bad input is refused."""

import json

import pytest
from ml_collections import ConfigDict

from configs import many_classes_images, many_classes_words
from experiments.many import instances, next_token
from tests.experiments.scripts import expect_error, run_script

_SHORT = (
  "--config.seconds=0.2",
  "--config.looks=2",
  "--config.batch_size=16",
  "--config.num_test=50",
  "--config.backbone.widths=(8,)",
)
_WORDS = ("--config=configs/many_classes_words.py", *_SHORT)
_IMAGES = ("--config=configs/many_classes_images.py", "--config.dataset=digits", *_SHORT)


def _records(workdir):
  return [json.loads(line) for line in (workdir / "results.jsonl").open()]


def test_next_token_prediction_on_a_file(tmp_path):
  text = tmp_path / "text"
  text.write_text("the cat and the dog saw a bird . " * 1500)
  heads = ["softmax", "huffman", "sampled:num_samples=3"]
  arguments = (
    f"--workdir={tmp_path}",
    f"--config.text={text}",
    f"--config.heads={','.join(heads)}",
  )
  run_script("many_classes", *_WORDS, *arguments, "--config.seeds=2")
  records = _records(tmp_path)
  assert [(r["seed"], r["head"]) for r in records] == [(s, h) for s in (0, 1) for h in heads]
  for record in records:
    assert record["dataset"]["num_classes"] == 8
    assert 1 <= record["metrics"]["test"]["perplexity"] < 100  # How far it gets, time decides.
    assert len(record["curves"]["seconds"]) == len(record["curves"]["perplexity"]) == 3
    assert record["curves"]["seconds"][-1] >= 0.2
  report = (tmp_path / "report.md").read_text()
  assert "difference from softmax, paired over seeds" in report
  assert (tmp_path / "figures" / "by_time.svg").exists()
  # What is finished is not made again.
  run_script("many_classes", *_WORDS, *arguments, "--config.seeds=2")
  assert len(_records(tmp_path)) == 6
  # Nor gone on with on another text, before any training.
  text.write_text("the cat and the dog saw a cat . " * 1500)
  message = expect_error("many_classes", *_WORDS, *arguments, "--config.seeds=3")
  assert "fingerprint" in message and "another --workdir" in message


def test_instance_discrimination(tmp_path):
  heads = "softmax:implementation=streaming,two_level"
  options = ("--config.num_images=300", "--config.rotations=2", "--config.num_reference=200")
  run_script(
    "many_classes", *_IMAGES, *options, f"--workdir={tmp_path}", f"--config.heads={heads}",
    "--config.seeds=1", "--config.augment=none", "--config.split=validation",
  )  # fmt: skip
  for record in _records(tmp_path):
    assert record["dataset"]["num_classes"] == record["dataset"]["num_train"] == 600
    # Chance is a tenth; the pixels alone tell many digits apart.
    assert record["metrics"]["test"]["accuracy"] > 0.3
    assert "data_dir" not in record["config"]
  assert "Validation accuracy: difference" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ((), "--config=configs/many_classes_words.py"),
    ((*_WORDS, "--config.text=nowhere"), "'pydoc' or 'stdlib'"),
    ((*_IMAGES, "--config.num_images=9", "--config.heads=adaptive"), "--config.imprint=0"),
  ],
)
def test_bad_configurations(tmp_path, arguments, message):
  assert message in expect_error("many_classes", f"--workdir={tmp_path}", *arguments)
  # The command put right can be run in the same directory.
  assert not (tmp_path / "config.json").exists()


def test_bad_options_of_the_tasks():
  config = many_classes_images.get_config()
  for key, value in (("rotations", 5), ("split", "train"), ("imprint", -1.0)):
    with pytest.raises(ValueError, match=f"{key}={value!r}"):
      instances.make(ConfigDict(config.to_dict() | {key: value}))
  config = many_classes_words.get_config()
  config.context = 0
  with pytest.raises(ValueError, match="context=0"):
    next_token.make(config)
