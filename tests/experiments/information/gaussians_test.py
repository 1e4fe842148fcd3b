"""The studies of classes: terms by their formulas, fits near the truth, reports, bad settings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import mutual_information
from experiments.information import estimates, estimators, gaussians, sweep
from softmax_research import information, study
from softmax_research.study import runner, workdir

_RNG = np.random.default_rng(0)
LOGITS = _RNG.normal(size=(50, 3)).astype(np.float32)
LABELS = _RNG.integers(0, 3, len(LOGITS))
PRIOR = np.array([0.2, 0.3, 0.5])


def _terms(name):
  estimator = next(e for e in estimators.CLASSIFIERS if e.name == name)
  log_prior = jnp.asarray(np.log(PRIOR), jnp.float32)
  found = estimator.terms(jnp.asarray(LOGITS), jnp.asarray(LABELS), log_prior)
  return np.asarray(found, np.float64)


def test_terms_of_classifiers_are_their_formulas():
  logits = LOGITS.astype(np.float64)
  own = logits[np.arange(len(LABELS)), LABELS]
  plain = own - np.log(np.exp(logits).sum(1))
  np.testing.assert_allclose(_terms("softmax + log K"), plain + np.log(3), atol=1e-5)
  entropy = -np.sum(PRIOR * np.log(PRIOR))
  np.testing.assert_allclose(_terms("softmax, plug-in"), plain + entropy, atol=1e-5)
  corrected = own - np.log(np.exp(logits) @ PRIOR)
  np.testing.assert_allclose(_terms("PC-softmax"), corrected, atol=1e-5)


def test_the_accuracies_of_a_seed_do_not_depend_on_the_others():
  labels = np.array([[0, 0, 1, 2], [0, 1, 1, 1]])  # The second seed's test lacks a class.
  right = np.array([[1, 0, 1, 1], [1, 1, 1, 0]], bool)
  both = gaussians._accuracies(right, labels, 3)
  np.testing.assert_allclose(both["accuracy"], [3 / 4, 3 / 4])
  np.testing.assert_allclose(both["macro_accuracy"], [(1 / 2 + 1 + 1) / 3, (1 + 2 / 3) / 2])
  for seed in range(2):
    alone = gaussians._accuracies(right[[seed]], labels[[seed]], 3)
    assert alone["macro_accuracy"][0] == both["macro_accuracy"][seed]


def test_the_term_of_a_critic_is_its_bound_on_the_pairs_of_a_batch():
  scores = LOGITS.astype(np.float64)[:, LABELS]
  apart = ~np.eye(len(scores), dtype=bool)
  expected = 1 + np.diag(scores).mean() - np.exp(scores)[apart].mean()
  np.testing.assert_allclose(_terms("NWJ"), [expected], atol=1e-5)


def test_a_seeds_key_and_share_do_not_depend_on_the_others():
  def draw(key, x, shared):
    return {"drawn": jax.random.normal(key, (2,)), "sum": x + shared}

  seeds = tuple(range(12))
  found, _ = estimators.run_seeds(draw, seeds, np.arange(12.0), shared=np.float32(1))
  np.testing.assert_array_equal(found["sum"], np.arange(12.0) + 1)
  alone, _ = estimators.run_seeds(draw, (7,), np.array([7.0]), shared=np.float32(1))
  np.testing.assert_array_equal(alone["drawn"][0], found["drawn"][7])
  assert len(np.unique(found["drawn"])) == 24


def _split(sample):
  """Return inputs and labels of the splits of a sample."""
  ends = np.cumsum(list(sample.sizes.values()))[:-1]
  return zip(np.split(sample.inputs, ends, 1), np.split(sample.labels, ends, 1), strict=True)


def test_draws_have_the_counts_and_the_means_whichever_other_seeds_there_are():
  counts = (500, 1000, 1500, 500, 1000)
  (inputs, labels), (_, validation), (test, _) = _split(gaussians.draw((0, 1), counts, 2))
  for seed in range(2):
    assert np.bincount(labels[seed]).tolist() == list(counts)
    assert np.bincount(validation[seed]).tolist() == [count // 5 for count in counts]
  means = [np.mean(inputs[labels == k]) for k in range(5)]
  np.testing.assert_allclose(means, [0, 2, -2, 4, -4], atol=5 / np.sqrt(2 * 2 * 500))
  assert not np.any(inputs[0, :10, 0] == inputs[1, :10, 0])
  assert not np.isin(test[0, :, 0], inputs[0, :, 0]).any()
  *_, (alone, _) = _split(gaussians.draw((1,), counts, 2))
  np.testing.assert_array_equal(alone[0], test[1])


def test_the_sweeps_draws_have_the_prior_and_means_on_a_line():
  sample = sweep.draw((0, 1), {"size": 20_000, "dimension": 4, "ratio": 4.0, "classes": 3})
  assert list(sample.sizes.values()) == [12_000, 4_000, 4_000]
  (inputs, labels), *_ = _split(sample)
  frequencies = np.bincount(labels.ravel()) / labels.size
  np.testing.assert_allclose(frequencies, [4 / 7, 2 / 7, 1 / 7], atol=0.02)
  # On the diagonal's unit vector lie the places, and across it nothing.
  of_last = inputs[labels == 2]
  np.testing.assert_allclose(np.mean(of_last @ np.full(4, 0.5)), -2, atol=0.1)
  np.testing.assert_allclose(np.mean(of_last @ [0.5, 0.5, -0.5, -0.5]), 0, atol=0.1)


def test_the_sweep_moves_one_factor_at_a_time():
  few = sweep.Settings(sizes=(1000,), dimensions=(2,), ratios=(1.0,), class_counts=(5, 10))
  cells = [cell for cell in sweep.cells(few) if cell["objective"] == "NWJ"]
  assert [(cell["size"], cell["classes"]) for cell in cells] == [(1000, 5), (16000, 5), (16000, 10)]


def test_fits_come_near_the_truth(tmp_path):
  settings = gaussians.Settings(dimensions=(1,), seeds=2, epochs=4, batch_size=50, scale=0.1)
  options = runner.Options(tmp_path, only="^softmax / imbalanced")
  assert runner.run(gaussians.STUDY, settings, options) == []
  records = workdir.read(tmp_path)
  assert [record["seed"] for record in records] == [0, 1]
  log_prior = np.log(np.arange(1, 6) / 15)
  truth = information.gaussian_mixture_information(gaussians.positions(5), log_prior)
  gap = np.log(5) + np.sum(np.exp(log_prior) * log_prior)
  for record in records:
    found, accuracies = record["measured"], record["metrics"]["test"]
    assert (found["truth"], found["entropy_gap"]) == pytest.approx((truth, gap))
    plug_in, plain = (
      found["estimators"][name]["estimate"] for name in ("softmax, plug-in", "softmax + log K")
    )
    assert plug_in == pytest.approx(truth, abs=0.15)
    assert plain - plug_in == pytest.approx(gap, abs=1e-4)
    assert accuracies["macro_accuracy"] < accuracies["accuracy"]  # Rare classes are missed more.
  report = (tmp_path / "report.md").read_text()
  assert "imbalanced classes, d = 1" in report and "| softmax, plug-in |" in report


def test_intervals_of_estimates_are_those_of_students_t():
  finite, infinite = estimates.intervals({"NWJ": np.array([[1.0, 2.0, 6.0], [1.0, 1.0, np.inf]])})
  # t of 2 degrees of freedom is 4.302653; the standard deviation is sqrt(7).
  half_width = 4.302653 * np.sqrt(7 / 3)
  assert finite["NWJ"] == pytest.approx({"estimate": 3.0, "half_width": half_width})
  assert infinite["NWJ"] == {"estimate": None, "half_width": None}


def _made(values):
  """Return records of an estimator with these estimates; the truth is 1."""
  return [
    {
      "cell": {"objective": "NWJ", "size": 9},
      "seed": seed,
      "status": "finished",
      "metrics": {"test": {"accuracy": 0.5, "macro_accuracy": 0.5}},
      "measured": {
        "truth": 1.0,
        "estimators": {"NWJ": {"estimate": value, "half_width": 0.6}},
      },
    }
    for seed, value in enumerate(values)
  ]


@pytest.mark.parametrize(
  ("values", "expected"),
  [
    ([1.5, 1.7, 1.3], ["3", "+0.5000", "0.2000", "0.5260", "67", "50.00", "50.00"]),
    ([1.5, 1.5, None], ["2 of 3", "+0.5000", "0.0000", "0.5000", "100", "50.00", "50.00"]),
    ([None, None], ["0 of 2", "–", "–", "–", "–", "–", "–"]),
  ],
)
def test_tables_say_how_many_estimates_are_finite(values, expected):
  rows = estimates.by_estimator(_made(values))
  text, table = estimates.tables(rows, lambda cell: "9 examples")
  assert text == "**9 examples**: the truth is 1.000000 nats."
  (row,) = table.rows
  assert row.name == "NWJ" and [cell.value for cell in row.cells] == expected
  (axes,) = estimates.plot(rows, x="size", name="bias", heading="Bias").figure.axes
  (mean,) = axes.lines[0].get_ydata()
  assert np.isnan(mean) == (None in values)  # Where some are missing the line has a gap.


def test_nearness_counts_problems_and_names_the_farthest():
  rows = estimates.by_estimator(_made([1.01, 0.99]))
  rows += [row | {"cell": {"estimator": "NWJ", "size": 5}} for row in rows]
  rows[-1] = rows[-1] | {"measured": rows[-1]["measured"] | {"error": -0.5}}
  text = estimates.near(rows, 0.02)
  assert text.startswith(
    "- NWJ: mean estimate within 0.02 nats of the truth in 1 of 2 problems; −0.2"
  )
  assert text.endswith("at worst (size 5).")


@pytest.mark.parametrize("name", mutual_information.STUDIES)
def test_a_report_of_failures_alone_is_written(tmp_path, name):
  of = mutual_information.STUDIES[name]
  settings = of.settings(seeds=2)
  if name == "samples":
    path = str(tmp_path / "labels.npy")
    np.save(path, LABELS)
    settings = settings._replace(x=path, y=path)
  cell = of.cells(settings)[0]
  context = study.Context(of, settings, cell, (0, 1))
  failed = context.record(None, seconds=0.0, status="failed", measured={"error": "no luck"})
  page, *_ = runner.write_report(of, settings, [failed], tmp_path, formats=("md",))
  assert "no luck" in page.read_text()


def test_settings_that_are_none_are_refused():
  for module, changes, message in (
    (gaussians, {"seeds": 1}, "seeds=1; it must be at least 2"),
    (gaussians, {"dimensions": ()}, "Got no --dimensions"),
    (gaussians, {"scale": 0.01}, "Pass a scale of at least 0.05"),
    (sweep, {"sizes": (500,)}, "sizes=500; it must be at least 1000"),
    (sweep, {"sizes": (100_000,), "batch_size": 1601}, "Pass --batch_size=1600 or less"),
    (sweep, {"ratios": (0.5,)}, "ratios=0.5; it must be at least 1"),
  ):
    with pytest.raises(ValueError, match=message):
      module.check(module.Settings(**changes))
