"""Measures of models: their specifications, and how long they will take."""

import types

import pytest

from experiments.reproduction import measures


@pytest.mark.parametrize(
  ("specification", "message"),
  [
    ("pdg", "'pdg'; the measures are calibration, class_separation, features"),
    ("pgd:eps=2", "'eps' for the measure 'pgd'; its options are epsilon=8.0"),
    ("pgd:epsilon=0", "epsilon=0 for the measure 'pgd'; it must be above 0"),
    ("calibration:bins=3", "'bins' for the measure 'calibration'; its options are none"),
  ],
)
def test_measures_that_there_are_not_are_refused(specification, message):
  with pytest.raises(ValueError, match=message):
    measures.check([specification])


def test_an_estimate_counts_compiling_once_and_images_and_seeds_as_often_as_there_are(monkeypatch):
  clock, asked = [0.0], []

  def measurer(specifications, *_):
    asked.append(specifications)

    def measure(trained):
      # Compiling takes 3 s; the rest 1 s.
      clock[0] += 1.0 if measure.compiled else 4.0
      measure.compiled = True

    measure.compiled = False
    return measure

  monkeypatch.setattr(measures, "measurer", measurer)
  monkeypatch.setattr(measures.time, "perf_counter", lambda: clock[0])
  splits = types.SimpleNamespace(test=types.SimpleNamespace(labels=range(450)))
  found = measures.estimate(["noise:num_images=5000", "features"], None, splits, "", None, 2)
  assert found == (3 + 2 * 4.5) + (3 + 2)
  assert "num_images=100" in asked[0][0] and asked[1] == ["features"]
