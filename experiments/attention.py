"""Which attention for which task: images, language, recall, and lengths beyond those of training.

    python -m experiments.attention --workdir=runs/attention
    python -m experiments.attention --workdir=runs/attention --parts=recall --seeds=3
    python -m experiments.attention --workdir=runs/cifar --parts=images --dataset=cifar10 --patch=4

Small transformers that differ in what makes weights of logits alone. Images are classified by a
vision transformer; bytes of a text and associations are predicted by a decoder, which is judged on
sequences longer than those that it was trained with too.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments import attention_tasks
from experiments.ledger import study_claims
from softmax_research import data, heads, nn, study


class Settings(NamedTuple):
  """Hold the study's settings.

  Attributes:
    parts: of images, language and recall.
    attentions: texts that nn.ATTENTIONS reads.
    dataset: of the images.
    data_dir: where data lie that need files.
    text: pydoc, the language reference that Python carries, or the path of a file.
    head: on the features, as for other scripts.
    width: features of a position.
    depth: number of blocks.
    heads: number of heads.
    patch: side of an image's patch.
    length: bytes of a training sequence.
    pairs: of a training sequence of recall.
    keys: number of distinct keys of recall.
    values: number of distinct values of recall.
    longer: how many times as long the longer tests are.
    image_steps: steps of training on images.
    text_steps: steps of training on a text.
    recall_steps: steps of training on recall.
    image_batch: images of a step.
    text_batch: sequences of a step on a text.
    recall_batch: sequences of a step of recall.
    learning_rate: the highest of a cosine after a tenth of warm-up, of AdamW.
    num_test: images that are judged; of sequences a quarter of them.
    points: how often a test is taken in training.
    seeds: number of seeds.
  """

  parts: tuple[str, ...] = ("images", "language", "recall")
  attentions: tuple[str, ...] = (
    "softmax",
    "softmax:sink=0.0",
    "softmax:length_scale=True",
    "entmax:alpha=1.5",
    "sparsemax",
    "sigmoid",
    "relu",
    "softpick",
    "taylor_linear",
  )
  dataset: str = "digits"
  data_dir: str = ""
  text: str = "pydoc"
  head: str = "softmax"
  width: int = 32
  depth: int = 2
  heads: int = 2
  patch: int = 2
  length: int = 64
  pairs: int = 8
  keys: int = 32
  values: int = 16
  longer: tuple[int, ...] = (2, 4)
  image_steps: int = 600
  text_steps: int = 500
  recall_steps: int = 1500
  image_batch: int = 64
  text_batch: int = 16
  recall_batch: int = 64
  learning_rate: float = 3e-3
  num_test: int = 512
  points: int = 5
  seeds: int = 5


def check(settings: Settings) -> None:
  numbers = [name for name, value in Settings()._asdict().items() if isinstance(value, int)]
  least = dict.fromkeys(numbers, 1) | {"num_test": 4, "longer": 2, "learning_rate": 1e-9}
  study.check_numbers(settings, **least)
  study.check_numbers(settings, keys=settings.pairs * max(settings.longer))
  for part in settings.parts:
    if part not in attention_tasks.TASKS:
      raise ValueError(f"Got --parts={part}; the parts are {', '.join(attention_tasks.TASKS)}.")
  if "images" in settings.parts:
    data.check_name(settings.dataset)
  if "language" in settings.parts:
    attention_tasks.encode_bytes(settings.text, settings.length * max(settings.longer))
  for attention in settings.attentions:
    jax.eval_shape(functools.partial(_attend, settings, attention))
  if heads.make(settings.head, 2).tracker is not None:
    raise ValueError(f"Got --head={settings.head}, whose running numbers are not kept here.")


def _attend(settings: Settings, attention: str) -> jax.Array:
  """Return what a layer of the networks makes of two positions, which shows wrong options."""
  layer = nn.SelfAttention(
    settings.width,
    num_heads=settings.heads,
    attention=attention,
    rotary=set(settings.parts) != {"images"},  # As the decoder has them.
    rngs=nnx.Rngs(0),
  )
  return layer(jnp.ones((1, 2, settings.width)))


def cells(settings: Settings) -> list[dict[str, Any]]:
  return [
    {"part": part, "attention": attention}
    for part in settings.parts
    for attention in settings.attentions
  ]


@functools.lru_cache(maxsize=1)  # Its programs serve the cell's seeds.
def _trainer(settings: Settings, part: str, attention: str) -> attention_tasks.Trainer:
  steps = {"images": "image_steps", "language": "text_steps", "recall": "recall_steps"}[part]
  task = attention_tasks.TASKS[part](settings, attention)
  return attention_tasks.Trainer(task, settings, getattr(settings, steps))


def prepare(settings: Settings, left: Sequence[dict[str, Any]]) -> None:
  """Make a network of each part, which shows data and sizes that do not fit each other."""
  for cell in {cell["part"]: cell for cell in reversed(left)}.values():
    _trainer(settings, **cell)


def run(cell: dict[str, Any], context: study.Context) -> Iterator[study.Record]:
  """Train the missing seeds of a cell, and measure tests and weights."""
  trainer = _trainer(context.settings, **cell)
  for seed in context.seeds:
    curves = []
    for point in trainer.train(seed):
      curves.append(point)
      if context.interruption():
        context.interrupt()
    metrics = {name: trainer.test(trainer.params, name) for name in trainer.task.tests}
    numbers, picture = trainer.describe()
    measured = numbers | {"step_ms": 1e3 * curves[-1]["seconds"] / curves[-1]["step"]}
    if seed == context.seeds[0]:
      measured["picture"] = picture
    yield context.record(
      seed,
      metrics=metrics,
      curves={name: [point[name] for point in curves] for name in curves[0]},
      measured=measured,
    )


def report(records: Sequence[study.Record], settings: Settings) -> Iterator[study.Block]:
  yield "# Attention by what makes its weights"
  yield (
    f"Transformers of {settings.depth} blocks of width {settings.width}, which differ in nothing "
    "else. Numbers are means over the seeds ± their standard deviation; times are this machine's. "
    "At equal time a test is read when the fastest run of all has ended, between points of the "
    "curve: a slower attention is read in the middle of its schedule, before its learning rate has "
    "fallen, so that this comparison is biased against slower ones."
  )
  for part in settings.parts:
    own = [made for made in records if made["cell"]["part"] == part]
    if not any(made["status"] == "finished" for made in own):
      continue
    own = [made | {"measured": made["measured"] | _at_equal_time(made, own)} for made in own]
    yield f"## {_TITLES[part].format(**settings._asdict())}"
    yield from _of_part(part, own, settings)


_TITLES = {
  "images": "Images: {dataset}, patches of side {patch}",
  "language": "Language: bytes of {text}, trained with {length} at a time",
  "recall": "Recall: trained with {pairs} pairs of a key and a value",
}


def _of_part(part: str, records, settings) -> Iterator[study.Block]:
  metric = "bits" if part == "language" else "accuracy"
  longer = [f"metrics/{times} times as long/{metric}" for times in settings.longer]
  measures = [f"metrics/test/{metric}", *(longer if part != "images" else ())]
  measures = [study.measure_of(path) for path in measures]
  labels = [metric, *(f"{metric}, {times} times as long" for times in settings.longer)]
  measures = [m._replace(label=label) for m, label in zip(measures, labels, strict=False)]
  equal_time = study.measure_of(f"measured/equal_time_{metric}")
  by = ("attention",)
  names = {made["cell"]["attention"] for made in records}
  baseline = "softmax" if "softmax" in names else None
  yield study.table(
    records, rows=by, measure=[*measures, equal_time, "step_ms"], baseline=baseline, name=part
  )
  if len(names) > 1:
    yield study.differences(
      records, measure=measures[0], rows=by, baseline=baseline, name=f"{part}_differences"
    )
  yield (
    "Of the weights after training: entropy of their shares in nats, number of keys with a "
    "thousandth or more, share of the first key, their sum; and kurtosis of the activations after "
    "a block (3 for a normal distribution)."
  )
  numbers = ("entropy", "support", "first", "total", "kurtosis")
  yield study.table(records, rows=by, measure=numbers, baseline=baseline, name=f"{part}_weights")
  curves = study.curves(
    records,
    panels={metric: metric},
    by=by,
    x="step",
    name=f"{part}_curves",
    heading=f"Training on {part}",
  )
  if curves is not None:
    yield curves
  yield _pictures(part, records)


def _at_equal_time(record: study.Record, records) -> dict[str, float]:
  """Return the test's measure when the fastest run was done, between points of the curve."""
  done = [made["curves"]["seconds"][-1] for made in records if made["curves"].get("seconds")]
  curves = record["curves"]
  if not curves.get("seconds"):
    return {}
  return {
    f"equal_time_{metric}": float(np.interp(min(done), curves["seconds"], curves[metric]))
    for metric in ("bits", "accuracy")
    if metric in curves
  }


def _pictures(part: str, records) -> study.Plot:
  """Show weights of one head, queries downwards and keys to the right."""
  from softmax_research.study import figure_style  # noqa: PLC0415  # It loads Matplotlib.

  shown = [made for made in records if made["measured"].get("picture")]
  with figure_style.style_context():
    names = [made["cell"]["attention"] for made in shown]
    figure, axes = figure_style.grid_of_axes(names, columns=4, height=2.5)
    for axis, made in zip(axes, shown, strict=True):
      axis.imshow(np.sqrt(np.array(made["measured"]["picture"])), cmap="Greys", vmin=0, vmax=1)
      axis.set_axis_off()
  caption = (
    "The first head of the last block, for the first test sequence and the first seed; queries "
    "downwards, keys to the right. Black is a weight of 1; grey grows with the root of the weight."
  )
  return study.Plot(f"{part}_weights_shown", f"Weights in {part}", caption, figure)


STUDY = study.Study(
  Settings,
  cells,
  run,
  report,
  name="attention",
  check=check,
  prepare=prepare,
  selects=("parts", "attentions", "seeds"),
  claims=lambda settings: (
    study_claims.OF_ATTENTION
    if 4 in settings.longer
    else study_claims.but_for("4 times as long", study_claims.OF_ATTENTION)
  ),
)

if __name__ == "__main__":
  study.main(STUDY)
