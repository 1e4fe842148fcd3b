"""The study of the staircase: its pairs, its summaries, its report, and bad settings."""

import numpy as np
import pytest

from experiments.information import estimates, estimators, staircase
from experiments.ledger import study_claims
from softmax_research import study

SMALL = staircase.Settings(
  nats=(1.0, 6.0), dimension=2, steps=20, joint_steps=20, batch_size=16, seeds=2
)


def _run(settings, **cell):
  context = study.Context(staircase.STUDY, settings, cell, tuple(range(settings.seeds)))
  (records,) = staircase.run(cell, context)
  return records


def test_a_record_has_each_bound_at_each_stair():
  records = _run(SMALL, critic="joint", objective="Jensen-Shannon", transform="cubic")
  assert [record["seed"] for record in records] == [0, 1]
  for record in records:
    found = record["measured"]["estimators"]
    assert list(found) == [critic.name for critic in estimators.of_objective("Jensen-Shannon")]
    for of_bound in found.values():
      stairs = of_bound["stairs"]
      assert [(stair["stair"], stair["truth"]) for stair in stairs] == [(0, 1.0), (1, 6.0)]
      assert all(len(stair["curve"]) == 10 for stair in stairs)
  blocks = list(staircase.report(records, SMALL._replace(critics=("joint",))))
  (table,) = (block for block in blocks if isinstance(block, study.Table))
  assert [row.name for row in table.rows] == list(found)
  assert sum(isinstance(block, study.Plot) for block in blocks) == 2


def test_a_critic_learns_the_information_of_its_pairs():
  settings = SMALL._replace(nats=(1.0,), steps=300, batch_size=64)
  records = _run(settings, critic="separable", objective="InfoNCE", transform="linear")
  stairs = [r["measured"]["estimators"]["InfoNCE"]["stairs"][0] for r in records]
  assert np.mean([stair["estimate"] for stair in stairs]) == pytest.approx(1.0, abs=0.25)
  assert all(stair["largest"] <= np.log(64) + 1e-4 for stair in stairs)


def test_a_stair_is_summarised_and_what_is_not_finite_is_none():
  found = staircase.summarise_stair(2.0, np.array([0.0] * 10 + [2.0] * 5 + [4.0] * 5))
  expected = {"truth": 2, "estimate": 3, "variance": 1, "squared_error": 2, "largest": 4}
  assert found == expected | {"curve": [0] * 5 + [2] * 2 + [3] + [4] * 2}
  found = staircase.summarise_stair(2.0, np.array([1.0] * 19 + [-np.inf]))
  assert found["estimate"] is None and found["variance"] is None and found["largest"] == 1.0
  assert found["curve"] == [1.0] * 9 + [None]


def test_cells_say_how_many_seeds_are_finite():
  def record(seed, *values):
    stairs = [
      {"stair": i, "truth": nats, "estimate": value, "variance": value, "squared_error": value}
      for i, (nats, value) in enumerate(zip(SMALL.nats, values, strict=True))
    ]
    cell = {"critic": "separable", "objective": "NWJ", "transform": "linear"}
    return {"cell": cell, "seed": seed, "measured": {"estimators": {"NWJ": {"stairs": stairs}}}}

  rows = estimates.by_estimator([record(0, 0.5, None), record(1, 0.7, 4.0)])
  (row,) = staircase.table(rows, SMALL.nats, "nwj").rows
  texts = [cell.value for cell in row.cells]
  assert texts == ["-0.40 / 0.6 / 0.6", "-2.00 / 4 / 4 (n = 1 of 2)"]


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


def test_claims_are_of_the_highest_stair_wherever_it_stands():
  claim = study_claims.of_staircase(8, (4.0, 2.0))[0]
  assert claim.text.endswith("at 4 nats")
  assert claim.tests[0].comparisons[0].metric == "estimators/InfoNCE/stairs/0/estimate"
