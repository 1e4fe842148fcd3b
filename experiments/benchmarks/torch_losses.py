"""Sides of the losses benchmark that run in PyTorch: its own losses and the entmax package's."""

from importlib import import_module

from experiments.benchmarks import batches

try:
  import entmax
  import torch
except ImportError:
  entmax = torch = None

#: Peers of a linear layer's loss that run on a GPU alone, by the module that has them.
FUSED = {"cut-cross-entropy": "cut_cross_entropy", "Liger": "liger_kernel"}


def device() -> str:
  """Return where PyTorch's sides run: on the GPU, if it sees one."""
  return "cuda" if torch and torch.cuda.is_available() else "cpu"


def finished() -> int:
  """Wait for what was started, and return one unit of work."""
  if torch.cuda.is_available():
    torch.cuda.synchronize()
  return 1


def side(sizes: tuple[int, int], kind: str, name: str):
  """Return a function that takes the value and gradient of the mean of a loss."""
  logits = torch.from_numpy(batches.logits(sizes)).to(device()).requires_grad_()
  labels = torch.from_numpy(batches.labels(sizes, kind)).to(device())
  loss, labels = _losses()[name], labels.long() if kind == "index" else labels

  def run():
    logits.grad = None
    loss(logits, labels).backward()
    return finished()

  return run


def _losses():
  """Return scalar losses of logits and labels by name."""
  nn = torch.nn.functional
  return {
    "cross_entropy": nn.cross_entropy,
    "label_smoothing": lambda z, y: nn.cross_entropy(z, y, label_smoothing=0.1),
    "one_vs_all": lambda z, y: nn.binary_cross_entropy_with_logits(z, y, reduction="sum") / len(z),
    "hinge": nn.multi_margin_loss,
    "sparsemax_loss": lambda z, y: entmax.sparsemax_loss(z, y).mean(),
    "sparsemax_bisect_loss": lambda z, y: entmax.sparsemax_bisect_loss(z, y).mean(),
    "entmax15_loss": lambda z, y: entmax.entmax15_loss(z, y).mean(),
    "entmax_bisect_loss": lambda z, y: entmax.entmax_bisect_loss(z, y, alpha=1.5).mean(),
    "sparsemax": lambda z, y: (y * entmax.sparsemax(z)).sum(),
    "entmax15": lambda z, y: (y * entmax.entmax15(z)).sum(),
    "entmax_bisect": lambda z, y: (y * entmax.entmax_bisect(z, alpha=1.5)).sum(),
  }


def linear_side(sizes: tuple[int, int, int], dtype: str = "float32", peer: str = "PyTorch"):
  """Return a function that takes the cross-entropy of a linear layer and its gradients."""
  examples, classes, size = sizes

  def put(array):
    return torch.from_numpy(array).to(device(), getattr(torch, dtype)).requires_grad_()

  features = put(batches.features(examples, size))
  # PyTorch's layers hold the kernel transposed.
  kernel = put(batches.kernel(size, classes).T.copy())
  labels = torch.from_numpy(batches.labels((examples, classes), "index")).long().to(device())
  loss = _linear_loss(peer)

  def run():
    features.grad = kernel.grad = None
    loss(features, kernel, labels).backward()
    return finished()

  return run


def _linear_loss(peer):
  if peer == "cut-cross-entropy":
    return import_module("cut_cross_entropy").linear_cross_entropy
  if peer == "Liger":
    loss = import_module("liger_kernel.transformers").LigerFusedLinearCrossEntropyLoss()
    return lambda features, kernel, labels: loss(kernel, features, labels)
  plain = torch.nn.functional.cross_entropy
  return lambda features, kernel, labels: plain(features @ kernel.T, labels)


def adaptive_side(count: int, size: int, num_classes: int, cutoffs: tuple[int, ...]):
  """Return a function that takes the value and gradients of an adaptive softmax layer."""
  torch.manual_seed(0)
  layer = torch.nn.AdaptiveLogSoftmaxWithLoss(size, num_classes, list(cutoffs)).to(device())
  features = torch.from_numpy(batches.features(count, size)).to(device()).requires_grad_()
  labels = torch.from_numpy(batches.zipf_labels(count, num_classes)).long().to(device())

  def run():
    features.grad = None
    layer.zero_grad()
    layer(features, labels).loss.backward()
    return finished()

  return run
