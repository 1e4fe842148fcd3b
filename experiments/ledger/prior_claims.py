"""Claims of class priors: what the paper of PC-softmax says, and what Bayes' rule does."""

from softmax_research.study.claims import Claim, Comparison, Test

_IMBALANCED = {"setting": "(?!natural).*"}
_BALANCED = {"setting": "natural.*"}


def _test(row, baseline, metric, direction, *, each=_IMBALANCED, baseline_metric="") -> Test:
  """Return a test by the study's own records, in every setting that the claim is about."""
  comparison = Comparison(row, baseline, metric, direction, baseline_metric)
  return Test(None, "", "", (comparison,), each=each)


#: What Qin et al. say of PC-softmax.
OF_PC_SOFTMAX = (
  Claim(
    "qin2019",
    "PC-softmax raises macro accuracy under imbalance",
    (_test("pc_softmax", "softmax", "metrics/balanced/as_is/macro_accuracy", "higher"),),
    "On the whole test split.",
  ),
  Claim(
    "qin2019",
    "PC-softmax raises macro accuracy on a test set that is imbalanced too",
    (_test("pc_softmax", "softmax", "metrics/capped/as_is/macro_accuracy", "higher"),),
    "The released code caps the classes of the test set as it does those of training.",
  ),
)
BALANCED = Claim(
  "qin2019",
  "With balanced classes PC-softmax is softmax",
  (_test("pc_softmax", "softmax", "metrics/balanced/as_is/accuracy", "same", each=_BALANCED),),
)

#: What follows from Bayes' rule, and no paper claims.
OF_BAYES = (
  Claim(
    "Bayes' rule",
    "PC-softmax costs accuracy where the test set has the training prior",
    (_test("pc_softmax", "softmax", "metrics/training/as_is/accuracy", "lower"),),
  ),
  Claim(
    "Bayes' rule",
    "PC-softmax costs accuracy on the capped test set",
    (_test("pc_softmax", "softmax", "metrics/capped/as_is/accuracy", "lower"),),
  ),
  Claim(
    "Bayes' rule",
    "Moving softmax's predictions after training gives PC-softmax's macro accuracy",
    (
      _test(
        "softmax",
        "pc_softmax",
        "metrics/balanced/moved/macro_accuracy",
        "same",
        baseline_metric="metrics/balanced/as_is/macro_accuracy",
      ),
    ),
  ),
  Claim(
    "Bayes' rule",
    "Moved back to the training prior, PC-softmax has softmax's accuracy",
    (
      _test(
        "pc_softmax",
        "softmax",
        "metrics/training/moved/accuracy",
        "same",
        baseline_metric="metrics/training/as_is/accuracy",
      ),
    ),
  ),
)

CLAIMS = (*OF_PC_SOFTMAX, BALANCED, *OF_BAYES)
