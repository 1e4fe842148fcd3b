"""The papers' claims, each with the committed results, or those to come, that test it."""

import itertools

from experiments.imbalanced import prior_claims
from experiments.information import information_claims
from experiments.localization import map_claims
from softmax_research.study import claims
from softmax_research.study.claims import Claim, Comparison, Test

_PAPERS = "the paper's protocol"
_CPU = "the paper's protocol with smaller nets, fewer images and fewer epochs"
_MLP = "an MLP of 512-512, 12 epochs"
_SMALL = "an MLP of 256-256, 5 epochs, one learning rate for all heads"
_DIGITS = "8x8 digits, an MLP"
_OWN_NETS = "nets of our own, a learning rate tuned for each loss on validation"
_EPOCHS = "The short runs have few epochs: a loss that is slow at first looks worse there."


def _of(paper: str, *rows: tuple) -> tuple[Claim, ...]:
  """Make a paper's claims: a text with its tests and limits, or with why nothing tests it."""
  return tuple(
    Claim(paper, text, *more)
    if isinstance(more[0], tuple)
    else Claim(paper, text, untested=more[0])
    for text, *more in rows
  )


def _both(
  name: str, setting: str, *comparisons: Comparison, regime: str = "paper", protocol: str = _PAPERS
) -> tuple[Test, Test]:
  """Return the tests of a paper's own table, in both variants."""
  where = {"setting": setting}
  return (
    Test(name, regime, protocol, comparisons, where),
    Test(f"{name}_cpu", "short", _CPU, comparisons, where),
  )


def _short(results: str, protocol: str, *comparisons: Comparison) -> Test:
  return Test(results, "short", protocol, comparisons)


def _better(row: str, baseline: str = "softmax") -> Comparison:
  return Comparison(row, baseline, "accuracy", "higher")


# Banerjee et al. 2020; the order and the margin are the release's defaults.
_SM_TAYLOR = "SM-Taylor, n=6, m=0.6"
_OTHERS = ("Taylor, n=6", "SM, m=0.6")
_DEFAULTS = "Order 6 and margin 0.6 are the release's defaults; the other nets have 2 and 0.6. "
_BANERJEE = _of(
  "banerjee2020",
  (
    "SM-Taylor beats softmax on MNIST",
    (
      *_both("banerjee2020", "mnist", _better(_SM_TAYLOR)),
      _short("mnist_mlp", _MLP, _better("sm_taylor")),
      _short("mnist_heads", _SMALL, _better("sm_taylor")),
      _short("digits", _DIGITS, _better("sm_taylor")),
    ),
    _DEFAULTS + _EPOCHS,
  ),
  (
    "SM-Taylor beats softmax on CIFAR-10",
    _both("banerjee2020", "cifar10", _better(_SM_TAYLOR)),
    _EPOCHS,
  ),
  *(
    (
      f"Every alternative beats softmax on {name}",
      _both("banerjee2020", setting, *map(_better, (*_OTHERS, _SM_TAYLOR))),
      _EPOCHS,
    )
    for setting, name in (("mnist", "MNIST"), ("cifar10", "CIFAR-10"))
  ),
  *(
    (
      f"SM-Taylor beats Taylor softmax and SM-softmax on {name}",
      _both("banerjee2020", setting, *(_better(_SM_TAYLOR, other) for other in _OTHERS)),
      _EPOCHS,
    )
    for setting, name in (("mnist", "MNIST"), ("cifar10", "CIFAR-10"))
  ),
  ("SM-Taylor beats softmax on CIFAR-100", "its net has 43 million parameters"),
)


# Liu et al. 2016.
def _margin(setting: str, metric: str, row: str, baseline: str = "softmax") -> Comparison:
  direction = "higher" if metric == "accuracy" else "lower"
  return Comparison(row, baseline, metric, direction, published=(setting, row, baseline))


def _margins(setting: str, metric: str) -> tuple[Comparison, ...]:
  """Compare each m of L-Softmax with the one before."""
  pairs = itertools.pairwise(("softmax", "m=2", "m=3", "m=4"))
  return tuple(_margin(setting, metric, row, before) for before, row in pairs)


def _on_cifar10(*comparisons: Comparison) -> tuple[Test, ...]:
  """Return the tests of L-Softmax on CIFAR-10, whose short runs have the margin early and late."""
  late = {"setting": "cifar10_late"}
  early = "the same, the margin in force from 60 % of the steps on"
  return (
    Test("liu2016", "paper", _PAPERS, comparisons, {"setting": "cifar10"}),
    Test("liu2016_cpu", "short", _CPU, comparisons, late),
    Test("liu2016_cpu", "short", early, comparisons, {"setting": "cifar10"}),
  )


_ANNEALING = (
  "Lambda falls below 0.01 after 87 % of the steps, as in the authors' MNIST example, unless the "
  "test says otherwise. "
)
_LIU = _of(
  "liu2016",
  (
    "L-Softmax with m = 4 beats softmax on MNIST",
    _both("liu2016", "mnist", _margin("mnist", "accuracy", "m=4")),
    _EPOCHS,
  ),
  (
    "L-Softmax draws the features of a class closer in angle than softmax (Figure 2)",
    _both("liu2016", "features", Comparison("m=4", "softmax", "angle_within_class", "lower")),
    "m = 4, MNIST with two features; the paper shows it in a figure, without numbers.",
  ),
  (
    "L-Softmax improves with each m on MNIST",
    _both("liu2016", "mnist", *_margins("mnist", "accuracy")),
    "The paper's steps are of 0.08, 0.01 and 0.00 points. " + _EPOCHS,
  ),
  (
    "L-Softmax with m = 4 beats softmax on CIFAR-10",
    (
      *_on_cifar10(_margin("cifar10", "error", "m=4")),
      Test(
        "liu2016_cpu",
        "short",
        "the same, lambda of at least 5",
        (Comparison("m=4, lambda >= 5", "softmax", "error", "lower"),),
        {"setting": "cifar10_late"},
      ),
    ),
    _ANNEALING + _EPOCHS,
  ),
  (
    "L-Softmax improves with each m on CIFAR-10",
    _on_cifar10(*_margins("cifar10", "error")),
    _ANNEALING + _EPOCHS,
  ),
  (
    "L-Softmax with m = 4 beats softmax on CIFAR-10 with augmentation",
    _both("liu2016", "cifar10_plus", _margin("cifar10_plus", "error", "m=4"))[:1],
  ),
  ("L-Softmax beats softmax on CIFAR-100", "no table of it here"),
  ("L-Softmax raises LFW verification accuracy", "no face data here"),
)


# De Brebisson and Vincent 2015; nets and rates of the paper were not found.
def _loss(setting: str, row: str, direction: str) -> Comparison:
  published = (setting, row, "log-softmax")
  return Comparison(row, "log-softmax", "error", direction, published=published)


def _tuned(setting: str, *comparisons: Comparison) -> tuple[Test, Test]:
  return _both("debrebisson2015", setting, *comparisons, regime="modern", protocol=_OWN_NETS)


_DEBREBISSON = _of(
  "debrebisson2015",
  (
    "Taylor softmax beats softmax on MNIST, which has few classes",
    (
      *_tuned("mnist", _loss("mnist", "log-Taylor", "lower")),
      _short("mnist_mlp", _MLP, _better("taylor")),
      _short("mnist_heads", _SMALL, _better("taylor")),
    ),
    "The paper's own table has a learning rate tuned for each loss, other nets have one for all.",
  ),
  (
    "Taylor softmax beats softmax on CIFAR-10, which has few classes",
    _tuned("cifar10", _loss("cifar10", "log-Taylor", "lower")),
  ),
  (
    "Spherical softmax beats softmax on CIFAR-10, which has few classes",
    _tuned("cifar10", _loss("cifar10", "log-spherical", "lower")),
    "On MNIST the paper's spherical softmax does not beat softmax (0.828 and 0.812 % of error).",
  ),
  (
    "Softmax wins with many classes (CIFAR-100)",
    _tuned(
      "cifar100", *(_loss("cifar100", row, "higher") for row in ("log-Taylor", "log-spherical"))
    )[:1],
  ),
  ("Softmax wins with many classes (Penn Treebank)", "the text is not at hand"),
)


# Qin, Kim and Gedeon 2019, most of it defined beside its studies.
_GAUSSIANS = (
  "gaussians",
  "short",
  "the paper's classes, sample sizes and net; 3 epochs in batches of 250 at rates falling from "
  "0.01, for 100 in batches of 2,000 that go on from a trained net; the net best on validation",
)
_IMBALANCE = (
  ("imbalance_mnist", "short", "the released code's protocol, LeNet at half its width"),
  ("imbalance_cifar10", "short", "CIFAR-10 with 1,000 images of the largest class, a small CNN"),
)
_SCENES = tuple(
  (f"localize_{name}", "short", f"scenes made of {data}, a small CNN in place of VGG16 and ResNet")
  for name, data in (("digits", "MNIST"), ("objects", "CIFAR-10"))
)
_QIN = (
  *claims.at(information_claims.OF_GAUSSIANS, _GAUSSIANS),
  *claims.at(prior_claims.OF_PC_SOFTMAX[:1], *_IMBALANCE),
  *claims.at(prior_claims.OF_PC_SOFTMAX[1:], *_IMBALANCE[:1]),
  *_of(
    "qin2019",
    (
      "With balanced classes PC-softmax is softmax",
      (
        *claims.at([information_claims.BALANCED], _GAUSSIANS)[0].tests,
        *claims.at([prior_claims.BALANCED], *_IMBALANCE[:1])[0].tests,
        _short("mnist_heads", _SMALL, Comparison("pc_softmax", "softmax", "accuracy", "same")),
      ),
      "By accuracy.",
    ),
  ),
  *claims.at(map_claims.of_maps(map_claims.PAPERS_WAY)[:2], *_SCENES),
  *_of(
    "qin2019",
    (
      "PC-softmax reaches 87.69 % average accuracy on imbalanced CUB-200-2011",
      "the images and the pretrained net are not at hand",
    ),
    (
      "infoCAM localises 55.83 % of CUB-200-2011 and 43.34 % of Tiny-ImageNet (top 1)",
      "the images and the pretrained nets are not at hand",
    ),
  ),
)


# Poole et al. 2019, Song and Ermon 2020.
_BOUNDS = tuple(
  of_paper._replace(tests=(*of_paper.tests, *short.tests))
  for of_paper, short in zip(
    claims.at(
      information_claims.of_staircase(critic="separable"),
      ("staircase", "paper", "separable critics, 4,000 steps a stair at 5e-4"),
    ),
    claims.at(
      information_claims.of_staircase(critic="joint"),
      ("staircase", "short", "joint critics, 200 steps a stair in place of 4,000"),
    ),
    strict=True,
  )
)


# Li et al. 2020.
_LOGISTIC = Comparison("logistic", "softmax", "accuracy", "lower")
_LI = _of(
  "li2020",
  (
    "One-against-all logistic loses to softmax on MNIST",
    (
      *_both("li2020", "mnist", _LOGISTIC, regime="modern", protocol=_OWN_NETS),
      _short("mnist_heads", _SMALL, Comparison("one_vs_all", "softmax", "accuracy", "lower")),
    ),
    "The paper argues this from the many negatives of each class; its numbers are not available.",
  ),
  (
    "One-against-all logistic loses to softmax on CIFAR-10",
    _both("li2020", "cifar10", _LOGISTIC, regime="modern", protocol=_OWN_NETS),
    "As for MNIST.",
  ),
  ("LGL-INR is as good as softmax", "its weights were not found"),
)


# Agarap 2018.
def _comparable(setting: str) -> tuple[Test, Test]:
  published = (setting, "ReLU", "softmax")
  comparison = Comparison("ReLU", "softmax", "accuracy", "same", published=published)
  return _both("agarap2018", setting, comparison)


_NOTEBOOK = "the notebook's protocol; two batches of 178 an epoch in place of 256 and the rest"
_RELU = Comparison("ReLU", "softmax", "accuracy", "same")
_AGARAP = _of(
  "agarap2018",
  (
    "ReLU classification is comparable with softmax on MNIST (dense net)",
    (
      *_comparable("mnist_ffnn"),
      *_both(
        "agarap2018",
        "mnist_ffnn_clean",
        _RELU,
        protocol="the notebook's, with a new model for each fold",
      ),
      _short("mnist_heads", _SMALL, Comparison("relu", "softmax", "accuracy", "same")),
    ),
    "On the test split. The notebooks carry one model from fold to fold. " + _EPOCHS,
  ),
  *(
    (f"ReLU classification is comparable with softmax on {name}", _comparable(setting)[:1])
    for setting, name in (
      ("mnist_cnn", "MNIST (CNN)"),
      ("fashion_mnist_ffnn", "Fashion-MNIST (dense net)"),
      ("fashion_mnist_cnn", "Fashion-MNIST (CNN)"),
    )
  ),
  (
    "ReLU classification is comparable with softmax on WDBC",
    (
      _comparable("wdbc")[1]._replace(regime="paper", protocol=_NOTEBOOK),
      *(
        Test("agarap2018_cpu", "paper", f"{_NOTEBOOK}; {change}", (_RELU,), {"setting": setting})
        for setting, change in (
          ("wdbc_clean", "a new model for each fold"),
          ("wdbc_standardised", "a new model for each fold, measurements standardised"),
        )
      ),
    ),
    "The test split has 171 cases, so one case is 0.6 points.",
  ),
)


# Guo et al. 2017.
def _scaled(way: str, other: str, direction: str, metric: str = "ece") -> Comparison:
  return Comparison(
    "softmax",
    "softmax",
    f"{way}/{metric}",
    direction,
    f"{other}/{metric}",
    published=("CIFAR-10, LeNet 5", way, other),
  )


def _calibrated(*comparisons: Comparison) -> tuple[Test, Test]:
  protocol = "a CNN of six convolutions in place of the paper's nets"
  return _both("guo2017", "cifar10", *comparisons, regime="modern", protocol=protocol)


_TEMPERATURE = "temperature scaling"
_GUO = _of(
  "guo2017",
  (
    "Temperature scaling lowers ECE on CIFAR-10",
    _calibrated(_scaled(_TEMPERATURE, "uncalibrated", "lower")),
    "The paper's numbers are LeNet's.",
  ),
  (
    "Temperature scaling calibrates no worse than vector scaling on CIFAR-10",
    _calibrated(_scaled(_TEMPERATURE, "vector scaling", "no_worse")),
    "No worse: not by a tenth of the ECE.",
  ),
  (
    "Temperature scaling calibrates better than histogram binning and isotonic regression",
    _calibrated(
      *(
        _scaled(_TEMPERATURE, other, "lower")
        for other in ("histogram binning", "isotonic regression")
      )
    ),
    "CIFAR-10; the ECE of LeNet in the paper.",
  ),
  (
    "Temperature scaling leaves the error as it is",
    _calibrated(_scaled(_TEMPERATURE, "uncalibrated", "same", "error")),
  ),
  ("Matrix scaling overfits with 100 classes", "CIFAR-100 is not prepared"),
)


# Xuan et al. 2025.
def _hotter(*metrics: str) -> tuple[Test, Test]:
  """Compare softmax trained at two temperatures above 1 with plain softmax on CIFAR-10."""
  comparisons = [
    Comparison(row, "softmax", metric, "higher") for metric in metrics for row in ("T=4", "T=16")
  ]
  return _plain(*comparisons)


def _plain(*comparisons: Comparison) -> tuple[Test, Test]:
  protocol = "a plain CNN in place of residual nets and transformers, one learning rate for all"
  return _both("xuan2025", "cifar10", *comparisons, regime="short", protocol=protocol)


_XUAN = _of(
  "xuan2025",
  (
    "A temperature above 1 in training raises accuracy",
    (*_plain(_better("T=4")), _short("mnist_heads", _SMALL, _better("softmax:temperature=4.0"))),
    "A temperature in prediction changes no decision.",
  ),
  (
    "A higher temperature in training improves robustness to untargeted PGD",
    (
      *_hotter("PGD 2/temperature_1_accuracy"),
      *(
        test._replace(protocol=f"{test.protocol}; three attacks, of which all must fail")
        for test in _hotter("PGD 2/worst_accuracy")
      ),
    ),
    "The paper's attack raises the cross-entropy at temperature 1, at which a model trained at a "
    "higher one is surer, so that its gradient may vanish; of the three attacks one raises a "
    "difference of logits, whose gradient does not. The radius is 2/255; at 8/255 little is left.",
  ),
  (
    "A higher temperature in training improves robustness to corruptions",
    _hotter("noise/accuracy"),
    "The mean over four kinds of noise in five severities; the paper has more corruptions.",
  ),
  ("It does not improve robustness to targeted attacks", "there is no targeted attack here"),
  ("Its benefit carries over to adversarial training", "there is no adversarial training here"),
)


# Grave et al. 2017 and Mikolov et al. 2013.
_TEXTS = (
  ("words", "next words of Python's language reference, 3,977 classes, an MLP"),
  ("identifiers", "next identifiers of the standard library, 105,551 classes, an MLP"),
)


def _on_texts(paper: str, *comparisons: Comparison, note: str = "") -> tuple[Test, ...]:
  return tuple(
    Test(f"{paper}_cpu", "short", f"{data}{note}", comparisons, {"setting": setting})
    for setting, data in _TEXTS
  )


_EQUAL_TIME = ", equal seconds in place of equal epochs"
_GRAVE = _of(
  "grave2016",
  (
    "Adaptive softmax takes less time than full softmax",
    _on_texts("grave2016", Comparison("adaptive", "full", "step_ms", "lower")),
    "A step's time on a CPU; the paper has minutes on a GPU, 30 for 83 on Text8.",
  ),
  (
    "Adaptive softmax reaches a lower perplexity than sampling and than a two-level tree",
    _on_texts(
      "grave2016",
      *(
        Comparison("adaptive", other, "perplexity", "lower") for other in ("sampling", "HSM (freq)")
      ),
      note=_EQUAL_TIME,
    ),
    "The paper has 147 for 166 and 166 on Text8.",
  ),
  (
    "Adaptive softmax comes close to the perplexity of full softmax in equal epochs",
    "the runs here have equal time, not equal epochs",
  ),
)
_MIKOLOV = _of(
  "mikolov2013",
  (
    "A Huffman tree takes less time than full softmax",
    _on_texts("mikolov2013", Comparison("HS-Huffman", "softmax", "step_ms", "lower")),
    "Timed before the paths of a Huffman tree were computed in blocks, which made them cheaper.",
  ),
  (
    "A Huffman tree takes less time than a balanced tree, its frequent words being near the root",
    _on_texts("mikolov2013", Comparison("HS-Huffman", "balanced tree", "step_ms", "lower")),
    "As above.",
  ),
  ("Negative sampling solves more analogies than a Huffman tree", "there are no analogies here"),
)

#: All claims, paper by paper.
CLAIMS = (
  *_BANERJEE,
  *_LIU,
  *_DEBREBISSON,
  *_QIN,
  *_BOUNDS,
  *_LI,
  *_AGARAP,
  *_GUO,
  *_XUAN,
  *_GRAVE,
  *_MIKOLOV,
)
