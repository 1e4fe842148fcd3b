"""Activation maps, against loops in numpy."""

import jax
import numpy as np
import pytest
import scipy.ndimage

from softmax_research.information import cam, info_cam, info_cam_plus, smooth

RNG = np.random.default_rng(0)
MAPS = RNG.normal(size=(2, 4, 5, 3)).astype(np.float32)
KERNEL = RNG.normal(size=(3, 6)).astype(np.float32)
LABELS = np.array([4, 0])


def _project(directions):
  return np.array(
    [
      [[image[u, v] @ w for v in range(5)] for u in range(4)]
      for image, w in zip(MAPS, directions, strict=True)
    ]
  )


def test_cam():
  expected = _project([KERNEL[:, t] for t in LABELS])
  np.testing.assert_allclose(cam(MAPS, KERNEL, LABELS), expected, rtol=1e-4, atol=1e-6)


def test_the_mean_of_a_map_is_the_logit():
  logits = MAPS.mean((1, 2)) @ KERNEL
  means = np.asarray(cam(MAPS, KERNEL, LABELS)).mean((1, 2))
  np.testing.assert_allclose(means, logits[[0, 1], LABELS], rtol=1e-4, atol=1e-6)


def test_info_cam_is_against_the_mean_of_the_others():
  others = [np.delete(KERNEL, t, axis=1).mean(1) for t in LABELS]
  expected = _project([KERNEL[:, t] - o for t, o in zip(LABELS, others, strict=True)])
  with jax.numpy_rank_promotion("raise"):
    np.testing.assert_allclose(info_cam(MAPS, KERNEL, LABELS), expected, rtol=1e-4, atol=1e-5)


def test_info_cam_plus_is_against_the_least_likely():
  log_probs = np.log(RNG.dirichlet(np.ones(6), size=2))
  least = log_probs.argmin(1)
  expected = _project([KERNEL[:, t] - KERNEL[:, k] for t, k in zip(LABELS, least, strict=True)])
  ours = info_cam_plus(MAPS, KERNEL, LABELS, log_probs)
  np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("window", [1, 3, 4])
def test_smooth_against_scipy(window):
  expected = [scipy.ndimage.uniform_filter(m, window, mode="constant") for m in MAPS[..., 0]]
  np.testing.assert_allclose(smooth(MAPS[..., 0], window=window), expected, rtol=1e-4, atol=1e-6)


def test_a_label_out_of_range_gives_nan():
  maps = np.asarray(info_cam(MAPS, KERNEL, np.array([6, 1])))
  assert np.isnan(maps[0]).all() and np.isfinite(maps[1]).all()
  # Neither do 300 classes wrap around in 8 bits, nor a label of 64 bits in 32.
  kernel = np.arange(300.0, dtype=np.float32) * np.ones((MAPS.shape[-1], 1), np.float32)
  for labels in (np.array([255, 1], np.uint8), np.array([2**32, 255])):
    found = np.asarray(info_cam_plus(MAPS, kernel, labels, -kernel[:2]))
    expected = MAPS.sum(-1) * np.where(labels < 300, labels - 299.0, np.nan)[:, None, None]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(
  "arguments", [(MAPS[0], KERNEL, LABELS), (MAPS, KERNEL.T, LABELS), (MAPS, KERNEL[:, :1], LABELS)]
)
def test_shapes_that_do_not_fit_are_named(arguments):
  with pytest.raises(ValueError, match="a kernel of shape"):
    info_cam(*arguments)


def test_other_bad_input_is_named():
  with pytest.raises(ValueError, match="log_probs of shape"):
    info_cam_plus(MAPS, KERNEL, LABELS, np.zeros((2, 5)))
  with pytest.raises(TypeError, match="labels of type float"):
    cam(MAPS, KERNEL, np.float32(LABELS))
  with pytest.raises(ValueError, match="window=0"):
    smooth(MAPS[..., 0], window=0)
