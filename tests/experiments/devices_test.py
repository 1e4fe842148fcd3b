"""The rules that stand where `--devices` says nothing: on CPU, and on eight devices elsewhere."""

import jax
import pytest

from experiments.classifiers import devices


@pytest.fixture(autouse=True)
def _on_cpu(monkeypatch):
  """Eight devices are there on CPU, whatever else there is."""
  cpus = jax.devices("cpu")
  assert len(cpus) == 8
  monkeypatch.setattr(jax, "device_count", lambda: 8)
  with jax.default_device(cpus[0]):
    yield


def _lay_out(filters=(), num_seeds=5, **given):
  options = devices.get_options()
  options.update(given)
  layout = devices.lay_out(options, filters, num_seeds)
  return tuple(layout.mesh.shape.values()), layout.seeds_by


@pytest.mark.parametrize(
  ("backend", "num_seeds", "given", "shape"),
  [
    ("cpu", 5, {}, (5, 1)),
    ("cpu", 9, {}, (8, 1)),
    ("cpu", 5, {"data": 4}, (2, 4)),
    ("gpu", 5, {}, (4, 2)),  # Five would leave three devices idle.
    ("gpu", 8, {}, (8, 1)),
    ("gpu", 1, {}, (1, 8)),
    ("gpu", 5, {"seed": 2}, (2, 4)),
    ("gpu", 5, {"seed": 2, "data": 2}, (2, 2)),
  ],
)
def test_devices_go_to_seeds_first_and_elsewhere_than_on_cpu_none_is_idle(
  monkeypatch, backend, num_seeds, given, shape
):
  monkeypatch.setattr(jax, "default_backend", lambda: backend)
  assert _lay_out(num_seeds=num_seeds, **given)[0] == shape


@pytest.mark.parametrize(
  ("filters", "asked", "expected"),
  [
    ((32, 64), "auto", "map"),
    ((), "auto", "vmap"),
    ((32, 64), "apart", "map"),
    ((32, 64), "vmap", "vmap"),
    ((), "map", "map"),
  ],
)
def test_seeds_of_one_device_train_as_is_fastest_for_the_network(filters, asked, expected):
  assert _lay_out(filters, seeds_by=asked)[1] == expected


@pytest.mark.parametrize(
  ("num_seeds", "filters", "expected"),
  [(16, (32, 64), "vmap"), (8, (32, 64), "map"), (16, (96, 192), "map"), (8, (), "vmap")],
)
def test_on_gpu_narrow_nets_train_all_seeds_of_a_device_at_once(
  monkeypatch, num_seeds, filters, expected
):
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  assert _lay_out(filters, num_seeds)[1] == expected  # Eight devices.


def test_on_cpu_there_is_a_device_for_each_seed_up_to_the_cores(monkeypatch):
  made = []
  monkeypatch.setattr(jax.config, "update", lambda name, value: made.append(value))
  monkeypatch.setattr(devices, "_num_cores", lambda: 4)
  for num_seeds, given in (
    (3, {}),
    (9, {}),
    (9, {"seeds_by": "apart"}),
    (9, {"seed": 2, "data": 3}),
  ):
    options = devices.get_options()
    options.update(given)
    devices.prepare(options, num_seeds)
  assert made == [3, 4, 1, 6]


@pytest.mark.parametrize("name", ["strategy", "seeds_by"])
def test_an_option_that_is_none_is_refused_before_any_work(monkeypatch, name):
  monkeypatch.setattr(jax.config, "update", lambda *changes: pytest.fail(f"changed {changes}"))
  options = devices.get_options()
  options[name] = "foo"
  with pytest.raises(ValueError, match=f"--devices.{name}=foo; it must be one of"):
    devices.prepare(options, 2)
