"""Documents: texts with classes, as bags of words."""

import collections
import os
import pathlib
import pydoc_data.topics
import re
from collections.abc import Iterable, Sequence

import numpy as np

from softmax_research.data import files
from softmax_research.data.dataset import Dataset, Split, stratified_sample
from softmax_research.functional.arrays import check_integer

_WORDS = re.compile(r"[^\W\d_]\w*")
_SUFFIXES = (".txt", ".md", ".rst")
# A shorter paragraph says too little of its topic, as a heading does.
_FEWEST_WORDS = 8
#: Topics of the language reference by chapter, those that have enough paragraphs of their own.
TOPICS = {
  "data model": (
    "types", "specialnames", "customization", "attribute-access", "numeric-types", "sequence-types",
  ),
  "expressions": ("strings", "naming", "comparisons", "calls", "binary"),
  "simple statements": ("assignment", "import", "raise"),
  "compound statements": ("compound", "try", "with", "function", "async"),
  "library": ("string-methods", "formatstrings", "typesseq", "typesmapping", "debugger"),
}  # fmt: skip


def topics(*, num_words: int = 2000) -> Dataset:
  """Return the paragraphs of the language reference that Python carries, by topic.

  A paragraph that stands in several topics, as those on ``try`` do in the one on all compound
  statements, is of the shortest. Versions of Python differ by a few paragraphs.

  Args:
    num_words: see `bags_of_words`.

  Returns:
    Some 900 training and 240 test paragraphs in 24 classes, in the order of `TOPICS`.

  Example:
    >>> topics().num_classes
    24
  """
  found = pydoc_data.topics.topics
  names = [name for chapter in TOPICS.values() for name in chapter]
  owner = {}
  for name in sorted(found, key=lambda name: len(found[name])):
    for paragraph in _paragraphs(found[name]):
      owner.setdefault(paragraph, name)
  kept = [(paragraph, name) for paragraph, name in owner.items() if name in names]
  return bags_of_words("topics", kept, class_names=names, num_words=num_words)


def read_texts(
  path: str | os.PathLike, *, num_words: int = 2000, paragraphs: bool = False
) -> Dataset:
  """Read a folder that holds a folder of texts for each class.

  Args:
    path: the folder. The texts are UTF-8, and their names end in ``.txt``, ``.md`` or ``.rst``.
    num_words: see `bags_of_words`.
    paragraphs: whether the paragraphs of a file are examples, and not the file.

  Raises:
    ValueError: if there are no such files, one is no UTF-8, or a class has too few examples.

  Example:
    >>> import tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for i, (name, text) in enumerate([("pets", "a cat"), ("cars", "a van")] * 5):
    ...   (folder / name).mkdir(exist_ok=True)
    ...   _ = (folder / name / f"{i}.txt").write_text(text)
    >>> read_texts(folder).train.images.shape
    (8, 1, 3, 1)
  """
  path = pathlib.Path(path).expanduser()
  files.check_exists(path)
  found = []
  for file in files.list_visible(path):
    if file.parent != path and file.suffix.lower() in _SUFFIXES:
      try:
        text = file.read_text("utf-8-sig")
      except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read ({error}); save it as UTF-8") from error
      name = file.relative_to(path).parts[0]
      found += [(of, name) for of in (_paragraphs(text) if paragraphs else [text])]
  names = sorted({name for _, name in found})
  if len(names) < 2:
    raise ValueError(
      f"{path} holds texts of {len(names)} classes; put those of each class, as .txt, into a folder"
      " of its name"
    )
  return bags_of_words(path.resolve().name, found, class_names=names, num_words=num_words)


def bags_of_words(
  name: str, texts: Iterable[tuple[str, str]], *, class_names: Sequence[str], num_words: int
) -> Dataset:
  r"""Make a dataset of texts, of how often each word occurs in them.

  .. math:: x_{iw} = \log(1 + n_{iw})

  A word's tenth time counts less than its first. The shape ``[N, 1, V, 1]`` is one of images with
  one channel, so that all V words are standardised alike: on its own each rare one would count for
  as much as all frequent ones.

  Args:
    name: of the dataset.
    texts: pairs of a text and the name of its class, a fifth of which is the test split.
    class_names: K names.
    num_words: how many words are counted at most: those in most texts of the training pool.

  Raises:
    ValueError: if the number is below 1, or a class has fewer than two texts.

  Example:
    >>> texts = [("the cat saw the dog", "pets"), ("a car", "cars")] * 3
    >>> made = bags_of_words("few", texts, class_names=("cars", "pets"), num_words=9)
    >>> made.train.images.shape, sorted(set(np.expm1(made.train.images).round().ravel().tolist()))
    ((5, 1, 6, 1), [0.0, 1.0, 2.0])
  """
  check_integer("num_words", num_words)
  counts, names = zip(*((collections.Counter(_words(t)), of) for t, of in texts), strict=True)
  labels = np.array([list(class_names).index(of) for of in names], np.int32)
  sizes = np.bincount(labels, minlength=len(class_names))
  if sizes.min() < 2:
    raise ValueError(
      f"{name}: the class {class_names[sizes.argmin()]} has {sizes.min()} texts; it needs one for"
      " training and one for testing"
    )
  test = stratified_sample(labels, max(1, len(labels) // 5), seed=0)
  train = np.setdiff1d(np.arange(len(labels)), test)
  spread = collections.Counter(word for i in train for word in counts[i])
  place = {word: i for i, (word, _) in enumerate(spread.most_common(num_words))}
  bags = np.zeros((len(labels), len(place)), np.float32)
  for row, of in zip(bags, counts, strict=True):
    for word in of.keys() & place.keys():
      row[place[word]] = of[word]
  scaled = np.log1p(bags)[:, None, :, None]
  splits = (Split(scaled[rows], labels[rows]) for rows in (train, test))
  return Dataset(name, *splits, tuple(class_names))


def _words(text: str) -> list[str]:
  return _WORDS.findall(text.lower())


def _paragraphs(text: str) -> list[str]:
  found = (" ".join(part.split()) for part in re.split(r"\n\s*\n", text))
  return [part for part in found if len(_words(part)) >= _FEWEST_WORDS]
