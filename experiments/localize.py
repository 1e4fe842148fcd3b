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

from experiments.classifiers import devices
from experiments.localization.experiment import STUDY
from softmax_research import study

if __name__ == "__main__":
  study.main(
    STUDY,
    default_config="configs/localize_digits.py",
    devices=devices.get_options,
    prepare_devices=lambda options, config: devices.prepare(options, config.get("seeds", 1)),
  )
