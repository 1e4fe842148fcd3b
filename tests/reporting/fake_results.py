"""Results of experiments that never ran, random but plausible, for the tests of reports."""

import base64
import io
import json
import pathlib

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
    "mce": float((gaps[count > 0] / count[count > 0]).max()),
    "brier": float(np.where(right, (1 - confidence) ** 2, 1 + confidence**2).mean()),
    "macro_accuracy": float(per_class_accuracy.mean()),
    "num_examples": int(total),
    "per_class_accuracy": per_class_accuracy.tolist(),
    "confusion": confusion.tolist(),
    "reliability": {
      "count": count.tolist(),
      "confidence": per_bin(confidence),
      "accuracy": per_bin(right.astype(float)),
    },
  }


def make_run(
  head: str,
  seed: int,
  *,
  error: float = 0.03,
  epochs: int = 20,
  class_names: list[str] | None = None,
  per_class: int = 40,
  heads: list[str] | None = None,
) -> dict:
  """Return the record of a finished run."""
  class_names = DIGITS if class_names is None else class_names
  classes = len(class_names)
  rng = np.random.default_rng([seed, *head.encode()])
  # A seed makes easy or hard splits for every head alike, which is why comparisons are paired.
  error = error * (1 + 0.1 * np.random.default_rng(seed).normal() + 0.02 * rng.normal())
  epoch = np.arange(1, epochs + 1)
  decay = np.exp(-epoch / (epochs / 5))
  noise = 1 + 0.06 * rng.normal(size=epochs)
  nll = (2 * error + 1.2 * decay) * noise
  return {
    "kind": "run",
    "head": head,
    "seed": seed,
    "status": "finished",
    "metrics": {
      split: make_metrics(rng, error=error, classes=classes, per_class=per_class)
      for split in ("validation", "test")
    },
    "curves": {
      "epoch": epoch.tolist(),
      "train_loss": (2.2 * decay * noise + 0.02 + error / 3).tolist(),
      "validation_nll": nll.tolist(),
      "validation_accuracy": (1 - (error + 0.6 * decay) * noise).tolist(),
      "seconds": (epoch * 0.2).tolist(),
    },
    "config": ({"heads": heads} if heads else {})
    | {
      "seeds": 5,
      "dataset": "digits",
      "model": {"name": "mlp", "widths": [256, 256], "activation": "relu"},
      "optimiser": {"name": "adam", "learning_rate": 0.001, "schedule": "cosine"},
    },
    "dataset": {
      "name": "digits",
      "num_train": 1200,
      "num_validation": 197,
      "num_test": per_class * classes,
      "num_classes": classes,
      "class_names": class_names,
    },
    "versions": {"python": "3.12.1", "jax": "0.12.0", "flax": "0.13.0"},
    "device": "cpu x 1 (Example CPU, 2 cores)",
    "git_revision": "0123abc",
    "num_parameters": 85002,
    "images_per_second": 250000.0 + 1000 * seed,
    "wall_seconds": 4.25,
    "finished_at": f"2025-03-14T15:09:{seed:02d}+00:00",
  }


def make_diverged(head: str, seed: int, **options) -> dict:
  """Return the record of a diverged run."""
  return make_run(head, seed, **options) | {
    "status": "diverged",
    "metrics": None,
    "curves": None,
    "diverged": {"step": 120, "last_finite_loss": 3.25},
  }


def make_ensemble(
  head: str,
  seeds: list[int],
  *,
  error: float = 0.025,
  class_names: list[str] | None = None,
  per_class: int = 40,
  images: int = 12,
) -> dict:
  """Return the record of an ensemble, with pictures of noise as its worst images."""
  class_names = DIGITS if class_names is None else class_names
  rng = np.random.default_rng([99, *head.encode()])
  metrics = make_metrics(rng, error=error, classes=len(class_names), per_class=per_class)
  worst = [
    {
      "index": int(rng.integers(3 * images)),
      "label": int(rng.integers(len(class_names))),
      "predicted": int(rng.integers(len(class_names))),
      "probability": float(10 ** rng.uniform(-6, -0.5)),
      "png": make_png(rng),
    }
    for _ in range(images)
  ]
  return {
    "kind": "ensemble",
    "head": head,
    "seeds": seeds,
    "metrics": {"validation": metrics, "test": metrics},
    "worst": worst,
    "versions": {"python": "3.12.1"},
    "device": "cpu x 1 (Example CPU, 2 cores)",
    "git_revision": "0123abc",
    "finished_at": "2025-03-14T15:10:00+00:00",
  }


def make_png(rng: np.random.Generator) -> str:
  """Return an 8 by 8 picture of noise as the base64 text of a PNG."""
  buffer = io.BytesIO()
  imsave(buffer, rng.integers(0, 255, (8, 8)).astype(np.uint8), format="png", cmap="gray")
  return base64.b64encode(buffer.getvalue()).decode()


def make_results(heads: dict[str, float], seeds: int, **options) -> list[dict]:
  """Return finished runs and ensembles of heads, given their errors."""
  runs = [
    make_run(head, seed, error=error, heads=list(heads), **options)
    for head, error in heads.items()
    for seed in range(seeds)
  ]
  options = {k: v for k, v in options.items() if k in ("class_names", "per_class")}
  ensembles = [
    make_ensemble(head, list(range(seeds)), error=0.8 * error, **options)
    for head, error in heads.items()
  ]
  return runs + ensembles


def write_results(path: pathlib.Path, records: list[dict]) -> pathlib.Path:
  """Write records as JSON lines."""
  path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
  return path
