"""Output layers of many classes at equal time: both tasks run, and bad input is refused."""

import pytest
from ml_collections import ConfigDict

from configs import many_classes_images, many_classes_words
from experiments import many_classes
from experiments.many import instances, next_token
from softmax_research.study import runner, workdir

_SHORT = {"seconds": 0.2, "looks": 2, "batch_size": 16, "num_test": 50}


def _config(of, **changes):
  config = ConfigDict(of.get_config().to_dict() | _SHORT | changes)
  config.backbone.widths = (8,)
  return config


def _run(directory, config):
  many_classes.check(config)
  assert runner.run(many_classes.STUDY, config, runner.Options(directory)) == []
  return workdir.read(directory)


def test_next_token_prediction_on_a_file(tmp_path, capsys):
  text = tmp_path / "text"
  text.write_text("the cat and the dog saw a bird . " * 1500)
  heads = ["huffman", "sampled:num_samples=3"]
  config = _config(many_classes_words, text=str(text), heads=",".join(heads), seeds=2)
  directory = tmp_path / "run"
  records = _run(directory, config)
  assert [(r["seed"], r["cell"]["head"]) for r in records] == [
    (s, h) for s in (0, 1) for h in heads
  ]
  for record in records:
    assert record["measured"]["dataset"]["num_classes"] == 8
    assert 1 <= record["metrics"]["test"]["perplexity"] < 100  # How far it gets, time decides.
    assert len(record["curves"]["seconds"]) == len(record["curves"]["perplexity"]) == 3
    assert record["curves"]["seconds"][-1] >= 0.2
  report = (directory / "report.md").read_text()
  assert "difference from huffman, paired over seeds" in report
  assert (directory / "figures" / "by_time.svg").exists()
  # Results of another text are not gone on with, before any training.
  text.write_text("the cat and the dog saw a cat . " * 1500)
  config.seeds = 3
  with pytest.raises(SystemExit):
    _run(directory, config)
  message = capsys.readouterr().err
  assert "fingerprint" in message and "another --workdir" in message
  assert len(workdir.read(directory)) == 4


def test_instance_discrimination(tmp_path):
  heads = "softmax:implementation=streaming,two_level"
  config = _config(
    many_classes_images, dataset="digits", heads=heads, num_images=300, rotations=2, seeds=1,
    num_reference=200, augment="none", split="validation",
  )  # fmt: skip
  for record in _run(tmp_path, config):
    dataset = record["measured"]["dataset"]
    assert dataset["num_classes"] == dataset["num_train"] == 600
    # Chance is a tenth; the pixels alone tell many digits apart.
    assert record["metrics"]["test"]["accuracy"] > 0.3
    assert "data_dir" not in record["config"]
  assert "Validation accuracy: difference" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
  ("config", "message"),
  [
    (ConfigDict({"heads": "softmax"}), "--config=configs/many_classes_words.py"),
    (_config(many_classes_words, mine=1), "has mine too many or too few; its keys are backbone"),
    (_config(many_classes_words, looks=0), "looks=0; it must be an integer of at least 1"),
    (_config(many_classes_words, text="nowhere"), "'pydoc' or 'stdlib'"),
    (
      _config(many_classes_images, dataset="digits", num_images=9, heads="adaptive"),
      "--config.imprint=0",
    ),
  ],
)
def test_bad_configurations(config, message):
  with pytest.raises(ValueError, match=message):
    many_classes.check(config)
    many_classes.prepare(config, many_classes.cells(config))


def test_bad_options_of_the_tasks():
  config = many_classes_images.get_config()
  for key, value in (("rotations", 5), ("split", "train"), ("imprint", -1.0)):
    with pytest.raises(ValueError, match=f"{key}={value!r}"):
      instances.make(ConfigDict(config.to_dict() | {key: value}))
  config = many_classes_words.get_config()
  config.context = 0
  with pytest.raises(ValueError, match="context=0"):
    next_token.make(config)
