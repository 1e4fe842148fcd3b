"""The list of claims: what the papers say that a comparison of two rows can decide."""

import itertools

from softmax_research.reporting.claims import Claim, Comparison, Trial

_FULL, _CPU = "the paper's protocol", "the paper's protocol, shortened for two cores"
_MLP = "another net: an MLP of 512-512, 12 epochs"
_SMALL = "another net: an MLP of 256-256, 5 epochs, one learning rate for all heads"
_DIGITS = "other data: 8x8 digits, an MLP"
_TUNING = "All heads have one learning rate; the paper tuned each."
_SEARCHED = (
  "The paper's own table has a learning rate tuned for each loss, other nets have one for all."
)
_EPOCHS = "The cpu variant trains for a few epochs: a loss that is slow at first looks worse there."


def _both(name: str, setting: str, *comparisons: Comparison) -> tuple[Trial, Trial]:
  """Return the tests of a paper's own table, in both variants."""
  return (
    Trial(name, _FULL, comparisons, setting),
    Trial(f"{name}_cpu", _CPU, comparisons, setting),
  )


def _better(row: str, baseline: str = "softmax", **options) -> Comparison:
  return Comparison(row, baseline, "accuracy", 1, **options)


def _margins(setting: str, metric: str) -> tuple[Comparison, ...]:
  """Compare each m of L-Softmax with the one before."""
  rows = ("softmax", "m=2", "m=3", "m=4")
  sign = 1 if metric == "accuracy" else -1
  return tuple(
    Comparison(row, before, metric, sign, published=(setting, row, before, metric))
    for before, row in itertools.pairwise(rows)
  )


def _best_margin(setting: str, metric: str) -> Comparison:
  sign = 1 if metric == "accuracy" else -1
  published = (setting, "m=4", "softmax", metric)
  return Comparison("m=4", "softmax", metric, sign, published=published)


_SM_TAYLOR = "SM-Taylor, n=6, m=0.6"  # The release's defaults.
_ALTERNATIVES = ("Taylor, n=2", "Taylor, n=6", "SM, m=0.6", _SM_TAYLOR)

_BANERJEE = (
  Claim(
    "banerjee2020",
    "SM-Taylor beats softmax on MNIST",
    (
      *_both("banerjee2020", "mnist", _better(_SM_TAYLOR)),
      Trial("mnist_mlp", _MLP, (_better("sm_taylor"),)),
      Trial("mnist_heads", _SMALL, (_better("sm_taylor"),)),
      Trial("digits", _DIGITS, (_better("sm_taylor"),)),
    ),
    "The order and margin are the release's defaults, 6 and 0.6, and in the other nets 2 and 0.6. "
    + _EPOCHS,
  ),
  Claim(
    "banerjee2020",
    "SM-Taylor beats softmax on CIFAR-10",
    _both("banerjee2020", "cifar10", _better(_SM_TAYLOR)),
    _EPOCHS,
  ),
  Claim(
    "banerjee2020",
    "Every alternative beats softmax on MNIST",
    (
      *_both("banerjee2020", "mnist", *map(_better, _ALTERNATIVES)),
      Trial("mnist_mlp", _MLP, tuple(map(_better, ("taylor", "sm", "sm_taylor")))),
    ),
    _EPOCHS,
  ),
  Claim(
    "banerjee2020",
    "SM-Taylor beats softmax on CIFAR-100",
    untested="its net has 43 million parameters",
  ),
)


def _on_cifar10(*comparisons: Comparison) -> tuple[Trial, ...]:
  """Return the tests of L-Softmax on CIFAR-10, whose short runs have the margin early and late."""
  return (
    Trial("liu2016", _FULL, comparisons, "cifar10"),
    Trial("liu2016_cpu", _CPU, comparisons, "cifar10_late"),
    Trial("liu2016_cpu", "the same, the margin in force from 60 % on", comparisons, "cifar10"),
  )


_ANNEALING = (
  "Lambda falls below 0.01 after 87 % of the steps, as in the authors' MNIST example, unless the "
  "test says otherwise. "
)
_LIU = (
  Claim(
    "liu2016",
    "L-Softmax with m = 4 beats softmax on MNIST",
    _both("liu2016", "mnist", _best_margin("mnist", "accuracy")),
    _EPOCHS,
  ),
  Claim(
    "liu2016",
    "L-Softmax with m = 4 draws the features of a class closer in angle than softmax (Figure 2)",
    _both("liu2016", "features", Comparison("m=4", "softmax", "angle_within_class", -1)),
    "MNIST with two features; the paper shows it in a figure, without numbers.",
  ),
  Claim(
    "liu2016",
    "L-Softmax improves with each m on MNIST",
    _both("liu2016", "mnist", *_margins("mnist", "accuracy")),
    "The paper's steps are of 0.08, 0.01 and 0.00 points. " + _EPOCHS,
  ),
  Claim(
    "liu2016",
    "L-Softmax with m = 4 beats softmax on CIFAR-10",
    (
      *_on_cifar10(_best_margin("cifar10", "error")),
      Trial(
        "liu2016_cpu",
        "the same, lambda of at least 5",
        (Comparison("m=4, lambda >= 5", "softmax", "error", -1),),
        "cifar10_late",
      ),
    ),
    _ANNEALING + _EPOCHS,
  ),
  Claim(
    "liu2016",
    "L-Softmax improves with each m on CIFAR-10",
    _on_cifar10(*_margins("cifar10", "error")),
    _ANNEALING + _EPOCHS,
  ),
  Claim(
    "liu2016",
    "L-Softmax with m = 4 beats softmax on CIFAR-10 with augmentation",
    (Trial("liu2016", _FULL, (_best_margin("cifar10_plus", "error"),), "cifar10_plus"),),
  ),
  Claim("liu2016", "L-Softmax raises LFW verification accuracy", untested="no face data here"),
)


def _spherical(setting: str, row: str, sign: int) -> Comparison:
  published = (setting, row, "log-softmax", "error")
  return Comparison(row, "log-softmax", "error", sign, published=published)


_DEBREBISSON = (
  Claim(
    "debrebisson2015",
    "Taylor softmax beats softmax on MNIST, which has few classes",
    (
      *_both("debrebisson2015", "mnist", _spherical("mnist", "log-Taylor", -1)),
      Trial("mnist_mlp", _MLP, (_better("taylor"),)),
      Trial("mnist_heads", _SMALL, (_better("taylor"),)),
    ),
    _SEARCHED,
  ),
  Claim(
    "debrebisson2015",
    "Taylor softmax beats softmax on CIFAR-10, which has few classes",
    _both("debrebisson2015", "cifar10", _spherical("cifar10", "log-Taylor", -1)),
  ),
  Claim(
    "debrebisson2015",
    "Spherical softmax loses to softmax on MNIST",
    (
      *_both("debrebisson2015", "mnist", _spherical("mnist", "log-spherical", 1)),
      Trial("mnist_heads", _SMALL, (Comparison("spherical", "softmax", "accuracy", -1),)),
    ),
    _SEARCHED,
  ),
  Claim(
    "debrebisson2015",
    "Softmax wins with many classes (CIFAR-100)",
    (
      Trial(
        "debrebisson2015",
        _FULL,
        tuple(_spherical("cifar100", row, 1) for row in ("log-Taylor", "log-spherical")),
        "cifar100",
      ),
    ),
    "CIFAR-100 has to be prepared first; Penn Treebank is not at hand.",
  ),
)


def _under(judgement: str, metric: str, row: str, sign: int) -> Comparison:
  return Comparison(row, "softmax", f"metrics/{judgement}/as_is/{metric}", sign)


_MNIST_IMBALANCE = ("imbalance_mnist", "the released code's protocol, at half the width")
_STEP = "alternating:even=300:odd=3000"

_QIN = (
  Claim(
    "qin2019",
    "PC-softmax wins macro accuracy under imbalance",
    (Trial(*_MNIST_IMBALANCE, (_under("balanced", "macro_accuracy", "pc_softmax", 1),), _STEP),),
    "Macro accuracy on the whole test split; `python -m experiments.imbalance` has more claims.",
  ),
  Claim(
    "qin2019",
    "With balanced classes PC-softmax is softmax",
    (Trial("mnist_heads", _SMALL, (Comparison("pc_softmax", "softmax", "accuracy", 0),)),),
  ),
  Claim(
    "qin2019",
    "PC-softmax reaches 87.69 % average accuracy on imbalanced CUB-200-2011",
    untested="the images and the pretrained net are not at hand",
  ),
)

_LI = (
  Claim(
    "li2020",
    "One-against-all logistic loses to softmax with balanced classes, MNIST",
    (
      *_both("li2020", "mnist", Comparison("logistic", "softmax", "accuracy", -1)),
      Trial("mnist_heads", _SMALL, (Comparison("one_vs_all", "softmax", "accuracy", -1),)),
    ),
    "The paper argues this from the many negatives of each class; its numbers are not available. "
    + _SEARCHED,
  ),
  Claim(
    "li2020",
    "One-against-all logistic loses to softmax with balanced classes, CIFAR-10",
    _both("li2020", "cifar10", Comparison("logistic", "softmax", "accuracy", -1)),
    "As for MNIST.",
  ),
  Claim(
    "li2020",
    "One-against-all logistic loses to softmax under imbalance",
    (Trial(*_MNIST_IMBALANCE, (_under("balanced", "macro_accuracy", "one_vs_all", -1),), _STEP),),
  ),
  Claim("li2020", "LGL-INR is as good as softmax", untested="its weights were not found"),
)


def _comparable(setting: str, metric: str = "accuracy") -> Comparison:
  return Comparison("ReLU", "softmax", metric, 0, published=(setting, "ReLU", "softmax", metric))


_AGARAP = (
  Claim(
    "agarap2018",
    "ReLU classification is comparable with softmax on MNIST (dense net, test split)",
    (
      *_both("agarap2018", "mnist_ffnn", _comparable("mnist_ffnn")),
      Trial("mnist_heads", _SMALL, (Comparison("relu", "softmax", "accuracy", 0),)),
    ),
    "Comparable: within half a point, but no more than a tenth of softmax's errors. " + _EPOCHS,
  ),
  Claim(
    "agarap2018",
    "The same without the leak between folds",
    _both(
      "agarap2018",
      "mnist_ffnn_clean",
      Comparison("ReLU", "softmax", "accuracy", 0),
      Comparison("ReLU", "softmax", "fold1_accuracy", 0),
    ),
  ),
  Claim(
    "agarap2018",
    "ReLU classification is comparable with softmax on WDBC (test split)",
    (
      *_both("agarap2018", "wdbc", _comparable("wdbc")),
      Trial(
        "agarap2018_cpu",
        "the same, measurements standardised and no leak",
        (Comparison("ReLU", "softmax", "accuracy", 0),),
        "wdbc_standardised",
      ),
      Trial(
        "agarap2018_cpu",
        "standardised, no leak, biases that start at 1 and outputs raised to 0.01",
        (Comparison("ReLU, bias from 1", "softmax", "accuracy", 0),),
        "wdbc_standardised",
      ),
    ),
    "The test split has 171 cases: one case is 0.6 points. Without the leak some seeds fail.",
  ),
)


def _scaled(way: str, other: str, sign: int, metric: str = "ece") -> Comparison:
  return Comparison(
    "softmax", "softmax", f"{way}/{metric}", sign, baseline_metric=f"{other}/{metric}"
  )


_TEMPERATURE = "temperature scaling"
_GUO = (
  Claim(
    "guo2017",
    "Temperature scaling lowers ECE on CIFAR-10",
    _both("guo2017", "cifar10", _scaled(_TEMPERATURE, "uncalibrated", -1)),
  ),
  Claim(
    "guo2017",
    "Temperature scaling calibrates no worse than vector scaling on CIFAR-10",
    _both("guo2017", "cifar10", _scaled(_TEMPERATURE, "vector scaling", 0)),
    "No worse is taken as within a tenth of the ECE, either way.",
  ),
  Claim(
    "guo2017",
    "Temperature scaling beats histogram binning on CIFAR-10 (NLL)",
    _both("guo2017", "cifar10", _scaled(_TEMPERATURE, "histogram binning", -1, "nll")),
  ),
)


def _hotter(metric: str) -> tuple[Trial, Trial]:
  """Compare softmax trained at two temperatures above 1 with plain softmax on CIFAR-10."""
  rows = ("T=4", "T=16")
  return _both("xuan2025", "cifar10", *(Comparison(row, "softmax", metric, 1) for row in rows))


_XUAN = (
  Claim(
    "xuan2025",
    "A temperature above 1 in training raises accuracy",
    (
      *_both("xuan2025", "cifar10", _better("T=4")),
      Trial("mnist_heads", _SMALL, (_better("softmax:temperature=4.0"),)),
    ),
    "A temperature in prediction changes no decision. " + _TUNING,
  ),
  Claim(
    "xuan2025",
    "A higher temperature in training improves robustness to untargeted PGD",
    _hotter("PGD 2/temperature_1_accuracy"),
    "The attack raises the cross-entropy at temperature 1, as the paper's does. At that "
    "temperature a model trained at a higher one is surer, so that its gradient may vanish: the "
    "next claim has an attack without that weakness. The radius is 2/255; at 8/255 little is left.",
  ),
  Claim(
    "xuan2025",
    "A higher temperature in training improves robustness to PGD that it cannot mask",
    _hotter("PGD 2/worst_accuracy"),
    "Three attacks, of which all must fail; one raises a difference of logits, whose gradient does "
    "not vanish.",
  ),
  Claim(
    "xuan2025",
    "A higher temperature in training improves robustness to noise",
    _hotter("noise/accuracy"),
    "The mean over four kinds of noise in five severities; the paper has more corruptions.",
  ),
)


def _sooner(paper: str, text: str, row: str, limits: str) -> tuple[Claim, Claim]:
  """Return a claim about learning in equal time, for each of the two vocabularies."""
  comparisons = (Comparison(row, "softmax", "nll", -1),)
  return tuple(
    Claim(
      paper,
      f"{text}, {classes} classes",
      (Trial(results, f"other data: {data}", comparisons),),
      limits,
    )
    for results, classes, data in (
      ("words", "3,977", "next word of Python's language reference"),
      ("identifiers", "105,551", "next identifier of the standard library"),
    )
  )


_MANY = (
  *_sooner(
    "grave2016",
    "Adaptive softmax learns more than full softmax in equal time",
    "adaptive",
    "The paper gives equal epochs and less time on a GPU; the budget here is seconds.",
  ),
  *_sooner(
    "mikolov2013",
    "A Huffman tree learns more than full softmax in equal time",
    "huffman",
    "The paper compares analogies of word vectors, which are not tested here.",
  ),
)

#: All claims, paper by paper.
CLAIMS = (
  *_BANERJEE,
  *_LIU,
  *_DEBREBISSON,
  *_QIN,
  *_LI,
  *_AGARAP,
  *_GUO,
  *_XUAN,
  *_MANY,
)
