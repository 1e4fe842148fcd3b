"""Predict with a model that a script trained, and write a CSV.

    python -m experiments.train --config=configs/digits.py --workdir=runs/taylor --head=taylor
    python -m experiments.predict --workdir=runs/taylor --head=taylor --images=photos:size=8

A row is an image: its name, the predicted class, its probability, and the log-probability of every
class. Images are an npy or npz file (under images or test_images), a folder of images, or a single
one, and are standardised as those that the model was trained on. From Python, training.load is the
same.
"""

import csv
import pathlib

import numpy as np
from absl import flags

from softmax_research import registry, training
from softmax_research.data import files
from softmax_research.study import command

_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Of experiments.train, or of experiments.compare --keep_models.", required=True
)
_HEAD = flags.DEFINE_string("head", "softmax", "Head as name:option=value.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed.")
_BACKBONE = flags.DEFINE_string("backbone", "", "Network, where several were compared.")
_OPTIMIZER = flags.DEFINE_string("optimizer", "", "Optimiser, where several were compared.")
_IMAGES = flags.DEFINE_string(
  "images", None, "File or folder; folder:size=32 scales its images to 32 by 32.", required=True
)
_OUT = flags.DEFINE_string("out", None, "CSV file; by default predicted.csv in the workdir.")


def main() -> None:
  cell = {"backbone": _BACKBONE.value, "optimizer": _OPTIMIZER.value}
  model = training.load(
    _WORKDIR.value, _HEAD.value, _SEED.value, **{key: of for key, of in cell.items() if of}
  )
  path, options = registry.parse(_IMAGES.value, kind="images", example="photos:size=32")
  if set(options) - {"size"}:
    raise ValueError(f"Got --images={_IMAGES.value}; the only option is size, as {path}:size=32.")
  names, images = files.read_images(pathlib.Path(path), **options)
  log_probs = model(images)
  class_names = model.about["dataset"]["class_names"]
  out = pathlib.Path(_OUT.value or pathlib.Path(_WORKDIR.value, "predicted.csv")).expanduser()
  rows = [["image", "class", "probability", *(f"log p({name})" for name in class_names)]]
  for name, row in zip(names, log_probs.astype(float), strict=True):
    best = int(row.argmax())
    numbers = [f"{x:.6g}" for x in (np.exp(row[best]), *row)]
    rows.append([name, class_names[best], *numbers])
  out.parent.mkdir(parents=True, exist_ok=True)
  # Names of files may have bytes that are no text.
  with out.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
    csv.writer(file).writerows(rows)
  print(f"{len(names)} predictions: {out}")


if __name__ == "__main__":
  command.run_script(main)
