"""PyTorch: sides of the benchmarks that run in it, and the arrays that it and ours are given."""

import math
from importlib import import_module

import numpy as np

try:
  import entmax
  import torch
except ImportError:
  entmax = torch = None

#: Peers of a linear layer's loss that run on a GPU alone, by the module that has them.
FUSED = {"cut-cross-entropy": "cut_cross_entropy", "Liger": "liger_kernel"}


def draw_logits(sizes: tuple[int, int]) -> np.ndarray:
  """Draw logits `[N, K]` of spread 3."""
  return 3 * np.random.default_rng(0).standard_normal(sizes, np.float32)


def draw_labels(sizes: tuple[int, int], kind: str) -> np.ndarray:
  """Draw labels: class indices "index" `[N]`, the same as one-hot floats "hot", or distributions
  "soft" `[N, K]`.

  Example:
    >>> draw_labels((2, 3), "hot").sum(-1).tolist()
    [1.0, 1.0]
  """
  rng = np.random.default_rng(1)
  if kind == "soft":
    weights = rng.exponential(size=sizes).astype(np.float32)
    return weights / weights.sum(-1, keepdims=True)
  index = rng.integers(0, sizes[1], sizes[0], np.int32)
  if kind == "index":
    return index
  hot = np.zeros(sizes, np.float32)
  hot[np.arange(sizes[0]), index] = 1
  return hot


def draw_zipf_labels(count: int, num_classes: int) -> np.ndarray:
  """Draw class indices whose frequencies fall as those of words do, as 1 / (k + 1)."""
  frequencies = 1 / np.arange(1, num_classes + 1)
  rng = np.random.default_rng(2)
  return rng.choice(num_classes, count, p=frequencies / frequencies.sum()).astype(np.int32)


def draw_kernel(size: int, num_classes: int) -> np.ndarray:
  """Draw a kernel `[D, K]` of spread 1 / sqrt(D), without another array of its size."""
  array = np.random.default_rng(4).standard_normal((size, num_classes), np.float32)
  array /= np.float32(size**0.5)
  return array


def draw_features(count: int, size: int) -> np.ndarray:
  """Draw features `[N, D]`."""
  return np.random.default_rng(3).standard_normal((count, size), np.float32)


def device() -> str:
  """Return where PyTorch's sides run: on the GPU, if it sees one."""
  return "cuda" if torch and torch.cuda.is_available() else "cpu"


def finished() -> int:
  """Wait for what was started, and return one unit of work."""
  if torch.cuda.is_available():
    torch.cuda.synchronize()
  return 1


def loss_side(sizes: tuple[int, int], kind: str, name: str):
  """Return a function that takes the value and gradient of the mean of a loss."""
  logits = torch.from_numpy(draw_logits(sizes)).to(device()).requires_grad_()
  labels = torch.from_numpy(draw_labels(sizes, kind)).to(device())
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

  features = put(draw_features(examples, size))
  # PyTorch's layers hold the kernel transposed.
  kernel = put(draw_kernel(size, classes).T.copy())
  labels = torch.from_numpy(draw_labels((examples, classes), "index")).long().to(device())
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
  features = torch.from_numpy(draw_features(count, size)).to(device()).requires_grad_()
  labels = torch.from_numpy(draw_zipf_labels(count, num_classes)).long().to(device())

  def run():
    features.grad = None
    layer.zero_grad()
    layer(features, labels).loss.backward()
    return finished()

  return run


def training_side(shape, count, backbone, batch, *, tuned):
  """Return a function that trains an epoch and returns its number of steps.

  The images stand in memory as standardised floats, so a step only selects its batch. The tuned
  form also updates in one kernel a parameter, and has the channels last in memory.
  """
  rng = np.random.default_rng(0)
  images = torch.from_numpy(rng.normal(size=(count, *shape)).astype(np.float32)).to(device())
  images = images.permute(0, 3, 1, 2).contiguous()
  labels = torch.from_numpy(rng.integers(0, 10, count)).to(device())
  network = make_network(shape, backbone).to(device())
  if tuned and backbone["name"] == "cnn":
    network = network.to(memory_format=torch.channels_last)
    images = images.contiguous(memory_format=torch.channels_last)
  optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=tuned or None)
  loss = torch.nn.CrossEntropyLoss()

  def run():
    order = torch.randperm(count, device=device())
    for start in range(0, count - batch + 1, batch):
      index = order[start : start + batch]
      optimizer.zero_grad()
      loss(network(images[index]), labels[index]).backward()
      optimizer.step()
    return finished() * (count // batch)

  return run


def make_network(shape, backbone):
  """Build a network of the options of `nn.MLP` or `nn.CNN`, with ten classes.

  Args:
    shape: `(height, width, channels)` of an image.
    backbone: the options; batch norm is absent or after the activation.

  Returns:
    A `torch.nn.Sequential` on images `[B, C, H, W]`.
  """
  nn = torch.nn
  norm = backbone.get("batch_norm") == "after"
  layers = []
  if backbone["name"] == "mlp":
    layers.append(nn.Flatten())
    fan_in, dense = math.prod(shape), backbone["widths"]
  else:
    height, width, channels = shape
    rates = backbone.get("dropout", (0.0,) * len(backbone["stages"]))
    for filters, rate in zip(backbone["stages"], rates, strict=True):
      for features in filters:
        layers += [nn.Conv2d(channels, features, 3, padding=1), nn.ReLU()]
        layers += [nn.BatchNorm2d(features)] if norm else []
        channels = features
      layers += [nn.MaxPool2d(2)] + ([nn.Dropout(rate)] if rate else [])
      height, width = height // 2, width // 2
    layers.append(nn.Flatten())
    fan_in, dense = height * width * channels, backbone["dense"]
  rate = backbone.get("dense_dropout", 0.0)
  for features in dense:
    layers += [nn.Linear(fan_in, features), nn.ReLU()]
    layers += [nn.BatchNorm1d(features)] if norm else []
    layers += [nn.Dropout(rate)] if rate else []
    fan_in = features
  return nn.Sequential(*layers, nn.Linear(fan_in, 10))
