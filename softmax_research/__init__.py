"""Softmax and its variants in JAX: functions, output layers, training and papers' tables."""

from softmax_research import functional, heads
