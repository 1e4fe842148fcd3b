"""Heads as text."""

import pytest

from softmax_research.heads import parse, split


@pytest.mark.parametrize(
  "text, expected",
  [
    ("softmax", ("softmax", {})),
    (" taylor:order=4 ", ("taylor", {"order": 4})),
    ("sm_taylor:order=4:margin=0.6", ("sm_taylor", {"order": 4, "margin": 0.6})),
    ("a: b = -1e-3 :c=True", ("a", {"b": -1e-3, "c": True})),
    ("a:b=word", ("a", {"b": "word"})),
    ("a:b=None", ("a", {"b": None})),
    ("a:b=(1, 2):c=((0,1),(2,))", ("a", {"b": (1, 2), "c": ((0, 1), (2,))})),
    ("a:b={'x': 1}:c=2", ("a", {"b": {"x": 1}, "c": 2})),
  ],
)
def test_parse(text, expected):
  assert parse(text) == expected


@pytest.mark.parametrize("text", ["", ":order=4", "a:", "a:order", "a:=4", "a:order=", "a:1x=4"])
def test_texts_of_another_form(text):
  with pytest.raises(ValueError, match=r"name:option=value"):
    parse(text)


def test_brackets_that_do_not_match_swallow_no_other_head():
  for text in ("a:b=(1,c", "a:b=1),c", "a:b=$\\frac{1}{0$,c"):
    with pytest.raises(ValueError, match="brackets do not match"):
      split(text)


def test_an_option_twice():
  with pytest.raises(ValueError, match=r"'order' twice"):
    parse("taylor:order=4:order=6")


@pytest.mark.parametrize(
  "text, expected",
  [
    ("softmax", ("softmax",)),
    (" softmax , taylor:order=4,", ("softmax", "taylor:order=4")),
    ("a:c=(10,100),b", ("a:c=(10,100)", "b")),
    ("a:c=((0,1),(2,3)),b:d=[1,[2,3]]", ("a:c=((0,1),(2,3))", "b:d=[1,[2,3]]")),
    ("a:c={'x':1,'y':2},b", ("a:c={'x':1,'y':2}", "b")),
  ],
)
def test_split(text, expected):
  assert split(text) == expected


@pytest.mark.parametrize("text", ["", " , "])
def test_no_heads(text):
  with pytest.raises(ValueError, match="Got no heads"):
    split(text)


def test_a_head_twice():
  with pytest.raises(ValueError, match=r"'taylor' twice"):
    split("taylor,softmax,taylor")
