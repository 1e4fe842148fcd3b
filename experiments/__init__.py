"""Experiment scripts: one for each question that a user asks."""
