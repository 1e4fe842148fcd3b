import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer

from softmax_research import data
from softmax_research.data import check_dataset, documents

_TEXTS = (
  "A cat saw the dog; the DOG ran.", "the dog", "cats and dogs", "a cat", "Dogs bark, dogs bark!",
  "a red car", "the car and a van", "two vans", "cars, cars, cars", "a van",
)  # fmt: skip


def _folder(path):
  for i, text in enumerate(_TEXTS):
    folder = path / ("pets" if i < 5 else "cars")
    folder.mkdir(exist_ok=True)
    (folder / f"{i}.txt").write_text(text)
  (path / "cars" / "notes.csv").write_text("no, text")
  (path / "cars" / ".kept").mkdir(exist_ok=True)
  (path / "cars" / ".kept" / "0.txt").write_text("a hidden text")
  return path


def test_counts_are_scikit_learns(tmp_path):
  made = check_dataset(data.load(f"texts:{_folder(tmp_path)}"))
  assert made.class_names == ("cars", "pets") and len(made.test.labels) == 2
  # The folders' names in their order, and the files in theirs.
  texts = [*_TEXTS[5:], *_TEXTS[:5]]
  counts = CountVectorizer(token_pattern=r"[^\W\d_]\w*").fit_transform(texts).toarray()
  places = data.stratified_sample(np.repeat([0, 1], 5), 2, seed=0)
  train = np.setdiff1d(np.arange(10), places)
  seen = counts[:, counts[train].any(axis=0)]  # No word of the test split alone is counted.
  for split, rows in ((made.train, train), (made.test, places)):
    found = np.expm1(split.images[:, 0, :, 0]).round()
    by_column = [sorted(map(tuple, of.T.tolist())) for of in (found, seen[rows])]
    assert by_column[0] == by_column[1]
    np.testing.assert_array_equal(split.labels, np.repeat([0, 1], 5)[rows])
  few = documents.read_texts(tmp_path, num_words=2)
  assert few.train.images.shape == (8, 1, 2, 1)


def test_paragraphs_are_examples_of_their_own(tmp_path):
  for name in ("one", "two"):
    (tmp_path / name).mkdir()
    long = " ".join([name] * 8)
    (tmp_path / name / "all.md").write_text(f"Heading\n\n{long}\n\n{long}\n {long}\n\n{long}\n")
  made = data.load(f"texts:{tmp_path}:paragraphs=True")
  assert len(made.train.labels) + len(made.test.labels) == 6
  assert set(np.expm1(made.train.images).max(axis=(1, 2, 3)).round().tolist()) <= {8.0, 16.0}


def test_topics_are_of_this_python():
  made = check_dataset(data.load("topics"))
  assert made.train.images.shape[1:] == (1, 2000, 1) and made.num_classes == 24
  assert made.class_names[:2] == ("types", "specialnames")
  for split in (made.train, made.test):
    assert np.bincount(split.labels, minlength=24).min() >= 2
  # A paragraph stands in one topic alone.
  together = np.concatenate([made.train.images, made.test.images]).reshape(-1, 2000)
  assert len(np.unique(together, axis=0)) > 0.97 * len(together)


def test_what_texts_are_refused(tmp_path):
  with pytest.raises(ValueError, match="texts of 0 classes"):
    data.load(f"texts:{tmp_path}")
  with pytest.raises(ValueError, match="nowhere is no file and no folder"):
    data.load(f"texts:{tmp_path}/nowhere")
  _folder(tmp_path)
  with pytest.raises(ValueError, match="num_words=0"):
    data.load(f"texts:{tmp_path}:num_words=0")
  assert data.fingerprint(f"texts:{tmp_path}") == data.fingerprint(str(tmp_path))
  (tmp_path / "cars" / "bad.txt").write_bytes(b"\xff\xfe\xff")
  with pytest.raises(ValueError, match=r"bad.txt cannot be read .*UTF-8"):
    data.load(f"texts:{tmp_path}")
  (tmp_path / "cars" / "bad.txt").unlink()
  (tmp_path / "rare").mkdir()
  (tmp_path / "rare" / "one.txt").write_text("a text")
  with pytest.raises(ValueError, match="class rare has 1 texts"):
    data.load(f"texts:{tmp_path}")
