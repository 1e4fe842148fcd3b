"""Judging: predictions moved to a class prior, on examples weighted to it."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.imbalanced.settings import Setting
from softmax_research import functional, registry
from softmax_research.training.metrics import NUM_BINS

#: For each judgement what it is, in the order of the report.
JUDGEMENTS = {
  "balanced": "the test split, every class weighing the same",
  "training": "the test split, classes weighing as in training",
  "capped": "test_range of the training split, capped as training is",
}


def judge(setting: Setting, head: str, validation: np.ndarray, test: np.ndarray) -> dict[str, Any]:
  """Judge a run's log-probabilities on the validation split and on the test sets of its setting.

  Returns:
    For `validation` and each of `JUDGEMENTS` that there is a dictionary: `as_is` the metrics of
    the predictions, `moved` of those moved by `functional.shift_prior` from the prior they were
    made under to the one that they are judged under.
  """
  counts = setting.counts
  training, balanced = counts / counts.sum(), np.full(len(counts), 1 / len(counts))
  own = prior_of_predictions(head, training)
  num_test = len(setting.test.labels)
  cases = {
    "validation": (validation, setting.splits.validation.labels, balanced),
    "balanced": (test[:num_test], setting.test.labels, balanced),
    "training": (test[:num_test], setting.test.labels, training),
  }
  if setting.capped is not None:
    labels = setting.capped.labels
    present = np.bincount(labels, minlength=len(counts)) / len(labels)
    cases["capped"] = (test[num_test:], labels, present)
  return {
    name: {
      "as_is": evaluate_under(log_probs, labels, prior),
      "moved": evaluate_under(_move(log_probs, own, prior), labels, prior),
    }
    for name, (log_probs, labels, prior) in cases.items()
  }


def prior_of_predictions(head: str, training: np.ndarray) -> np.ndarray:
  r"""Return the class prior behind a head's predictions, `[K]`, by that of training, `[K]`.

  A loss with the prior inside leaves it out of the predictions; :math:`\tau \log P` in the loss
  leaves :math:`P^{1 - \tau}`.

  Example:
    >>> prior_of_predictions("pc_softmax", np.array([0.8, 0.2])).tolist()
    [0.5, 0.5]
  """
  name, options = registry.parse(head)
  tau = {"pc_softmax": 1.0, "prior_shift": 1.0, "logit_adjusted": options.get("tau", 1.0)}
  power = training ** (1 - tau.get(name, 0.0))
  return power / power.sum()


def evaluate_under(log_probs: np.ndarray, labels: np.ndarray, prior: np.ndarray) -> dict[str, Any]:
  r"""Compute metrics as they would be were the classes drawn by a prior.

  .. math:: w_i = \pi_{y_i} / n_{y_i}

  weights the examples, where n counts those of each class; p(x | y) stays as it is. The prior of a
  class without examples is 0.

  Returns:
    `accuracy`, `macro_accuracy` (which no prior changes), `nll` (None where it is infinite), `ece`
    and `per_class_accuracy` `[K]` (None for a class without examples).
  """
  log_probs = np.asarray(log_probs, np.float64)
  counts = np.bincount(labels, minlength=len(prior))
  weights = prior[labels] / counts[labels]
  right = np.argmax(log_probs, axis=1) == labels
  per_class = np.bincount(labels, weights=right, minlength=len(prior)) / np.maximum(counts, 1)
  confidence = np.exp(np.max(log_probs, axis=1))
  bins = np.clip(np.ceil(confidence * NUM_BINS).astype(int) - 1, 0, NUM_BINS - 1)
  nll = -np.sum(weights * log_probs[np.arange(len(labels)), labels])
  return {
    "accuracy": float(weights @ right),
    "macro_accuracy": float(per_class[counts > 0].mean()),
    "nll": float(nll) if np.isfinite(nll) else None,
    "ece": float(np.abs(np.bincount(bins, weights=weights * (right - confidence))).sum()),
    "per_class_accuracy": [
      float(value) if count else None for value, count in zip(per_class, counts, strict=True)
    ],
  }


def _move(log_probs: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
  with np.errstate(divide="ignore"):  # A test set may lack a class.
    priors = [jnp.asarray(np.log(prior), jnp.float32) for prior in (before, after)]
  return np.asarray(functional.shift_prior(log_probs, *priors))
