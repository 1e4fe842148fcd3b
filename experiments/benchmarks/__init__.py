"""Benchmarks: what each times, and how ours and a peer take turns; see `experiments.benchmark`."""
