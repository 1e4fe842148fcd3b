"""Text: reading, cutting and numbering."""

import pydoc_data.topics

import numpy as np
import pytest

from softmax_research.data import encode_text, read_text


def test_units_of_a_file(tmp_path):
  path = tmp_path / "text"
  path.write_bytes("A naïve word, or_two.\n".encode())
  words = ["A", "naïve", "word", ",", "or_two", "."]
  assert read_text(str(path)) == words
  assert [ord(byte) for byte in read_text(str(path), unit="bytes")] == list(path.read_bytes())
  topics = "\n".join(pydoc_data.topics.topics.values())
  assert "".join(read_text("pydoc", unit="bytes")).encode("latin-1") == topics.encode()
  path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
  assert read_text(str(path)) == words


def test_texts_that_python_carries():
  words = read_text("pydoc")
  assert len(words) > 50_000 and "yield" in words and "." in words


def test_the_standard_library_in_identifiers(tmp_path, monkeypatch):
  for name in ("b.py", "a.py", "test/test_a.py", "site-packages/no.py", "c.txt"):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(f"def {name.replace('/', '_')[:-3]}1(x): 5")
  monkeypatch.setattr("sysconfig.get_paths", lambda: {"stdlib": str(tmp_path)})
  names = ["a1", "b1", "test_test_a1"]
  assert read_text("stdlib") == [token for name in names for token in ("def", name, "x")]


def test_classes_are_numbered_by_frequency_in_the_training_part():
  tokens = [*"cabac" * 8, "new", *"ccc", "c"]
  text = encode_text(tokens, passage=5, test_every=3)
  counts = {token: list(text.train).count(i) for i, token in enumerate(text.vocabulary)}
  assert sorted(counts.values(), reverse=True) == list(text.counts) == list(counts.values())
  assert len(text.train) + len(text.test) == len(tokens)
  decoded = [(*text.vocabulary, None)[i] for i in text.test]
  expected = [token if token in text.vocabulary else None for token in tokens]
  assert decoded == expected[10:15] + expected[25:30] + expected[40:45]
  assert None in decoded
  assert text.train.dtype == text.test.dtype == np.int32


def test_bad_arguments(tmp_path):
  with pytest.raises(ValueError, match=r"text='nowhere'.*'pydoc' or 'stdlib'"):
    read_text("nowhere")
  with pytest.raises(ValueError, match=r"unit='letters'; the units are words and bytes"):
    read_text(str(tmp_path), unit="letters")
  latin = tmp_path / "latin"
  latin.write_bytes("na\xefve".encode("latin-1"))
  with pytest.raises(ValueError, match=r"latin', which is not UTF-8 \(at byte 2: .*unit='bytes'"):
    read_text(str(latin))
  assert len(read_text(str(latin), unit="bytes")) == 5
  with pytest.raises(ValueError, match=r"9999 tokens; it needs 10000"):
    encode_text(["a"] * 9999)
