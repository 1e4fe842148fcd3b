"""Heads by name."""

import pathlib
import re

import jax
import numpy as np
import pytest

from softmax_research.heads import HEADS, dense, head_options, make, parse

_ROOT = pathlib.Path(__file__).resolve().parents[2]
LABELS = np.array([0, 2, 1, 1])
FEATURES = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)


@pytest.mark.parametrize("name", sorted(HEADS))
def test_every_head_is_made_from_its_defaults(name):
  options = {"class_counts": (5, 3, 2)} if "class_counts" in head_options(name) else {}

  def run():
    head = make(name, 3, **options)
    params = head.init(jax.random.key(0), 5)
    loss = head.loss(params, FEATURES, LABELS, step=3, key=jax.random.key(1))
    return loss, head.log_prob(params, FEATURES)

  losses, log_probs = jax.eval_shape(run)
  assert (losses.shape, log_probs.shape) == ((4,), (4, 3))


def test_every_head_is_recommended_for_something():
  page = (_ROOT / "docs" / "which.rst").read_text(encoding="utf-8")
  assert not set(HEADS) - set(re.findall(r"``(\w+)", page))


def test_the_number_of_classes_may_be_numpys():
  assert make("softmax", np.max(LABELS) + 1).init(jax.random.key(0), 5)["bias"].shape == (3,)


@pytest.mark.parametrize("name", [*sorted(HEADS), "sampled:sampler=log_uniform"])
def test_more_classes_than_can_be_numbered_are_refused_before_memory_is_asked_for(name):
  name, options = parse(name)
  with pytest.raises(ValueError, match=r"num_classes=4611686018427387904.*below 2\^31"):
    make(name, 2**62, **options)


def test_options_in_the_specification_and_beside_it():
  head = make("sm:margin=0.5", 3, label_smoothing=0.1)
  params = head.init(jax.random.key(0), 5)
  plain = dense(3, label_smoothing=0.1)
  lowered = params | {"bias": params["bias"] + np.array([-0.5, 0.0, 0.0], np.float32)}
  np.testing.assert_allclose(
    head.loss(params, FEATURES[:1], LABELS[:1]),
    plain.loss(lowered, FEATURES[:1], LABELS[:1]),
    rtol=1e-5,
  )
  overridden = make("sm:margin=0.5", 3, margin=0.0, label_smoothing=0.1)
  np.testing.assert_allclose(
    overridden.loss(params, FEATURES, LABELS), plain.loss(params, FEATURES, LABELS), rtol=1e-5
  )


def test_options_are_listed_with_their_defaults():
  options = head_options("sm_taylor")
  assert options["order"] == 2
  assert options["margin"] == 0.6
  assert options["bias"] is True
  # Functions cannot be given in a flag, and cosines have no bias.
  assert "score" not in options
  assert "bias" not in head_options("arcface")


def test_an_unknown_head_lists_the_heads():
  with pytest.raises(ValueError, match=r"'sofmax'; the heads are .*sm_taylor, softmax"):
    make("sofmax", 3)


def test_a_head_of_ones_own_is_named_by_its_path():
  own = "softmax_research.heads.variants.sm_taylor:order=4"  # Not a name of `HEADS`.
  params = make(own, 3).init(jax.random.key(0), 5)
  ours, theirs = (
    make(name, 3).loss(params, FEATURES, LABELS) for name in (own, "sm_taylor:order=4")
  )
  np.testing.assert_array_equal(ours, theirs)
  with pytest.raises(ValueError, match=r"option 'ordr' for the head '.*variants.sm_taylor'"):
    make("softmax_research.heads.variants.sm_taylor:ordr=4", 3)


@pytest.mark.parametrize(
  "path, what", [("os.system", "raised TypeError"), ("math.sqrt", "returned float")]
)
def test_a_function_that_makes_no_head_is_refused(path, what):
  with pytest.raises(ValueError, match=f"'{path}'.*{what}"):
    make(path, 3)


def test_an_unknown_option_lists_the_options():
  with pytest.raises(ValueError, match=r"'ordr' for the head 'taylor'.*label_smoothing.*order"):
    make("taylor:ordr=4", 3)
