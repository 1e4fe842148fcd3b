"""Claims of attention by what makes its weights, each of softmax's and another's."""

from softmax_research.study.claims import Claim, Comparison, Test

# A tenth of the baseline's, which is the rule for measures without a rule of their own, would be a
# third of a bit: more than most of them differ by. This is about a hundredth.
_BITS = 0.03


def _no_worse(paper: str, text: str, row: str) -> Claim:
  """Return the claim that a row is no worse than softmax in language and images."""
  # The ledger counts a claim by its first test: language tells more of them apart.
  tests = [
    _test(part, row, "softmax", metric, "no_worse", smallest)
    for part, metric, smallest in (("language", "bits", _BITS), ("images", "accuracy", None))
  ]
  limits = f"Language: to within {_BITS} bits, a bound chosen after the runs."
  return Claim(paper, text, tuple(tests), limits)


def _row(attention: str) -> dict[str, str]:
  return {"attention": attention}


def _test(
  part: str, row: str, baseline: str, metric: str, direction: str, smallest: float | None = None
) -> Test:
  comparison = Comparison(_row(row), _row(baseline), metric, direction, smallest=smallest)
  return Test(None, "", "", (comparison,), {"part": part})


_SINK_FREE = tuple(
  Claim(
    paper,
    f"{name} takes weight off the first token",
    (_test("language", row, "softmax", "first", "lower"),),
    "Where softmax gives the first token less than an equal share there is no sink to remove.",
  )
  for paper, name, row in (
    ("zuhri2025", "Softpick", "softpick"),
    ("miller2023", "Softmax off by one", "softmax:sink=0.0"),
  )
)

SPARSEMAX = _no_worse("martins2016", "Sparsemax is no worse than softmax", "sparsemax")
OF_OTHERS = (
  _no_worse("correia2019", "Entmax is no worse than softmax at short lengths", "entmax:alpha=1.5"),
  _no_worse("zuhri2025", "Softpick is no worse than softmax", "softpick"),
  _no_worse("miller2023", "Softmax off by one is no worse", "softmax:sink=0.0"),
  _no_worse("ramapuram2024", "Sigmoid attention is no worse than softmax", "sigmoid"),
  _no_worse("wortsman2023", "ReLU over length is no worse than softmax", "relu"),
  *_SINK_FREE,
  Claim(
    "nakanishi2025",
    "Scaled by the logarithm of the length, softmax is better at longer contexts",
    tuple(
      _test(part, "softmax:length_scale=True", "softmax", f"metrics/4 times as long/{metric}", way)
      for part, metric, way in (("language", "bits", "lower"), ("recall", "accuracy", "higher"))
    ),
  ),
  _no_worse("arora2024", "Linear Taylor attention is no worse outside of recall", "taylor_linear"),
  Claim(
    "arora2024",
    "Linear Taylor attention recalls less than softmax",
    (_test("recall", "taylor_linear", "softmax", "accuracy", "lower"),),
  ),
)

CLAIMS = (SPARSEMAX, *OF_OTHERS)
