"""Mixtures of softmaxes on Python's language reference: what they do to perplexity and to rank.

python -m experiments.many_classes --config=configs/many_classes_mixture.py --workdir=runs/mixture

One softmax on 32 features has log-probabilities of rank 34 at most, whatever the words.
"""

from configs import many_classes_words


def get_config():
  config = many_classes_words.get_config()
  config.backbone.widths = (256, 32)
  config.heads = "softmax,mixture:num_components=4,mixture:num_components=8"
  config.seeds = 5
  config.seconds = 10.0
  config.looks = 5
  config.rank_of = 400
  return config
