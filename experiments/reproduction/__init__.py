"""Reproduction: a paper's table as a queue of cells."""
