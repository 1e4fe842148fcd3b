"""Every head of the library on MNIST, with a small MLP: what each costs in accuracy and NLL.

python -m experiments.compare --config=configs/mnist_heads.py --workdir=runs/mnist_heads
"""

from ml_collections import ConfigDict

from configs import default

_HEADS = (
  "softmax",
  "softmax:temperature=4.0",
  "taylor",
  "taylor:order=6",
  "spherical",
  "relu",
  "sm",
  "sm_taylor",
  "l_softmax",
  "l_softmax:margin=4",
  "am_softmax",
  "arcface",
  "pc_softmax",
  "logit_adjusted",
  "prior_shift",
  "sparsemax",
  "entmax",
  "one_vs_all",
  "hinge",
  "hierarchical",
  "huffman",
  "two_level",
  "adaptive:cutoffs=(3,6)",
  "sampled:num_samples=5",
  "negative_sampling:num_samples=5",
  "nce:num_samples=5",
  "mixture",
  "stablemax",
  "sigsoftmax",
  "soft_cap",
  "multimax",
  "logit_norm",
  "logit_penalty",
  "cosine_softmax",
  "combined_margin",
  "sphereface",
  "ldam",
  "adaface",
  "magface",
  "curricularface",
  "subcentre_arcface",
  "partial_fc:num_samples=5",
  "bi_tempered",
  "ev_softmax",
  "r_softmax",
  "squared_error",
  "softmax:link=focal",
  "softmax:link=poly",
  "softmax:link=generalised",
)


def get_config() -> ConfigDict:
  config = default.get_config(dataset="mnist", heads=",".join(_HEADS), num_epochs=5, batch_size=256)
  config.backbone.dropout = 0.2
  return config
