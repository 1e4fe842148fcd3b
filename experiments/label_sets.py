"""Which digits are in a scene: one against all, or distributions over the set of its labels?

    python -m experiments.label_sets --workdir=runs/label_sets
    python -m experiments.label_sets --workdir=runs/label_sets_mnist --dataset=mnist

Scenes are a grid, some places of which show a digit. One against all learns each label by itself;
of other heads the target is the uniform distribution over the scene's labels. A label is predicted
where its score reaches a threshold, which is chosen on validation scenes.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import assembly
from softmax_research import data, heads, nn, study, training


class Settings(NamedTuple):
  """Hold the study's settings.

  Attributes:
    dataset: images, of which scenes are made.
    heads: what is compared, the first with the others.
    seeds: runs of each.
    grid: side of a scene, in images.
    most: how many images a scene shows at most; it shows at least one.
    num_train: scenes for training; a fifth as many for validation and as many for the test.
    backbone: the network.
    epochs: passes over the training scenes.
    learning_rate: Adam's, which falls to 0 by a cosine.
  """

  dataset: str = "digits"
  heads: tuple[str, ...] = ("one_vs_all", "softmax", "sparsemax")
  seeds: int = 5
  grid: int = 2
  most: int = 3
  num_train: int = 3000
  backbone: str = "mlp:widths=256:dropout=0.3"
  epochs: int = 20
  learning_rate: float = 2e-3


_BATCH = 64


def _make_optimizer(settings: Settings, num_steps: int) -> optax.GradientTransformation:
  options = {"name": "adam", "learning_rate": settings.learning_rate, "schedule": "cosine"}
  return training.make_optimizer(options, num_steps=num_steps)


def check(settings: Settings) -> None:
  study.check_numbers(settings, seeds=1, grid=1, most=1, epochs=1, num_train=5 * _BATCH)
  if settings.most > settings.grid**2:
    raise ValueError(f"Got most={settings.most}; a grid of {settings.grid} has fewer places.")
  data.check_name(settings.dataset)
  for head in settings.heads:
    heads.HEADS.parse(head)
  nn.NETWORKS.parse(settings.backbone)
  _make_optimizer(settings, 1)


def draw(
  split: data.Split, num_classes: int, number: int, settings: Settings, seed: int
) -> data.Split:
  """Draw scenes uint8 `[N, S, S, C]` with labels int32 `[N, K]`, 1 for what is in them."""
  rng, (height, width, depth) = np.random.default_rng(seed), split.images.shape[1:]
  side = settings.grid
  images = np.zeros((number, side * height, side * width, depth), np.uint8)
  labels = np.zeros((number, num_classes), np.int32)
  for scene, own in zip(images, labels, strict=True):
    for place in rng.permutation(side**2)[: rng.integers(1, settings.most + 1)]:
      top, left = place // side * height, place % side * width
      row = rng.integers(len(split.labels))
      scene[top : top + height, left : left + width] = split.images[row]
      own[split.labels[row]] = 1
  return data.Split(images, labels)


def prepare(settings: Settings, left: Sequence[dict[str, Any]]) -> tuple[data.Split, ...]:
  """Draw the scenes for training, validation and testing; those of a test show other images."""
  dataset = data.load(settings.dataset)
  if dataset.train.images.dtype != np.uint8:
    raise ValueError(f"Got dataset={settings.dataset!r}; scenes are made of images.")
  assembly.check_classes(dataset)
  for cell in left:
    _check_head(cell["head"], dataset.num_classes)
  train, validation = data.split_train_validation(dataset.train, fraction=0.2, seed=0)
  sizes = (settings.num_train, settings.num_train // 5, settings.num_train // 5)
  parts = zip((train, validation, dataset.test), sizes, strict=True)
  scenes = tuple(
    draw(split, dataset.num_classes, size, settings, seed)
    for seed, (split, size) in enumerate(parts)
  )
  shape, backbone = scenes[0].images.shape[1:], nn.make(settings.backbone)
  jax.eval_shape(lambda key: backbone.init(key, shape), jax.random.key(0))
  return scenes


def head_of(text: str, num_classes: int) -> heads.Head:
  """Make a head that takes rows of zeros and ones as labels and gives each class a score."""
  head = heads.make(text, num_classes)
  if text.partition(":")[0] == "one_vs_all":
    # Its log_prob divides by the classes' sum, as if there were one label.
    def score(params, features):
      return jax.nn.log_sigmoid(features @ params["kernel"] + params.get("bias", 0.0))

    return head._replace(log_prob=score)

  def loss(params, features, labels, **options):
    shares = labels / jnp.sum(labels, axis=-1, keepdims=True)
    return head.loss(params, features, shares, **options)

  return head._replace(loss=loss)


def _check_head(text: str, num_classes: int) -> None:
  """Raise a ValueError unless there is such a head, and it takes several labels of an example."""
  head, features = head_of(text, num_classes), jnp.zeros((1, 1))

  def loss(key):
    labels = jnp.ones((1, num_classes), jnp.int32)
    return head.loss(head.init(key, 1), features, labels, key=key)

  jax.eval_shape(loss, jax.random.key(0))


def run(cell: dict[str, Any], context: study.Context) -> Iterator[list[study.Record]]:
  settings = context.settings
  train, validation, test = context.prepared
  num_batches = len(train.labels) // _BATCH
  mean, std = data.channel_statistics(train.images)
  programs = training.make_programs(
    nn.in_form(nn.make(settings.backbone), "map"),
    head_of(cell["head"], train.labels.shape[1]),
    _make_optimizer(settings, num_batches * settings.epochs),
    input_shape=train.images.shape[1:],
    preprocess=lambda images: data.standardise(images, mean, std),
    augment=lambda key, images: images,
  )
  programs = training.parallelise(programs, training.make_layout(seeds_by="map"))
  fitted = training.fit(
    programs,
    train,
    None,
    seeds=context.seeds,
    num_epochs=settings.epochs,
    batch_size=_BATCH,
    on_progress=context.progress,
  )
  scores = [
    np.exp(training.predict(programs, fitted.states, of.images)) for of in (validation, test)
  ]
  seconds = context.share()
  records = []
  for seed, diverged, *of in zip(context.seeds, fitted.diverged, *scores, strict=True):
    if diverged:
      made = {"status": "diverged", "measured": {"diverged": diverged._asdict()}}
    else:
      on_validation, on_test = of
      threshold = training.best_threshold(on_validation, validation.labels)
      found = training.evaluate_sets(on_test, on_test >= threshold, test.labels)
      made = {"metrics": {"test": found}, "measured": {"threshold": threshold}}
    records.append(context.record(seed, seconds=seconds, **made))
  yield records


def report(records: Sequence[study.Record], settings: Settings) -> Iterator[study.Block]:
  yield f"# Which of {study.escape(settings.dataset)} are in a scene"
  yield (
    f"Scenes of 1 to {settings.most} images; mAP ranks the scenes of a class by its score, F1 and "
    "exact match are of the sets predicted from the threshold on that is best on validation. Each "
    "cell: mean ± standard deviation over n seeds and, in brackets, the mean difference from the "
    "first row with the p-value of a paired t-test, corrected by Holm's method for the rows; bold "
    "where it is below 0.05. All seeds have the same scenes."
  )
  shown = ("mean_average_precision", "micro_f1", "macro_f1", "exact_match", "threshold")
  yield study.compared(study.group(records, "head"), measure=shown, name="label_sets")


STUDY = study.Study(
  Settings,
  lambda settings: [{"head": head} for head in settings.heads],
  run,
  report,
  name="label_sets",
  check=check,
  prepare=prepare,
  selects=("heads", "seeds"),
)

if __name__ == "__main__":
  study.main(STUDY)
