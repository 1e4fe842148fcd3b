"""The benchmarks: their sides run, their rows compare medians, and bad names are explained."""

import jax
import pytest

from experiments.benchmarks import classes, losses, pairs, seeds, training
from experiments.benchmarks.row import OURS, Options
from tests.experiments.scripts import expect_error

_SMALL = {"DENSE": (4, 12), "SPARSE": (4, 6), "ADAPTIVE": (4, 16, 40, (8, 20))}


_FEW_CLASSES = {
  "LINEAR": (4, 12, 3),
  "MEMORY": (4, 12, 3),
  "TREE": (4, 3),
  "TREE_CLASSES": (8, 32),
  "DENSE_AT_MOST": 8,
  "ZIPF_CLASSES": 16,
}


@pytest.fixture(name="cases")
def fixture_cases(monkeypatch):
  for name, sizes in _SMALL.items():
    monkeypatch.setattr(losses, name, sizes)
  return losses.cases()


def test_our_side_of_every_case_of_the_losses_runs(cases):
  assert len({case.name for case in cases}) == len(cases)
  for case in cases:
    assert case.sides[OURS]()() == 1, case.name


def test_every_peer_of_the_losses_runs(cases):
  pytest.importorskip("torch")
  pytest.importorskip("entmax")
  for case in cases:
    for peer in case.peers():
      assert case.sides[peer]()() == 1, (case.name, peer)


def test_every_side_of_the_classes_but_the_adaptive_runs(monkeypatch):
  pytest.importorskip("torch")
  for name, sizes in _FEW_CLASSES.items():
    monkeypatch.setattr(classes, name, sizes)
  cases = classes.cases()[:-1]
  assert len({case.name for case in cases}) == len(cases)
  for case in cases:
    for name, side in case.sides.items():
      run = side()
      assert run() == run() == 1, (case.name, name)


def test_seeds_train_together_and_one_after_another(monkeypatch):
  monkeypatch.setattr(training, "SEEDS_IMAGES", 256)
  monkeypatch.setattr(
    training, "NETWORKS", {"mlp": ((4, 4, 1), 999, {"name": "mlp", "widths": (3,)})}
  )
  _, of_seeds = training.cases()
  # The devices of this process are made already.
  monkeypatch.setattr(training.assembly, "prepare_devices", lambda options, num_seeds: None)
  steps = {name: side()() for name, side in of_seeds.sides.items()}
  # A product of so small a step's operations stands for very many of it.
  assert steps.pop("matrix product") > 1e4
  assert steps == {OURS: 8 * 2, "one seed after another": 2, "Adam's update alone": 8}


def test_seeds_train_in_one_program_in_each_way_and_one_after_another(monkeypatch):
  network = (4, 4, 1), 16, {"name": "mlp", "widths": (3,)}, 8
  for name, value in (("NETWORK", network), ("SEEDS", 2), ("PRODUCT", {"size": 8, "count": 1})):
    monkeypatch.setattr(seeds, name, value)
  monkeypatch.setattr(training.assembly, "prepare_devices", lambda options, num_seeds: None)
  made = {case.name: case.sides for case in seeds.cases()}
  assert list(made) == [f"2 seeds, mnist cnn, {name}" for name in ("float32", "tf32", "bfloat16")]
  before = jax.config.jax_default_matmul_precision
  try:
    steps = {name: side()() for name, side in made["2 seeds, mnist cnn, bfloat16"].items()}
  finally:
    jax.config.update("jax_default_matmul_precision", before)
  assert steps.pop("matrix product") > 0 and steps.pop("one seed after another") == 2
  assert steps == {OURS: 4, "all in each operation": 4, "one after another in one program": 4}


def test_rates_are_operations_by_time(monkeypatch):
  monkeypatch.setattr(pairs, "Worker", _Worker)
  rows = list(seeds.rows(Options(case="bfloat16", peer="matrix", repeats=3)))
  operations = training.step_operations(*seeds.NETWORK)
  (row,) = rows
  assert row["ours_tflops"] == pytest.approx(operations / 2e-3 / 1e12)
  assert row["peer_tflops"] == pytest.approx(operations / 6e-3 / 1e12)


def test_tf32_is_refused_where_there_is_none():
  with pytest.raises(ValueError, match=r"TF32 is a format of NVIDIA's GPUs, .* cpu"):
    seeds.rows(Options(case="tf32"))


class _Worker:
  """Answers with times that are known."""

  def __init__(self, benchmark, case, side, *, threads):
    self._side = side
    self._times = iter([4.0, 1.0, 2.0] if side == OURS else [9.0, 6.0, 3.0])

  def wait_until_ready(self):
    pass

  def milliseconds(self, seconds):
    return next(self._times)

  def finish(self):
    return 100.0 if self._side == OURS else 200.0

  def kill(self):
    pass


def test_a_row_compares_the_medians_of_sides_that_took_turns(monkeypatch):
  monkeypatch.setattr(pairs, "Worker", _Worker)
  case = pairs.Case("a case", {OURS: None, "theirs": None})
  (row,) = pairs.measure("losses", [case], Options(repeats=3))
  assert (row["ours_ms"], row["peer_ms"], row["speedup"]) == (2.0, 6.0, 3.0)
  assert (row["ours_ms_range"], row["peer_ms_range"]) == ([1.0, 4.0], [3.0, 9.0])
  assert (row["ours_peak_mb"], row["peer_peak_mb"]) == (100.0, 200.0)


def test_an_unknown_benchmark_is_refused_with_those_that_exist():
  message = expect_error("benchmark", "lossess")
  assert "'lossess'; the benchmarks are classes, losses, seeds, training." in message
