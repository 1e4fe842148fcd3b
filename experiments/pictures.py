"""Pictures in records: arrays of bytes as PNG, in the base64 text that JSON holds."""

import base64
import io

import numpy as np
import PIL.Image


def to_text(image: np.ndarray) -> str:
  """Encode a picture.

  Args:
    image: uint8 `[H, W]`, `[H, W, 1]` or `[H, W, 3]`.

  Example:
    >>> from_text(to_text(np.array([[0, 255]], np.uint8))).tolist()
    [[0, 255]]
  """
  encoded = io.BytesIO()
  PIL.Image.fromarray(image.squeeze() if image.ndim == 3 else image).save(encoded, "png")
  return base64.b64encode(encoded.getvalue()).decode()


def from_text(text: str) -> np.ndarray:
  """Decode what `to_text` returned."""
  return np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(text))))
