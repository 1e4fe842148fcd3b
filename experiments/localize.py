"""Localise objects by class activation maps (CAM, infoCAM, infoCAM+) and by a sliding window.

    python -m experiments.localize --config=configs/localize_digits.py --workdir=runs/digits
    python -m experiments.localize --config=configs/localize_objects.py --workdir=runs/objects
    python -m experiments.localize --config=configs/localize_objects.py --workdir=runs/birds \\
        --config.folder=CUB_200_2011

A net learns the classes of scenes alone; boxes are then cut from its maps and judged by the true
ones. A sliding window's map is the net's probability of the class in windows of half the side, a
quarter of a window apart, averaged at each position. Thresholds are the paper's, or chosen on
validation scenes. Seeds train side by side; every finished (head, seed) is appended at once to
results.jsonl, and the same command run again makes only what is missing.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from configs import localize_digits
from experiments import assembly, classifiers
from experiments.ledger import map_claims
from experiments.localization import maps, material, report
from softmax_research import data, heads, registry, study


def cells(config: ConfigDict) -> list[dict[str, Any]]:
  """Return a cell a head."""
  return [{"head": head} for head in heads.split(config.heads)]


def prepare(config: ConfigDict, left: Sequence[dict[str, Any]]) -> tuple[assembly.Splits, Any]:
  """Make the scenes and what computes a net's maps; see that the heads have a kernel for them."""
  splits = material.make(config)
  for cell in left:
    state = jax.eval_shape(assembly.make_programs(config, splits, cell["head"]).init, 0)
    maps.check_head(cell["head"], state.params["head"], splits.num_classes)
  preprocess = functools.partial(data.standardise, mean=splits.mean, std=splits.std)
  return splits, maps.make_mapper(registry.parse(config.backbone)[1], preprocess)


def run(cell: dict[str, Any], context: study.Context) -> Iterator[list[study.Record]]:
  """Train the seeds of a head and judge their maps; of the first seed some maps are kept."""
  splits, mapper = context.prepared
  trained = classifiers.train(context, context.settings, splits, cell["head"])
  for made, predictions, state in trained:
    if predictions is not None:
      localisation, examples = maps.judge(mapper, splits, state, predictions)
      made["measured"]["localisation"] = localisation
      if made["seed"] == 0:
        made["measured"]["examples"] = examples
  yield [of.record for of in trained]


def estimate(cell: dict[str, Any], context: study.Context) -> float:
  """Estimate the seconds that the seeds of a head take to train."""
  splits, _ = context.prepared
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
)

if __name__ == "__main__":
  classifiers.main(STUDY, default_config="configs/localize_digits.py")
