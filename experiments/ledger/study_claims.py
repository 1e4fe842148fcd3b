"""Claims that studies test on records of their own: of attention, information, maps and priors."""

import math
from collections.abc import Sequence

from softmax_research.study.claims import Claim, Comparison, Test

# A tenth of the baseline's, which is the rule for measures without a rule of their own, would be a
# third of a bit: more than most attentions differ by. This is about a hundredth.
_BITS = 0.03
_SCALED = "softmax:length_scale=True"
_CLOSE = 0.01  # nats


def _own(*comparisons: Comparison, where=None, each=None) -> tuple[Test, ...]:
  """Test comparisons by the records of the study that asks; see `Test` for where and each."""
  return (Test(None, "", "", comparisons, where or {}, each or {}),)


def _no_worse(paper: str, text: str, row: str) -> Claim:
  """Return the claim that a row is no worse than softmax in language and images."""
  # The ledger counts a claim by its first test: language tells more of them apart.
  tests = (
    *_than_softmax("language", row, "bits", "no_worse", _BITS),
    *_than_softmax("images", row, "accuracy", "no_worse"),
  )
  limits = f"Language: to within {_BITS} bits, a bound chosen after the runs."
  return Claim(paper, text, tests, limits)


def _than_softmax(part: str, row: str, metric: str, direction: str, smallest=None):
  pair = {"attention": row}, {"attention": "softmax"}
  [test] = _own(Comparison(*pair, metric, direction, smallest=smallest), where={"part": part})
  # Papers have nets that are a thousand times as large.
  return (test._replace(regime="short"),)


def _takes_off(paper: str, name: str, row: str) -> Claim:
  return Claim(
    paper,
    f"{name} takes weight off the first token",
    _than_softmax("language", row, "first", "lower"),
    "Where softmax gives the first token less than an equal share there is no sink to remove.",
  )


def _fewer_outliers(paper: str, name: str, row: str) -> Claim:
  return Claim(
    paper,
    f"{name} lowers the kurtosis of activations",
    _than_softmax("language", row, "kurtosis", "lower"),
    "Where softmax has that of a normal distribution, which is 3, there are no outliers to remove.",
  )


OF_ATTENTION = (
  _no_worse("martins2016", "Sparsemax is no worse than softmax", "sparsemax"),
  _no_worse("correia2019", "Entmax is no worse than softmax at short lengths", "entmax:alpha=1.5"),
  _no_worse("zuhri2025", "Softpick is no worse than softmax", "softpick"),
  _no_worse("miller2023", "Softmax off by one is no worse", "softmax:sink=0.0"),
  _no_worse("ramapuram2024", "Sigmoid attention is no worse than softmax", "sigmoid"),
  _no_worse("wortsman2023", "ReLU over length is no worse than softmax", "relu"),
  _takes_off("zuhri2025", "Softpick", "softpick"),
  _takes_off("miller2023", "Softmax off by one", "softmax:sink=0.0"),
  _fewer_outliers("zuhri2025", "Softpick", "softpick"),
  _fewer_outliers("miller2023", "Softmax off by one", "softmax:sink=0.0"),
  Claim(
    "nakanishi2025",
    "Scaled by the logarithm of the length, softmax is better at longer contexts",
    (
      *_than_softmax("language", _SCALED, "metrics/4 times as long/bits", "lower"),
      *_than_softmax("recall", _SCALED, "metrics/4 times as long/accuracy", "higher"),
    ),
  ),
  _no_worse("arora2024", "Linear Taylor attention is no worse outside of recall", "taylor_linear"),
  Claim(
    "arora2024",
    "Linear Taylor attention recalls less than softmax",
    _than_softmax("recall", "taylor_linear", "accuracy", "lower"),
  ),
)


def but_for(split: str, listed: Sequence[Claim]) -> tuple[Claim, ...]:
  """Return the claims that are not of a split which a study's settings leave out."""

  def asks(claim: Claim) -> bool:
    return any(f"/{split}/" in of.metric for test in claim.tests for of in test.comparisons)

  return tuple(claim for claim in listed if not asks(claim))


def _estimate(objective: str, estimator: str, direction: str) -> Comparison:
  """Compare an estimate with the truth that the same record has."""
  row = {"objective": objective}
  path = f"estimators/{estimator}/estimate"
  return Comparison(row, row, path, direction, "truth", smallest=_CLOSE)


_WITHIN = f"To within {_CLOSE} nats, in every dimension."
_PC_SOFTMAX = _estimate("PC-softmax", "PC-softmax", "same")
_PLUG_IN = _estimate("softmax", "softmax, plug-in", "same")


def _gaussian(prior: str, text: str, *comparisons: Comparison, limits: str = _WITHIN) -> Claim:
  tests = _own(*comparisons, where={"prior": prior}, each={"dimension": ".*"})
  return Claim("qin2019", text, tests, limits)


#: What Qin et al. say of their five Gaussian classes.
OF_GAUSSIANS = (
  *(
    _gaussian(
      prior, f"PC-softmax estimates the mutual information of {prior} Gaussian classes", _PC_SOFTMAX
    )
    for prior in ("imbalanced", "balanced")
  ),
  _gaussian(
    "balanced",
    "Softmax and log K estimate it where the classes are balanced",
    _estimate("softmax", "softmax + log K", "same"),
  ),
  _gaussian(
    "imbalanced",
    "Softmax and log K are too high by log K - H(Y) where the classes are imbalanced",
    _estimate("softmax", "softmax + log K", "higher"),
    _PLUG_IN,
    limits="Two things: the estimate is too high, and right once log K - H(Y) is taken off. "
    + _WITHIN,
  ),
)
BALANCED_GAUSSIANS = _gaussian(
  "balanced",
  "With balanced classes PC-softmax is softmax",
  Comparison({"objective": "PC-softmax"}, {"objective": "softmax"}, "accuracy", "same"),
  limits="By accuracy.",
)


def of_staircase(
  batch_size: int = 64, nats: Sequence[float] = (2.0, 4.0, 6.0, 8.0, 10.0), critic: str = ".*"
) -> tuple[Claim, ...]:
  """Return what is said of the bounds at the top of the staircase.

  The critic is a regular expression for the kinds of critics.
  """
  limit, each = math.log(batch_size), {"critic": critic, "transform": "linear"}
  top = max(range(len(nats)), key=nats.__getitem__)  # Not the last one, where they go down.

  def path(estimator, key):
    return f"estimators/{estimator}/stairs/{top}/{key}"

  def varies(ours, theirs, direction):
    (row, estimator), (baseline, other) = ours, theirs
    pair = {"objective": row}, {"objective": baseline}
    return Comparison(*pair, path(estimator, "variance"), direction, path(other, "variance"))

  def claim(paper, text, *comparisons, limits=""):
    return Claim(paper, f"{text}, at {nats[top]:g} nats", _own(*comparisons, each=each), limits)

  info_nce, estimate = {"objective": "InfoNCE"}, path("InfoNCE", "estimate")
  js = "Jensen-Shannon"
  return (
    claim(
      "poole2019",
      f"InfoNCE saturates below log B = {limit:.4f}",
      Comparison(info_nce, limit, estimate, "lower"),
      Comparison(info_nce, limit, estimate, "same", smallest=1.0),
      limits="Below it, and within 1 nat of it.",
    ),
    *(
      claim(
        "poole2019",
        f"{pair[0]} varies more than InfoNCE",
        varies(pair, ("InfoNCE", "InfoNCE"), "higher"),
      )
      for pair in (("NWJ", "NWJ"), ("MINE", "MINE (DV)"))
    ),
    claim(
      "song2020",
      "SMILE varies less with a clip than without one",
      *(varies((js, f"SMILE, tau {clip}"), (js, "SMILE, tau ∞"), "lower") for clip in (1, 5)),
      limits="Clips of 1 and 5.",
    ),
  )


#: How activation maps become boxes, which are found where they overlap the true ones by half or
#: more: as the paper's code does, and with what is best on the validation split.
PAPERS_WAY, OUR_WAY = "smoothed/paper", "plain/chosen"
_WORDS = {
  PAPERS_WAY: ("smoothed maps", "At a threshold of 0.2, as in the paper's code."),
  OUR_WAY: ("plain maps", "At the threshold that is best on validation."),
}


def _path(kind: str, way: str, measure: str) -> str:
  return f"localisation/maps/{kind}/{way}/{measure}/1"  # of the overlaps the second, 0.5


def of_maps(way: str) -> tuple[Claim, ...]:
  """Return the claims that one kind of map finds more boxes than another in a way of the above."""
  found = []
  for better, worse in (("infoCAM", "CAM"), ("infoCAM+", "CAM"), ("infoCAM+", "infoCAM")):
    # A kind of map is no cell: both numbers stand in one record.
    ours, theirs = (_path(kind, way, "known") for kind in (better, worse))
    tests = _own(Comparison({}, {}, ours, "higher", theirs), each={"head": ".*"})
    words, threshold = _WORDS[way]
    text = f"{better} finds more boxes than {worse} in {words}"
    found.append(Claim("qin2019", text, tests, f"The class is given. {threshold}"))
  return tuple(found)


def _of_heads(text: str, metric: str) -> Claim:
  comparison = Comparison("pc_softmax", "softmax", metric, "higher")
  return Claim("heads", f"PC-softmax {text} than softmax", _own(comparison))


#: The study's own question of its two heads.
OF_HEADS = (
  _of_heads("classifies more scenes", "accuracy"),
  *(
    _of_heads(f"finds more {what} by {kind}", _path(kind, OUR_WAY, measure))
    for measure, what in (("known", "boxes, the class given,"), ("top_1", "boxes with their class"))
    for kind in ("CAM", "infoCAM", "infoCAM+")
  ),
)

OF_MAPS = (*of_maps(PAPERS_WAY), *of_maps(OUR_WAY), *OF_HEADS)

_IMBALANCED = {"setting": "(?!natural).*"}


def _where_imbalanced(row, baseline, metric, direction, baseline_metric="") -> tuple[Test, ...]:
  return _own(Comparison(row, baseline, metric, direction, baseline_metric), each=_IMBALANCED)


#: What Qin et al. say of PC-softmax.
OF_PC_SOFTMAX = (
  Claim(
    "qin2019",
    "PC-softmax raises macro accuracy under imbalance",
    _where_imbalanced("pc_softmax", "softmax", "metrics/balanced/as_is/macro_accuracy", "higher"),
    "On the whole test split.",
  ),
  Claim(
    "qin2019",
    "PC-softmax raises macro accuracy on a test set that is imbalanced too",
    _where_imbalanced("pc_softmax", "softmax", "metrics/capped/as_is/macro_accuracy", "higher"),
    "The released code caps the classes of the test set as it does those of training.",
  ),
)
BALANCED_IMAGES = Claim(
  "qin2019",
  "With balanced classes PC-softmax is softmax",
  _own(
    Comparison("pc_softmax", "softmax", "metrics/balanced/as_is/accuracy", "same"),
    each={"setting": "natural.*"},
  ),
)


def _bayes(text: str, *comparison: str) -> Claim:
  return Claim("Bayes' rule", text, _where_imbalanced(*comparison))


#: What follows from Bayes' rule, and no paper claims. For the capped test set nothing follows: its
#: prior lies between that of training and that of PC-softmax's predictions.
OF_BAYES = (
  _bayes(
    "PC-softmax costs accuracy where the test set has the training prior",
    *("pc_softmax", "softmax", "metrics/training/as_is/accuracy", "lower"),
  ),
  _bayes(
    "Moving softmax's predictions after training gives PC-softmax's macro accuracy",
    *("softmax", "pc_softmax", "metrics/balanced/moved/macro_accuracy", "same"),
    "metrics/balanced/as_is/macro_accuracy",
  ),
  _bayes(
    "Moved back to the training prior, PC-softmax has softmax's accuracy",
    *("pc_softmax", "softmax", "metrics/training/moved/accuracy", "same"),
    "metrics/training/as_is/accuracy",
  ),
)

OF_PRIORS = (*OF_PC_SOFTMAX, BALANCED_IMAGES, *OF_BAYES)
