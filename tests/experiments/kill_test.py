"""Nothing is lost: killed at random moments, a run ends with the bits of one left alone."""

import functools
import io
import json
import os
import random
import signal
import threading
import time

import numpy as np

from softmax_research import training
from tests.experiments.scripts import TINY, finish, start_script

_NUM_KILLS = 6
_RUN = (
  "--head=taylor:order=4",
  "--seed=3",
  "--formats=",
  *TINY,
  f"--config.num_epochs={2 * _NUM_KILLS + 2}",
  "--config.backbone.batch_norm=true",
  "--config.backbone.dropout=0.2",
)


def _train(workdir, num_kills=0):
  """Train, killed so often and then left alone; return the outcome, and how many saves were cut."""
  cut_saves = 0
  for number in range(num_kills + 1):
    saving = workdir.with_name(f"{workdir.name}-saving-{number}")
    before = _Killer(number, str(saving)) if number < num_kills else None
    done = finish(start_script("train", f"--workdir={workdir}", *_RUN, before=before))
    assert done.returncode == (-signal.SIGKILL if before else 0), done
    cut_saves += saving.exists()
  record = json.loads((workdir / "results.jsonl").read_text())
  del record["curves"]["seconds"]  # Everything that does not tell the time.
  return json.dumps({name: record[name] for name in ("status", "metrics", "curves")}), cut_saves


class _Killer:
  """Kills its process: some time after its start or that of training, or within its second save.

  At the latest it does so after that save. While a save goes on, there is a file of that name.
  """

  def __init__(self, number, saving):
    self._number, self._saving, self._saves = number, saving, 0

  def __call__(self):
    rng, kind = random.Random(self._number), self._number % 3
    fit, save = training.fit, training.Checkpoints.save
    if kind == 0:
      _kill_after(rng.uniform(0, 2))

    def fit_killed(*arguments, **options):
      if kind == 1:
        _kill_after(rng.uniform(0, 1))
      return fit(*arguments, **options)

    def save_killed(*arguments):
      self._saves += 1
      with open(self._saving, "w"):
        pass
      if kind == 2 and self._saves == 2:
        np.savez = functools.partial(_write_a_part, rng.random())
      save(*arguments)
      os.remove(self._saving)
      if self._saves == 2:
        os.kill(os.getpid(), signal.SIGKILL)

    training.fit, training.Checkpoints.save = fit_killed, save_killed


def _kill_after(seconds):
  def wait():
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)

  threading.Thread(target=wait, daemon=True).start()


def _write_a_part(share, file, savez=np.savez, **arrays):
  content = io.BytesIO()
  savez(content, **arrays)
  file.write(content.getvalue()[: int(share * content.tell())])
  file.flush()
  os.kill(os.getpid(), signal.SIGKILL)


def test_a_run_killed_at_random_moments_ends_with_the_same_bytes(tmp_path):
  outcome, cut_saves = _train(tmp_path / "run", _NUM_KILLS)
  assert cut_saves >= 2
  undisturbed, _ = _train(tmp_path / "undisturbed")
  assert outcome == undisturbed
