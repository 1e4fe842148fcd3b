"""Write scikit-learn's digits in every form that data of one's own may have, to try commands on.

python digits_in_files.py
"""

import pathlib
import pickle

import numpy as np
import PIL.Image

from softmax_research import data

_HERE = pathlib.Path.cwd()


def main():
  """Write pets.npz, photos/, downloads/mnist/, downloads/cifar-10-batches-py/, x.npy and y.npy."""
  digits = data.digits()
  np.savez(_HERE / "pets.npz", images=digits.train.images, labels=digits.train.labels)

  images, labels = digits.train.images[:300, :, :, 0], digits.train.labels[:300]
  for i, (image, label) in enumerate(zip(images, labels, strict=True)):
    folder = _HERE / "photos" / f"digit {label}"
    folder.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(image).resize((20, 20)).save(folder / f"{i:03}.png")

  # As MNIST's authors give theirs: type and number of axes, sizes, bytes.
  folder = _HERE / "downloads" / "mnist"
  folder.mkdir(parents=True, exist_ok=True)
  for part, of in (("train", slice(0, 250)), ("t10k", slice(250, 300))):
    for kind, array in (("images-idx3", images[of]), ("labels-idx1", labels[of])):
      header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
      content = header + array.astype(np.uint8).tobytes()
      (folder / f"{part}-{kind}-ubyte").write_bytes(content)

  # As CIFAR-10's authors do: three planes of 32 by 32 pixels a row.
  folder = _HERE / "downloads" / "cifar-10-batches-py"
  folder.mkdir(parents=True, exist_ok=True)
  pixels = np.tile(images.repeat(4, 1).repeat(4, 2).reshape(-1, 1024), (1, 3))
  names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
  for i, name in enumerate(names):
    part = slice(50 * i, 50 * (i + 1))
    content = {b"data": pixels[part], b"labels": labels[part].tolist()}
    (folder / name).write_bytes(pickle.dumps(content))
  meta = {b"label_names": [str(i).encode() for i in range(10)]}
  (folder / "batches.meta").write_bytes(pickle.dumps(meta))

  # Pairs that tell of each other: two halves of an image.
  np.save(_HERE / "x.npy", digits.train.images[:, :4].reshape(-1, 32) / 255)
  np.save(_HERE / "y.npy", digits.train.images[:, 4:].reshape(-1, 32) / 255)


if __name__ == "__main__":
  main()
