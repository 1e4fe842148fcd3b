"""Seeds: many in one program against one at a time, in each precision, as operations a second."""

import functools
from collections.abc import Iterator
from typing import Any

import jax

from experiments.benchmarks import training
from experiments.benchmarks.timing import OURS, Case, Options, Run, Side, measure

SEEDS = 16
_CNN = training.NETWORKS["cnn conv32-conv64-dense256 on 28x28"]
#: The shape of the images, how many make an epoch, the backbone and the batch.
NETWORK = (_CNN[0], 2_560, _CNN[2], training.BATCH)
#: Matrix products that stand for the peak: large and several, so that starting them costs nothing.
PRODUCT = {"size": 4096, "count": 4}
#: How products of float32 are rounded. In bfloat16 the backbone computes, and in float32 the loss.
_ROUNDING = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "highest"}


def cases() -> list[Case]:
  """Return a case a precision; the unit of work is a step of one run."""
  return [
    Case(f"{SEEDS} seeds, mnist cnn, {precision}", _sides(precision)) for precision in _ROUNDING
  ]


def rows(options: Options) -> Iterator[dict[str, Any]]:
  """Return the rows, which also hold the operations a second: `ours_tflops` and `peer_tflops`.

  Raises:
    ValueError: only TF32 is asked for, and this machine's devices do not have it.
  """
  chosen = [case for case in cases() if options.case in case.name]
  backend = jax.default_backend()
  if backend != "gpu":
    others = [case for case in chosen if not case.name.endswith("tf32")]
    if chosen and not others:
      raise ValueError(
        f"Got --case={options.case}; TF32 is a format of NVIDIA's GPUs, and the devices here are "
        f"{backend}. Pass --case=float32 or --case=bfloat16."
      )
    chosen = others
  return _with_rates(measure("seeds", chosen, options))


def _with_rates(measured: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
  operations = training.step_operations(*NETWORK)
  for row in measured:
    yield row | {f"{side}_tflops": operations / row[f"{side}_ms"] / 1e9 for side in (OURS, "peer")}


def _sides(precision: str) -> dict[str, Side]:
  shape, count, backbone, batch = NETWORK
  dtype = "bfloat16" if precision == "bfloat16" else "float32"
  network = (shape, count, backbone | {"dtype": dtype}, batch)
  together = functools.partial(training.together, *network, SEEDS)
  operations = training.step_operations(*network)
  sides = {
    OURS: together,
    "one seed after another": functools.partial(training.one_run, *network),
    "all in each operation": functools.partial(together, seeds_by="vmap"),
    "one after another in one program": functools.partial(together, seeds_by="map"),
    "matrix product": functools.partial(
      training.matrix_product, operations, **PRODUCT, dtype=dtype
    ),
  }
  rounding = _ROUNDING[precision]
  return {name: functools.partial(_rounded, rounding, side) for name, side in sides.items()}


def _rounded(rounding: str, side: Side) -> Run:
  jax.config.update("jax_default_matmul_precision", rounding)
  return side()
