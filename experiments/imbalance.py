"""Compare heads where some classes are rare, and say which claims about priors hold.

    python -m experiments.imbalance --config=configs/imbalance_mnist.py --workdir=runs/mnist
    python -m experiments.imbalance --config=configs/imbalance_cifar10.py \\
        --workdir=runs/cifar10 --config.settings=step:largest=1000:ratio=50

All seeds of a head train at once. Predictions are judged with every class weighing the same and
with classes weighing as in training, as they are and moved to that prior. Every finished (setting,
head, seed) is appended at once to results.jsonl; the same command goes on after an interruption,
and takes more settings, heads or seeds. report.md has the claims, tables and figures.
"""

from experiments import classifiers
from experiments.imbalanced.experiment import STUDY

if __name__ == "__main__":
  classifiers.main(STUDY, default_config="configs/imbalance_mnist.py")
