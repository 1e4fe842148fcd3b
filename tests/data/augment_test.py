import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research.data import augment, random_crop, random_flip

# The digits of an image index its place, so a moved pixel betrays where it came from.
IMAGES = np.arange(64 * 6 * 5 * 3).reshape(64, 6, 5, 3).astype(np.int32) + 1


def _crop_oracle(image, top, left, padding):
  padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
  return padded[top : top + image.shape[0], left : left + image.shape[1]]


@pytest.mark.parametrize("padding", [1, 2, 7])
def test_crop_equals_numpy_at_the_same_offsets(padding):
  key = jax.random.key(5)
  out = np.asarray(jax.jit(random_crop, static_argnames="padding")(key, IMAGES, padding=padding))
  offsets = np.asarray(jax.random.randint(key, (len(IMAGES), 2), 0, 2 * padding + 1))
  expected = [
    _crop_oracle(image, *offset, padding) for image, offset in zip(IMAGES, offsets, strict=True)
  ]
  np.testing.assert_array_equal(out, expected)


def test_crop_reaches_every_offset_about_equally_often():
  images = np.tile(IMAGES[:1], (4000, 1, 1, 1))
  out = np.asarray(random_crop(jax.random.key(0), images, padding=1))
  windows = [_crop_oracle(IMAGES[0], top, left, 1) for top in range(3) for left in range(3)]
  times = [int((out == window).all((1, 2, 3)).sum()) for window in windows]
  assert sum(times) == 4000
  # Binomial(4000, 1/9): a standard deviation is 20; five of them on each side.
  assert min(times) > 444 - 100 and max(times) < 444 + 100


def test_crop_without_padding_changes_nothing():
  np.testing.assert_array_equal(random_crop(jax.random.key(0), IMAGES, padding=0), IMAGES)


def test_flip_mirrors_about_half_of_the_images_and_leaves_the_rest():
  images = np.tile(IMAGES, (16, 1, 1, 1))
  out = np.asarray(jax.jit(random_flip)(jax.random.key(0), images))
  kept = (out == images).all((1, 2, 3))
  mirrored = (out == images[:, :, ::-1]).all((1, 2, 3))
  assert (kept ^ mirrored).all()
  # Binomial(1024, 1/2): a standard deviation is 16; five of them on each side.
  assert 512 - 80 < mirrored.sum() < 512 + 80


@pytest.mark.parametrize("name", ["none", "flip", "crop:padding=2", "flip_crop:padding=2"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_type_and_shape_are_kept(name, dtype):
  out = augment.make(name)(jax.random.key(0), jnp.asarray(IMAGES, dtype))
  assert (out.dtype, out.shape) == (dtype, IMAGES.shape)


def test_flip_crop_is_a_flip_and_then_a_crop_at_every_offset():
  out = np.asarray(augment.make("flip_crop", padding=1)(jax.random.key(2), IMAGES))
  flips = set()
  for image, result in zip(IMAGES, out, strict=True):
    candidates = {
      (flip, top, left)
      for flip in (False, True)
      for top in range(3)
      for left in range(3)
      if (_crop_oracle(image[:, ::-1] if flip else image, top, left, 1) == result).all()
    }
    assert len(candidates) == 1
    flips |= candidates
  assert len(flips) > 12  # Of the 18 there are, 64 images show most.


def test_none_changes_nothing_and_takes_points():
  points = np.ones((3, 2), np.float32)
  np.testing.assert_array_equal(augment.make("none")(jax.random.key(0), points), points)


def test_keys_decide_inside_a_scan():
  apply = augment.make("flip_crop", padding=1)
  keys = jax.random.split(jax.random.key(0), 3)
  _, scanned = jax.jit(lambda keys: jax.lax.scan(lambda c, key: (c, apply(key, IMAGES)), 0, keys))(
    keys
  )
  for key, images in zip(keys, scanned, strict=True):
    np.testing.assert_array_equal(images, apply(key, IMAGES))
  assert (scanned[0] != scanned[1]).any()


def test_alternating_flips_show_both_forms_of_an_image_in_any_two_epochs():
  images = np.random.default_rng(0).integers(0, 256, (64, 3, 4, 3), np.uint8)
  flip = jax.jit(augment.make("flip:alternating=True"))
  keys = jax.random.split(jax.random.key(1), 8)

  def flipped(epoch, run=0, images=images):
    out = flip(keys[epoch], images, epoch=epoch, run_key=jax.random.key(run))
    is_mirror = (np.asarray(out) == images[:, :, ::-1]).all((1, 2, 3))
    is_same = (np.asarray(out) == images).all((1, 2, 3))
    assert (is_mirror ^ is_same).all()
    return is_mirror

  first, second, third = (flipped(epoch) for epoch in range(3))
  assert 16 < first.sum() < 48
  np.testing.assert_array_equal(second, ~first)
  np.testing.assert_array_equal(third, first)
  # Whatever batch an image is in, it is the same image; another run flips others first.
  np.testing.assert_array_equal(flipped(0, images=images[::-1][:10]), first[::-1][:10])
  assert (flipped(0, run=1) != first).any()
  floats = (images / np.float32(255)).astype(np.float32)
  np.testing.assert_array_equal(flipped(1, images=floats), ~flipped(0, images=floats))


def test_crops_can_fill_the_border_with_the_images_mirror():
  images = np.random.default_rng(0).integers(1, 256, (16, 6, 5, 1), np.uint8)
  out = np.asarray(augment.make("crop:padding=2:reflect=True")(jax.random.key(0), images))
  padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
  for image, whole in zip(out, padded, strict=True):
    windows = [whole[i : i + 6, j : j + 5] for i in range(5) for j in range(5)]
    assert any((image == window).all() for window in windows)
  assert (out > 0).all()


def test_bad_input_is_named():
  with pytest.raises(
    ValueError, match="augmentation 'mix'; the augmentations are crop, cutmix, flip, flip_crop, mix"
  ):
    augment.make("mix")
  with pytest.raises(ValueError, match="padding=-1; it must be an integer of at least 0"):
    augment.make("crop", padding=-1)
  with pytest.raises(ValueError, match="padding=-1; it must be an integer of at least 0"):
    random_crop(jax.random.key(0), IMAGES, padding=-1)
  for name in ("flip", "crop", "flip_crop"):
    with pytest.raises(ValueError, match=r"need images \[B, H, W, C\]; got \(3, 2\)"):
      augment.make(name)(jax.random.key(0), np.ones((3, 2), np.float32))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_mixup_blends_pairs(dtype):
  images = (IMAGES % 256).astype(dtype)
  mixed = augment.make("mixup:alpha=0.4")(jax.random.key(1), images)
  assert sorted(mixed.partners.tolist()) == list(range(64))
  shares = np.asarray(mixed.shares, np.float64)[:, None, None, None]
  expected = shares * images + (1 - shares) * images[np.asarray(mixed.partners)]
  assert mixed.images.dtype == dtype
  np.testing.assert_allclose(mixed.images, expected, atol=0.51 if dtype == np.uint8 else 1e-4)


def test_cutmix_pastes_a_box_of_the_partner_and_counts_its_pixels():
  mixed = augment.make("cutmix")(jax.random.key(2), IMAGES)
  areas = []
  for i, (partner, share) in enumerate(zip(*map(np.asarray, mixed[1:]), strict=True)):
    own = (np.asarray(mixed.images[i]) == IMAGES[i]).all(-1)
    if partner == i:
      continue
    rows, columns = np.flatnonzero(~own.all(1)), np.flatnonzero(~own.all(0))
    box = np.zeros_like(own)
    if rows.size:
      box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    np.testing.assert_array_equal(~own, box)
    np.testing.assert_array_equal(mixed.images[i][box], IMAGES[partner][box])
    assert share == pytest.approx(own.mean())
    areas.append(box.any())
  assert 0.3 < np.mean(areas) < 1


def test_shares_follow_the_beta_distribution_and_other_moves_come_first():
  images = np.zeros((4000, 1, 1, 1), np.float32)
  shares = np.asarray(augment.make("mixup:alpha=2")(jax.random.key(0), images).shares)
  assert shares.mean() == pytest.approx(0.5, abs=0.02)
  assert shares.var() == pytest.approx(0.05, abs=0.004)  # 1 / (4 (2 alpha + 1))
  key = jax.random.key(3)
  moved = augment.make("cutmix:of=(crop:padding=2)")(key, IMAGES)
  first, second = jax.random.split(key)
  by_hand = augment.cutmix(second, augment.make("crop:padding=2")(first, IMAGES), alpha=1.0)
  jax.tree.map(np.testing.assert_array_equal, moved, by_hand)
  with pytest.raises(ValueError, match="alpha=0; it must be finite and > 0"):
    augment.make("mixup:alpha=0")
