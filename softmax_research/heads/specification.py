"""Specifications: heads, and what else has options, as text: `sm_taylor:order=4:margin=0.6`."""

import ast
from typing import Any


def _split_outside_brackets(text: str, separator: str) -> list[str]:
  """Split at the separators that stand outside (), [] and {}."""
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


def parse(
  text: str, *, kind: str = "head", example: str = "taylor:order=4"
) -> tuple[str, dict[str, Any]]:
  """Read a name and its options from one specification.

  Args:
    text: `name` or `name:option=value:option=value`; values are Python literals, anything else
      is taken as a string.
    kind: what is specified, for messages.
    example: of one, for messages.

  Returns:
    The name and the options.

  Raises:
    ValueError: the text has another form, or an option stands twice.

  Example:
    >>> parse("sm_taylor:order=4:margin=0.6")
    ('sm_taylor', {'order': 4, 'margin': 0.6})
  """
  name, *parts = _split_outside_brackets(text.strip(), ":")
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
    try:
      options[option] = ast.literal_eval(value)
    except (ValueError, SyntaxError):
      options[option] = value
  return name, options


def split(text: str, *, kind: str = "head", example: str = "taylor:order=4") -> tuple[str, ...]:
  """Split a list of specifications at its commas, but not inside brackets.

  Args:
    text: specifications separated by commas.
    kind: see `parse`.
    example: see `parse`.

  Returns:
    The specifications, without surrounding white space.

  Raises:
    ValueError: there is none, or one stands twice.

  Example:
    >>> split("softmax, adaptive:cutoffs=(10,100)")
    ('softmax', 'adaptive:cutoffs=(10,100)')
  """
  specifications = tuple(
    part.strip() for part in _split_outside_brackets(text, ",") if part.strip()
  )
  if not specifications:
    raise ValueError(f"Got no {kind}s; name at least one, as {example}.")
  for specification in specifications:
    if specifications.count(specification) > 1:
      raise ValueError(f"Got the {kind} {specification!r} twice; name each {kind} once.")
  return specifications
