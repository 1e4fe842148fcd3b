"""Finished models: a trained network with its head in one file, which needs the code of neither."""

import json
import pathlib
from typing import Any

import jax
import numpy as np
from jax import export

from softmax_research.data.files import as_images
from softmax_research.training.checkpoints import read_leaves, save_leaves
from softmax_research.training.parallel import fill_up
from softmax_research.training.step import Programs, TrainState

_BATCH = 256
_PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


class FinishedModel:
  """Predict with a trained network and its head.

  A call takes images ``[N, ...]`` as they were before standardisation, which it applies by the
  statistics of the training split, and returns log-probabilities ``float32 [N, K]``. It raises a
  ValueError for images of another shape or scale.

  Attributes:
    about: what was saved beside it: cell, seed and dataset, whose `class_names` are of the columns.
    image_shape: the shape of one image.
  """

  def __init__(self, path: pathlib.Path):
    try:
      with np.load(path) as file:
        self.about = json.loads(str(file["about"]))
        exported = export.deserialize(bytearray(file["program"]))
        *avals, images = exported.in_avals
        leaves = read_leaves(file, avals)
    except Exception as error:  # NumPy, zip files and JAX have many errors for damage.
      raise _damaged(path, error) from error
    self._leaves, self._program = jax.device_put(leaves), jax.jit(exported.call)
    self._num_classes = exported.out_avals[0].shape[-1]
    self.image_shape, self._dtype = images.shape[1:], images.dtype

  def __call__(self, images: np.ndarray) -> np.ndarray:
    given = np.asarray(images).dtype
    (images,) = as_images("Got images that do not fit", [np.asarray(images)])
    if images.shape[1:] != self.image_shape:
      raise ValueError(
        f"Got images of shape {images.shape}; the model takes "
        f"[N, {', '.join(map(str, self.image_shape))}]."
      )
    if images.dtype != self._dtype and np.uint8 in (given, self._dtype):
      raise ValueError(
        f"Got images of type {given}; the model was trained on {self._dtype} ones. Give them of "
        "that type and on the scale of these, of uint8 from 0 to 255."
      )
    if images.dtype != np.uint8 and not np.isfinite(images).all():
      raise ValueError("Got images with values that are not finite; leave them out.")
    outputs = [np.zeros((0, self._num_classes), np.float32)]
    for start in range(0, len(images), _BATCH):
      padded = fill_up(images[start : start + _BATCH].astype(self._dtype), _BATCH)
      outputs.append(np.asarray(self._program(self._leaves, padded), np.float32))
    return np.concatenate(outputs)[: len(images)]


def _damaged(path: pathlib.Path, error: Exception) -> ValueError:
  return ValueError(
    f"{path} cannot be read ({type(error).__name__}: {error}); remove it, and train it again if it "
    "is wanted."
  )


def export_prediction(programs: Programs, state: TrainState, images: np.ndarray) -> bytes:
  """Return the compiled form of a model's prediction, for any device and without parameters.

  Args:
    programs: of one seed on one device; see `make_programs`.
    state: of NumPy arrays, for its shapes and the method's numbers.
    images: at least one, as the model takes it.
  """
  leaves, tree = jax.tree.flatten((state.params, state.model_state))

  def predict(leaves, images):
    params, model_state = jax.tree.unflatten(tree, leaves)
    known = {"params": params, "model_state": model_state, "numbers": state.numbers}
    return programs.predict(TrainState(**dict.fromkeys(TrainState._fields) | known), images)

  batch = jax.ShapeDtypeStruct((_BATCH, *images.shape[1:]), images.dtype)
  return export.export(jax.jit(predict), platforms=_PLATFORMS)(leaves, batch).serialize()


def save_model(
  path: pathlib.Path, program: bytes, state: TrainState, about: dict[str, Any]
) -> None:
  """Write a model whole or not at all; `about` is what JSON can hold."""
  program = np.frombuffer(program, np.uint8)
  save_leaves(path, (state.params, state.model_state), about, program=program)


def load(workdir: str | pathlib.Path, head: str, seed: int = 0, **cell: str) -> FinishedModel:
  """Load a model that a script trained.

  Args:
    workdir: of `experiments.train`, or of `experiments.compare --keep_models`.
    head: the head, as it was named there.
    seed: the seed.
    **cell: the `backbone` and the `optimizer`, where several were compared.

  Returns:
    A function from images to log-probabilities; see `FinishedModel`.

  Raises:
    ValueError: there is no such model or there are several, or its file is damaged.

  Example:
    >>> load("runs/nowhere", "softmax")
    Traceback (most recent call last):
    ...
    ValueError: There are no models in runs/nowhere; experiments.train keeps them, and ...
  """
  wanted, found, damaged = {"head": head} | cell, {}, None
  for path in sorted(pathlib.Path(workdir, "models").expanduser().glob("*.npz")):
    try:
      with np.load(path) as file:
        about = json.loads(str(file["about"]))
      found[path] = about["cell"] | {"seed": about["seed"]}
    except Exception as error:
      damaged = _damaged(path, error)
  if not found and damaged is None:
    raise ValueError(
      f"There are no models in {workdir}; experiments.train keeps them, and experiments.compare "
      "with --keep_models."
    )
  fitting = [path for path, of in found.items() if (wanted | {"seed": seed}).items() <= of.items()]
  if not fitting and damaged is not None:  # It may be the one that is wanted.
    raise damaged
  if len(fitting) != 1:
    listed = "; ".join(", ".join(f"{k}={v}" for k, v in of.items()) for of in found.values())
    which = f"{len(fitting)} models of {workdir} are" if fitting else f"no model of {workdir} is"
    raise ValueError(
      f"Got head={head!r}, seed={seed}{''.join(f', {k}={v!r}' for k, v in cell.items())}; "
      f"{which} so. Name one of these: {listed}."
    )
  return FinishedModel(fitting[0])
