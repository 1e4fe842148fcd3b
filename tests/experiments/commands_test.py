"""Every command that the project names has flags that exist, and a configuration that fits."""

import importlib
import pathlib
import re

import pytest

from experiments import assembly
from softmax_research.study.runner import Options
from softmax_research.study.study import flatten

_ROOT = pathlib.Path(__file__).parents[2]
_COMMAND = re.compile(r"experiments\.(\w+)\s+--config=configs/(\w+)\.py(?::(\w+))?")
_LINE = re.compile(r"python -m experiments\.(\w+)([^`#|\n]*)")
_TEXTS = ["README.md", "docs/**/*.rst", "configs/*.py", "experiments/*.py"]
# Tables of papers have checks of their own, in reproduce_test; `train` has what `compare` has.
_ELSEWHERE = {"reproduce", "train"}
_COMMANDS = sorted(
  {
    found
    for pattern in _TEXTS
    for path in _ROOT.glob(pattern)
    for found in _COMMAND.findall(re.sub(r"\\+\n", " ", path.read_text()))
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


def _flags(script, line):
  """Return the names of the flags that a script has, where its command line is `line`."""
  source = (_ROOT / "experiments" / f"{script}.py").read_text()
  if "STUD" not in source:
    return set(re.findall(r"DEFINE_\w+\(\s*\"(\w+)\"", source))
  module, known = importlib.import_module(f"experiments.{script}"), {"help", "keep_compiled"}
  known |= set(Options._fields) - {"command", "devices"}
  if several := getattr(module, "STUDIES", {}):
    chosen = several[re.search(r"--study=(\w+)", line)[1]]
    return known | {"study", *chosen.settings._fields}
  if isinstance(module.STUDY.settings, type):
    return known | set(module.STUDY.settings._fields)
  named = re.search(r"--config=configs/(\w+)\.py", line)
  settings = importlib.import_module(f"configs.{named[1]}").get_config if named else None
  keys = flatten((settings or module.STUDY.settings)().to_dict())
  groups = {key.rpartition(".")[0] for key in keys} | {"backbone", "optimizer"}
  more = getattr(module, "More", getattr(module, "Flags", None))
  known |= {"config", "distributed", "coordinator", "num_processes", "process_id"}
  known |= {f"devices.{key}" for key in assembly.device_options()}
  return known | {f"config.{key}" for key in {*keys, *groups}} | set(more._fields if more else ())


def test_the_flags_of_every_command_exist():
  unknown, seen = [], 0
  for path in (path for pattern in _TEXTS for path in _ROOT.glob(pattern)):
    for script, line in _LINE.findall(re.sub(r"\\+\n", " ", path.read_text())):
      given, seen = re.findall(r"(?<![\w-])--([a-z_]\w*(?:\.\w+)*)", line), seen + 1
      known = _flags(script, line) if given else ()
      unknown += [f"{path.name}: {script} --{f}" for f in given if not {f, f[2:]} & set(known)]
  assert not unknown and seen > 100
