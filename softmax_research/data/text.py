"""Text: words, identifiers or bytes as classes numbered by decreasing frequency."""

import collections
import os
import pathlib
import pydoc_data.topics
import re
import sysconfig
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_WORDS = re.compile(r"\w+|[^\w\s]")
_IDENTIFIERS = re.compile(r"[^\W\d]\w*")

#: Texts that every Python carries, with what each is.
BUILT_IN_TEXTS = {
  "pydoc": "the language reference, in words",
  "stdlib": "the standard library's sources, in identifiers and keywords",
}


class Text(NamedTuple):
  """Hold a text as class indices.

  Attributes:
    vocabulary: the tokens of the training part, the most frequent first.
    counts: how often each occurs there, `[K]`.
    train: the training part, int32.
    test: the test part, int32; K stands for what is not in the vocabulary.
  """

  vocabulary: tuple[str, ...]
  counts: np.ndarray
  train: np.ndarray
  test: np.ndarray


def read_text(source: str, *, unit: str = "words") -> list[str]:
  """Read a text and cut it into tokens.

  Args:
    source: a key of `BUILT_IN_TEXTS`, or the path of a file.
    unit: `"bytes"`, or `"words"`, with punctuation marks as words, for which a file must be UTF-8;
      those of `stdlib` are its identifiers and keywords.

  Raises:
    ValueError: the unit is unknown, there is neither such a text nor such a file, or words are
      asked for of a file that is not UTF-8.

  Example:
    >>> len(set(read_text("pydoc"))) > 1000
    True
  """
  if unit not in ("words", "bytes"):
    raise ValueError(f"Got unit={unit!r}; the units are words and bytes.")
  if source in BUILT_IN_TEXTS:
    topics = pydoc_data.topics.topics.values()
    raw = ("\n".join(topics) if source == "pydoc" else _standard_library()).encode()
  elif pathlib.Path(source).is_file():
    raw = pathlib.Path(source).read_bytes()
  else:
    raise ValueError(
      f"Got text={source!r}, which is no file; give the path of one, or "
      f"{' or '.join(map(repr, BUILT_IN_TEXTS))} for a text that Python carries."
    )
  if unit == "bytes":
    return [chr(byte) for byte in raw]
  try:
    # Some editors put a mark of the encoding first, which is no word.
    return (_IDENTIFIERS if source == "stdlib" else _WORDS).findall(raw.decode("utf-8-sig"))
  except UnicodeDecodeError as error:
    raise ValueError(
      f"Got text={source!r}, which is not UTF-8 (at byte {error.start}: {error.reason}); convert "
      "it, or give unit='bytes' where a study has units."
    ) from None


def encode_text(tokens: Sequence[str], *, passage: int = 1000, test_every: int = 10) -> Text:
  """Cut a text into passages for training and testing, and number its tokens.

  Args:
    tokens: the text.
    passage: how many tokens are kept together.
    test_every: one passage of so many is for testing.

  Raises:
    ValueError: the text is too short for a passage of each kind.

  Example:
    >>> text = encode_text(list("aabacbbbd"), passage=3, test_every=3)
    >>> text.vocabulary, text.train.tolist(), text.test.tolist()
    (('a', 'b', 'c'), [0, 0, 1, 0, 2, 1], [1, 1, 3])
  """
  if len(tokens) < passage * test_every:
    raise ValueError(
      f"Got a text of {len(tokens)} tokens; it needs {passage * test_every}, so that one passage "
      f"of {passage} in {test_every} is left for testing. Give a longer text."
    )
  is_test = np.arange(len(tokens)) // passage % test_every == test_every - 1
  counts = collections.Counter(
    token for token, test in zip(tokens, is_test, strict=True) if not test
  )
  ordered = counts.most_common()
  index = {token: i for i, (token, _) in enumerate(ordered)}
  encoded = np.fromiter((index.get(token, len(index)) for token in tokens), np.int32, len(tokens))
  return Text(
    tuple(token for token, _ in ordered),
    np.array([count for _, count in ordered]),
    encoded[~is_test],
    encoded[is_test],
  )


def _standard_library() -> str:
  """Return the sources of the standard library, its tests included, in the order of their paths."""
  root = pathlib.Path(sysconfig.get_paths()["stdlib"])
  sources = []
  for folder, folders, files in os.walk(root):
    folders[:] = sorted(name for name in folders if name not in ("site-packages", "__pycache__"))
    for name in sorted(files):
      if name.endswith(".py"):
        sources.append(pathlib.Path(folder, name).read_text("utf-8", errors="replace"))
  return "\n".join(sources)
