"""Run a paper's table, under its own protocol or a smaller one, beside the paper's numbers.

    python -m experiments.reproduce --config=configs/liu2016.py --variant=cpu \\
        --workdir=runs/liu2016

A cell is a method in a setting with its seeds. Finished seeds are appended to results.jsonl in the
working directory; the same command goes on from wherever it was interrupted. Where a table
searches hyperparameters, each method's trials are cells before its own. A cell that fails is
recorded, the others go on, and the exit status is 1. --dry_run lists the cells with their estimated
time, and with --estimate_all the finished ones too, beside what they took. --only=REGEX and
--shard=3/16 take some of the cells, so that machines can share a table: once all are there, the
same command without either writes the report.

Where a paper's numbers are those of another study, as in configs/qin2019.py, its cells are that
study's: what the study has recorded below the working directory is taken over.
"""

from experiments import classifiers
from experiments.reproduction import paper_table

STUDY = paper_table.STUDY

if __name__ == "__main__":
  classifiers.main(STUDY, num_seeds=paper_table.most_seeds, more=paper_table.Flags)
