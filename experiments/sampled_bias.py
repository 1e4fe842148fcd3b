"""How far is sampled softmax from softmax: bias of loss and gradient by number of samples.

    python -m experiments.sampled_bias --workdir=runs/sampled_bias

One layer with labels by Zipf's law and logits that know their frequencies, as a layer in training
has them. Each estimate is made --draws times with fresh samples.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research import functional, study
from softmax_research.study.blocks import table_of


class Settings(NamedTuple):
  """Hold the study's settings.

  Attributes:
    classes: number of classes.
    examples: number of examples in the batch.
    features: number of features.
    samples: numbers of sampled classes.
    draws: samples drawn for each estimate.
    seed: seed of the layer, the batch and the draws.
  """

  classes: int = 10_000
  examples: int = 64
  features: int = 32
  samples: tuple[int, ...] = (16, 64, 256, 1024, 4096)
  draws: int = 400
  seed: int = 0


def samplers(classes: int) -> dict[str, functional.Sampler]:
  """Return the samplers by name; frequency is that of the labels, without replacement."""
  frequencies = _frequencies(classes)
  with_replacement = functional.weighted_sampler(frequencies, replacement=True)
  return {
    "uniform": functional.uniform_sampler(classes),
    "log-uniform": functional.log_uniform_sampler(classes),
    "frequency": functional.weighted_sampler(frequencies),
    "frequency, with replacement": with_replacement,
  }


def _frequencies(classes: int) -> np.ndarray:
  weights = 1 / np.arange(1, classes + 1)
  return weights / weights.sum()


def cells(settings: Settings) -> list[dict[str, Any]]:
  """Return the cells: a sampler, whether the label's score is corrected, a number of samples."""
  return [
    {"sampler": sampler, "correct_label": correct, "num_samples": size}
    for sampler in samplers(settings.classes)
    for correct in (True, False)
    for size in settings.samples
    if size <= settings.classes or "with replacement" in sampler
  ]


def prepare(settings: Settings, cells: Sequence[dict[str, Any]]) -> tuple[dict, Any]:
  """Draw a layer and a batch, whose logits spread by 1.5 beside the log-frequency of the class.

  Returns:
    What a loss takes by name, and the full loss with its gradient in the kernel.
  """
  rng, frequencies = np.random.default_rng(settings.seed), _frequencies(settings.classes)
  shape = settings.features, settings.classes
  layer = {
    "features": rng.standard_normal((settings.examples, settings.features), np.float32),
    "kernel": rng.normal(0, 1.5 / settings.features**0.5, shape).astype(np.float32),
    "bias": np.log(frequencies).astype(np.float32),
    "labels": rng.choice(settings.classes, settings.examples, p=frequencies).astype(np.int32),
  }
  layer = jax.device_put(layer)

  def loss(kernel):
    return jnp.mean(functional.linear_cross_entropy(**layer | {"kernel": kernel}))

  return layer, jax.jit(jax.value_and_grad(loss))(layer["kernel"])


def run(cell: dict[str, Any], context: study.Context) -> Iterator[dict[str, Any]]:
  (layer, truth), settings = context.prepared, context.settings
  options = cell | {"sampler": samplers(settings.classes)[cell["sampler"]]}

  def loss(kernel, key):
    layer_with = layer | {"kernel": kernel, "key": key}
    return jnp.mean(functional.sampled_softmax_loss(**layer_with, **options))

  keys = jax.random.split(jax.random.key(settings.seed), settings.draws)
  found = jax.jit(functools.partial(_bias, loss))(layer["kernel"], truth, keys)
  measured = {name: float(value) for name, value in found.items()} | {"full_loss": float(truth[0])}
  yield context.record(settings.seed, measured=measured)


def _bias(loss, kernel, truth, keys) -> dict[str, jax.Array]:
  """Compare the mean over draws with the truth, and its error with what chance makes of it."""

  def add(sums, key):
    # Differences from the truth, because sums of squares of the whole would cancel.
    error = jax.tree.map(jnp.subtract, jax.value_and_grad(loss)(kernel, key), truth)
    return jax.tree.map(jnp.add, sums, (error, jax.tree.map(jnp.square, error))), None

  draws, start = len(keys), jax.tree.map(jnp.zeros_like, (truth, truth))
  sums, _ = jax.lax.scan(add, start, keys)
  (mean, gradient_mean), (square, gradient_square) = jax.tree.map(lambda x: x / draws, sums)
  # Where all draws are the same, rounding may leave less than nothing.
  variance = jnp.maximum(jnp.sum(gradient_square - gradient_mean**2), 0) / (draws - 1)
  norm = jnp.sqrt(jnp.sum(truth[1] ** 2))
  return {
    "loss_bias": mean,
    "loss_error": jnp.sqrt(jnp.maximum(square - mean**2, 0) / (draws - 1)),
    # The mean's squared length exceeds the bias's by the variance of the mean.
    "gradient_bias": jnp.sqrt(jnp.maximum(jnp.sum(gradient_mean**2) - variance, 0)) / norm,
    "gradient_noise": jnp.sqrt(variance * draws) / norm,
  }


def report(records: Sequence[dict[str, Any]], settings: Settings) -> Iterator[study.Block]:
  yield "# Bias of sampled softmax"
  records = [record for record in records if record["status"] == "finished"]
  full_loss = records[0]["measured"]["full_loss"]
  yield (
    f"The full loss is {full_loss:.4f} nats. Loss bias: mean over "
    f"{settings.draws} draws minus the full loss, ± its standard error. Gradient bias: length of "
    "the mean gradient's error in the kernel, corrected for chance, over the length of the full "
    "gradient. Gradient noise: the spread of one draw's gradient over that length."
  )
  yield study.plot(
    [record | {"measured": _sizes(record["measured"])} for record in records],
    x="num_samples",
    y=("loss_bias", "gradient_bias"),
    by=_name,
    interval=False,
    scales=("log", "log"),
    name="bias",
    heading="Bias by number of samples",
    caption="Absolute values; that of the loss in nats. Below the error of the mean, in the table, "
    "a point is chance: unbiased estimates fall without end as the draws grow.",
  )
  yield table_of([(_name(record), _cells(record)) for record in records], "sampler", "bias")


def _cells(record: dict[str, Any]) -> dict[str, study.Cell | str]:
  found = record["measured"]
  return {
    "samples": str(record["cell"]["num_samples"]),
    "loss bias, nats": study.Cell(f"{found['loss_bias']:+.4f}", f"± {found['loss_error']:.4f}"),
    "gradient bias": f"{found['gradient_bias']:.4f}",
    "gradient noise": f"{found['gradient_noise']:.3f}",
  }


def _name(record: dict[str, Any]) -> str:
  corrected = record["cell"]["correct_label"]
  return record["cell"]["sampler"] + ("" if corrected else ", label uncorrected")


def _sizes(measured: dict[str, float]) -> dict[str, float]:
  return {name: max(abs(value), 1e-6) for name, value in measured.items()}


STUDY = study.Study(
  Settings,
  cells,
  run,
  report,
  name="sampled_bias",
  check=lambda of: study.check_numbers(of, classes=2, examples=1, features=1, samples=1, draws=2),
  prepare=prepare,
  selects=("samples",),
  seeds=lambda settings, cell: (settings.seed,),
)

if __name__ == "__main__":
  study.main(STUDY)
