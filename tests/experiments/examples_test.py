"""The examples in docstrings of experiments and configurations are true."""

import doctest
import importlib
import pathlib

import pytest

_ROOT = pathlib.Path(__file__).parents[2]
_MODULES = [
  ".".join(path.relative_to(_ROOT).with_suffix("").parts)
  for package in ("configs", "experiments")
  for path in sorted((_ROOT / package).rglob("*.py"))
  # Scripts define flags, which one process can do only once.
  if ">>>" in (text := path.read_text(encoding="utf-8")) and '__name__ == "__main__"' not in text
]


@pytest.mark.parametrize("name", _MODULES)
def test_examples(name):
  failed, attempted = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
  assert attempted and not failed
