"""The commands of docs/twelve_commands.rst run in turn, on less training than the page has."""

import functools
import os
import re
import runpy
import shlex
import shutil

import jax

from tests.experiments.scripts import REPOSITORY, run_script

_PAGE = REPOSITORY / "docs" / "twelve_commands.rst"
_COMMANDS = [
  shlex.split(command.replace("\\\n", " "))
  for command in re.findall(r"^   python (?:.*\\\n)*.*$", _PAGE.read_text(), re.MULTILINE)
]
_LITTLE = ("--config.num_epochs=2", "--config.heads=softmax", "--config.seeds=1", "--formats=md")
# What these scripts and directories have in place of what the page says: small programs, because
# most of the time is that of compiling.
_INSTEAD = {
  "train": ("--config.num_epochs=2", "--formats=md"),
  "compare": _LITTLE,
  "mutual_information": ("--steps=20", "--seeds=2", "--estimators=info_nce", "--formats=md"),
  "runs/photos": ("--config.backbone=identity",),
  "runs/batches": ("--config.backbone=identity",),
  "runs/wide": ("--config.backbone=my_nets.Wide:width=8",),
  "runs/small": ("--config.backbone=my_nets.Small:width=4",),
  "runs/resnet": ("--config.backbone=resnet:depth=4:widths=4",),
  "runs/lion": ("--config.optimizer=lion:learning_rate=3e-4",),
}


def test_all_commands_run_on_the_files_of_the_examples(tmp_path, monkeypatch, capsys):
  for path in (REPOSITORY / "docs" / "examples").glob("*.py"):
    shutil.copy(path, tmp_path)
  monkeypatch.chdir(tmp_path)
  # Images are decoded there, and programs kept where those of the other tests are.
  monkeypatch.setenv("SOFTMAX_RESEARCH_CACHE", str(tmp_path))
  monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", jax.config.jax_compilation_cache_dir or "")
  assert len(_COMMANDS) == 13  # The first makes the files.
  for _, *command in _COMMANDS:
    if command[0] != "-m":
      runpy.run_path(command[0], run_name="__main__")
      continue
    name = command[1].removeprefix("experiments.")
    (workdir,) = (flag.partition("=")[2] for flag in command if flag.startswith("--workdir="))
    less = (*_INSTEAD.get(name, ()), *_INSTEAD.get(workdir, ()))
    there = functools.partial(os.chdir, tmp_path)
    run_script(name, *command[2:], *less, before=there)
    assert (tmp_path / workdir / "report.md").exists()
  assert (tmp_path / "runs/pets/predicted.csv").read_text().startswith("image,class,probability")
  assert "calibrated accuracy" in capsys.readouterr().out
