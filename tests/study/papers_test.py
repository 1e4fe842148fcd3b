"""The papers' numbers: a schema that is kept, marks that print, values read by hand."""

import copy

import pytest

from softmax_research.study import papers

_PLAIN = {
  "name": "someone2020",
  "title": "A title",
  "citation": "Someone 2020",
  "arxiv": "2001.00001",
  "numbers": [
    {
      "table": "Table 1",
      "setting": "mnist",
      "method": "softmax",
      "metric": "error",
      "value": 0.4,
      "mark": "READ",
      "origin": "paper",
      "source": "the paper",
    }
  ],
}


@pytest.mark.parametrize("name", papers.names())
def test_every_data_file_keeps_the_schema(name):
  paper = papers.load(name)
  assert paper.name == name and paper.numbers
  assert all(number.paper == name for number in paper.numbers)


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


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"mark": "GUESSED"}, "the marks are READ"),
    ({"value": None}, "NOT FOUND has no value"),
    ({"mark": "NOT FOUND", "source": ""}, "NOT FOUND has no value"),
    ({"source": ""}, "names its source"),
    ({"mark": "RECALLED"}, "no other mark has one"),
    ({"value": float("inf")}, "finite"),
    ({"error": 3}, "error"),
    ({"origin": ""}, "has one of paper, authors"),
    ({"mark": "RECALLED", "source": ""}, "nothing else has one"),
  ],
)
def test_data_that_break_the_schema_are_refused(change, message):
  plain = copy.deepcopy(_PLAIN)
  papers.parse(plain)
  plain["numbers"][0] |= change
  with pytest.raises(ValueError, match=message):
    papers.parse(plain)


def test_one_thing_has_one_number():
  plain = copy.deepcopy(_PLAIN)
  plain["numbers"] *= 2
  with pytest.raises(ValueError, match="twice"):
    papers.parse(plain)


def test_an_unknown_paper_is_named_with_those_there_are():
  with pytest.raises(ValueError, match="liu2016"):
    papers.load("liu2017")
