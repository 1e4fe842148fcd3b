"""Output layers of many classes at equal time: tasks run, bad input is refused, the report."""

import pytest
from ml_collections import ConfigDict

from configs import many_classes_images, many_classes_words
from experiments import many_classes
from experiments.many import tasks
from softmax_research import study
from softmax_research.study import runner, workdir
from tests.study.fake_records import make_record

_SHORT = {"seconds": 0.2, "looks": 2, "batch_size": 16, "num_test": 50}
_EQUAL = ConfigDict({"seconds": 2.0, "looks": 2})


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
  with pytest.raises(ValueError, match=r"(?s)text_digest: .*another --workdir"):
    _run(directory, config)
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
    (_config(many_classes_words, seconds=float("inf")), "seconds=inf"),
    (_config(many_classes_images, num_reference=0), "num_reference=0"),
    (_config(many_classes_images, num_images=-5), "num_images=-5"),
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
      tasks.instances(ConfigDict(config.to_dict() | {key: value}))
  config = many_classes_words.get_config()
  config.context = 0
  with pytest.raises(ValueError, match="context=0"):
    tasks.next_token(config)


def make_run(head, seed, perplexities, *, accuracy=(0.5, 0.5), measure="nll"):
  """Return a record; a perplexity of None stands for a label without probability."""
  nll = [None if p is None else p / 10 for p in perplexities]
  dataset = {"name": "a text", "num_classes": 9, "num_test": 50, "measure": measure}
  return make_record(
    head,
    seed,
    metrics={
      "test": {"nll": nll[-1], "perplexity": perplexities[-1], "accuracy": accuracy[-1]},
    },
    curves={
      "seconds": [float(i) for i in range(len(nll))],
      "steps": [10 * i for i in range(len(nll))],
      "nll": nll,
      "perplexity": perplexities,
      "accuracy": [accuracy[0]] * (len(nll) - 1) + [accuracy[1]],
    },
    measured={"dataset": dataset, "num_parameters": 100},
  )


def tables(records):
  """Return the tables of the report by their names, each with its rows' texts by their names."""
  return {
    block.name: {
      row.name: [" ".join(part for part in cell[:3] if part) for cell in row.cells]
      for row in block.rows
    }
    for block in many_classes.report(records, _EQUAL)
    if isinstance(block, study.Table)
  }


def texts(records):
  return "\n".join(
    block for block in many_classes.report(records, _EQUAL) if isinstance(block, str)
  )


@pytest.mark.parametrize("lost", [[None, None, None], [9.0, None, 7.0]])
def test_labels_without_probability_are_shown_as_such(lost):
  records = [make_run("softmax", seed, [8.0, 5.0, 4.0 + seed]) for seed in (0, 1)]
  records += [make_run("sparsemax", 0, [8.0, 6.0, None]), make_run("sparsemax", 1, lost)]
  found = tables(records)
  assert found["summary"]["softmax"][2:] == ["0.4500 ± 0.0707", "4.5 ± 0.7", "10", "100"]
  assert found["summary"]["sparsemax"][:4] == ["2", "50.00 ± 0.00", "∞ ± –", "– ± –"]
  assert found["differences_nll"]["sparsemax"][:4] == ["2", "–", "–", "–"]
  assert "probability 0" in texts(records)
  assert "probability 0" not in texts(records[:2])


def test_features_are_compared_with_those_before_training():
  records = [
    make_run("softmax", seed, [8.0, 5.0, 4.0], accuracy=pair, measure="accuracy")
    for seed, pair in enumerate([(0.5, 0.4), (0.6, 0.54), (0.7, 0.65)])
  ]
  # Differences of -10, -6 and -5 points: a standard error of 1.5275, and t = 4.3027.
  expected = ["3", "60.00 ± 10.00", "−7.00 [−13.57, −0.43]"]
  assert tables(records)["gains"]["softmax"][:3] == expected
  assert "gains" not in tables([make_run("softmax", 0, [8.0, 5.0])])


def test_where_every_run_of_a_head_diverged_its_row_is_empty():
  lost = make_record("sparsemax", 0, status="diverged", curves={"seconds": [0.0], "steps": [0]})
  found = tables([lost, make_run("softmax", 0, [8.0, 5.0])])
  assert found["summary"]["sparsemax"][0] == "0" and found["summary"]["softmax"][0] == "1"
