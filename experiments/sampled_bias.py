"""Measure how far sampled softmax is from softmax: bias of loss and gradient by number of samples.

    python -m experiments.sampled_bias --workdir=runs/sampled_bias

One layer with labels by Zipf's law and logits that know their frequencies, as a layer in training
has them. Each estimate is made --draws times with fresh samples. Writes results.jsonl, report.md
and figures/; the report says what the columns are.
"""

import functools
import pathlib
import shlex
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import command, runs
from softmax_research import functional
from softmax_research.reporting import line_plot, note, tables
from softmax_research.training import results

_WORKDIR = command.define_workdir()
_CLASSES = flags.DEFINE_integer("classes", 10_000, "Number of classes.", lower_bound=2)
_EXAMPLES = flags.DEFINE_integer("examples", 64, "Examples in the batch.", lower_bound=1)
_FEATURES = flags.DEFINE_integer("features", 32, "Number of features.", lower_bound=1)
_SAMPLES = flags.DEFINE_list("samples", "16,64,256,1024,4096", "Numbers of sampled classes.")
_DRAWS = flags.DEFINE_integer("draws", 400, "Samples drawn for each estimate.", lower_bound=2)
_SEED = flags.DEFINE_integer("seed", 0, "Seed.")

_PANELS = (("loss", "Bias of the loss, nats"), ("gradient", "Bias of the gradient, relative"))


class Problem(NamedTuple):
  """Hold a layer and a batch."""

  features: jax.Array
  kernel: jax.Array
  bias: jax.Array
  labels: jax.Array


def make_problem(seed: int, examples: int, size: int, classes: int) -> Problem:
  """Draw a layer whose logits spread by 1.5 beside the logarithm of the class's frequency.

  Example:
    >>> make_problem(0, 4, 3, 5).kernel.shape
    (3, 5)
  """
  rng = np.random.default_rng(seed)
  frequencies = 1 / np.arange(1, classes + 1)
  frequencies /= frequencies.sum()
  return Problem(
    jnp.asarray(rng.standard_normal((examples, size), np.float32)),
    jnp.asarray(rng.normal(0, 1.5 / size**0.5, (size, classes)).astype(np.float32)),
    jnp.asarray(np.log(frequencies), jnp.float32),
    jnp.asarray(rng.choice(classes, examples, p=frequencies), jnp.int32),
  )


def samplers(classes: int) -> dict[str, functional.Sampler]:
  """Return the samplers by name; frequency is that of the labels, without replacement."""
  frequencies = 1 / np.arange(1, classes + 1)
  return {
    "uniform": functional.uniform_sampler(classes),
    "log-uniform": functional.log_uniform_sampler(classes),
    "frequency": functional.weighted_sampler(frequencies),
    "frequency, with replacement": functional.weighted_sampler(frequencies, replacement=True),
  }


def measure(problem: Problem, draws: int, seed: int, sizes: list[int]) -> Iterator[dict[str, Any]]:
  """Yield a record for each sampler, correction of the label's score and number of samples."""

  def full(kernel):
    logits = problem.features @ kernel + problem.bias
    return jnp.mean(functional.cross_entropy(logits, problem.labels))

  truth = jax.jit(jax.value_and_grad(full))(problem.kernel)
  for name, sampler in samplers(len(problem.bias)).items():
    for correct in (True, False):
      for size in sizes:
        if size > len(problem.bias) and "with replacement" not in name:
          continue
        found = _bias(problem, sampler, correct, size, draws, jax.random.key(seed), truth)
        yield {
          "kind": "bias",
          "sampler": name,
          "correct_label": correct,
          "num_samples": size,
          "draws": draws,
          "full_loss": float(truth[0]),
        } | {key: float(value) for key, value in found.items()}


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4))
def _bias(problem, sampler, correct, size, draws, key, truth) -> dict[str, jax.Array]:
  """Compare the mean over draws with the truth, and its error with what chance makes of it."""

  def loss(kernel, key):
    losses = functional.sampled_softmax_loss(
      problem.features,
      kernel,
      problem.labels,
      bias=problem.bias,
      key=key,
      num_samples=size,
      sampler=sampler,
      correct_label=correct,
    )
    return jnp.mean(losses)

  def add(sums, key):
    value, gradient = jax.value_and_grad(loss)(problem.kernel, key)
    # Differences from the truth, because sums of squares of the whole would cancel.
    error = value - truth[0], gradient - truth[1]
    squares = jax.tree.map(jnp.square, error)
    return jax.tree.map(jnp.add, sums, (error, squares)), None

  start = jax.tree.map(jnp.zeros_like, (truth, truth))
  sums, _ = jax.lax.scan(add, start, jax.random.split(key, draws))
  (mean, gradient_mean), (square, gradient_square) = jax.tree.map(lambda x: x / draws, sums)
  variance = jnp.sum(gradient_square - gradient_mean**2) / (draws - 1)
  norm = jnp.sqrt(jnp.sum(truth[1] ** 2))
  return {
    "loss_bias": mean,
    "loss_error": jnp.sqrt((square - mean**2) / (draws - 1)),
    # The mean's squared length exceeds the bias's by the variance of the mean.
    "gradient_bias": jnp.sqrt(jnp.maximum(jnp.sum(gradient_mean**2) - variance, 0)) / norm,
    "gradient_noise": jnp.sqrt(variance * draws) / norm,
  }


def series(records: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
  """Group records into lines of the plot, in the order of the records."""
  lines: dict[str, list[dict[str, Any]]] = {}
  for record in records:
    name = record["sampler"] + ("" if record["correct_label"] else ", label uncorrected")
    lines.setdefault(name, []).append(record)
  return lines


def write_report(workdir: pathlib.Path, records: list[dict[str, Any]], facts: dict) -> pathlib.Path:
  """Write the report of the records."""
  lines = series(records)
  rows = [
    tables.Row(
      name,
      (
        tables.Cell(str(record["num_samples"])),
        tables.Cell(f"{record['loss_bias']:+.4f}", f"± {record['loss_error']:.4f}"),
        tables.Cell(f"{record['gradient_bias']:.4f}"),
        tables.Cell(f"{record['gradient_noise']:.3f}"),
      ),
    )
    for name, group in lines.items()
    for record in group
  ]
  columns = ("samples", "loss bias, nats", "gradient bias", "gradient noise")
  panels = [
    line_plot.Panel(
      title,
      "sampled classes",
      [
        line_plot.Line(
          name,
          [record["num_samples"] for record in group],
          [max(abs(record[f"{key}_bias"]), 1e-6) for record in group],
        )
        for name, group in lines.items()
      ],
      ("log", "log"),
    )
    for key, title in _PANELS
  ]
  caption = (
    "Absolute values. Below the error of the mean, in the table, a point is chance: unbiased "
    "estimates fall without end as the draws grow."
  )
  return note.write_note(
    workdir,
    title="Bias of sampled softmax",
    blocks=[
      f"The full loss is {records[0]['full_loss']:.4f} nats. Loss bias: mean over "
      f"{records[0]['draws']} draws minus the full loss, ± its standard error. Gradient bias: "
      "length of the mean gradient's error in the kernel, corrected for chance, over the length of "
      "the full gradient. Gradient noise: the spread of one draw's gradient over that length.",
      note.make_plot("bias", "Bias by number of samples", caption, line_plot.line_plot(panels)),
      tables.Table(columns, tuple(rows), name_column="sampler"),
    ],
    facts=facts,
  )


def main() -> None:
  """Measure and report."""
  with command.errors_explained():
    if not _SAMPLES.value or not all(s.isdecimal() and int(s) for s in _SAMPLES.value):
      raise ValueError(
        f"Got --samples={','.join(_SAMPLES.value)}; they must be integers of at least 1."
      )
    sizes = [int(size) for size in _SAMPLES.value]
    workdir = command.prepare_workdir(_WORKDIR.value)
    path = workdir / "results.jsonl"
    if path.exists():
      raise ValueError(f"There are results in {workdir} already; give another --workdir.")
  problem = make_problem(_SEED.value, _EXAMPLES.value, _FEATURES.value, _CLASSES.value)
  made_with = runs.provenance()
  for record in measure(problem, _DRAWS.value, _SEED.value, sizes):
    results.append(path, record | made_with)
  facts = {
    "command": "`" + shlex.join(["python", "-m", "experiments.sampled_bias", *sys.argv[1:]]) + "`",
    "layer": f"{_EXAMPLES.value} examples, {_FEATURES.value} features, {_CLASSES.value} classes",
  }
  report = write_report(workdir, results.read(path), facts | made_with)
  print(f"Report: {report}")


if __name__ == "__main__":
  command.run(main)
