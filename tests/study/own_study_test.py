"""A study in a file of a user's own, as docs/own_study.rst shows it, has all that ours have."""

import functools
import pathlib
import runpy
import shutil

from softmax_research.study import workdir
from tests.experiments.scripts import finish, start

_ROOT = pathlib.Path(__file__).parents[2]


def test_the_documented_study_runs_goes_on_and_reports(tmp_path):
  shutil.copy(_ROOT / "docs" / "examples" / "median_or_mean.py", tmp_path)

  def run(*arguments):
    script = functools.partial(runpy.run_path, "median_or_mean.py", run_name="__main__")
    flags = ("--workdir=run", "--formats=md,html,csv", *arguments)
    done = finish(start(script, *flags, name="median_or_mean.py", cwd=tmp_path))
    assert done.returncode == 0, done.stderr
    return done.stdout

  assert "[4/4] median / size=100, seed 1" in run("--sizes=100", "--seeds=2")
  printed = run("--sizes=100", "--seeds=20")
  assert "seed 1:" not in printed and "[40/40]" in printed
  records = workdir.read(tmp_path / "run")
  assert len(records) == 40 and records[0]["study"] == "median_or_mean"
  report = (tmp_path / "run" / "report.md").read_text()
  assert "The median is nearer" in report and "python median_or_mean.py" in report
  assert (tmp_path / "run" / "tables" / "summary.csv").read_text().startswith("estimator,size 100")
  assert (tmp_path / "run" / "figures" / "off_by_size.svg").exists()
