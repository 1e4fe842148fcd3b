"""Published errors: what the tables' directories and the papers' numbers have in common."""

import json

import pytest

from experiments.reproduction import published_errors


def _table(directory, paper, settings, runs):
  directory.mkdir()
  (directory / "config.json").write_text(json.dumps({"paper": paper, "settings": settings}))
  lines = [
    {
      "kind": "run",
      "status": "finished",
      "setting": setting,
      "method": method,
      "seed": seed,
      "metrics": {"test": {"error": error}},
    }
    for seed, (setting, method, error) in [*enumerate(runs), (0, (*runs[0][:2], 0.9))]
  ]
  lines.append({"kind": "failure", "setting": "mnist"})
  (directory / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_points_of_tables(tmp_path):
  methods = [["softmax", "softmax"], ["m=4", "l_softmax"], ["m=9", "l_softmax"]]
  settings = {name: {"methods": methods, "published": ""} for name in ("mnist", "cifar10_plus")}
  runs = [("mnist", "m=4", 0.005), ("mnist", "m=4", 0.007), ("mnist", "m=9", 0.1)]
  runs.append(("cifar10_plus", "softmax", 0.1))
  _table(tmp_path / "liu2016_cpu", "liu2016", settings, runs)
  wdbc = {"fair": {"methods": [["softmax", "softmax"]], "published": "wdbc"}}
  _table(tmp_path / "agarap2018", "agarap2018", wdbc, [("fair", "softmax", 0.05)])
  (tmp_path / "digits").mkdir()
  (tmp_path / "digits" / "config.json").write_text(json.dumps({"dataset": "digits"}))
  wdbc, mnist, plus = published_errors.points(tmp_path)
  assert (wdbc.group, round(wdbc.published, 6), wdbc.values) == ("agarap2018", 7.6, [5.0])
  assert (mnist.group, mnist.published) == ("liu2016_cpu", 0.31)
  assert mnist.values == pytest.approx([0.5, 0.7])
  assert mnist.verified and not plus.verified
  assert published_errors.points(tmp_path / "none") == []
