"""Device report: every figure that is aimed at on an accelerator, beside the one reached."""

import functools
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments import assembly
from experiments.benchmarks import losses, training
from experiments.benchmarks.timing import Run, device_peak_mb, milliseconds
from softmax_research import functional
from softmax_research.training import environment

_TWO, _SIX, _THIRTEEN = "two convolutions", "six with batch norm", "thirteen with PReLU"
_LIU = {"stages": ((64,) * 5, (96,) * 4, (128,) * 4), "dense": (256,), "activation": "prelu"}
_BACKBONES = [backbone for _, _, backbone in training.NETWORKS.values()]
#: Of each net the shape of images, their number, the backbone and the batch.
_NETS = {
  _TWO: ((28, 28, 1), 12_800, _BACKBONES[1], 128),
  _SIX: ((32, 32, 3), 10_000, _BACKBONES[2], 100),
  _THIRTEEN: ((32, 32, 3), 12_800, {"name": "cnn", "batch_norm": "before"} | _LIU, 256),
}


class Sizes(NamedTuple):
  """Hold what is timed, by default on a GPU, and how long; tiny, it shows that it can be."""

  nets: dict[str, tuple[Any, ...]] = _NETS
  #: How many seeds, and how they train.
  forms: Sequence[tuple[int, str]] = ((1, "map"), (16, "vmap"), (1, "vmap"), (16, "map"))
  #: Examples, features and classes of a layer; examples and classes of dense losses.
  linear: tuple[int, int, int] = (8192, 2304, 256_000)
  dense: tuple[int, int] = (8192, 32_768)
  seconds: float = 0.2
  repeats: int = 5


_MLP = (4, 4, 1), 8, {"name": "mlp", "widths": (3,)}, 4
TINY = Sizes({"mlp": _MLP}, ((1, "map"), (2, "vmap")), (8, 4, 16), (8, 16), 0.0, 1)
_TYPES = ("float32", "bfloat16")
#: Milliseconds of a step of one seed; of thirteen convolutions 1.1 times a plain net's, in NHWC.
_STEPS = {(_TWO, 16, "vmap"): (0.07, 0.07), (_SIX, 16, "vmap"): (0.3, 0.3)}
_STEPS |= {(_THIRTEEN, 1, "map"): (1.1 * 4.7, 1.1 * 2.8)}
_LINE = "{:<56}{:>9} {:>13}{:>10}{:>10}{:>10}"
HEADING = _LINE.format("figure", "aimed at", "reached", "aim, GB", "temp., GB", "peak, GB")


def rows(sizes: Sizes) -> Iterator[dict[str, Any]]:
  """Yield a row for each figure as soon as it is taken.

  Of a row `aim` and `reached` are in its `unit`; `reached` is None where it failed, for the reason
  that stands in `failed`. `temporaries_gb` is what a compiled program allocates beside arguments
  and results, `peak_gb` the most that the process has held, where this figure raised it.
  """
  began = time.monotonic()
  # No figure is begun later, so that those of many programs leave time for the others.
  for take, minutes in ((_nets, 4.5), (_linear, 6), (_dense, 8)):
    for figure, unit, aim, temporaries_aim, measure in take(sizes):
      row = {"figure": figure, "unit": unit, "aim": aim, "temporaries_aim_gb": temporaries_aim}
      row |= {"reached": None, "temporaries_gb": None}
      before = device_peak_mb()
      try:
        if time.monotonic() - began > 60 * minutes:
          raise TimeoutError("no time was left")
        row["reached"], row["temporaries_gb"] = measure()
      except Exception as error:  # One figure's end is not that of the others.
        row["failed"] = f"{type(error).__name__}: {error}".splitlines()[0]
      row["peak_gb"] = peak / 1e3 if (peak := device_peak_mb()) > before else None
      yield row | {"device": environment.device(), "versions": environment.versions()}


def show(row: dict[str, Any]) -> str:
  """Return a row as a line of the table, below `HEADING`."""

  def number(value):
    return "-" if value is None else f"{value:.3g}"

  reached = row.get("failed") or f"{number(row['reached'])} {row['unit']}"
  memory = [number(row[name]) for name in ("temporaries_aim_gb", "temporaries_gb", "peak_gb")]
  return _LINE.format(row["figure"], number(row["aim"]), reached, *memory)


def _nets(sizes):
  """Yield the milliseconds of a step of one seed, by net, seeds, form and type."""
  for net, (shape, count, backbone, batch) in sizes.nets.items():
    for num_seeds, seeds_by in sizes.forms:
      if net == _THIRTEEN and num_seeds > 1:
        continue  # So wide a net fills the device with one seed.
      aims = _STEPS.get((net, num_seeds, seeds_by), (None, None))
      for dtype, aim in zip(_TYPES, aims, strict=True):
        options = assembly.device_options()
        options.seeds_by, options.seed, options.data = seeds_by, 1, 1
        network = shape, count, backbone | {"dtype": dtype}, batch
        form = "products" if seeds_by == "vmap" else "library"
        figure = f"{net}, {batch}, {num_seeds} by {seeds_by}, {form}, {dtype}"
        yield figure, "ms", aim, None, functools.partial(_step, network, num_seeds, options, sizes)


def _step(network, num_seeds, options, sizes):
  return _time(training.train_seeds(*network, num_seeds, options), sizes), None


def _linear(sizes):
  """Yield the times of the loss of a layer of very many classes, by that of the plain form."""
  examples, size, classes = sizes.linear
  inputs = (
    jax.random.normal(jax.random.key(0), (examples, size), jnp.bfloat16),
    jax.random.normal(jax.random.key(1), (size, classes), jnp.bfloat16) / size**0.5,
    jax.random.randint(jax.random.key(2), (examples,), 0, classes),
  )
  linear, known = functional.linear_cross_entropy, {}
  for form, loss, unit, *aims in (
    ("plain", lambda x, w, y: functional.cross_entropy(x @ w, y), "ms", None, None),
    ("default", linear, "x plain", 1.15, 2.6),
    ("lean", functools.partial(linear, block_size="lean"), "x plain", 1.6, 0.7),
  ):
    gradients = functools.partial(_gradients, loss, (0, 1))
    measure = functools.partial(_ratio, sizes, known, "plain", form, gradients, inputs)
    yield f"linear cross-entropy {list(sizes.linear)} bfloat16, {form}", unit, *aims, measure


def _dense(sizes):
  """Yield the times of losses of logits and their gradients, by that of a copy of the logits."""
  variants = {"cross-entropy": functional.cross_entropy} | losses.variants(sizes.dense[1])
  for dtype, aim in zip(_TYPES, (2.2, 2.6), strict=True):
    logits = 3 * jax.random.normal(jax.random.key(0), sizes.dense, dtype)
    labels = jax.random.randint(jax.random.key(1), sizes.dense[:1], 0, sizes.dense[1])
    ratio, name = functools.partial(_ratio, sizes, {}, "copy"), f"{list(sizes.dense)} {dtype}"
    measure = functools.partial(ratio, "copy", jnp.copy, (logits,))
    yield f"copy of the logits {name}", "ms", None, None, measure
    for variant, loss in variants.items():
      gradients = functools.partial(_gradients, loss, 0)
      measure = functools.partial(ratio, variant, gradients, (logits, labels))
      yield f"{variant} {name}", "x copy", aim, None, measure


def _gradients(loss, argnums, *inputs):
  return jax.value_and_grad(lambda *inputs: jnp.mean(loss(*inputs)), argnums)(*inputs)


def _ratio(sizes, known, unit, name, function, inputs):
  """Return the time of a function by that of the one that is the unit, and its temporaries."""
  compiled = jax.jit(function).lower(*inputs).compile()

  def run():
    # Several are under way at a time, so that starting them costs nothing beside short ones.
    for _ in range(4):
      result = compiled(*inputs)
    jax.block_until_ready(result)
    return 4

  known[name] = _time(run, sizes)
  temporaries = compiled.memory_analysis().temp_size_in_bytes / 1e9
  return known[name] / (1 if name == unit else known[unit]), temporaries


def _time(run: Run, sizes: Sizes) -> float:
  run()
  return statistics.median(milliseconds(run, sizes.seconds) for _ in range(sizes.repeats))
