"""The training script: what SIGTERM does to it, and what it leaves and prints."""

import os
import sys
import time

import numpy as np
import PIL.Image
import pytest

from configs import digits
from experiments import train
from softmax_research import data
from softmax_research.study import workdir
from tests.experiments.scripts import TINY, expect_error, finish, run_script, start_script


def _hide_torch():
  """tensorboardX loads PyTorch where there is one, which takes longer than the run."""
  sys.modules["torch"] = None


def test_a_run_that_sigterm_stopped_goes_on_and_leaves_results_events_and_its_summary(tmp_path):
  pytest.importorskip("tensorboardX")
  run = (*TINY, "--config.num_epochs=30", "--head=sm:margin=0.5", "--seed=3", "--tensorboard")
  arguments = ("train", f"--workdir={tmp_path}", *run)
  process = start_script(*arguments, before=_hide_torch)
  deadline = time.monotonic() + 120
  while not list(tmp_path.glob("checkpoints/*/*.npz")) and time.monotonic() < deadline:
    time.sleep(0.02)
  asked = time.monotonic()
  process.terminate()
  done = finish(process)
  # A machine that is taken back gives so long.
  assert time.monotonic() - asked < 5
  assert done.returncode == 143 and "saved; the same command goes on" in done.stdout
  step = done.stdout.partition("Interrupted at step ")[2].split()[0]
  done = run_script(*arguments, before=_hide_torch)
  assert f"resuming at step {step}" in done.stdout and "test: {" in done.stdout

  (record,) = workdir.read(tmp_path)
  assert (record["cell"], record["seed"]) == ({"head": "sm:margin=0.5"}, 3)
  assert record["status"] == "finished" and len(record["curves"]["epoch"]) == 30
  assert not {"head", "seed", "tensorboard"} & set(record["config"])
  assert record["measured"]["devices"]["seeds_together"] == [3]
  events = b"".join(path.read_bytes() for path in (tmp_path / "events").iterdir())
  for name in (b"train_loss", b"validation_nll", b"test_accuracy"):
    assert name in events
  assert list(tmp_path.glob("checkpoints/*/*"))
  # Finished already, so only the report is made again.
  assert "test: {" not in run_script(*arguments).stdout
  _expect_predictions(tmp_path, record)


def _expect_predictions(directory, record):
  """What was trained predicts anew, in a process that knows nothing of the network."""
  images, labels = data.digits().test
  np.savez(directory / "digits.npz", images=images)
  run_script("predict", f"--workdir={directory}", "--head=sm:margin=0.5", "--seed=3",
             f"--images={directory / 'digits.npz'}")  # fmt: skip
  names, *rows = (directory / "predicted.csv").read_text().splitlines()
  assert names.startswith("image,class,probability,log p(0),log p(1)")
  found = np.array([row.split(",") for row in rows], float)
  assert np.mean(found[:, 1] == labels) == pytest.approx(record["metrics"]["test"]["accuracy"])
  nll = -found[np.arange(len(labels)), 3 + labels].mean()
  assert nll == pytest.approx(record["metrics"]["test"]["nll"], rel=1e-4)
  # A file's name may be no text, and the directory of --out not there yet.
  (directory / "photos").mkdir()
  PIL.Image.fromarray(images[0, :, :, 0]).save(os.fsencode(directory / "photos") + b"/\xff.png")
  out = directory / "new" / "predicted.csv"
  run_script("predict", f"--workdir={directory}", "--head=sm:margin=0.5", "--seed=3",
             f"--images={directory / 'photos'}", f"--out={out}")  # fmt: skip
  assert out.read_bytes().splitlines()[1].startswith(b"\xff.png,")


def test_the_configurations_first_head_is_trained_where_none_is_named():
  config = digits.get_config()
  config.heads = "taylor:order=4,sm"
  with config.unlocked():
    config.update(train.More()._asdict())
  assert train.choose(config).heads == "taylor:order=4"


def test_keys_of_the_configuration_that_would_do_nothing_are_refused(tmp_path, monkeypatch):
  workdir = f"--workdir={tmp_path / 'run'}"
  message = expect_error("train", workdir, "--config.heads=sm", "--head=taylor")
  assert "Got --config.heads=sm; a run here" in message and "--seed, or use exp" in message
  assert run_script("train", workdir, "--config.heads=sm", "--dry_run", *TINY)
  assert not (tmp_path / "run").exists()
  monkeypatch.setattr(train.flags, "FLAGS", {"config": None})
  for key, value in {"seeds": 3, "heads": "softmax,taylor"}.items():
    config = digits.get_config()
    config[key] = value
    with config.unlocked():
      config.update(train.More()._asdict())
    monkeypatch.setattr(train.config_flags, "get_override_values", lambda _, key=key: {key: None})
    with pytest.raises(ValueError, match=f"Got --config.{key}={value}; a run here"):
      train.choose(config)


@pytest.mark.parametrize("changes", [{"head": "softmax,taylor"}, {"backbone": "identity,mlp"}])
def test_what_is_more_than_one_run_is_refused(changes):
  config = digits.get_config()
  with config.unlocked(), config.ignore_type():
    for key, value in (train.More()._asdict() | changes).items():
      config[key] = value
  with pytest.raises(ValueError, match=r"experiments\.compare"):
    train.check(train.choose(config))
