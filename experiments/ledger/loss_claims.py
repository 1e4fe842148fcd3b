"""Claims about losses at large, by studies of rigour, and where nets of today test any claim."""

from collections.abc import Sequence

from softmax_research.study.claims import Claim, Comparison, Test

#: What is tested with nets of today: directory, setting and protocol, by data.
_PLACES = {
  "mnist": ("mnist_modern", "mnist", "a small net after the speed-run nets"),
  "cifar10": ("cifar10_modern", "cifar10", "a net after the speed-run nets, 32 to 128 filters"),
  "cifar10_full": (
    "cifar10_modern_full",
    "cifar10",
    "a net after the speed-run nets, 64 to 256 filters",
  ),
}
_TUNED = ", rate and number of each loss tuned on validation in four short trials"


def modern(data: str, *comparisons: Comparison) -> tuple[Test, ...]:
  """Test comparisons with a net of today, on data: mnist, cifar10 or cifar10_full."""
  results, setting, protocol = _PLACES[data]
  return (Test(results, "modern", protocol + _TUNED, comparisons, {"setting": setting}),)


def better(row: str, baseline: str = "softmax") -> Comparison:
  """Say that a row is more accurate than its baseline."""
  return Comparison(row, baseline, "accuracy", "higher")


# Kornblith et al. 2021: rows by their names in the paper, and by ours.
_KORNBLITH = {
  "label smoothing": "smoothing",
  "logit penalty": "logit penalty",
  "logit normalisation": "LogitNorm",
  "cosine softmax": "cosine",
  "sigmoid": "one against all",
  "squared error": "squared error",
}


def _kornblith(metric: str) -> Sequence[Comparison]:
  return [
    Comparison(ours, "softmax", metric, "higher", published=("imagenet", name, "softmax"))
    for name, ours in _KORNBLITH.items()
  ]


_ZHOU = tuple(
  Comparison(row, "softmax", "accuracy", "same") for row in ("smoothing", "focal", "squared error")
)
_SPREAD = (
  "a claim on a spread, not on a mean: the report of cifar10_modern has the spread, with the test "
  "set's part of it"
)
#: Claims of studies of many losses or many seeds.
CLAIMS = (
  Claim(
    "kornblith2021",
    "Other objectives than softmax's cross-entropy reach more accuracy",
    modern("cifar10", *_kornblith("accuracy")),
    "Six of the paper's eight alternatives, which has ImageNet; no dropout, no penalty on the "
    "last layer's weights.",
  ),
  Claim(
    "kornblith2021",
    "Under objectives that reach more accuracy the classes' features lie further apart (R²)",
    modern("cifar10", *(of._replace(published=None) for of in _kornblith("class_separation"))),
    "R² by cosine distances of the last features of test images.",
  ),
  Claim(
    "kornblith2021",
    "The features of such objectives transfer worse",
    untested="no other data set is fitted to the features",
  ),
  Claim(
    "zhou2022",
    "Losses end alike in test accuracy where a large net is trained to the end",
    modern("cifar10", *_ZHOU),
    "The net here is small and trained for ten epochs, not to the end.",
  ),
  Claim(
    "hui2021",
    "Squared error does as well as cross-entropy in classification",
    tuple(
      test
      for data in ("cifar10", "mnist")
      for test in modern(data, Comparison("squared error", "softmax", "accuracy", "no_worse"))
    ),
    "Of vision alone; the paper has language and speech too.",
  ),
  Claim(
    "musgrave2020",
    "A margin gains little over a normalised softmax",
    modern("cifar10", Comparison("CosFace", "cosine", "accuracy", "same")),
    "By accuracy in classification; the paper retrieves images of unknown classes.",
  ),
  Claim(
    "picard2021",
    "Seeds alone spread CIFAR-10 accuracy by 0.23 points of standard deviation",
    untested=_SPREAD,
  ),
  Claim(
    "jordan2023",
    "Most of the spread of test accuracy between runs is that of a finite test set",
    untested=_SPREAD,
  ),
  Claim(
    "jordan2024",
    "A small net reaches 94 % on CIFAR-10 within seconds of training",
    modern("cifar10_full", Comparison("smoothing", 0.94, "mirrors/accuracy", "no_worse")),
    "By the mean of two mirrored views; the paper also shifts them, and trains on 50,000 images.",
  ),
)
