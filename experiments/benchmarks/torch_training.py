"""PyTorch's side of the training benchmark: the same networks in its eager loop."""

import math

import numpy as np

from experiments.benchmarks.torch_losses import device, finished

try:
  import torch
except ImportError:
  torch = None


def side(shape, count, backbone, batch, *, tuned):
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
