"""Every command with a configuration that the project names gets past its study's checks."""

import importlib
import pathlib
import re

import pytest

_ROOT = pathlib.Path(__file__).parents[2]
_COMMAND = re.compile(r"experiments\.(\w+)\s+--config=configs/(\w+)\.py(?::(\w+))?")
_TEXTS = ["README.md", "docs/**/*.rst", "configs/*.py", "experiments/*.py"]
# Tables of papers have checks of their own, in reproduce_test; `train` has what `compare` has.
_ELSEWHERE = {"reproduce", "train"}
_COMMANDS = sorted(
  {
    found
    for pattern in _TEXTS
    for path in _ROOT.glob(pattern)
    for found in _COMMAND.findall(path.read_text().replace("\\\n", " "))
  }
)


@pytest.mark.parametrize(
  ("script", "config", "variant"), [of for of in _COMMANDS if of[0] not in _ELSEWHERE]
)
def test_a_command_fits_its_configuration(script, config, variant):
  make = importlib.import_module(f"configs.{config}").get_config
  study = importlib.import_module(f"experiments.{script}").STUDY
  study.check(make(variant) if variant else make())


def test_every_configuration_has_a_command():
  named = {config for _, config, _ in _COMMANDS}
  there = {path.stem for path in (_ROOT / "configs").glob("*.py")}
  assert there - named <= {"__init__", "default", "modern", "tables"}
