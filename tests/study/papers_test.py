"""The papers' numbers: a schema that is kept, marks that print, values read by hand."""

import math

import pytest

from softmax_research.study import papers

_ORIGINS = ("paper", "authors", "secondary", "reproduction")


@pytest.mark.parametrize("name", papers.names())
def test_every_data_file_keeps_the_schema(name):
  paper = papers.load(name)
  assert paper.name == name and paper.numbers
  for number in paper.numbers:
    assert number.mark in ("READ", "RECALLED", "NOT FOUND"), number
    assert (number.value is None) == (number.mark == "NOT FOUND"), number
    assert number.value is None or math.isfinite(number.value), number
    assert bool(number.source) == (number.mark == "READ"), number
    assert number.origin in (_ORIGINS if number.mark == "READ" else ("",)), number
  # One thing has one number.
  things = [(number.setting, number.method, number.metric) for number in paper.numbers]
  assert len(set(things)) == len(things)


@pytest.mark.parametrize(
  ("paper", "setting", "method", "metric", "value", "mark"),
  [
    ("liu2016", "mnist", "softmax", "accuracy", 99.60, "READ"),
    ("liu2016", "mnist", "m=4", "error", 0.31, "READ"),
    ("liu2016", "cifar10", "m=2", "error", 7.73, "READ"),
    ("liu2016", "cifar10", "m=3", "error", 7.66, "RECALLED"),
    ("liu2016", "cifar10_plus", "m=2", "error", 6.01, "RECALLED"),
    ("liu2016", "lfw", "m=4", "accuracy", 98.71, "READ"),
    ("debrebisson2015", "cifar10", "log-Taylor", "error", 8.07, "READ"),
    ("debrebisson2015", "ptb", "log-spherical", "perplexity", 149.2, "READ"),
    ("agarap2018", "mnist_cnn", "ReLU", "cv_accuracy", 73.527, "READ"),
    ("agarap2018", "wdbc", "softmax", "accuracy", 92.40, "READ"),
    ("agarap2018", "wdbc", "ReLU", "fold1_accuracy", 62.5, "READ"),
    ("guo2017", "CIFAR-10, LeNet 5", "temperature scaling", "ece", 0.93, "READ"),
    ("guo2017", "CIFAR-100, ResNet 110", "matrix scaling", "ece", 25.49, "READ"),
    ("guo2017", "CIFAR-10, ResNet 110", "vector scaling", "nll", 0.2088, "READ"),
    ("qin2019", "cub_imbalanced", "PC-softmax", "accuracy", 89.73, "READ"),
    ("grave2016", "text8", "adaptive", "minutes", 30, "READ"),
    ("grave2016", "europarl_da", "full", "perplexity", 37, "READ"),
    ("mikolov2013", "analogies", "HS-Huffman", "accuracy", 47, "READ"),
    ("banerjee2020", "cifar10", "SM-Taylor", "accuracy", None, "NOT FOUND"),
  ],
)
def test_numbers_are_those_read_by_hand(paper, setting, method, metric, value, mark):
  number = papers.load(paper).find(setting, method, metric)
  assert (number.value, number.mark) == (value, mark)


def test_marks_print():
  liu = papers.load("liu2016")
  assert liu.find("mnist", "m=2", "accuracy").format() == "99.68 (secondary)"
  assert liu.find("cifar10_plus", "softmax", "error").format() == "6.50 (unverified)"
  assert papers.load("banerjee2020").find("mnist", "SM", "accuracy").format() == "not available"
  assert liu.find("mnist", "m=17", "accuracy").format() == "not available"
  assert liu.find("mnist", "m=2", "accuracy").raw == 0.9968


def test_an_unknown_paper_is_named_with_those_there_are():
  with pytest.raises(ValueError, match="liu2016"):
    papers.load("liu2017")
