"""The study of localisation: nets trained on scenes, and their maps judged by the true boxes."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from configs import localize_digits
from experiments import assembly, classifiers
from experiments.localization import judging, map_claims, maps, material, report
from softmax_research import data, heads, study


class Prepared(NamedTuple):
  """Hold the scenes, the same as splits, and what computes a trained net's maps."""

  material: material.Material
  splits: assembly.Splits
  mapper: Callable[..., jax.Array]


def cells(config: ConfigDict) -> list[dict[str, Any]]:
  """Return a cell a head."""
  return [{"head": head} for head in heads.split(config.heads)]


def prepare(config: ConfigDict, left: Sequence[dict[str, Any]]) -> Prepared:
  """Make the scenes, and see that the heads have a kernel that gives maps."""
  made = material.make(config)
  splits = material.splits(made)
  for cell in left:
    state = jax.eval_shape(assembly.make_programs(config, splits, cell["head"]).init, 0)
    maps.check_head(cell["head"], state.params["head"], splits.num_classes)
  preprocess = functools.partial(data.standardise, mean=splits.mean, std=splits.std)
  return Prepared(made, splits, maps.make_mapper(config.backbone.to_dict(), preprocess))


def run(cell: dict[str, Any], context: study.Context) -> Iterator[list[study.Record]]:
  """Train the seeds of a head and judge their maps; of the first seed some maps are kept."""
  made, splits, mapper = context.prepared
  trained = classifiers.train(context, context.settings, splits, cell["head"])
  records = []
  for of in trained:
    more = {}
    if of.predictions is not None:
      localisation, examples = judging.judge(mapper, made, of.state, of.predictions)
      more = {"localisation": localisation} | ({"examples": examples} if of.seed == 0 else {})
    records.append(of.record(context, measured=more))
  yield records


def estimate(cell: dict[str, Any], context: study.Context) -> float:
  """Estimate the seconds that the seeds of a head take to train."""
  splits = context.prepared.splits
  return classifiers.estimate(context, context.settings, splits, cell["head"])


def summarise(made: study.Record) -> str:
  """Say in a line how a seed ended."""
  text = classifiers.summarise(made)
  if made["status"] != "finished":
    return text
  shares = [
    f"{kind} {report.share(made, kind, 'plain', 'chosen', 'known'):.1%}" for kind in maps.KINDS
  ]
  return f"{text}; boxes found at 0.5: {', '.join(shares)}"


STUDY = study.Study(
  localize_digits.get_config,
  cells,
  run,
  report.blocks,
  name="localize",
  check=material.check_config,
  prepare=prepare,
  selects=("heads", "seeds"),
  estimate=estimate,
  summarise=summarise,
  claims=map_claims.CLAIMS,
  devices=True,
)
