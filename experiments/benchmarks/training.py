"""Training: whole epochs by the programs that experiments run, against PyTorch's eager loop."""

import functools

import jax
import numpy as np

from configs import default
from experiments import assembly
from experiments.benchmarks import torch_training
from experiments.benchmarks.case import OURS, Case
from softmax_research import data

BATCH = 128

#: Networks by case: the shape of the images, how many make an epoch, and the backbone.
NETWORKS = {
  "mlp 784-512-512-10": (
    (28, 28, 1),
    60_000,
    {"name": "mlp", "widths": (512, 512)},
  ),
  "cnn conv32-conv64-dense256, 28x28": (
    (28, 28, 1),
    12_800,
    {"name": "cnn", "stages": ((32,), (64,)), "dense": (256,)},
  ),
  "cnn of six convolutions with batch norm, 32x32": (
    (32, 32, 3),
    2_560,
    {
      "name": "cnn",
      "stages": ((32, 32), (64, 64), (128, 128)),
      "dense": (128,),
      "batch_norm": "after",
      "dropout": (0.2, 0.3, 0.4),
      "dense_dropout": 0.5,
    },
  ),
}


def cases() -> list[Case]:
  """Return a case for each network; the unit of work is a step."""
  made = []
  for name, (shape, examples, backbone) in NETWORKS.items():
    arguments = (shape, examples, backbone, BATCH)
    sides = {OURS: functools.partial(_ours, *arguments)}
    for peer in ("PyTorch", "PyTorch, tuned"):
      sides[peer] = functools.partial(
        torch_training.side, *arguments, tuned=peer == "PyTorch, tuned"
      )
    made.append(Case(name, sides, count=examples // BATCH))
  return made


def examples(shape: tuple[int, ...], count: int) -> data.Split:
  """Draw random images and labels; their values make no difference to the time."""
  rng = np.random.default_rng(0)
  return data.Split(
    rng.integers(0, 256, (count, *shape), np.uint8), rng.integers(0, 10, count, np.int32)
  )


def programs(shape, count, backbone, batch):
  """Return the programs of an experiment with this network, and its training split."""
  train = examples(shape, count)
  few = data.Split(train.images[:10], train.labels[:10])
  names = tuple(map(str, range(10)))
  splits = assembly.Splits(
    "random", train, few, few, 10, names, *data.channel_statistics(train.images)
  )
  config = default.get_config()
  config.batch_size = batch
  config.backbone = backbone
  config.optimizer.schedule = "constant"
  return assembly.make_programs(config, splits, "softmax"), train


def _ours(shape, count, backbone, batch):
  made, train = programs(shape, count, backbone, batch)
  images, labels = jax.device_put((train.images, train.labels))
  state = made.init(0)
  epoch = 0

  def run():
    nonlocal state, epoch
    order = made.shuffle(state, epoch, count // batch, batch, count)
    state = made.run_steps(state, images, labels, order, 0, count // batch)
    state.step.block_until_ready()
    epoch += 1

  return run
