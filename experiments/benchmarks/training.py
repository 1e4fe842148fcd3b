"""Training: whole epochs by the programs that experiments run, against PyTorch's eager loop."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from configs import default
from experiments import assembly
from experiments.benchmarks import pytorch
from experiments.benchmarks.losses import repeat_step
from experiments.benchmarks.timing import OURS, Case, Run, first_step
from softmax_research import data
from softmax_research.training import make_optimizer

BATCH = 128

#: For each case the shape of the images, how many make an epoch, and the backbone.
NETWORKS: dict[str, tuple[tuple[int, ...], int, dict[str, Any]]] = {
  "mlp 784-512-512-10": (
    (28, 28, 1),
    60_000,
    {"name": "mlp", "widths": (512, 512)},
  ),
  "cnn conv32-conv64-dense256 on 28x28": (
    (28, 28, 1),
    6_400,
    {"name": "cnn", "stages": ((32,), (64,)), "dense": (256,)},
  ),
  "cnn of six convolutions with batch norm on 32x32": (
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

#: What a first step is timed of: the flags of `experiments.train`.
FIRST_STEPS = {
  "digits, mlp": ["--config=configs/digits.py"],
  "digits, cnn with batch norm": ["--config=configs/cifar10_cnn.py", "--config.dataset=digits"],
}
#: Seeds that train together in one program, and the epoch's images.
SEEDS, SEEDS_IMAGES = 8, 2_560


def cases() -> list[Case]:
  """Return the cases of networks, of seeds and of first steps; the unit is a step of one run.

  The peer "matrix product" is a large one's time for as many operations: `speedup` is our share.
  """
  torch, alone, at_once = pytorch.training_side, [], []
  for name, (shape, count, backbone) in NETWORKS.items():
    whole, few = ((shape, n, backbone, BATCH) for n in (count, min(count, SEEDS_IMAGES)))
    product = functools.partial(matrix_product, step_operations(*whole))
    of_network = {
      OURS: functools.partial(one_run, *whole),
      "PyTorch": functools.partial(torch, *whole, tuned=False),
      "PyTorch, fused Adam and channels last": functools.partial(torch, *whole, tuned=True),
      "matrix product": product,
    }
    of_seeds = {
      OURS: functools.partial(together, *few, SEEDS),
      "one seed after another": functools.partial(one_run, *few),
      "matrix product": product,
      "Adam's update alone": functools.partial(_updates, *few),
    }
    alone.append(Case(name, of_network))
    at_once.append(Case(f"{SEEDS} seeds, {name}", of_seeds))
  at_first = [
    Case(
      f"first step, {name}",
      {
        OURS: functools.partial(first_step, flags, kept=True),
        "no compiled programs kept": functools.partial(first_step, flags, kept=False),
      },
    )
    for name, flags in FIRST_STEPS.items()
  ]
  return [*alone, *at_once, *at_first]


def make_experiment(shape, count, backbone, batch) -> tuple[ConfigDict, assembly.Splits]:
  """Return the configuration and random data, whose values do not change the time."""
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (count, *shape), np.uint8)
  train = data.Split(images, rng.integers(0, 10, count, np.int32))
  few = data.Split(train.images[:10], train.labels[:10])
  classes = tuple(map(str, range(10)))
  statistics = data.channel_statistics(train.images)
  splits = assembly.Splits("random", train, few, few, classes, *statistics)
  config = default.get_config()
  config.batch_size = batch
  config.backbone = backbone
  config.optimizer.schedule = "constant"
  return config, splits


def step_operations(shape, count, backbone, batch) -> int:
  """Count a step's multiplications and additions, those of products and plain convolutions.

  Example:
    >>> step_operations((28, 28, 1), 128, {"name": "mlp", "widths": (512, 512)}, 1)
    3209216
  """
  del count
  height, width, fan_in = shape
  layers = []
  for filters in backbone.get("stages", ()):
    for features in filters:
      layers.append(height * width * 9 * fan_in * features)
      fan_in = features
    height, width = height // 2, width // 2
  fan_in *= height * width
  for features in (*backbone.get("widths", ()), *backbone.get("dense", ()), 10):
    layers.append(fan_in * features)
    fan_in = features
  # Forward, gradient of the kernel, gradient of the inputs; the images need none.
  return 2 * batch * (3 * sum(layers) - layers[0])


def one_run(shape, count, backbone, batch) -> Run:
  """Train one run, an epoch at a time."""
  config, splits = make_experiment(shape, count, backbone, batch)
  programs, train = assembly.make_programs(config, splits, "softmax"), splits.train
  images, labels = jax.device_put((train.images, train.labels))
  state, epoch, steps = programs.init(0), 0, count // batch

  def run():
    nonlocal state, epoch
    order = programs.shuffle(state, epoch, steps, batch, count)
    state = programs.run_steps(state, order, images, labels, 0, steps)
    state.step.block_until_ready()
    epoch += 1
    return steps

  return run


def together(shape, count, backbone, batch, num_seeds: int, seeds_by="auto") -> Run:
  """Train seeds in one program, as `experiments.compare` does."""
  options = assembly.device_options()
  options.seeds_by = seeds_by
  assembly.prepare_devices(options, num_seeds)
  return train_seeds(shape, count, backbone, batch, num_seeds, options)


def train_seeds(shape, count, backbone, batch, num_seeds: int, options: ConfigDict) -> Run:
  """Train seeds in one program on the devices that there are."""
  config, splits = make_experiment(shape, count, backbone, batch)
  layout = assembly.lay_out(config, splits, options, num_seeds)
  programs = assembly.make_parallel_programs(config, splits, "softmax", layout)
  held = programs.hold(splits.train.images, splits.train.labels)
  states, epoch, steps = programs.init(range(num_seeds)), 0, count // batch

  def run():
    nonlocal states, epoch
    batches = programs.deal(states, held, epoch, steps, batch)
    states = programs.run_steps(states, batches, 0, steps)
    jax.block_until_ready(states.step)
    epoch += 1
    return num_seeds * steps

  return run


def _updates(shape, count, backbone, batch) -> Run:
  """Update all seeds by gradients that are given; the unit of work is the update of one."""
  config, splits = make_experiment(shape, count, backbone, batch)
  optimizer = make_optimizer(config.optimizer, num_steps=1)
  programs = assembly.make_programs(config, splits, "softmax")
  params = jax.vmap(programs.init)(jnp.arange(SEEDS)).params
  gradient, opt_state = jax.tree.map(jnp.ones_like, params), jax.vmap(optimizer.init)(params)

  def update(params, opt_state, gradient):
    updates, opt_state = jax.vmap(optimizer.update)(gradient, opt_state, params)
    return optax.apply_updates(params, updates), opt_state

  return repeat_step(update, params, opt_state, gradient, units=SEEDS)


def matrix_product(operations: int, size: int = 2048, count: int = 1, dtype="float32") -> Run:
  """Multiply matrices of this size so many times; the unit of work is so many operations."""
  left, right = jax.random.normal(jax.random.key(0), (2, size, size)).astype(dtype)
  product = jax.jit(jnp.matmul)

  def run():
    jax.block_until_ready([product(left, right) for _ in range(count)])
    return 2 * count * math.pow(size, 3) / operations

  return run
