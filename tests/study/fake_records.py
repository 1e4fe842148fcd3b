"""Records of studies that never ran, random but plausible, for the tests of reports."""

import base64
import functools
import io
from typing import Any

import numpy as np
from matplotlib.image import imsave

DIGITS = [str(digit) for digit in range(10)]


def make_metrics(rng: np.random.Generator, *, error: float, classes: int, per_class: int) -> dict:
  """Return metrics of one split: random predictions, about as often wrong as said."""
  labels = np.repeat(np.arange(classes), per_class)
  total = labels.size
  shares = rng.dirichlet(np.full(classes - 1, 0.4), size=classes)
  # Most examples are nearly certain; the head is right less often than it claims.
  doubt = rng.beta(0.12, 0.12 * (1 - error) / error, size=total)
  confidence = np.clip(1 - doubt, 1 / classes, 0.9999)
  wrong = rng.random(total) > confidence**1.3
  others = np.array([rng.choice(classes - 1, p=shares[label]) for label in labels])
  predicted = np.where(wrong, others + (others >= labels), labels)
  confusion = np.zeros((classes, classes), int)
  np.add.at(confusion, (labels, predicted), 1)
  bins = np.minimum((confidence * 15).astype(int), 14)
  count = np.bincount(bins, minlength=15)
  right = ~wrong

  def per_bin(values):
    sums = np.bincount(bins, weights=values, minlength=15)
    return [float(s / c) if c else None for s, c in zip(sums, count, strict=True)]

  gaps = np.abs(
    np.bincount(bins, weights=confidence, minlength=15) - np.bincount(bins, right, minlength=15)
  )
  accuracy = float(right.mean())
  per_class_accuracy = np.diag(confusion) / per_class
  return {
    "accuracy": accuracy,
    "error": 1 - accuracy,
    "nll": float(-np.log(np.where(right, confidence, (1 - confidence) / 3)).mean()),
    "ece": float(gaps.sum() / total),
    "brier": float(np.where(right, (1 - confidence) ** 2, 1 + confidence**2).mean()),
    "macro_accuracy": float(per_class_accuracy.mean()),
    "confusion": confusion.tolist(),
    "reliability": {
      "count": count.tolist(),
      "confidence": per_bin(confidence),
      "accuracy": per_bin(right.astype(float)),
    },
  }


def make_record(head: str | None = None, seed: int | None = 0, **fields: Any) -> dict[str, Any]:
  """Return a plain record; `fields` take the place of its own."""
  return {
    "study": "compare",
    "cell": {"head": head},
    "seed": seed,
    "status": "finished",
    "metrics": {},
    "curves": {},
    "measured": {},
    "config": {"num_epochs": 3, "backbone": {"name": "mlp", "widths": [256, 256]}},
    "command": "python -m experiments.compare",
    "versions": {"python": "3.12.1", "jax": "0.12.0"},
    "device": "cpu x 1 (Example CPU, 2 cores)",
    "revision": "0123abc",
    "time": {"finished_at": f"2025-03-14T15:09:{seed or 0:02d}+00:00", "seconds": 4.25},
  } | fields


@functools.cache
def _metrics(head: str, seed: int, error: float, classes: int, per_class: int) -> dict:
  rng = np.random.default_rng([seed, *head.encode()])
  # A seed makes easy or hard splits for every head alike, which is why comparisons are paired.
  error = error * (1 + 0.1 * np.random.default_rng(seed).normal() + 0.02 * rng.normal())
  return make_metrics(rng, error=error, classes=classes, per_class=per_class)


def make_run(
  head: str,
  seed: int,
  *,
  error: float = 0.03,
  epochs: int = 20,
  class_names: list[str] | None = None,
  per_class: int = 10,
  **metrics: Any,
) -> dict[str, Any]:
  """Return the record of a classifier's run; `metrics` are of the test split."""
  class_names = DIGITS if class_names is None else class_names
  rng = np.random.default_rng([seed, *head.encode()])
  epoch = np.arange(1, epochs + 1)
  decay = np.exp(-epoch / (epochs / 5))
  noise = 1 + 0.06 * rng.normal(size=epochs)
  test = _metrics(head, seed, error, len(class_names), per_class)
  return make_record(
    head,
    seed,
    metrics={"test": {**test, **metrics}, "validation": dict(test)},
    curves={
      "epoch": epoch.tolist(),
      "train_loss": (2.2 * decay * noise + 0.02 + error / 3).tolist(),
      "validation_nll": ((2 * error + 1.2 * decay) * noise).tolist(),
      "validation_accuracy": (1 - (error + 0.6 * decay) * noise).tolist(),
    },
    measured={
      "dataset": {
        "name": "digits",
        "num_train": 1200,
        "num_validation": 197,
        "num_test": per_class * len(class_names),
        "num_classes": len(class_names),
        "class_names": class_names,
      },
      "num_parameters": 85002,
      "images_per_second": 250000.0 + 1000 * seed,
    },
  )


def make_runs(accuracies: dict[str, Any]) -> list[dict[str, Any]]:
  """Return runs of heads with the given accuracies, of seeds from 0 on."""
  return [
    make_run(head, seed, accuracy=float(accuracy), nll=0.2)
    for head, values in accuracies.items()
    for seed, accuracy in enumerate(values)
  ]


def make_diverged(head: str, seed: int) -> dict[str, Any]:
  """Return the record of a diverged run."""
  measured = make_run(head, seed)["measured"]
  measured = measured | {"diverged": {"step": 120, "last_finite_loss": 3.25}}
  return make_record(head, seed, status="diverged", measured=measured)


def make_ensemble(head: str, seeds: list[int], *, images: int = 12, **metrics) -> dict[str, Any]:
  """Return the record of an ensemble, with pictures of noise as its worst images."""
  rng = np.random.default_rng([99, *head.encode()])
  test = _metrics(head, 99, 0.025, 10, 10)
  worst = [
    {
      "index": int(rng.integers(3 * images)),
      "label": int(rng.integers(10)),
      "predicted": int(rng.integers(10)),
      "probability": float(10 ** rng.uniform(-6, -0.5)),
      "png": make_png(rng),
    }
    for _ in range(images)
  ]
  return make_record(
    head,
    None,
    cell={"head": head, "ensemble": seeds},
    metrics={"test": {**test, **metrics}},
    measured={"worst": worst},
  )


def make_png(rng: np.random.Generator) -> str:
  """Return an 8 by 8 picture of noise as the base64 text of a PNG."""
  buffer = io.BytesIO()
  imsave(buffer, rng.integers(0, 255, (8, 8)).astype(np.uint8), format="png", cmap="gray")
  return base64.b64encode(buffer.getvalue()).decode()
