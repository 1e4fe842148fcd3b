"""Imbalanced classification: its settings, how predictions are judged, claims and report."""
