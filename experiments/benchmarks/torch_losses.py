"""Sides of the losses benchmark that run in PyTorch: its own losses and the entmax package's."""

from experiments.benchmarks import batches

try:
  import entmax
  import torch
except ImportError:
  entmax = torch = None


def side(sizes: tuple[int, int], kind: str, name: str):
  """Return a function that takes the value and gradient of the mean of a loss."""
  logits = torch.from_numpy(batches.logits(sizes)).requires_grad_()
  labels = torch.from_numpy(batches.labels(sizes, kind))
  loss, labels = _losses()[name], labels.long() if kind == "index" else labels

  def run():
    logits.grad = None
    loss(logits, labels).backward()
    return 1

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


def linear_side(sizes: tuple[int, int, int]):
  """Return a function that takes the cross-entropy of a linear layer and its gradients."""
  examples, classes, size = sizes
  features = torch.from_numpy(batches.features(examples, size)).requires_grad_()
  # PyTorch's layers hold the kernel transposed.
  kernel = torch.from_numpy(batches.kernel(size, classes).T.copy()).requires_grad_()
  labels = torch.from_numpy(batches.labels((examples, classes), "index")).long()

  def run():
    features.grad = kernel.grad = None
    torch.nn.functional.cross_entropy(features @ kernel.T, labels).backward()
    return 1

  return run


def adaptive_side(count: int, size: int, num_classes: int, cutoffs: tuple[int, ...]):
  """Return a function that takes the value and gradients of an adaptive softmax layer."""
  torch.manual_seed(0)
  layer = torch.nn.AdaptiveLogSoftmaxWithLoss(size, num_classes, list(cutoffs))
  features = torch.from_numpy(batches.features(count, size)).requires_grad_()
  labels = torch.from_numpy(batches.zipf_labels(count, num_classes)).long()

  def run():
    features.grad = None
    layer.zero_grad()
    layer(features, labels).loss.backward()
    return 1

  return run
