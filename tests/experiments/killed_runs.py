"""Train in forked processes that are killed at random moments, and go on until one is not.

    python -m tests.experiments.killed_runs NUM_KILLS WORKDIR FLAGS_OF_TRAIN...

The parent has imported everything and touched no device, so that a child starts in a moment. A
child makes at most two checkpoints before it is killed. Prints the number of kills, and how many
of them fell into a save.
"""

import json
import mmap
import os
import random
import signal
import sys
import threading
import time
import traceback

import orbax.checkpoint  # noqa: F401  # Seconds that each child would take otherwise.

from experiments import train
from softmax_research import training

_SAVING = mmap.mmap(-1, 1)  # Shared with the children: whether one is saving.
_SECONDS_OF_SAVE = 0.02  # Well below the 0.2 s that a save takes, so that the kill falls into it.


def main(num_kills: int, workdir: str, flags: list[str]) -> None:
  """Kill as often as asked, then let the run end."""
  during_saves = 0
  for number in range(num_kills + 1):
    _SAVING[:] = b"\0"
    process = os.fork()
    if not process:
      _train([f"--workdir={workdir}", *flags], number if number < num_kills else None)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    expected = -signal.SIGKILL if number < num_kills else 0
    if status != expected:
      sys.exit(f"process {number} ended with status {status} instead of {expected}")
    during_saves += status != 0 and _SAVING[:] == b"\1"
  print(json.dumps({"kills": num_kills, "during_saves": during_saves}))


def _train(flags: list[str], number: int | None) -> None:
  if number is not None:
    _arm(random.Random(number), number)
  sys.argv = ["train", *flags]
  try:
    train.main()
  except SystemExit as exit:
    os._exit(exit.code or 0)
  except BaseException:
    traceback.print_exc()
  os._exit(1)


def _arm(rng: random.Random, number: int) -> None:
  """Have this process killed: from its start, from the start of training, or in a save."""
  if number % 3 == 0:
    _kill_after(rng.uniform(0, 4))
  start, save, saves = training.fit, training.Checkpoints.save, 0

  def fit(*arguments, **options):
    if number % 3 == 1:
      _kill_after(rng.uniform(0, 2))
    return start(*arguments, **options)

  def save_marked(*arguments):
    nonlocal saves
    saves += 1
    _SAVING[:] = b"\1"
    if number % 3 == 2 and saves == 2:
      _kill_after(rng.uniform(0, _SECONDS_OF_SAVE))
    save(*arguments)
    _SAVING[:] = b"\0"
    if saves == 2:
      _kill()

  training.fit, training.Checkpoints.save = fit, save_marked


def _kill_after(seconds: float) -> None:
  def wait():
    time.sleep(seconds)
    _kill()

  threading.Thread(target=wait, daemon=True).start()


def _kill() -> None:
  os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
  main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
