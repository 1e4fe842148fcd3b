"""Compare heads over several seeds on one data set, and write a report.

    python -m experiments.compare --config=configs/digits.py --workdir=runs/digits \\
        --config.heads=softmax,taylor:order=4,sm:margin=0.6 --config.seeds=5
    python -m experiments.compare --workdir=runs/activations \\
        --config.heads=softmax --config.backbone=mlp:activation=relu,mlp:activation=tanh

Networks and optimisers are compared like heads: each combination of those that are named is a row.
All seeds of a row train at once, over the devices that there are; see docs/devices.rst. Every
finished seed is appended at once to results.jsonl in the working directory. The same command run
again makes only what is missing; more heads or seeds may be asked for. Seeds under way are saved at
the end of an epoch, at most every ten seconds, and on SIGTERM and SIGINT (Ctrl-C); the same command
goes on from there.
"""

from experiments import comparison
from experiments.classifiers import devices
from softmax_research import study

STUDY = comparison.STUDY

if __name__ == "__main__":
  study.main(
    STUDY,
    default_config="configs/digits.py",
    devices=devices.get_options,
    prepare_devices=lambda options, config: devices.prepare(options, config.get("seeds", 1)),
  )
