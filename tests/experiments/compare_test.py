"""The comparison: results, reruns, ensembles and bad input, in one process."""

import json
import shutil

import numpy as np
import pytest

from configs import digits
from experiments import assembly, classifiers, compare
from softmax_research import training
from softmax_research.study import record, runner, workdir
from tests.experiments.scripts import TINY, run_script

_HEADS = ("softmax", "sm_taylor:order=4:margin=0.5")


def _config(**changes):
  config = digits.get_config()
  config.heads, config.seeds, config.num_epochs, config.batch_size = ",".join(_HEADS), 2, 2, 128
  config.backbone.widths = (8,)
  with config.ignore_type():
    for key, value in changes.items():
      config[key] = value
  return config


def _run(directory, *, formats=(), **changes):
  options = runner.Options(
    directory, "python compare", formats=formats, devices=assembly.device_options()
  )
  config = _config(**changes)
  failed = runner.run(compare.STUDY, config, options)
  assert failed == []
  return workdir.read(directory)


def _seeds(records):
  return [(r["cell"]["head"], r["seed"]) for r in records if "ensemble" not in r["cell"]]


@pytest.fixture(name="finished", scope="module")
def _finished(tmp_path_factory):
  """A working directory in which two heads with two seeds are finished."""
  directory = tmp_path_factory.mktemp("compare")
  _run(directory, formats=("md", "html"), keep_models=True)
  return directory


def test_every_seed_and_ensemble_is_recorded_with_its_circumstances(finished):
  records = workdir.read(finished)
  assert _seeds(records) == [(head, seed) for head in _HEADS for seed in (0, 1)]
  ensembles = [r["cell"] for r in records if "ensemble" in r["cell"]]
  assert ensembles == [{"head": head, "ensemble": [0, 1]} for head in _HEADS]
  for one in records:
    assert one["metrics"]["test"]["num_examples"] == 360
    assert one["config"]["num_epochs"] == 2 and "heads" not in one["config"]
  first = records[0]
  assert first["measured"]["dataset"]["num_classes"] == 10
  assert first["measured"]["num_parameters"] == 64 * 8 + 8 + 8 * 10 + 10
  assert first["measured"]["devices"]["seeds_together"] == [0, 1]
  assert len(first["curves"]["train_loss"]) == 2 and first["command"] == "python compare"


def test_an_ensemble_is_the_mean_of_probabilities(finished):
  probs = []
  for seed in (0, 1):
    path = classifiers.prediction_path(finished, {"head": "softmax"}, seed)
    with np.load(path) as file:
      probs.append(np.exp(file["test"].astype(np.float64)))
  ensemble = next(r for r in workdir.read(finished) if "ensemble" in r["cell"])
  mean = np.mean(probs, axis=0)
  confusion = np.array(ensemble["metrics"]["test"]["confusion"])
  np.testing.assert_array_equal(confusion.sum(0), np.bincount(mean.argmax(1), minlength=10))
  worst = ensemble["measured"]["worst"][0]
  assert worst["probability"] == pytest.approx(mean[worst["index"], worst["label"]], rel=1e-5)
  assert worst["png"]


def test_models_that_are_kept_predict_as_the_run_did(finished):
  splits = assembly.load_splits(_config())
  for head, seed in zip(_HEADS, (0, 1), strict=True):
    model = training.load(finished, head, seed)
    path = classifiers.prediction_path(finished, {"head": head}, seed)
    wanted = classifiers.load_predictions(path, splits).test
    np.testing.assert_allclose(model(splits.test.images), wanted, atol=1e-5)
    assert model.about["dataset"] == splits.describe()


def test_a_report_is_left(finished):
  page = (finished / "report.html").read_text()
  assert "sm_taylor:order=4:margin=0.5" in page
  text = (finished / "report.md").read_text()
  assert text.startswith("# 2 softmax heads on digits\n") and "↳ ensemble of 2" in text
  for name in ("paired_differences", "learning_curves", "reliability", "confusion", "worst_images"):
    assert f"(figures/{name}.svg)" in text and (finished / f"figures/{name}.svg").is_file()


@pytest.mark.parametrize("shape", [(1, 5, 1), (5, 1, 3), (2, 3, 4), (2, 2, 5), (7,)])
def test_images_of_any_shape_have_a_picture_or_none(shape):
  image = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
  text = compare._png(image)
  if text is None:
    assert len(shape) < 3 or shape[2] == 5
  else:
    np.testing.assert_array_equal(record.from_text(text).reshape(shape), image)
  assert compare._png(image.astype(np.float32)) is None


def test_a_rerun_makes_only_what_is_missing(finished, tmp_path):
  directory = tmp_path / "copy"
  shutil.copytree(finished, directory)
  before = workdir.read(directory)
  assert _run(directory) == before
  added = _run(directory, seeds=3)[len(before) :]
  assert [(r["cell"]["head"], r["seed"]) for r in added] == [
    *((head, 2) for head in _HEADS),
    *((head, None) for head in _HEADS),
  ]


def test_a_cut_last_line_repeats_that_seed_alone_with_the_same_numbers(finished, tmp_path):
  directory = tmp_path / "copy"
  shutil.copytree(finished, directory)
  lines = (directory / "results.jsonl").read_bytes().splitlines(keepends=True)
  (directory / "results.jsonl").write_bytes(b"".join(lines[:3]) + lines[3][:100])
  with pytest.warns(UserWarning, match="incomplete"):
    records = _run(directory)
  assert records[3]["metrics"] == json.loads(lines[3])["metrics"]
  assert len(_seeds(records)) == 4


@pytest.mark.parametrize("damage", ["missing", "cut", "swapped"])
def test_damaged_predictions_cost_the_ensemble_alone(finished, tmp_path, capsys, damage):
  directory = tmp_path / "copy"
  shutil.copytree(finished, directory)
  kept = [r for r in workdir.read(directory) if "ensemble" not in r["cell"]]
  (directory / "results.jsonl").write_text("".join(json.dumps(r) + "\n" for r in kept))
  path = classifiers.prediction_path(directory, {"head": "softmax"}, 0)
  if damage == "missing":
    path.unlink()
  elif damage == "cut":
    path.write_bytes(path.read_bytes()[:100])
  else:
    np.savez(path, validation=np.zeros((3, 10)), test=np.zeros((3, 10)))
  records = _run(directory)
  assert [r["cell"]["head"] for r in records if "ensemble" in r["cell"]] == [_HEADS[1]]
  assert "softmax: no ensemble, because" in capsys.readouterr().out


def test_networks_and_optimisers_are_rows_too(tmp_path):
  records = _run(
    tmp_path,
    formats=("md",),
    heads="softmax",
    backbone="identity,mlp:widths=(8,):activation=tanh",
    optimizer="adam:learning_rate=0.001,sgd:learning_rate=0.1",
    seeds=1,
    num_epochs=1,
  )
  assert [(r["cell"]["backbone"], r["cell"]["optimizer"]) for r in records] == [
    (backbone, optimizer)
    for backbone in ("identity", "mlp:widths=(8,):activation=tanh")
    for optimizer in ("adam:learning_rate=0.001", "sgd:learning_rate=0.1")
  ]
  assert len({r["metrics"]["test"]["nll"] for r in records}) == 4
  table = (tmp_path / "report.md").read_text()
  assert "identity / sgd:learning_rate=0.1" in table


def test_models_that_were_not_kept_are_told_of(finished, tmp_path, capsys):
  _run(finished, keep_models=True)
  assert "no models" not in capsys.readouterr().out
  shutil.copy(finished / "results.jsonl", tmp_path)
  _run(tmp_path, keep_models=True)
  assert "softmax: no models of the seeds 0, 1, which were trained" in capsys.readouterr().out


def test_a_changed_configuration_is_refused_and_named(finished):
  with pytest.raises(ValueError, match="batch_size: 128 -> 64"):
    _run(finished, batch_size=64)


@pytest.mark.parametrize("of", ["distributions", "some"])
def test_labels_of_an_ensemble_may_be_distributions_or_missing(tmp_path, of):
  rng = np.random.default_rng(0)
  arrays = {"images": rng.normal(size=(90, 4)), "labels": np.arange(90) // 3 % 3}
  if of == "some":
    arrays |= {"labels": np.where(np.arange(90) % 3, arrays["labels"], -1), "ignore_label": -1}
  else:
    arrays["labels"] = 0.8 * np.eye(3)[arrays["labels"]] + 0.2 / 3
  np.savez(tmp_path / "own.npz", **arrays)
  own = {"dataset": str(tmp_path / "own.npz"), "heads": "softmax", "num_epochs": 1}
  *_, ensemble = _run(tmp_path / "run", **own, backbone="identity", batch_size=16)
  assert {of["label"] for of in ensemble["measured"]["worst"]} == {0, 1, 2}


@pytest.mark.parametrize(
  ("changes", "expected"),
  [
    ({"heads": "softmax,taylr"}, ["taylr", "sm_taylor", "taylor"]),
    ({"backbone": "mlp:width=3"}, ["width", "widths"]),
    ({"backbone": "mpl"}, ["mpl", "mlp"]),
    ({"optimizer": "adm:learning_rate=0.1"}, ["adm", "adam"]),
    ({"heads": "softmax,softmax"}, ["softmax", "twice"]),
    ({"backbone": ""}, ["no networks", "as mlp:widths"]),
    ({"optimizer": ""}, ["no optimizers", "as adam:learning_rate"]),
  ],
)
def test_bad_input_is_refused_with_what_exists(tmp_path, changes, expected):
  with pytest.raises(ValueError) as caught:
    _run(tmp_path / "run", **changes)
  for part in expected:
    assert part in str(caught.value)
  assert not (tmp_path / "run").exists()


def test_a_diverged_seed_is_recorded_and_the_others_go_on(tmp_path):
  records = _run(tmp_path, formats=("md",), heads="softmax", optimizer="sgd:learning_rate=1e30")
  assert [r["status"] for r in records] == ["diverged", "diverged"]
  assert records[0]["metrics"] == {} and records[0]["measured"]["diverged"]["step"] >= 1
  assert "diverged" in (tmp_path / "report.md").read_text()


def test_the_script_runs_as_users_run_it(tmp_path):
  arguments = ("--config.heads=softmax", "--config.seeds=1", *TINY)
  done = run_script("compare", f"--workdir={tmp_path / 'run'}", *arguments)
  assert "[1/1] softmax, seed 0: accuracy" in done.stdout
  assert str(tmp_path / "run" / "report.html") in done.stdout
