"""Localisation: scenes with known boxes, activation maps, scores and the report."""
