"""Nothing is lost: killed at random moments, a run ends with the bits of one left alone."""

import json
import os
import subprocess
import sys

import pytest

from tests.experiments.scripts import REPOSITORY, TINY

_NUM_KILLS = 12
_RUN = (
  "--head=taylor:order=4",
  "--seed=3",
  *TINY,
  f"--config.num_epochs={2 * _NUM_KILLS + 2}",
  "--config.backbone.batch_norm=true",
  "--config.backbone.dropout=0.2",
)


@pytest.fixture(name="train", scope="module")
def _train(tmp_path_factory):
  """Trains with so many kills; returns what the run left, and of the kills their numbers."""

  def train(num_kills):
    workdir = tmp_path_factory.mktemp("run")
    done = subprocess.run(
      [
        *(sys.executable, "-m", "tests.experiments.killed_runs"),
        *(str(num_kills), str(workdir), *_RUN),
      ],
      cwd=REPOSITORY,
      env=os.environ | {"JAX_PLATFORMS": "cpu"},
      capture_output=True,
      text=True,
      check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return _outcome(workdir), json.loads(done.stdout.splitlines()[-1])

  return train


@pytest.fixture(name="undisturbed", scope="module")
def _undisturbed(train):
  return train(0)[0]


def _outcome(workdir):
  """Everything that does not tell the time."""
  record = json.loads((workdir / "results.jsonl").read_text())
  del record["curves"]["seconds"]
  return json.dumps({name: record[name] for name in ("status", "metrics", "curves")})


def test_the_same_command_gives_the_same_bytes(train, undisturbed):
  assert train(0)[0] == undisturbed


def test_a_run_killed_at_random_moments_ends_with_the_same_bytes(train, undisturbed):
  outcome, kills = train(_NUM_KILLS)
  assert kills["kills"] >= 10 and kills["during_saves"] >= 2
  assert outcome == undisturbed
