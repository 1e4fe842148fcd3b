"""Estimate mutual information by classifiers and by critics, where the truth is known or not.

    python -m experiments.mutual_information --study=gaussians --workdir=runs/gaussians
    python -m experiments.mutual_information --study=staircase --workdir=runs/staircase
    python -m experiments.mutual_information --study=images --workdir=runs/mnist_pairs
    python -m experiments.mutual_information --study=images --dataset=cifar10 \\
        --workdir=runs/cifar10_pairs
    python -m experiments.mutual_information --study=sweep --workdir=runs/sweep
    python -m experiments.mutual_information --study=samples --x=x.npy --y=y.npy \\
        --workdir=runs/pairs

gaussians: Qin et al.'s five classes, balanced and imbalanced. staircase: correlated Gaussian
vectors whose information rises step by step, by the papers' protocol for separable critics; for
joint ones it is --joint_steps=4000 --joint_rate=5e-4. images:
pairs of real images whose classes went through a noisy channel. sweep: sample size, dimension,
imbalance and class count, one at a time. samples: pairs of your own, whose truth nobody knows.

Each study has settings of its own with defaults of its own; a flag that it has no use for is an
error that lists them. All estimators of a cell get the same samples, and are judged on data that
nothing was chosen on. Every finished cell is appended at once to results.jsonl; the same command
goes on after an interruption. report.md has bias, spread and intervals of each estimator.
"""

import jax

from experiments.information import gaussians, images, samples, staircase, sweep
from softmax_research import study
from softmax_research.training import environment

STUDIES = {
  "gaussians": gaussians.STUDY,
  "staircase": staircase.STUDY,
  "images": images.STUDY,
  "sweep": sweep.STUDY,
  "samples": samples.STUDY,
}

if __name__ == "__main__":
  # On CPU each core is a device, since a program of small products runs on one core alone.
  jax.config.update("jax_num_cpu_devices", environment.num_cores())
  study.main(STUDIES)
