"""Localisation: scenes with known boxes, activation maps and their scores."""
