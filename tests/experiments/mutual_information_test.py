"""The studies of classes and the script: terms by their formulas, fits near the truth, errors."""

import datetime
import json

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.information import (
  class_scores,
  fitting,
  gaussians,
  images,
  mixture,
  staircase,
  summary,
  sweep,
)
from experiments.information.study import estimate, make_settings
from tests.experiments.scripts import expect_error, run_script

_PAIRS = 50
_RNG = np.random.default_rng(0)
LOGITS = _RNG.normal(size=(2 * _PAIRS, 3)).astype(np.float32)
LABELS = _RNG.integers(0, 3, len(LOGITS))
PRIOR = np.array([0.2, 0.3, 0.5])


def _terms(name, logits=LOGITS, prior=PRIOR):
  estimator = next(e for e in class_scores.ESTIMATORS if e.name == name)
  with np.errstate(divide="ignore"):
    log_prior = jnp.asarray(np.log(prior), jnp.float32)
  found = estimator.terms(jnp.asarray(logits), jnp.asarray(LABELS), log_prior, _PAIRS)
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


def test_terms_of_critics_are_their_bounds_on_batches_of_pairs():
  expected = []
  for start in (0, _PAIRS):
    rows = slice(start, start + _PAIRS)
    scores = LOGITS[rows].astype(np.float64)[:, LABELS[rows]]
    apart = ~np.eye(len(scores), dtype=bool)
    expected.append(1 + np.diag(scores).mean() - np.exp(scores)[apart].mean())
  np.testing.assert_allclose(_terms("NWJ"), expected, atol=1e-5)


@pytest.mark.parametrize("name", [estimator.name for estimator in class_scores.ESTIMATORS])
def test_a_class_that_is_none_changes_no_term(name):
  logits = np.concatenate([LOGITS, np.full((len(LOGITS), 1), 3.0, np.float32)], axis=1)
  padded = _terms(name, logits, np.append(PRIOR, 0.0))
  np.testing.assert_allclose(padded, _terms(name), atol=1e-5)


def test_draws_have_the_counts_and_the_means():
  counts = (500, 1000, 1500, 500, 1000)
  train, validation, test = gaussians.draw(counts, 2, 3, 2)
  for seed in range(2):
    assert np.bincount(train.labels[seed]).tolist() == list(counts)
    assert np.bincount(validation.labels[seed]).tolist() == [count // 5 for count in counts]
  assert not np.any(train.inputs[..., 2])
  means = [np.mean(train.inputs[train.labels == k, :2]) for k in range(5)]
  np.testing.assert_allclose(means, [0, 2, -2, 4, -4], atol=5 / np.sqrt(2 * 2 * 500))
  assert not np.any(train.inputs[0, :10, 0] == train.inputs[1, :10, 0])
  assert not np.isin(test.inputs[0, :, 0], train.inputs[0, :, 0]).any()


def test_the_sweeps_draws_have_the_prior_and_means_on_a_line():
  problem = {"size": 20_000, "dimension": 4, "ratio": 4.0, "classes": 3}
  splits = sweep.draw(problem, 4, 2)
  assert [split.labels.shape for split in splits] == [(2, 12_000), (2, 4_000), (2, 4_000)]
  frequencies = np.bincount(splits.train.labels.ravel()) / splits.train.labels.size
  np.testing.assert_allclose(frequencies, [4 / 7, 2 / 7, 1 / 7], atol=0.02)
  # On the diagonal's unit vector lie the places, and across it nothing.
  of_last = splits.train.inputs[splits.train.labels == 2]
  np.testing.assert_allclose(np.mean(of_last @ np.full(4, 0.5)), -2, atol=0.1)
  np.testing.assert_allclose(np.mean(of_last @ [0.5, 0.5, -0.5, -0.5]), 0, atol=0.1)


def test_fits_come_near_the_truth_whatever_is_padded():
  counts = (600, 1200, 1800, 2400, 3000)
  log_prior = np.log(np.array(counts) / sum(counts))
  padded = np.append(log_prior, -np.inf)
  options = {"objective": "softmax", "steps": 400, "look_every": 100, "part": 600}
  options |= {"batch_size": 100, "hidden": (32,)}
  found = fitting.fit_and_estimate(gaussians.draw(counts, 1, 2, 2), padded, **options)
  truth = mixture.true_information(mixture.positions(5), log_prior)
  np.testing.assert_allclose(np.mean(found["softmax, plug-in"], 1), truth, atol=0.1)
  assert found["softmax, plug-in"].shape == (2, 1800)
  gap = np.log(5) + np.sum(np.exp(log_prior) * log_prior)
  excess = np.mean(found["softmax + log K"], 1) - np.mean(found["softmax, plug-in"], 1)
  np.testing.assert_allclose(excess, gap, atol=1e-4)
  assert np.all(found["macro"] < found["micro"])  # rare classes are missed more often


def test_all_batches_of_a_pass_differ():
  sample = mixture.Sample(np.zeros((2, 10, 1)), np.zeros((2, 10)))
  rows = np.stack(list(fitting._batches(sample, 4, 5, np.random.default_rng(0))))
  for pair in (rows[:2], rows[2:]):
    for seed in range(2):
      assert sorted(pair[:, seed].ravel()) == list(range(10))
  assert np.any(rows[:2] != rows[2:])


def test_intervals_of_estimates_are_those_of_students_t():
  found = estimate(np.array([1.0, 2.0, 6.0]))
  # t of 2 degrees of freedom is 4.302653; the standard deviation is sqrt(7).
  assert found == pytest.approx({"estimate": 3.0, "half_width": 4.302653 * np.sqrt(7 / 3)})
  assert estimate(np.array([1.0, np.inf])) == {"estimate": None, "half_width": None}


def test_the_claims_say_what_the_runs_say():
  def runs(name, errors):
    common = {"prior": "balanced", "dimension": 1, "truth": 1.0, "entropy_gap": 0.0}
    return [common | {"estimator": name, "estimate": 1 + error} for error in errors]

  cells = summary.group(
    runs("PC-softmax", [0.02, -0.02]) + runs("softmax + log K", [0.03, 0.01]),
    ("prior", "dimension", "estimator"),
  )
  text = gaussians.claims(cells)
  assert "PC-softmax, balanced: mean estimate within 0.01 nats of the truth holds" in text
  assert "softmax + log K, balanced: within 0.01 nats of the truth does not hold: +0.0200" in text


def test_an_estimator_that_is_never_finite_has_dashes(tmp_path, monkeypatch):
  monkeypatch.setattr(summary, "plot", lambda *_: "the figure")  # as a paragraph
  names = [estimator.name for estimator in class_scores.ESTIMATORS]
  common = {"truth": 1.0, "half_width": 0.1, "micro": 0.5, "macro": 0.5, "entropy_gap": 0.0}
  values = {name: {"estimate": 1.5} | common for name in names}
  values[names[0]] = common | {"estimate": None, "half_width": None}

  def made(cells):
    return [
      cell | {"estimator": n, "seed": s} | values[n]
      for cell in cells
      for n in names
      for s in (0, 1)
    ]

  few = gaussians.Settings(dimensions=(1,), seeds=2)
  texts = [gaussians.report(tmp_path, few, made(gaussians.cells(few)[:2]), {}).read_text()]
  assert "log K, balanced: within 0.01 nats of the truth does not hold: a cell has no" in texts[0]
  few = sweep.Settings((16_000,), (2,), (1.0,), (5,), seeds=2)
  texts.append(sweep.report(tmp_path, few, made(sweep.problems(few)), {}).read_text())
  for text in texts:
    assert "the truth is 1.000000 nats" in text
    rows = {row[1].strip(): [part.strip() for part in row[2:-1]] for row in _rows(text)}
    assert rows[names[0]] == ["0", *"––––––"]
    assert rows[names[1]][1] == "+0.5000 [+0.5000, +0.5000]" and rows[names[1]][-1] == "50.00%"


def _rows(text):
  return [line.split("|") for line in text.splitlines() if line.startswith("|")]


def test_the_script_goes_on_where_it_was(tmp_path):
  arguments = (
    "--study=gaussians",
    f"--workdir={tmp_path}",
    "--dimensions=1",
    "--seeds=2",
    "--epochs=1",
    "--scale=0.01",
    "--batch_size=50",
  )
  run_script("mutual_information", *arguments)
  path = tmp_path / "results.jsonl"
  lines = path.read_text().splitlines()
  assert len(lines) == 12  # six objectives, two priors
  records = [json.loads(line) for line in lines]
  ends = [datetime.datetime.fromisoformat(record["finished_at"]) for record in records]
  between = sum(record["seconds"] for record in records[1:])
  assert (ends[-1] - ends[0]).total_seconds() > between - 1.5  # in whole seconds
  path.write_text("\n".join(lines[:-1]) + "\n")
  again = run_script("mutual_information", *arguments)
  assert again.stdout.count("objective") == 1
  made = [line[: line.index('"seconds"')] for line in path.read_text().splitlines()]
  assert made == [line[: line.index('"seconds"')] for line in lines]
  assert "InfoNCE" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (["--dimensions=1,zero"], "Got --dimensions=1,zero; it must be whole numbers"),
    (["--scale=0.01"], "Pass a scale of at least 0.05"),
    (["--critics=joint"], "--critics, which the study 'gaussians' has no use for; it takes --dim"),
  ],
)
def test_bad_input_is_refused(tmp_path, flags, message):
  workdir = tmp_path / "run"
  assert message in expect_error("mutual_information", f"--workdir={workdir}", *flags)
  assert not workdir.exists()


def test_settings_that_are_none_are_refused():
  for study, changes, message in (
    (gaussians, {"seeds": 1}, "seeds=1; it must be at least 2"),
    (gaussians, {"dimensions": ()}, "Got no --dimensions"),
    (sweep, {"sizes": (500,)}, "sizes=500; it must be at least 1000"),
    (sweep, {"sizes": (100_000,), "batch_size": 1601}, "Pass --batch_size=1600 or less"),
    (sweep, {"ratios": (0.5,)}, "ratios=0.5; it must be at least 1"),
    (sweep, {"steps": 120}, "multiple of 50"),
  ):
    with pytest.raises(ValueError, match=message):
      study.check(study.Settings(**changes))


@pytest.mark.parametrize(
  ("study", "field", "values", "listed", "once"),
  [
    (gaussians, "dimensions", (2, 1, 2), "2,1,2", "2,1"),
    (images, "errors", (0.0, -0.0), "0.0,-0.0", "0.0"),
    (staircase, "critics", ("joint", "joint"), "joint,joint", "joint"),
  ],
)
def test_repeated_values_are_refused(study, field, values, listed, once):
  with pytest.raises(
    ValueError, match=f"Got --{field}={listed}; each value.* Pass --{field}={once}\\.$"
  ):
    make_settings("mine", study.Settings, {field: values})
