"""Configurations: one file for each experiment or paper."""
