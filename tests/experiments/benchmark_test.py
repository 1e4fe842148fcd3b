"""The benchmarks: their sides run, their rows compare medians, and bad names are explained."""

import sys
import types

import jax
import pytest

from experiments.benchmarks import (
  attention,
  classes,
  device_report,
  losses,
  pytorch,
  seeds,
  timing,
  training,
)
from experiments.benchmarks.timing import OURS, Options
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


def test_a_loss_is_compiled_and_timed(cases):
  assert len({case.name for case in cases}) == len(cases)
  assert cases[0].sides[OURS]()() == 1


def test_every_side_of_the_losses_runs(cases, monkeypatch):
  pytest.importorskip("torch")
  pytest.importorskip("entmax")

  def trace(function, *arguments):
    """Trace in place of compiling: the mean of a loss and gradients, or a copy."""
    results = jax.tree.leaves(jax.eval_shape(function, *arguments))
    assert results[0].shape == () or results[0].shape == arguments[0].shape
    return lambda: 1

  monkeypatch.setattr(losses, "repeat", trace)
  for case in cases:
    for name, side in case.sides.items():
      assert side()() == 1, (case.name, name)


def test_every_side_of_attention_runs(monkeypatch):
  pytest.importorskip("torch")
  for name, sizes in {"SIZES": (1, 6, 2, 4), "LONG": (1, 8, 2, 4), "CROSSING": (3, 5)}.items():
    monkeypatch.setattr(attention, name, sizes)

  def trace(function, *arguments):
    outputs, gradients = jax.eval_shape(function, *arguments)
    assert outputs.shape == arguments[2].shape and len(gradients) == 3
    return lambda: 1

  monkeypatch.setattr(attention, "repeat", trace)
  cases = attention.cases()
  assert len({case.name for case in cases}) == len(cases)
  for case in cases:
    for name, side in case.sides.items():
      assert side()() == 1, (case.name, name)


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


def test_the_training_of_seeds_stands_beside_a_product_and_the_update_alone(monkeypatch):
  monkeypatch.setattr(training, "SEEDS_IMAGES", 256)
  monkeypatch.setattr(
    training, "NETWORKS", {"mlp": ((4, 4, 1), 999, {"name": "mlp", "widths": (3,)})}
  )
  _, of_seeds, *_ = training.cases()
  # The others are those of the benchmark of seeds, below.
  assert set(of_seeds.sides) >= {OURS, "one seed after another"}
  assert of_seeds.sides["Adam's update alone"]()() == 8
  # A product of so small a step's operations stands for very many of it.
  assert of_seeds.sides["matrix product"]()() > 1e4


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
  monkeypatch.setattr(timing, "Worker", _Worker)
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

  def __init__(self, benchmark, case, side, threads):
    times = [4.0, 1.0, 2.0, 100.0] if side == OURS else [9.0, 6.0, 3.0, 200.0]
    self._answers = iter([0.0, *times])

  def answer(self):
    return next(self._answers)

  def ask(self, line):
    return next(self._answers)

  def kill(self):
    pass


def test_a_row_compares_the_medians_of_sides_that_took_turns(monkeypatch):
  monkeypatch.setattr(timing, "Worker", _Worker)
  case = timing.Case("a case", {OURS: None, "theirs": None})
  (row,) = timing.measure("losses", [case], Options(repeats=3))
  assert (row["ours_ms"], row["peer_ms"], row["speedup"]) == (2.0, 6.0, 3.0)
  assert (row["ours_ms_range"], row["peer_ms_range"]) == ([1.0, 4.0], [3.0, 9.0])
  assert (row["ours_peak_mb"], row["peer_peak_mb"]) == (100.0, 200.0)


def test_an_unknown_benchmark_and_flags_that_would_do_nothing_are_refused():
  for given in (["--device_report", "--case=mlp"], ["losses", "--tiny"]):
    assert f"Got {given[1].partition('=')[0]}, which" in expect_error("benchmark", *given)
  message = expect_error("benchmark", "lossess")
  assert "'lossess'; the benchmarks are attention, classes, losses, seeds, training." in message


def test_libraries_whose_kernels_need_a_gpu_are_peers_there(monkeypatch):
  pytest.importorskip("torch")
  monkeypatch.setattr(pytorch, "device", lambda: "cuda")
  monkeypatch.setattr(classes, "find_spec", lambda module: module == "liger_kernel")
  peers = {case.name: case.peers() for case in classes.cases()}
  assert peers["linear [2048, 32000, 512] bfloat16"] == ["our plain form", "PyTorch", "Liger"]
  assert peers["linear [2048, 32000, 512]"] == ["our plain form", "PyTorch"]


def test_the_peak_is_that_of_a_gpus_memory_where_there_is_one(monkeypatch):
  no_torch = types.SimpleNamespace(cuda=types.SimpleNamespace(is_available=lambda: False))
  monkeypatch.setitem(sys.modules, "torch", no_torch)
  assert timing.device_peak_mb() == 0
  gpu = types.SimpleNamespace(memory_stats=lambda: {"peak_bytes_in_use": 3_000_000})
  monkeypatch.setattr(timing.jax, "local_devices", lambda: [gpu])
  assert timing.device_peak_mb() == 3
  held = {"is_available": lambda: True, "max_memory_allocated": lambda: 2_000_000}
  monkeypatch.setattr(no_torch, "cuda", types.SimpleNamespace(**held))
  assert timing.device_peak_mb() == 2


def test_the_device_report_takes_every_figure(monkeypatch):
  def fails(*inputs):
    raise MemoryError("too large\nby far")

  monkeypatch.setattr(losses, "variants", lambda num_classes: {"one that fails": fails})
  made = {row["figure"]: row for row in device_report.rows(device_report.TINY)}
  failed = [row for row in made.values() if row["reached"] is None]
  assert [row["figure"] for row in failed] == [
    f"one that fails [8, 16] {dtype}" for dtype in ("float32", "bfloat16")
  ]
  assert failed[0]["failed"] == "MemoryError: too large"
  lean = made["linear cross-entropy [8, 4, 16] bfloat16, lean"]
  assert (lean["aim"], lean["temporaries_aim_gb"]) == (1.6, 0.7)
  assert 0 < lean["temporaries_gb"] < 1e-4 and lean["reached"] > 0
  nets = [figure for figure in made if figure.startswith("mlp")]
  assert nets == [
    f"mlp, 4, {form}, {dtype}"
    for form in ("1 by map, library", "2 by vmap, products")
    for dtype in ("float32", "bfloat16")
  ]
  for row in made.values():
    assert len(device_report.show(row)) >= len(device_report.HEADING)
  # Whoever kills it has what was printed, and it ends by itself before it is killed.
  monkeypatch.setattr(device_report.time, "monotonic", iter(range(0, 10**6, 10**4)).__next__)
  left = list(device_report.rows(device_report.TINY))
  assert len(left) == len(made)
  assert {row["failed"] for row in left} == {"TimeoutError: no time was left"}
