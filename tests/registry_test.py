"""Texts that name things."""

import sys
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from softmax_research.registry import Registry, parse, split


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
    ("a:b=32-64-128:c=1e-3", ("a", {"b": (32, 64, 128), "c": 1e-3})),
    ("a:b=(other:c=1):d=2", ("a", {"b": "other:c=1", "d": 2})),
  ],
)
def test_parse(text, expected):
  assert parse(text) == expected


@pytest.mark.parametrize("text", ["", ":order=4", "a:", "a:order", "a:=4", "a:order=", "a:1x=4"])
def test_texts_of_another_form(text):
  with pytest.raises(ValueError, match=r"name:option=value"):
    parse(text)


def test_a_dictionary_without_a_name():
  with pytest.raises(ValueError, match=r"'widths': 5} without a name; give it one, as taylor"):
    parse({"widths": 5})


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


def _drink(
  cups,
  *,
  size: int = 2,
  strength: float = 1.0,
  sweet: bool = False,
  milk: bool | str = False,
  times: int | Sequence[int] = (8, 16),
  pour: Callable | None = None,
  **served,
):
  return ["drink", cups, size, strength, sweet, milk, times, pour, served]


def _soup(cups, *, spoons):
  raise NotImplementedError


def _serve(cups, *, hot=True, tray=None):
  raise NotImplementedError


def _read_recipe(path, *, page=1):
  return ["recipe", path.read_text(), page]


def _mix(make, options, cups, *, straw: int | None = None):
  made = make(cups, **options)
  return made + ["straw"] * straw if straw else made


_DRINKS = Registry(
  "drink",
  {"tea": _drink, "water": lambda cups: ["water", cups], "soup": _soup},
  example="tea:size=3",
  given=("cups",),
  rest={"served": _serve},
  taken=("tray",),
  build=_mix,
  contract="takes cups and returns a list",
  accepts=lambda made: isinstance(made, list),
)


def test_what_is_named_is_made_with_its_options():
  made = _DRINKS.make("tea:size=3:milk=oat:hot=False", 5, times=4)
  assert made == ["drink", 5, 3, 1.0, False, "oat", 4, None, {"hot": False}]
  assert _DRINKS.make({"name": "tea:size=3", "strength": 2.0}, 5, strength=3)[2:4] == [3, 3]
  assert _DRINKS.make("water", 1) == ["water", 1]
  assert _DRINKS.make("water:straw=1", 1) == ["water", 1, "straw"]
  assert sorted(_DRINKS) == ["soup", "tea", "water"]


def test_options_are_those_of_the_function_and_of_what_it_passes_on_and_those_shared():
  options = _DRINKS.options("tea")
  assert options["size"] == 2 and options["hot"] is True and options["straw"] is None
  assert not {"cups", "tray", "served"} & set(options)
  assert _DRINKS.options("water") == {"straw": None}


@pytest.mark.parametrize(
  ("text", "message"),
  [
    (
      "coffee",
      r"the drink 'coffee'; the drinks are soup, tea, water\. .*as my_package.my_module.mine",
    ),
    (
      "tea:sugar=1",
      r"'sugar' for the drink 'tea'; its options are hot=True, milk=False, pour=None",
    ),
    ("water:sugar=1", r"its options are straw=None\."),
    ("teaa", r"the drink 'teaa'; the drinks are soup, tea, water\. Did you mean 'tea'\? One of"),
    ("tea:sise=3", r"times=\(8, 16\)\. Did you mean 'size'\?$"),
    ("tea:size=2.0", r"size=2\.0 for the drink 'tea'; it must be an integer\."),
    ("tea:size=True", "must be an integer"),
    ("tea:size=None", "must be an integer"),
    ("tea:strength=much", "must be a number"),
    ("tea:strength=True", "must be a number"),
    ("tea:sweet=1", "must be True or False"),
    ("tea:milk=2", "must be True or False or text"),
    ("tea:times=often", "must be an integer or a sequence, as 10-100"),
    ("tea:pour=high", "must be a function or None"),
    ("tea:hot=1", "must be True or False"),
    ("tea:straw=long", "must be an integer or None"),
    ("soup", "Got the drink 'soup' without spoons; write it as soup:spoons="),
  ],
)
def test_names_options_and_types_that_are_wrong(text, message):
  with pytest.raises(ValueError, match=message):
    _DRINKS.make(text, 1)


def test_values_of_a_fitting_type():
  assert _DRINKS.make("tea:strength=1", 1, size=np.int64(3), pour=print)[2:4] == [3, 1]
  assert _DRINKS.make("tea", 1, times=np.ones(2))[6].shape == (2,)  # The function judges arrays.


def test_one_of_ones_own_is_named_by_its_path_from_the_directory_of_the_command(
  tmp_path, monkeypatch
):
  (tmp_path / "own_drinks.py").write_text(
    "from __future__ import annotations\n"
    "def cocoa(cups, size: int = 1, lid: No.such = 2):\n  return ['cocoa', cups, size]\n"
    "def none(cups):\n  return None\n"
    "def broken(cups):\n  raise KeyError(cups)\n"
  )
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
  assert _DRINKS.make("own_drinks.cocoa:size=4", 2) == ["cocoa", 2, 4]
  with pytest.raises(ValueError, match=r"'ml' for the drink 'own_drinks.cocoa'.* size=1, straw"):
    _DRINKS.make("own_drinks.cocoa:ml=4", 2)
  with pytest.raises(ValueError, match=r"one of your own takes cups and .* it returned NoneType"):
    _DRINKS.make("own_drinks.none", 2)
  with pytest.raises(ValueError, match=r"it raised KeyError at .*own_drinks.py, line 7: 2"):
    _DRINKS.make("own_drinks.broken", 2)


@pytest.mark.parametrize("path", ["no_such.mine", "json.mine", "math.pi", "./mine.py"])
def test_a_path_that_leads_nowhere_says_how_to_write_one(path):
  with pytest.raises(
    ValueError, match=r"cannot be imported as a function: .*as my_package.my_module.mine"
  ):
    _DRINKS.make(path, 3)


def test_a_file_is_named_where_a_file_makes_sense(tmp_path, monkeypatch):
  recipes = Registry("recipe", {}, example="soup.txt", reader=_read_recipe)
  monkeypatch.chdir(tmp_path)
  (tmp_path / "soup.txt").write_text("boil")
  assert recipes.make("soup.txt:page=3") == ["recipe", "boil", 3]
  with pytest.raises(ValueError, match=r"'pie.txt', which is no file here and cannot be "):
    recipes.make("pie.txt")
  assert recipes.make(f"{tmp_path}/soup.txt") == ["recipe", "boil", 1]
  with pytest.raises(ValueError, match=r"'pages' .*; its options are page=1"):
    recipes.make("soup.txt:pages=3")
  with pytest.raises(ValueError, match="or by the path of a file"):
    recipes.make("stew.txt")
