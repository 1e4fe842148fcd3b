"""Datasets that need no files and no network: real digits, cases and made-up spirals."""

import importlib.util
import pathlib

import numpy as np

from softmax_research.data.dataset import Dataset, Split
from softmax_research.data.splits import stratified_sample

_DIGITS_NUM_TEST = 360
_WDBC_NUM_TEST = 171


def digits() -> Dataset:
  r"""Return scikit-learn's 1,797 real 8x8 handwritten digits.

  The original pixels count ink from 0 to 16; they are scaled to the 0 to 255 of the other
  image datasets, :math:`\operatorname{round}(255\,x/16)`, which loses nothing, so that one
  ``standardise`` serves all. scikit-learn names no test split: a fixed stratified sample of
  360 examples (20%) is the test split here, the same on every machine. The split knows no
  writers, as the data name none, so a writer's digits lie on both sides of it: an accuracy on
  it is for comparing variants, not for comparing with splits by writer.

  Returns:
    1,437 training and 360 test examples, ``uint8 [N, 8, 8, 1]``, in 10 classes.

  Example:
    >>> from softmax_research import data
    >>> dataset = data.digits()
    >>> dataset.train.images.shape, dataset.test.images.shape
    ((1437, 8, 8, 1), (360, 8, 8, 1))

  Reference: Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, UCI.
  """
  # The file alone: to import scikit-learn takes longer than all else that a training imports.
  package = pathlib.Path(importlib.util.find_spec("sklearn").origin).parent
  rows = np.loadtxt(package / "datasets" / "data" / "digits.csv.gz", delimiter=",")
  images = np.rint(rows[:, :64] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
  labels = rows[:, 64].astype(np.int32)
  is_test = np.zeros(len(labels), bool)
  is_test[stratified_sample(labels, _DIGITS_NUM_TEST, seed=0)] = True
  return Dataset(
    name="digits",
    train=Split(images[~is_test], labels[~is_test]),
    test=Split(images[is_test], labels[is_test]),
    num_classes=10,
    class_names=tuple("0123456789"),
  )


def wdbc() -> Dataset:
  """Return the Wisconsin diagnostic breast cancer data, 569 cases of 30 measurements.

  They come with scikit-learn and name no test split: a fixed stratified sample of 171 cases (30%)
  is the test split here, the same on every machine. The measurements have their own units, so
  they differ in size a thousandfold; `standardise` brings them to one.

  Returns:
    398 training and 171 test cases, ``float32 [N, 30]``, in 2 classes.

  Example:
    >>> from softmax_research import data
    >>> dataset = data.wdbc()
    >>> dataset.train.images.shape, dataset.class_names
    ((398, 30), ('malignant', 'benign'))

  Reference: Wolberg, Street and Mangasarian (1995), UCI.
  """
  # scikit-learn takes seconds to import; who trains on another dataset does not wait for it.
  from sklearn.datasets import load_breast_cancer  # noqa: PLC0415

  source = load_breast_cancer()
  points, labels = source.data.astype(np.float32), source.target.astype(np.int32)
  is_test = np.zeros(len(labels), bool)
  is_test[stratified_sample(labels, _WDBC_NUM_TEST, seed=0)] = True
  return Dataset(
    name="wdbc",
    train=Split(points[~is_test], labels[~is_test]),
    test=Split(points[is_test], labels[is_test]),
    num_classes=2,
    class_names=("malignant", "benign"),
  )


def spiral(
  num_arms: int = 3,
  *,
  num_train: int = 3000,
  num_test: int = 1500,
  turns: float = 0.75,
  noise: float = 0.04,
  seed: int = 0,
) -> Dataset:
  r"""Draw points on the arms of a spiral, for pictures of decision regions.

  .. math::

    x = r \,(\cos\varphi, \sin\varphi) + \varepsilon, \qquad
    \varphi = 2\pi \left(\frac{y}{K} + \text{turns}\cdot r\right), \quad
    r \sim U(0.05, 1), \quad \varepsilon \sim N(0, \text{noise}^2)

  Args:
    num_arms: K, the number of classes; at least 2.
    num_train: number of training points; labels take turns, so classes are of equal size.
    num_test: number of test points.
    turns: how often an arm winds around the origin.
    noise: standard deviation of each coordinate around its arm.
    seed: chooses the points; not negative.

  Returns:
    Points ``float32 [N, 2]`` in ``num_arms`` classes.

  Raises:
    ValueError: if there are fewer than two arms, fewer points than arms, or negative noise.

  Example:
    >>> from softmax_research import data
    >>> data.spiral(4, num_train=8).train.labels.tolist()
    [0, 1, 2, 3, 0, 1, 2, 3]
  """
  if num_arms < 2:
    raise ValueError(f"num_arms must be at least 2, one for each class; got {num_arms}")
  if min(num_train, num_test) < num_arms:
    raise ValueError(
      f"num_train and num_test must be at least num_arms={num_arms}, a point for each arm;"
      f" got {num_train} and {num_test}"
    )
  if noise < 0:
    raise ValueError(f"noise is a standard deviation and must not be negative; got {noise}")
  rng = np.random.default_rng(seed)

  def draw(size):
    labels = np.arange(size, dtype=np.int32) % num_arms
    radius = rng.uniform(0.05, 1.0, size)
    angle = 2 * np.pi * (labels / num_arms + turns * radius)
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points += noise * rng.standard_normal((size, 2))
    return Split(points.astype(np.float32), labels)

  return Dataset(
    name="spiral",
    train=draw(num_train),
    test=draw(num_test),
    num_classes=num_arms,
    class_names=tuple(f"arm {k}" for k in range(num_arms)),
  )
