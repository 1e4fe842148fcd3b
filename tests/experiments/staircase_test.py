"""The study of the staircase: its pairs, its summaries, its claims, and bad settings."""

import numpy as np
import pytest

from experiments.information import bounds, staircase, staircase_report, summary

SMALL = staircase.Settings(
  nats=(1.0, 6.0), dimension=2, steps=20, joint_steps=20, batch_size=16, seeds=2
)


@pytest.mark.parametrize("critic", ["separable", "joint"])
def test_a_cell_has_a_run_for_each_bound_seed_and_stair(critic):
  cell = {"critic": critic, "objective": "Jensen-Shannon", "transform": "cubic"}
  runs = staircase.measure(SMALL, cell)
  names = {bound.name for bound in bounds.of_objective("Jensen-Shannon")}
  assert len(names) == 4
  made = {(run["estimator"], run["seed"], run["stair"], run["truth"]) for run in runs}
  stairs = list(enumerate(SMALL.nats))
  assert made == {(n, s, i, nats) for n in names for s in range(2) for i, nats in stairs}
  assert all(len(run["curve"]) == 10 for run in runs)


def test_a_critic_learns_the_information_of_its_pairs():
  settings = SMALL._replace(nats=(1.0,), steps=300, batch_size=64)
  cell = {"critic": "separable", "objective": "InfoNCE", "transform": "linear"}
  runs = staircase.measure(settings, cell)
  assert np.mean([run["estimate"] for run in runs]) == pytest.approx(1.0, abs=0.25)


def test_what_is_not_finite_is_none():
  found = staircase.summarise_curve(np.array([1.0] * 19 + [-np.inf]), 2.0)
  assert found["estimate"] is None and found["variance"] is None and found["largest"] == 1.0
  assert found["curve"] == [1.0] * 9 + [None]


def _run(name, critic, truth, **values):
  common = {"critic": critic, "transform": "linear", "seed": 0, "truth": truth}
  return common | {"estimator": name} | values


def test_the_claims_say_what_the_runs_say():
  settings = SMALL._replace(critics=("separable",), batch_size=64)
  spread = {"SMILE, tau 1": 0.1, "SMILE, tau 5": 0.2, "SMILE, tau ∞": 0.15}
  spread |= {"NWJ": 9.0, "MINE (DV)": 2.0, "InfoNCE": 0.01}
  runs = [
    _run(name, "separable", 6.0, variance=value, estimate=3.9, largest=4.2)
    for name, value in spread.items()
  ]
  text = staircase_report.claims(settings, runs)
  assert "InfoNCE never exceeds log B = 4.1589 nats does not hold: 4.2000 at most" in text
  assert "InfoNCE saturates within 1 nat below log B at 6 nats (separable, linear) holds" in text
  assert "SMILE's variance falls with its clip at 6 nats (separable) does not hold" in text
  assert "NWJ and MINE vary more than InfoNCE at 6 nats (separable) holds" in text


def test_cells_say_how_many_seeds_are_finite_and_the_figure_leaves_them_out():
  estimates = {1.0: (0.5, 0.7), 6.0: (None, 4.0)}  # two seeds
  runs = [
    _run("NWJ", "separable", nats, estimate=value, variance=value, squared_error=value)
    for nats, values in estimates.items()
    for value in values
  ]
  found = summary.group(runs, ("transform", "estimator", "truth"))
  rows = {row.name: row.cells for row in staircase_report._table(SMALL, found, "linear").rows}
  texts = [cell.value for cell in rows["NWJ"]]
  assert texts == ["-0.40 / 0.6 / 0.6", "-2.00 / 4 / 4 (n = 1 of 2)"]
  assert [cell.value for cell in rows["InfoNCE"]] == ["–", "–"]
  lines = {line.name: line for line in staircase_report._bias_panel(SMALL, found, "linear").lines}
  np.testing.assert_allclose(lines["NWJ"].values, [-0.4, np.nan])


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"nats": (-1.0,)}, "nats=-1.0; it must be at least 0"),
    ({"critics": ("both",)}, "Got --critics=both; there are separable, joint"),
    ({"transforms": ()}, "there are linear, cubic"),
    ({"steps": 25}, "steps=25; it must be a multiple of 10"),
    ({"batch_size": 2}, "batch_size=2; it must be at least 3"),
  ],
)
def test_settings_that_are_none_are_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    staircase.check(SMALL._replace(**changes))
