"""Datasets in memory: loading, splitting, standardising and augmenting them."""

from softmax_research.data import augment
from softmax_research.data.augment import (
  Mixed,
  alternating_flip,
  cutmix,
  mixup,
  random_crop,
  random_flip,
)
from softmax_research.data.cache import cache_directory
from softmax_research.data.dataset import (
  Dataset,
  DataUnavailableError,
  Split,
  channel_statistics,
  check_dataset,
  class_counts,
  split_train_validation,
  standardise,
  stratified_sample,
)
from softmax_research.data.documents import TOPICS, bags_of_words, read_texts, topics
from softmax_research.data.files import from_arrays, read
from softmax_research.data.imbalance import (
  alternating_counts,
  keep_first,
  long_tailed_counts,
  step_counts,
)
from softmax_research.data.label_flips import flip_labels, flip_probabilities
from softmax_research.data.sources import (
  NUM_CLASSES,
  check_name,
  digits,
  fingerprint,
  label_noise,
  load,
  spiral,
)
from softmax_research.data.text import BUILT_IN_TEXTS, Text, encode_text, read_text
