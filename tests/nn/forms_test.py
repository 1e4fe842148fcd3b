"""Forms: a network gives the same numbers in each, and each is taken where it is measured fast."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research.nn import forms, make

_NET = make(
  "cnn",
  stages=((4, 16), (16,)),
  dense=(3,),
  batch_norm="before",
  activation="prelu",
  dropout=0.1,
)


def _run(monkeypatch, backend, seeds_by):
  """Return the gradient of a loss, and its program as text."""
  monkeypatch.setattr(jax, "default_backend", lambda: backend)
  net, key = forms.fit(_NET, seeds_by), jax.random.key(1)
  images = jax.random.normal(key, (5, 7, 6, 2))
  params, state = net.init(jax.random.key(0), images.shape[1:])

  @jax.jit
  def gradient(params):
    def loss(params):
      # Evaluation: masks of dropout lie otherwise where the batch is last.
      features, _ = net.apply(params, state, images, train=False)
      return jnp.sum(jnp.sin(features))

    return jax.grad(loss)(params)

  return gradient(params), gradient.lower(params).as_text()


def test_every_form_gives_the_same_gradient(monkeypatch):
  library, text = _run(monkeypatch, "gpu", "map")
  assert "stablehlo.convolution" in text
  for backend, seeds_by in (("cpu", "map"), ("gpu", "vmap")):
    products, text = _run(monkeypatch, backend, seeds_by)
    assert "stablehlo.convolution" not in text
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), products, library)


@pytest.mark.parametrize(
  ("backend", "num_seeds", "filters", "expected"),
  [
    ("cpu", 16, (32, 64), "map"),
    ("cpu", 16, (), "vmap"),
    ("gpu", 16, (32, 128), "vmap"),
    ("gpu", 1, (32, 128), "map"),
    ("gpu", 16, (32, 384), "map"),
    ("gpu", 16, (), "vmap"),
  ],
)
def test_seeds_train_as_measured(backend, num_seeds, filters, expected):
  assert forms.seeds_by(backend, num_seeds, filters) == expected


def test_filters_are_those_of_convolutions_alone():
  assert forms.filters(_NET, (7, 6, 2)) == (4, 16, 16)
  assert forms.filters(make("mlp"), (7, 6, 2)) == ()
