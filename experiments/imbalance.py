"""Compare heads where some classes are rare, and say which claims about priors hold.

    python -m experiments.imbalance --config=configs/imbalance_mnist.py --workdir=runs/mnist
    python -m experiments.imbalance --config=configs/imbalance_cifar10.py \\
        --workdir=runs/cifar10 --config.settings=step:largest=1000:ratio=50

All seeds of a head train at once. Predictions are judged with every class weighing the same and
with classes weighing as in training, as they are and moved to that prior. Every finished (setting,
head, seed) is appended at once to results.jsonl; the same command goes on after an interruption,
and takes more settings, heads or seeds. report.md has the claims, tables and figures.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from ml_collections import ConfigDict

from configs import imbalance_mnist
from experiments import assembly, classifiers
from experiments.imbalanced import judging, report, settings
from experiments.ledger import prior_claims
from softmax_research import study, training


def cells(config: ConfigDict) -> list[dict[str, Any]]:
  """List the heads of each setting."""
  return [
    {"setting": name, "head": head}
    for name in settings.names(config)
    for head in settings.heads_of(config, name)
  ]


def check(config: ConfigDict) -> None:
  settings.check_config(config)
  if not cells(config):
    raise ValueError(
      f"Got heads={config.heads!r} and control_heads={config.control_heads!r}, which leave the "
      "only settings, controls, without a head. Name a head in both."
    )


def prepare(config: ConfigDict, left: Sequence[dict[str, Any]]) -> dict[str, settings.Setting]:
  """Make the settings that are needed, and see that the heads fit them."""
  made = settings.make_settings(config, list(dict.fromkeys(cell["setting"] for cell in left)))
  for cell in left:
    splits = made[cell["setting"]].splits
    training.check_batch_size(config.batch_size, len(splits.train.labels))
    assembly.make_programs(config, splits, cell["head"])
  return made


def run(cell: dict[str, Any], context: study.Context) -> Iterator[list[study.Record]]:
  """Train the seeds of a head in a setting, and judge their predictions."""
  setting = context.prepared[cell["setting"]]
  trained = classifiers.train(context, context.settings, setting.splits, cell["head"])
  for of in trained:
    of.record["measured"]["dataset"] = setting.describe()
    if of.predictions is not None:
      of.record["metrics"] = judging.judge(setting, cell["head"], *of.predictions)
  yield [of.record for of in trained]


def estimate(cell: dict[str, Any], context: study.Context) -> float:
  """Estimate the seconds that the seeds of a cell take."""
  splits = context.prepared[cell["setting"]].splits
  return classifiers.estimate(context, context.settings, splits, cell["head"])


def summarise(made: dict[str, Any]) -> str:
  """Say in a line how a seed ended."""
  if made["status"] != "finished":
    return classifiers.summarise(made)
  accuracy = made["metrics"]["balanced"]["as_is"]["macro_accuracy"]
  return f"macro accuracy {accuracy:.2%}, {classifiers.speed(made)}"


STUDY = study.Study(
  imbalance_mnist.get_config,
  cells,
  run,
  report.blocks,
  name="imbalance",
  check=check,
  prepare=prepare,
  selects=("settings", "heads", "control_heads", "seeds"),
  estimate=estimate,
  summarise=summarise,
  claims=prior_claims.CLAIMS,
)

if __name__ == "__main__":
  classifiers.main(STUDY, default_config="configs/imbalance_mnist.py")
