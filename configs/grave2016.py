"""Grave, Joulin, Cisse, Grangier, Jegou 2017, "Efficient softmax approximation for GPUs".

python -m experiments.reproduce --config=configs/grave2016.py --variant=cpu \
    --workdir=runs/grave2016_cpu

ICML 2017, arXiv 1609.04309. Full, hierarchical, adaptive and sampled output layers of 4,000 and of
100,000 classes on text, by `experiments.many_classes`. What it recorded is taken over, and only
missing seeds are trained: mkdir -p runs/grave2016_cpu; cp -r results/words results/identifiers
runs/grave2016_cpu.

Run time and hardware: `cpu` 6 minutes for words and 18 for identifiers on two quiet cores of an AMD
EPYC; `full` has not been run.

To expect: on Text8 (44,000 words) the paper has perplexity 144 in 83 minutes for full softmax, 147
in 30 for adaptive, 166 in 34 for a hierarchical and 166 in 41 for a sampled one, on a GPU.
"""

from ml_collections import ConfigDict

from configs import many_classes_identifiers, many_classes_words, tables

_METHODS = (
  ("full", {"head": "softmax"}),
  ("sampling", {"head": "sampled"}),
  ("HSM (freq)", {"head": "two_level"}),
  ("adaptive", {"head": "adaptive"}),
  ("Huffman tree", {"head": "huffman"}),
  ("balanced tree", {"head": "hierarchical"}),
)
_DEVIATIONS = (
  "Text8, One Billion Word and Europarl are not at hand: words are those of Python's language "
  "reference, identifiers those of the standard library's sources. Perplexities of other texts do "
  "not compare with the paper's.",
  "An MLP on the four words before, in place of an LSTM; Adam in place of Adagrad.",
  "All methods train for the same time and are compared by perplexity; in the paper they train for "
  "the same epochs and are compared by time. The paper's minutes are of its whole training.",
  "HSM (freq) is a hierarchy of two levels by frequency; D-softmax is not built.",
)


def get_config() -> ConfigDict:
  return table("grave2016", _METHODS, "text8", _DEVIATIONS)


def table(paper: str, methods, published: str, deviations) -> ConfigDict:
  """Return the table of a paper on layers of many classes: the paper's methods on both texts."""

  def variant(*own_deviations: str, **seconds: float) -> ConfigDict:
    configs = {
      "words": many_classes_words.get_config(),
      "identifiers": many_classes_identifiers.get_config(),
    }
    for name, config in configs.items():
      config.seconds, config.seeds = seconds[name], 5
    metrics = ("perplexity", "minutes", "step_ms")
    return tables.variant(
      {
        name: tables.setting_of_study(name, methods, metrics=metrics, published=published)
        for name in configs
      },
      *own_deviations,
      studies={name: ("many_classes", config) for name, config in configs.items()},
    )

  return tables.table(
    paper,
    deviations=deviations,
    full=variant(words=120.0, identifiers=300.0),
    cpu=variant(
      "10 s of training a run for words, 20 s for identifiers.", words=10.0, identifiers=20.0
    ),
  )
