"""Registry: the one rule for text that names a thing, and gives it options.

A text is `name:option=value:...`, where the name is in a table, or is the path of a function of the
user's own, `package.module.name`, found also from the directory where a command runs; or is a file,
where a file makes sense. Values are Python's literals; `32-64` is a tuple of integers, a text in
brackets names in its turn, and anything else is a string.

A kind of thing that has names is a table of functions and one call:

    >>> def random_crop(images, *, pad=4):
    ...   return images[pad:-pad]
    >>> AUGMENTATIONS = Registry(
    ...   "augmentation",
    ...   {"random_crop": random_crop},
    ...   example="random_crop:pad=2",
    ...   given=("images",),
    ... )
    >>> AUGMENTATIONS.make("random_crop:pad=1", [1, 2, 3, 4])
    [2, 3]
    >>> AUGMENTATIONS.make("random_crop:size=1", [1, 2, 3, 4])
    Traceback (most recent call last):
    ...
    ValueError: Got option 'size' for the augmentation 'random_crop'; its options are pad=4.
"""

import ast
import collections.abc
import difflib
import functools
import importlib
import inspect
import numbers
import os
import pathlib
import re
import sys
import sysconfig
import traceback
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_ROOT = pathlib.Path(__file__).parents[1]
_EMPTY, _BY_KEYWORD = inspect.Parameter.empty, inspect.Parameter.KEYWORD_ONLY
# The types of options that are checked: whose instances they take, and how a message calls them.
_TYPES = {
  bool: (bool, "True or False"),
  int: (numbers.Integral, "an integer"),
  float: (numbers.Real, "a number"),
  str: (str, "text"),
  tuple: ((list, tuple), "a sequence, as 10-100"),
  Callable: (Callable, "a function"),
  types.NoneType: (types.NoneType, "None"),
}


class Registry(dict[str, Callable[..., Any]]):
  """Hold functions by name, and find what a text names, whose options it checks.

  Args:
    kind: what is named, in one word or two, for messages.
    functions: by name. Keyword arguments are the options, and their annotations, or else their
      defaults, say of which type a value must be.
    example: of a text, for messages.
    given: names of their arguments that the caller gives, and a text cannot.
    rest: by the name of a `**` argument that functions of the table have, what takes it from them.
    taken: names of its arguments that are no options, because functions of the table give them.
    build: `(function, options, *arguments, **shared)`, where more is to be done than to call the
      function with the arguments and its options. Its keyword-only arguments are options that all
      functions share.
    contract: what a function of the user's own takes and returns, for messages.
    accepts: whether what a function of the user's own returned can be used.
    reader: a function whose first argument is the path of a file, where a file can be named.
  """

  def __init__(
    self,
    kind: str,
    functions: Mapping[str, Callable[..., Any]],
    *,
    example: str,
    given: Sequence[str] = (),
    rest: Mapping[str, Callable[..., Any]] | None = None,
    taken: Sequence[str] = (),
    build: Callable[..., Any] | None = None,
    contract: str = "takes its options by keyword",
    accepts: Callable[[Any], bool] = lambda made: True,
    reader: Callable[..., Any] | None = None,
  ):
    super().__init__(functions)
    self.kind, self.example, self.given = kind, example, frozenset(given)
    self.rest, self.taken, self.build = rest or {}, frozenset(taken), build
    self.contract, self.accepts, self.reader = contract, accepts, reader

  def make(self, text: str | Mapping[str, Any], *arguments: Any, **options: Any) -> Any:
    """Call the function that a text names with the arguments and its options.

    A dictionary of a `name`, which may be such a text, and options serves as well. Further options
    go before those of the text.

    Raises:
      ValueError: the text has another form, there is no such name or option, an option is missing
        or its value is of another type; or a function of the user's own fails, or returns what
        cannot be used.
    """
    name, options = self.parse(text, **options)
    function = self.find(name)
    if self.build:
      shared = {p.name: options.pop(p.name) for p in self._shared() if p.name in options}
      call = functools.partial(self.build, function, options, *arguments, **shared)
    else:
      call = functools.partial(function, *arguments, **options)
    if name in self:
      return call()
    not_made = f"Got the {self.kind} {name!r}; one of your own {self.contract}, but"
    try:
      made = call()
    except ValueError:
      raise
    except Exception as error:
      raise ValueError(f"{not_made} it raised {describe(error)}.") from error
    if not self.accepts(made):
      raise ValueError(f"{not_made} it returned {type(made).__name__}.")
    return made

  def parse(self, text: str | Mapping[str, Any], **options: Any) -> tuple[str, dict[str, Any]]:
    """Return the name and the options of a text, to which others are added, all of them checked."""
    name, written = parse(text, kind=self.kind, example=self.example)
    options = written | options
    parameters = self._parameters(name)
    for option, value in options.items():
      if option not in parameters:
        known = sorted((p.name, p.default) for p in parameters.values())
        listed = ", ".join(n if default is _EMPTY else f"{n}={default!r}" for n, default in known)
        raise ValueError(
          f"Got option {option!r} for the {self.kind} {name!r}; its options are {listed or 'none'}."
          f"{closest(option, parameters)}"
        )
      wanted = _wanted(parameters[option])
      if wanted and not _fits(value, wanted):
        raise ValueError(
          f"Got {option}={value!r} for the {self.kind} {name!r}; it must be "
          f"{' or '.join(_TYPES[type_][1] for type_ in wanted)}."
        )
    for option, parameter in parameters.items():
      if parameter.kind is _BY_KEYWORD and parameter.default is _EMPTY and option not in options:
        raise ValueError(
          f"Got the {self.kind} {name!r} without {option}; write it as {name}:{option}=..."
        )
    return name, options

  def options(self, text: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return all options of what is named with their defaults."""
    name, _ = parse(text, kind=self.kind, example=self.example)
    return {p.name: p.default for p in self._parameters(name).values()}

  def find(self, name: str) -> Callable[..., Any]:
    """Return the function of a name, of the path of one of the user's own, or of a file."""
    if name in self:
      return self[name]
    if self.reader and (os.sep in name or os.path.exists(name)):
      return functools.partial(self.reader, pathlib.Path(name))
    own = f"as my_package.my_module.mine{', or by the path of a file' if self.reader else ''}"
    module, _, function = name.rpartition(".")
    if not module:
      raise ValueError(
        f"Got the {self.kind} {name!r}; the {self.kind}s are {', '.join(sorted(self))}."
        f"{closest(name, self)} One of your own is named by its path, {own}."
      )
    if not {"", os.getcwd()} & set(sys.path):
      sys.path.append(os.getcwd())
    try:
      found = getattr(importlib.import_module(module), function)
      inspect.signature(found)  # Of what is no function it fails.
    except Exception as error:  # A module of the user's own may fail in any way.
      no_file = "is no file here and " if self.reader else ""
      raise ValueError(
        f"Got the {self.kind} {name!r}, which {no_file}cannot be imported as a function: {error}. "
        f"Name one of your own by its path, {own}, from a directory where Python finds it."
      ) from error
    return found

  def _parameters(self, name: str) -> dict[str, inspect.Parameter]:
    """Return the parameters that are options: of the function, of what it passes on, and shared."""
    found = self._with_rest(self.find(name))
    kinds = (_BY_KEYWORD, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = [p for p in found if p.kind in kinds and p.name not in self.given]
    return {p.name: p for p in self._shared() + found}

  def _with_rest(self, function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return a function's parameters, behind those of what takes its `**` argument."""
    own, taken = _signature(function), set(self.taken)
    rest = [self.rest[p.name] for p in own if p.kind is p.VAR_KEYWORD and p.name in self.rest]
    if not rest:
      return own
    if isinstance(rest[0], functools.partial):  # What it is given is no option.
      taken |= set(rest[0].keywords)
    return [p for p in self._with_rest(rest[0]) if p.name not in taken] + own

  def _shared(self) -> list[inspect.Parameter]:
    return [p for p in _signature(self.build) if p.kind is _BY_KEYWORD] if self.build else []


def closest(wrong: str, names: collections.abc.Iterable[str]) -> str:
  """Ask whether the name nearest to a wrong one was meant; empty where none is near."""
  close = difflib.get_close_matches(wrong, names, n=1)
  return f" Did you mean {close[0]!r}?" if close else ""


def describe(error: Exception) -> str:
  """Return the type and the words of an error, and where in code of the user's own it arose."""
  where = place_of_ones_own(error)
  return f"{type(error).__name__}{f' at {where}' if where else ''}: {error}"


def place_of_ones_own(error: BaseException) -> str | None:
  """Return the last file and line that an error passed and that no package nor we wrote."""
  paths = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
  paths += [str(_ROOT / name) for name in ("softmax_research", "experiments", "configs")]
  frames = [
    frame
    for frame in traceback.extract_tb(error.__traceback__)
    if os.path.isfile(frame.filename) and not frame.filename.startswith(tuple(paths))
  ]
  return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else None


def parse(
  text: str | Mapping[str, Any], *, kind: str = "head", example: str = "taylor:order=4"
) -> tuple[str, dict[str, Any]]:
  """Read a name and its options from a text, or from a dictionary of a `name` and options.

  `kind` and `example`, of what is named, are for messages.

  Raises:
    ValueError: the text has another form, or an option stands twice.

  Example:
    >>> parse("sm_taylor:order=4:margin=0.6")
    ('sm_taylor', {'order': 4, 'margin': 0.6})
  """
  if not isinstance(text, str):
    beside = dict(text)
    if not isinstance(name := beside.pop("name", None), str):
      raise ValueError(f"Got the {kind} {dict(text)!r} without a name; give it one, as {example}.")
    name, options = parse(name, kind=kind, example=example)
    return name, options | beside
  name, *parts = split_outside_brackets(text.strip(), ":")
  malformed = f"Got the {kind} {text!r}; write name or name:option=value, as {example}."
  if not name:
    raise ValueError(malformed)
  options: dict[str, Any] = {}
  for part in parts:
    option, equals, value = part.partition("=")
    option, value = option.strip(), value.strip()
    if not (equals and option.isidentifier() and value):
      raise ValueError(malformed)
    if option in options:
      raise ValueError(f"Got the {kind} {text!r} with option {option!r} twice; give it once.")
    options[option] = _read(value)
  return name, options


def split(text: str, *, kind: str = "head", example: str = "taylor:order=4") -> tuple[str, ...]:
  """Split a list of texts at its commas, but not inside brackets.

  Raises:
    ValueError: there is none, or one stands twice.

  Example:
    >>> split("softmax, adaptive:cutoffs=(10,100)")
    ('softmax', 'adaptive:cutoffs=(10,100)')
  """
  texts = tuple(part.strip() for part in split_outside_brackets(text, ",") if part.strip())
  if not texts:
    raise ValueError(f"Got no {kind}s; name at least one, as {example}.")
  for named in texts:
    if texts.count(named) > 1:
      raise ValueError(f"Got the {kind} {named!r} twice; name each {kind} once.")
  return texts


def split_outside_brackets(text: str, separator: str) -> list[str]:
  """Split at the separators that stand outside (), [] and {}.

  Raises:
    ValueError: a bracket has no other half.

  Example:
    >>> split_outside_brackets("two_level:groups=(0,1),softmax", ",")
    ['two_level:groups=(0,1)', 'softmax']
  """
  parts, depth = [""], 0
  for character in text:
    depth += (character in "([{") - (character in ")]}")
    if character == separator and depth == 0:
      parts.append("")
    else:
      parts[-1] += character
  if depth:
    raise ValueError(f"Got {text!r}, whose brackets do not match; give each its other half.")
  return parts


def accepted(function: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
  """Return those of the arguments that a function takes.

  Example:
    >>> accepted(lambda images, *, train: images, train=True, rngs=None)
    {'train': True}
  """
  parameters = inspect.signature(function).parameters
  if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
    return arguments
  return {name: value for name, value in arguments.items() if name in parameters}


def _read(value: str) -> Any:
  if re.fullmatch(r"\d+(-\d+)+", value):
    return tuple(map(int, value.split("-")))
  try:
    return ast.literal_eval(value)
  except (ValueError, SyntaxError):
    return value[1:-1] if value[0] + value[-1] == "()" else value


def _signature(function: Callable[..., Any]) -> list[inspect.Parameter]:
  called = function
  if inspect.isclass(function):  # What makes its instances may hide the arguments.
    called = functools.partial(function.__init__, None)
  try:
    return list(inspect.signature(called, eval_str=True).parameters.values())
  except NameError:  # Annotations may be text that names what only a type checker imports.
    return list(inspect.signature(called).parameters.values())


def _wanted(parameter: inspect.Parameter) -> list[Any]:
  """Return the types that a value may have, of those in `_TYPES`; none where any will do."""
  annotation = parameter.annotation
  if annotation is _EMPTY and parameter.default is not None:
    annotation = type(parameter.default)
  union = typing.get_origin(annotation) in (types.UnionType, typing.Union)
  members = typing.get_args(annotation) if union else (annotation,)
  found = [typing.get_origin(member) or member for member in members]
  found = [tuple if member in (list, collections.abc.Sequence) else member for member in found]
  if all(member in _TYPES for member in found):
    return found
  # Of types that are not known here, as JAX's arrays, the default tells a number.
  is_number = isinstance(parameter.default, int | float) and parameter.default is not True
  return [float] if is_number and str not in found else []


def _fits(value: Any, wanted: Sequence[Any]) -> bool:
  """Say whether a value has one of the types; of arrays and other objects their user judges."""
  if isinstance(value, bool):
    return bool in wanted
  if isinstance(value, numbers.Real | str | list | tuple | None):
    return any(isinstance(value, _TYPES[type_][0]) for type_ in wanted)
  return True
