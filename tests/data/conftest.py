"""Tests of data keep what they decode apart from what a user has."""

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  """The directory of decoded datasets, which need not exist."""
  monkeypatch.setenv("SOFTMAX_RESEARCH_CACHE", str(tmp_path / "cache"))
  return tmp_path / "cache"
