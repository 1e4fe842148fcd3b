"""Every line of docs/coming_from.rst gives the same numbers in the other library and here."""

import math
import pathlib
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
from flax import nnx
from sklearn import metrics

from softmax_research import functional, heads, information, training

pytest.importorskip("docutils", reason="the docs extra is not installed")
from docutils import core, nodes

_PAGE = pathlib.Path(__file__).parents[2] / "docs" / "coming_from.rst"


def _lines():
  """Yield library, its code and ours of every line of the page's tables."""
  page = core.publish_doctree(_PAGE.read_text(), settings_overrides={"report_level": 5})
  for section in page.findall(nodes.section):
    title = section.next_node(nodes.title).astext()
    for row in section.next_node(nodes.tbody):
      theirs, ours = (cell.next_node(nodes.literal).astext() for cell in row[:2])
      yield pytest.param(title, theirs, ours, id=theirs)


N, K, D, S = 6, 5, 4, 3
_DRAW = np.random.default_rng(0)


def _normal(*shape):
  return _DRAW.normal(size=shape).astype(np.float32)


def _distributions():
  return _DRAW.dirichlet(np.ones(K), size=N).astype(np.float32)


_LOGITS, _LABELS = 3 * _normal(N, K), np.array([0, 4, 2, 1, 3, 2])
_ONE_HOT, _PROBS = np.eye(K, dtype=np.float32)[_LABELS], _distributions()
#: What the page calls by these names, in both columns.
_ARRAYS = {
  "z": _LOGITS,
  "y": _LABELS,
  "q": _distributions(),
  "one_hot": _ONE_HOT,
  "p": _PROBS,
  "log_p": np.log(_PROBS),
  "x": _normal(N, D),
  "W": _normal(D, K),
  "b": _normal(K),
  "w": 1 + _DRAW.random(K).astype(np.float32),
  "f": _normal(N, N),
  "many": (_DRAW.random((N, K)) < 0.4).astype(np.float32),
  "some": np.where(_LABELS == 2, -100, _LABELS),
  "voids": np.where(_LABELS == 2, -1, _LABELS),
  "maps": _normal(2, K, 3, 3),
  "pixels": _DRAW.integers(0, K, (2, 3, 3)),
  "impossible": np.where((_ONE_HOT == 0) & (_LOGITS > 2), -np.inf, _LOGITS).astype(np.float32),
}
_ARRAYS |= dict(zip("QMV", _normal(3, 2, N, S, D), strict=True))
# Every query has the first key.
_ARRAYS["mask"] = (np.arange(N) == 0) | (_DRAW.random((N, N)) < 0.5)
_ARRAYS["lengths"] = np.array([N, N - 2])
_KEY = jax.random.key(0)
_SAMPLER = functional.log_uniform_sampler(K)
_OURS = {name: jnp.asarray(array) for name, array in _ARRAYS.items()} | {
  "functional": functional,
  "heads": heads,
  "information": information,
  "training": training,
  "jnp": jnp,
  "math": math,
  "kernel": {"kernel": jnp.asarray(_ARRAYS["W"])},
  "key": _KEY,
  "sampler": _SAMPLER,
  "log_average": 0.5,
}
_SWAP = {"heads_first": lambda array: array.swapaxes(1, 2)}
_OURS |= _SWAP
_SIZES = {"N": N, "K": K, "D": D, "S": S}


def _torch():
  torch = pytest.importorskip("torch")
  arrays = {name: torch.from_numpy(array) for name, array in _ARRAYS.items()}
  adaptive = torch.nn.AdaptiveLogSoftmaxWithLoss(D, K, [2, 4], div_value=2.0)
  tails = [{"projection": a.weight.T, "kernel": b.weight.T} for a, b in adaptive.tail]
  params = {"head": {"kernel": adaptive.head.weight.T}, "tails": tails}
  _OURS["params"] = jax.tree.map(lambda weight: weight.detach().numpy(), params)
  return arrays | {"torch": torch, "F": torch.nn.functional, "adaptive": adaptive, **_SWAP}


def _entmax():
  return _torch() | {"entmax": pytest.importorskip("entmax")}


def _jax():
  return _OURS | {"jax": jax, "nnx": nnx}


def _optax():
  return _OURS | {"optax": optax}


# What follows is written out in NumPy from the libraries' sources, whose versions the page names.


def _smooth(distributions, amount):
  return (1 - amount) * distributions + amount / K


def _keras_loss(function, **options):
  return lambda *arguments: function(*arguments, **options).mean()


def _keras_crossentropy(y_true, y_pred, *, from_logits=False, label_smoothing=0.0):
  if from_logits:
    log_probs = scipy.special.log_softmax(y_pred, axis=-1)
  else:
    y_pred = y_pred / y_pred.sum(axis=-1, keepdims=True)
    log_probs = np.log(np.clip(y_pred, 1e-7, 1 - 1e-7))
  return -np.sum(_smooth(y_true, label_smoothing) * log_probs, axis=-1)


def _keras_sparse(y_true, y_pred, *, from_logits=False, ignore_class=None):
  valid = np.full(len(y_true), True) if ignore_class is None else y_true != ignore_class
  losses = _keras_crossentropy(
    np.eye(K)[np.where(valid, y_true, 0)], y_pred, from_logits=from_logits
  )
  return losses[valid]


def _keras_binary(y_true, y_pred, *, from_logits):
  assert from_logits
  probs = scipy.special.expit(y_pred)
  return -(y_true * np.log(probs) + (1 - y_true) * np.log(1 - probs)).mean(axis=-1)


def _keras_hinge(y_true, y_pred):
  positive = np.sum(y_true * y_pred, axis=-1)
  return np.maximum(np.max((1 - y_true) * y_pred, axis=-1) - positive + 1, 0)


def _keras_sparsemax(logits):
  descending = -np.sort(-logits, axis=-1)
  ranks, sums = np.arange(1, K + 1), np.cumsum(descending, axis=-1)
  support = np.sum(1 + ranks * descending > sums, axis=-1, keepdims=True)
  threshold = (np.take_along_axis(sums, support - 1, axis=-1) - 1) / support
  return np.maximum(logits - threshold, 0)


def _tf_sampled_softmax_loss(
  weights, biases, labels, inputs, num_sampled, num_classes, *, sampled_values
):
  (classes, true_counts, sampled_counts), labels = sampled_values, labels[:, 0]
  assert weights.shape == (num_classes, D) and classes.shape == (num_sampled,)
  logits = inputs @ weights.T + biases
  true = logits[np.arange(N), labels] - np.log(true_counts)
  sampled = np.where(labels[:, None] == classes, -np.inf, logits[:, classes])
  sampled -= np.log(sampled_counts)
  return scipy.special.logsumexp(np.column_stack([true, sampled]), axis=-1) - true


def _keras():
  classes, effort = _SAMPLER.sample(_KEY, S)
  counts = [np.exp(_SAMPLER.log_expected_count(which, effort)) for which in (_LABELS, classes)]
  losses = SimpleNamespace(
    sparse_categorical_crossentropy=_keras_sparse,
    categorical_hinge=_keras_hinge,
    SparseCategoricalCrossentropy=lambda **options: _keras_loss(_keras_sparse, **options),
    CategoricalCrossentropy=lambda **options: _keras_loss(_keras_crossentropy, **options),
    BinaryCrossentropy=lambda **options: _keras_loss(_keras_binary, **options),
  )
  activations = SimpleNamespace(
    softmax=lambda logits: scipy.special.softmax(logits, axis=-1), sparsemax=_keras_sparsemax
  )
  tf = SimpleNamespace(nn=SimpleNamespace(sampled_softmax_loss=_tf_sampled_softmax_loss))
  drawn = (np.asarray(classes), *counts)
  return _ARRAYS | {"losses": losses, "activations": activations, "tf": tf, "drawn": drawn}


def _cosines(x):
  kernel = _ARRAYS["W"]
  lengths = np.linalg.norm(x, axis=1, keepdims=True) * np.linalg.norm(kernel, axis=0)
  return x @ kernel / lengths, lengths


def _metric_learning_loss(change, scale):
  """Return a loss whose label's cosines `change`, from angles; `scale` may need the lengths."""

  def loss(x, y):
    cosines, lengths = _cosines(x)
    own = np.arange(len(y)), y
    cosines[own] = change(np.arccos(cosines[own]))
    return -scipy.special.log_softmax(scale(lengths) * cosines, axis=1)[own].mean()

  return loss


def _arcface(num_classes, embedding_size, margin=28.6, scale=64):
  margin = np.radians(margin)

  def change(angles):
    past = np.cos(angles) - margin * np.sin(margin)
    return np.where(angles <= np.pi - margin, np.cos(angles + margin), past)

  return _metric_learning_loss(change, lambda lengths: scale)


def _cosface(num_classes, embedding_size, margin=0.35, scale=64):
  return _metric_learning_loss(lambda angles: np.cos(angles) - margin, lambda lengths: scale)


def _large_margin_softmax(num_classes, embedding_size, margin=4, scale=1):
  def change(angles):
    sector = np.floor(angles / (np.pi / margin))
    return (-1) ** sector * np.cos(margin * angles) - 2 * sector

  return _metric_learning_loss(change, lambda lengths: scale * lengths)


def _normalized_softmax(num_classes, embedding_size, temperature=0.05):
  return _metric_learning_loss(np.cos, lambda lengths: 1 / temperature)


def _metric_learning():
  losses = SimpleNamespace(
    ArcFaceLoss=_arcface,
    CosFaceLoss=_cosface,
    LargeMarginSoftmaxLoss=_large_margin_softmax,
    NormalizedSoftmaxLoss=_normalized_softmax,
  )
  return _ARRAYS | {"losses": losses}


def _multiclass_calibration_error(preds, target, *, num_classes, n_bins=15, norm="l1"):
  confidence, correct = preds.max(axis=1), preds.argmax(axis=1) == target
  bins = np.searchsorted(np.linspace(0, 1, n_bins + 1), confidence, side="right") - 1
  inside = [bins == index for index in np.unique(bins)]
  gaps = np.array([abs(correct[b].mean() - confidence[b].mean()) for b in inside])
  return np.max(gaps) if norm == "max" else np.sum(gaps * [b.mean() for b in inside])


def _metrics():
  return _ARRAYS | {
    "metrics": metrics,
    "multiclass_calibration_error": _multiclass_calibration_error,
  }


def _apart(scores):
  return scores[~np.eye(len(scores), dtype=bool)]


def _log_mean_exp(scores):
  return scipy.special.logsumexp(scores) - np.log(scores.size)


def _bmi_mine(f, log_average, *, smoothing_alpha):
  """The average of MINE's denominators; the pairs drawn apart are the same as here."""
  return np.logaddexp(
    np.log(smoothing_alpha) + log_average,
    np.log(1 - smoothing_alpha) + _log_mean_exp(_apart(f)),
  )


def _bmi():
  return _ARRAYS | {
    "infonce": lambda f: np.mean(np.log(N) + np.diag(f) - scipy.special.logsumexp(f, axis=1)),
    "donsker_varadhan": lambda f: np.diag(f).mean() - _log_mean_exp(_apart(f)),
    "nwj": lambda f: 1 + np.diag(f - 1).mean() - np.exp(_log_mean_exp(_apart(f - 1))),
    "mine": _bmi_mine,
    "log_average": 0.5,
  }


_LIBRARIES = {
  "PyTorch": _torch,
  "JAX and Flax": _jax,
  "optax": _optax,
  "entmax": _entmax,
  "Keras and TensorFlow": _keras,
  "pytorch-metric-learning": _metric_learning,
  "Metrics: scikit-learn, torchmetrics": _metrics,
  "bmi, and bounds of mutual information": _bmi,
}


def _run(code, names):
  return eval(code, names | _SIZES)


def _compile(code, names):
  """As `_run`, in one program where all operations have one each."""
  return jax.jit(lambda: _run(code, names))()


@pytest.mark.parametrize(("library", "theirs", "ours"), list(_lines()))
def test_both_columns_are_the_same_numbers(library, theirs, ours):
  names = _LIBRARIES[library]()
  there = (_compile if "jnp" in names else _run)(theirs, names)
  here = _compile(ours, _OURS)
  there = there.detach().numpy() if hasattr(there, "detach") else np.asarray(there)
  assert there.shape == np.shape(here) and np.all(np.isfinite(there))
  np.testing.assert_allclose(here, there, rtol=1e-5, atol=1e-6)
