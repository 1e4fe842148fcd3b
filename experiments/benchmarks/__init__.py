"""Benchmarks: one module each; `experiments.benchmark` runs them by name."""
