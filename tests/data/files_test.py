"""Data of the user's own: scikit-learn's digits in every form, and what is wrong with some."""

import gzip
import pickle
import shutil
import warnings

import numpy as np
import PIL.Image
import pytest

from softmax_research import data
from softmax_research.data import files

DIGITS = data.digits()
TRAIN = data.Split(DIGITS.train.images[:60, :, :, 0], DIGITS.train.labels[:60])
TEST = data.Split(DIGITS.test.images[:20, :, :, 0], DIGITS.test.labels[:20])
ARRAYS = dict(zip(files._SPLITS, (*TRAIN, *TEST), strict=True))
NAMES = tuple("abcdefghij")
POOL = {"images": TRAIN.images, "labels": TRAIN.labels}


def _write_idx(folder, zipped):
  for array, pattern in zip((*TRAIN, *TEST), files._IDX, strict=True):
    content = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    content += array.astype(np.uint8).tobytes()
    name = pattern.replace("?", "-") + ".gz" * zipped
    (folder / name).write_bytes(gzip.compress(content) if zipped else content)


def _pixels(split):
  """Digits as CIFAR's pixels: three planes of 32 by 32."""
  return np.tile(split.images.repeat(4, 1).repeat(4, 2).reshape(-1, 1024), (1, 3))


def _batches(form):
  """The parts of the training split, and the test split, by the names of their files."""
  names, test, *_ = form
  parts = np.array_split(np.arange(len(TRAIN.labels)), len(names))
  for name, part in zip(names, parts, strict=True):
    yield name, data.Split(TRAIN.images[part], TRAIN.labels[part])
  yield test, TEST


def _write_cifar(form):
  *_, names, labels = form

  def write(folder):
    for name, split in _batches(form):
      if isinstance(labels, int):
        first = np.repeat(split.labels[:, None], labels, axis=1)
        np.concatenate([first, _pixels(split)], 1).astype(np.uint8).tofile(folder / name)
      else:
        content = {b"data": _pixels(split), labels.encode(): split.labels.tolist()}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    if isinstance(labels, int):
      (folder / names).write_text("\n".join(NAMES) + "\n")
    else:
      key = labels.replace("labels", "label_names")
      (folder / names).write_bytes(
        pickle.dumps({key: [name.encode() for name in NAMES]}, protocol=2)
      )

  return write


def _write_images(folder, parts=(("train", TRAIN), ("test", TEST))):
  for part, (images, labels) in parts:
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
      (folder / part / NAMES[label]).mkdir(parents=True, exist_ok=True)
      PIL.Image.fromarray(image).save(folder / part / NAMES[label] / f"{i:03}.png")


FORMS = {
  "idx": lambda folder: _write_idx(folder, zipped=False),
  "idx.gz": lambda folder: _write_idx(folder, zipped=True),
  "cifar10": _write_cifar(files._CIFAR[0]),
  "cifar100": _write_cifar(files._CIFAR[1]),
  "cifar10.bin": _write_cifar(files._CIFAR[2]),
  "cifar100.bin": _write_cifar(files._CIFAR[3]),
  "images": _write_images,
  "npz": lambda folder: np.savez(folder / "data.npz", **ARRAYS),
  "keras": lambda folder: np.savez(
    folder / "data.npz", **{k: ARRAYS[key] for k, key in files._SPELLINGS.items()}
  ),
}


def _load(folder, **options):
  path = folder / "data.npz"
  return data.load(str(path if path.exists() else folder))


def _by_content(split):
  order = np.lexsort([*split.images.reshape(len(split.images), -1).T, split.labels])
  return split.images[order], split.labels[order]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_holds_the_same_examples(form, tmp_path):
  folder = tmp_path / "own"
  folder.mkdir()
  FORMS[form](folder)
  found = _load(folder)
  for ours, wanted in ((found.train, TRAIN), (found.test, TEST)):
    images, labels = _by_content(ours)
    if form.startswith("cifar"):
      assert images.shape[1:] == (32, 32, 3) and (images == images[:, :, :, :1]).all()
      images = images[:, ::4, ::4, :1]
    wanted = _by_content(data.Split(wanted.images[..., None], wanted.labels))
    np.testing.assert_array_equal(images, wanted[0])
    np.testing.assert_array_equal(labels, wanted[1])
  assert found.class_names == (NAMES if "c" in form or form == "images" else tuple("0123456789"))


def test_without_a_test_split_a_stratified_fifth_is_set_aside(tmp_path):
  _write_images(tmp_path / "own", parts=[("", TRAIN)])
  _write_images(tmp_path / "train_only", parts=[("train", TRAIN)])
  np.savez(tmp_path / "data.npz", **POOL)
  for name in ("own", "train_only", "data.npz"):
    found = data.read(tmp_path / name)
    assert (len(found.train.labels), len(found.test.labels)) == (48, 12)
    whole = np.bincount(TRAIN.labels)
    assert np.abs(np.bincount(found.test.labels) - whole / 5).max() < 1


def test_images_are_decoded_once_until_they_change(tmp_path, monkeypatch):
  folder = tmp_path / "own"
  FORMS["images"](folder)
  first = _load(folder)
  with monkeypatch.context() as patch:
    patch.setattr(files, "_read_images", pytest.fail)
    patch.setattr(files, "_form", lambda path: files._read_images)
    np.testing.assert_array_equal(_load(folder).train.images, first.train.images)
  (folder / "train" / "a" / "new.png").write_bytes(
    (folder / "test/a").glob("*").__next__().read_bytes()
  )
  assert len(_load(folder).train.labels) == 61


def test_images_of_several_sizes_and_modes(tmp_path):
  _write_images(tmp_path / "own", parts=[("", TRAIN)])
  PIL.Image.new("RGBA", (9, 5), (255, 0, 0, 9)).save(tmp_path / "own" / "a" / "red.png")
  with pytest.raises(ValueError, match=r"000.png has 8 x 8 pixels, and .*|:size=32"):
    data.load(f"{tmp_path}/own")
  found = data.load(f"{tmp_path}/own:size=6")
  assert found.train.images.shape[1:] == (6, 6, 3)
  np.savez(tmp_path / "data.npz", **POOL)
  for text in ("data.npz:size=6", "own:size=0", "own:size=1000000"):
    with pytest.raises(ValueError, match=r"size=\d+; (a folder of images alone|it must be from 1)"):
      data.load(f"{tmp_path}/{text}")


def test_vectors_floats_and_named_labels():
  vectors = np.random.default_rng(0).normal(size=(30, 5))
  labels = np.array(["cat", "dog", "cow"] * 10)
  found = data.from_arrays("own", {"images": vectors, "labels": labels})
  assert found.train.images.dtype == np.float32 and found.class_names == ("cat", "cow", "dog")
  for kind in (object, np.dtypes.StringDType()):
    same = data.from_arrays("own", {"images": vectors, "labels": labels.astype(kind)})
    np.testing.assert_array_equal(same.train.labels, found.train.labels)
    assert same.class_names == found.class_names
  order = np.array([2, 0, 1])
  again = data.from_arrays(
    "own", {"images": vectors, "labels": labels, "class_names": np.array(["cow", "dog", "cat"])}
  )
  np.testing.assert_array_equal(again.train.labels, order[found.train.labels])
  # Whole numbers of pixels are kept, and others not taken for them.
  for images, dtype in ((TRAIN.images.astype(int), "uint8"), (TRAIN.images * 2.0, "float32")):
    assert data.from_arrays("own", POOL | {"images": images}).train.images.dtype == dtype
  deep = TRAIN.images.astype(np.uint16) * 250
  assert data.from_arrays("own", POOL | {"images": deep}).train.images.max() > 255


def _with_nan():
  images = TRAIN.images.astype(float)
  images[3, 2, 1] = np.nan
  return images


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"labels": None}, r"the arrays are images; they must be images and labels, or train_images"),
    ({"extra": TRAIN.labels}, r"the arrays are extra, images, labels"),
    ({"images": TRAIN.images[:0], "labels": TRAIN.labels[:0]}, r"labels have the shape \(0,\)"),
    ({"images": TRAIN.images[:59]}, r"labels are int32 \(60,\); they must be int32 \(59,\)"),
    ({"images": TRAIN.labels}, r"images are int32 \(60,\); they must be numbers"),
    ({"images": TRAIN.images.astype(str)}, r"images are <U3"),
    ({"images": np.zeros((60, 3, 8, 8))}, r"channels come last: give np.moveaxis"),
    ({"images": _with_nan()}, r"values that are not finite"),
    ({"images": np.full((60, 2), 1e300)}, r"values that are not finite"),
    ({"labels": TRAIN.labels / 1}, r"labels are float64; they must be integers .*astype\(int\)"),
    ({"labels": ["a", None] * 30}, r"labels are object; they must be integers"),
    ({"labels": np.eye(10, dtype=int)[TRAIN.labels]}, r"or distributions, \[N, K\] of a floating"),
    ({"labels": 2 * np.eye(10)[TRAIN.labels]}, r"60 labels are no distributions, the first .* 0;"),
    ({"labels": TRAIN.labels + 1}, r"no training example has the label 0; .*np.unique"),
    ({"labels": TRAIN.labels * 2}, r"no training example has the label 1;"),
    ({"labels": TRAIN.labels.astype(np.int64) * 10**10}, r"no training example has the label 1;"),
    ({"labels": TRAIN.labels * 0}, r"no training example has the label 1; there must be two"),
    ({"labels": np.array(["a"] * 60)}, r"no training example has the label 1, all have 0 \(a\);"),
    ({"labels": TRAIN.labels - 1}, r"labels lie outside \[0, 9\), the first is -1"),
    ({"images": np.eye(2), "labels": [0, 1]}, r"cannot set aside 0 of 2 .*test split apart"),
    ({"class_names": ["a", "b"]}, r"labels lie outside \[0, 2\), the first is"),
    ({"class_names": [*NAMES, "k"]}, r"the label 10 \(k\)"),
    ({"class_names": ["a", "b", "a"]}, r"class_names are a, b, a; each must be there once"),
    ({"labels": np.ones((60, 1))}, r"labels are float64; they must be integers"),
    (
      {"labels": np.where(TRAIN.labels == 9, -1, TRAIN.labels), "ignore_label": 255},
      r"\d labels are neither a class nor 255",
    ),
    ({"labels": np.eye(10)[TRAIN.labels], "ignore_label": -1}, r"ignore_label is -1 for labels of"),
  ],
)
def test_what_is_wrong_with_arrays_is_named(change, message):
  arrays = {key: of for key, of in (POOL | change).items() if of is not None}
  with pytest.raises(ValueError, match=f"^own.*{message}"):
    data.from_arrays("own", arrays)


def test_a_test_split_may_lack_a_class_but_has_no_other():
  few = TEST.labels < 7
  some = ARRAYS | {"test_images": TEST.images[few], "test_labels": TEST.labels[few]}
  assert data.from_arrays("own", some).num_classes == 10
  with pytest.raises(
    ValueError, match=r"own/test: \d+ labels lie outside \[0, 10\), the first is 10"
  ):
    data.from_arrays("own", ARRAYS | {"test_labels": TEST.labels + 1})


def test_test_examples_of_the_training_split_are_worth_a_warning():
  with pytest.warns(UserWarning, match="own: 20 of 20 test examples stand in the training split"):
    data.from_arrays(
      "own", ARRAYS | {"test_images": TRAIN.images[:20], "test_labels": TRAIN.labels[:20]}
    )
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    data.from_arrays("own", ARRAYS)


def _cut(path):
  path.write_bytes(path.read_bytes()[:-7])


def _repickle(path, change):
  content = pickle.loads(path.read_bytes(), encoding="bytes")
  path.write_bytes(pickle.dumps(content | change(content), protocol=2))


def _divided(path):
  _repickle(path, lambda content: {b"data": content[b"data"] / 255})


def _one_label(path):
  _repickle(path, lambda content: {b"labels": content[b"labels"][:1]})


@pytest.mark.parametrize(
  ("form", "name", "damage", "message"),
  [
    ("npz", "data.npz", _cut, r"data.npz cannot be read \(BadZipFile"),
    ("npz", "data.npz", lambda p: np.savez(p, images=np.array([{}])), r"Object arrays .*np.savez"),
    (
      "idx",
      "train-images-idx3-ubyte",
      _cut,
      r"train-images-idx3-ubyte cannot be read \(ValueError",
    ),
    ("idx", "t10k-labels-idx1-ubyte", lambda p: p.unlink(), r"holds no t10k-labels-idx1-ubyte"),
    ("idx", "t10k-labels-idx1-ubyte", lambda p: p.write_text("no"), r"begins with 6e6f"),
    ("idx.gz", "train-labels-idx1-ubyte.gz", _cut, r"cannot be read \(EOFError"),
    ("cifar10", "data_batch_3", lambda p: p.unlink(), r"holds no data_batch_3"),
    ("cifar10", "data_batch_3", _cut, r"data_batch_3 cannot be read"),
    ("cifar10", "test_batch", lambda p: p.write_bytes(pickle.dumps({})), r"test_batch .*KeyError"),
    ("cifar10", "data_batch_3", _divided, r"data_batch_3 cannot be read \(TypeError: Cannot cast"),
    ("cifar10", "data_batch_3", _one_label, r"it has 12 images and labels of shape \(1,\)"),
    (
      "cifar10",
      "batches.meta",
      lambda p: p.write_bytes(pickle.dumps({})),
      r"batches.meta .*KeyErr",
    ),
    ("cifar10.bin", "batches.meta.txt", lambda p: p.write_bytes(b"\xff"), r"meta.txt cannot be"),
    ("images", "train/a/z.png", lambda p: p.symlink_to("nowhere"), r"z.png cannot be read \(File"),
    ("cifar10.bin", "test_batch.bin", _cut, r"test_batch.bin cannot be read \(ValueError"),
    ("images", "test/a/000.png", None, r"a/\d+.png cannot be read"),
    ("images", "val/a", lambda p: p.mkdir(parents=True), r"holds the folders test, train, val;"),
    ("images", "test/k/0.png", "new", r"no training example has the label 10 \(k\)"),
  ],
)
def test_what_is_wrong_with_files_is_named(form, name, damage, message, tmp_path):
  folder = tmp_path / "own"
  folder.mkdir()
  FORMS[form](folder)
  path = folder / name
  if damage is None:
    next(path.parent.iterdir()).write_bytes(b"no image")
  elif damage == "new":
    path.parent.mkdir()
    PIL.Image.fromarray(TEST.images[0]).save(path)
  else:
    damage(path)
  with pytest.raises(ValueError, match=message):
    _load(folder)


def test_a_pickle_runs_nothing(tmp_path):
  class Evil:
    def __reduce__(self):
      return print, ("run",)

  FORMS["cifar10"](tmp_path)
  (tmp_path / "data_batch_2").write_bytes(pickle.dumps({"data": Evil(), "labels": []}))
  with pytest.raises(ValueError, match=r"data_batch_2 .*builtins.print; arrays and bytes alone"):
    data.read(tmp_path)


def test_images_without_labels(tmp_path):
  np.save(tmp_path / "a.npy", TEST.images)
  names, images = files.read_images(tmp_path / "a.npy")
  assert names[-1] == "19" and images.shape == (20, 8, 8, 1)
  np.save(tmp_path / "number.npy", 3.0)
  (tmp_path / "empty.npy").touch()
  for name, message in (("number", r"number.npy: images are float64 \(\)"), ("empty", "EOFError")):
    with pytest.raises(ValueError, match=message):
      files.read_images(tmp_path / f"{name}.npy")
  for size in (100000, "a"):
    with pytest.raises(ValueError, match=f"size={size}; it must be from 1 to 4096"):
      files.read_images(tmp_path, size=size)
  with pytest.raises(ValueError, match="nowhere is no file and no folder"):
    files.read_images(tmp_path / "nowhere")


def test_what_is_hidden_is_no_example(tmp_path, monkeypatch):
  monkeypatch.setenv("SOFTMAX_RESEARCH_CACHE", str(tmp_path / ".cache"))
  FORMS["images"](tmp_path)
  image = next(tmp_path.rglob("*.png"))
  number, digest = len(files.read_images(tmp_path)[0]), data.fingerprint(str(tmp_path))
  for place in (tmp_path / ".thumbnails", image.parent / ".ipynb_checkpoints"):
    place.mkdir()
    shutil.copy(image, place)
  assert len(files.read_images(tmp_path)[0]) == number
  made = data.read(tmp_path)
  assert len(made.train.labels) + len(made.test.labels) == number
  assert data.fingerprint(str(tmp_path)) == digest


def test_names_of_bytes_are_decoded():
  labels = np.array(["caf\u00e9".encode(), b"\xff"] * 30)
  found = data.from_arrays("own", {"images": TRAIN.images, "labels": labels})
  assert found.class_names == ("\\xff", "caf\u00e9")


@pytest.mark.parametrize("path", ["nowhere/data.npz", "own", "own/text.txt"])
def test_a_path_without_data_is_an_error(path, tmp_path):
  (tmp_path / "own").mkdir()
  (tmp_path / "own" / "text.txt").touch()
  with pytest.raises(
    ValueError, match=r"is no file and no folder|holds no data: .*|is no npz file"
  ):
    data.load(f"{tmp_path}/{path}")


@pytest.mark.parametrize("place", ["mnist.npz", "mnist", "MNIST/raw", "."])
def test_mnist_by_name_is_found_in_any_form(place, tmp_path):
  path = tmp_path / place
  if path.suffix:
    np.savez(path, **ARRAYS)
  else:
    path.mkdir(parents=True, exist_ok=True)
    _write_idx(path, zipped=True)
  found = data.load("mnist", data_dir=tmp_path)
  assert found.name == "mnist" and found.train.images.shape == (60, 8, 8, 1)


@pytest.mark.parametrize("place", ["cifar10", "cifar-10-batches-py", "."])
def test_cifar10_by_name_is_found(place, tmp_path):
  (tmp_path / place).mkdir(exist_ok=True)
  FORMS["cifar10"](tmp_path / place)
  assert data.load("cifar10", data_dir=tmp_path).class_names[0] == "airplane"


def test_a_name_is_not_given_to_other_data(tmp_path):
  (tmp_path / "cifar100").mkdir()
  FORMS["cifar100"](tmp_path / "cifar100")
  with pytest.raises(ValueError, match="holds 10 classes, and cifar100 has 100"):
    data.load("cifar100", data_dir=tmp_path)


def test_a_function_of_ones_own(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "own_images.py").write_text(
    "import numpy as np\n"
    "def noise(*, size=30, data_dir=None):\n"
    "  images = np.random.default_rng(0).normal(size=(size, 3, 5))\n"
    "  return {'images': images, 'labels': np.arange(size) % 2}\n"
    "def number():\n"
    "  return 3\n"
  )
  assert data.load("own_images.noise:size=50").train.images.shape == (40, 3, 5, 1)
  with pytest.raises(
    ValueError, match=r"own_images.number'; one of your own returns a data.Dataset"
  ):
    data.load("own_images.number")


def test_examples_without_a_label_and_distributions():
  labels = np.where(np.arange(60) % 4 == 1, 255, TRAIN.labels)
  made = files.from_arrays("part", {"images": TRAIN.images, "labels": labels, "ignore_label": 255})
  assert made.ignore_label == -1 and made.num_classes == 10
  both = np.concatenate([made.train.labels, made.test.labels])
  np.testing.assert_array_equal(np.bincount(both + 1), [15, *np.bincount(labels[labels < 255])])
  # Columns, as Keras has them, and bytes hold the same.
  for again, ignored in ((labels[:, None], [255]), (labels.astype("S"), "255")):
    arrays = {"images": TRAIN.images, "labels": again, "ignore_label": ignored}
    assert data.from_arrays("part", arrays).train.labels.tolist() == made.train.labels.tolist()
  assert data.from_arrays("own", POOL | {"ignore_label": None}).ignore_label is None
  soft = np.random.default_rng(0).dirichlet(np.ones(3), 60)
  made = files.from_arrays("soft", {"images": TRAIN.images, "labels": soft})
  assert made.class_names == ("0", "1", "2")
  assert made.train.labels.shape == (48, 3) and made.train.labels.dtype == np.float32
