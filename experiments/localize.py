"""Localise objects by class activation maps: CAM, infoCAM and infoCAM+.

    python -m experiments.localize --config=configs/localize_digits.py --workdir=runs/digits
    python -m experiments.localize --config=configs/localize_objects.py --workdir=runs/objects
    python -m experiments.localize --config=configs/localize_objects.py --workdir=runs/birds \\
        --config.folder=CUB_200_2011

A net learns the classes of scenes alone; boxes are then cut from its maps and judged by the true
ones. Thresholds are the paper's, or chosen on validation scenes. Seeds train side by side; every
finished (head, seed) is appended at once to results.jsonl, and the same command run again makes
only what is missing.
"""

from experiments import classifiers
from experiments.localization.experiment import STUDY

if __name__ == "__main__":
  classifiers.main(STUDY, default_config="configs/localize_digits.py")
