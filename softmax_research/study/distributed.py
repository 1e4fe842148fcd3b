"""Distributed: the same script in several processes, on one host or many, trains one experiment."""

import os
import sys
from collections.abc import Callable, Mapping

import jax
from absl import flags

from softmax_research.training import processes

# A process that has sent no sign of life for so long is taken for dead, and the others stop.
_HEARTBEAT_SECONDS = 30


def define_distributed() -> Callable[[], bool]:
  """Define `--distributed` and the flags that say how the processes find each other.

  Returns:
    A function that connects the processes if the flags say so, and says whether it did. Call it
    before JAX touches a device. It raises a ValueError where the processes cannot be connected.
    Of process 0 alone the standard output is kept.
  """
  on = flags.DEFINE_bool(
    "distributed", False, "Train in several processes, started with the same flags."
  )
  coordinator = flags.DEFINE_string(
    "coordinator", None, "HOST:PORT of process 0, which every process can reach."
  )
  num_processes = flags.DEFINE_integer("num_processes", None, "Processes in all.", lower_bound=1)
  process_id = flags.DEFINE_integer("process_id", None, "This process's number, from 0 on.")

  def connect() -> bool:
    details = {flag.name: flag.value for flag in (coordinator, num_processes, process_id)}
    check_details(on.value, details)
    if not on.value:
      return False
    try:
      jax.distributed.initialize(
        coordinator.value,
        num_processes.value,
        process_id.value,
        heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
      )
    except (ValueError, RuntimeError) as error:
      raise ValueError(
        f"Got --distributed, but the processes cannot be connected: {error} Pass --coordinator="
        "HOST:PORT --num_processes=N --process_id=I, the last one different in each process."
      ) from None
    if not processes.is_first():
      sys.stdout = open(os.devnull, "w")
    return True

  return connect


def check_details(on: bool, details: Mapping[str, str | int | None]) -> None:
  """Check the flags that say how the processes find each other.

  Args:
    on: whether there are several processes.
    details: `coordinator`, `num_processes` and `process_id`, None where not given.

  Raises:
    ValueError: they do not go together.
  """
  given = [f"--{name}={value}" for name, value in details.items() if value is not None]
  if not on and given:
    raise ValueError(f"Got {' '.join(given)} without --distributed. Pass both or neither.")
  if on and given and len(given) < len(details):
    raise ValueError(
      f"Got --distributed {' '.join(given)}; --coordinator, --num_processes and --process_id go "
      "together. Pass all of them, or none under SLURM, Open MPI or Kubernetes."
    )
  if on and given and not 0 <= details["process_id"] < details["num_processes"]:
    raise ValueError(
      f"Got --process_id={details['process_id']} --num_processes={details['num_processes']}; the "
      f"processes are numbered from 0 to {details['num_processes'] - 1}."
    )
