"""Corruptions: noise of four kinds in five severities, those of CIFAR-10-C where it has them."""

from collections.abc import Callable

import numpy as np

# Standard deviations, photons and shares of pixels, of make_cifar_c.py in hendrycks/robustness.
_STD = (0.04, 0.06, 0.08, 0.09, 0.10)
_PHOTONS = (500, 250, 100, 75, 50)
_SHARE = (0.01, 0.02, 0.03, 0.05, 0.07)

SEVERITIES = (1, 2, 3, 4, 5)


def gaussian(images, severity, strength, rng):
  """Add Gaussian noise."""
  return images + strength * rng.normal(scale=_STD[severity - 1], size=images.shape)


def uniform(images, severity, strength, rng):
  """Add uniform noise of the standard deviation that Gaussian noise has."""
  half = np.sqrt(3) * strength * _STD[severity - 1]
  return images + rng.uniform(-half, half, size=images.shape)


def shot(images, severity, strength, rng):
  """Count photons, whose number varies as Poisson's law says."""
  photons = _PHOTONS[severity - 1] / strength**2
  return rng.poisson(images * photons) / photons


def impulse(images, severity, strength, rng):
  """Turn a share of all values black or white."""
  hit = rng.random(images.shape) < strength * _SHARE[severity - 1]
  return np.where(hit, rng.random(images.shape) < 0.5, images)


def corrupt(
  images: np.ndarray, kind: str, severity: int, *, strength: float = 1.0, seed: int = 0
) -> np.ndarray:
  """Corrupt images, always with the same noise.

  Args:
    images: floats in [0, 1], `[N, ...]`.
    kind: a key of `KINDS`.
    severity: 1 to 5.
    strength: multiplies the noise's standard deviation, and of impulses their share.
    seed: of the noise.

  Returns:
    float32 `[N, ...]` in [0, 1]; unlike CIFAR-10-C's they are not rounded to 255ths.

  Example:
    >>> grey = np.full((1, 2, 2), 0.5)
    >>> bool(corrupt(grey, "impulse", 5, strength=100).max() == 1)
    True

  Reference:
    Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions
    and Perturbations" (arXiv 1903.12261). Uniform noise is not among theirs.
  """
  rng = np.random.default_rng((seed, list(KINDS).index(kind), severity))
  return KINDS[kind](images, severity, strength, rng).clip(0, 1).astype(np.float32)


#: Functions of images, severity, strength and a random generator, by name.
KINDS: dict[str, Callable[..., np.ndarray]] = {
  "gaussian": gaussian,
  "shot": shot,
  "impulse": impulse,
  "uniform": uniform,
}
