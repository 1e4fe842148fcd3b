"""Datasets in memory: loading, splitting, standardising and augmenting them."""

from softmax_research.data import augment
from softmax_research.data.augment import random_crop, random_flip
from softmax_research.data.cache import cache_directory
from softmax_research.data.dataset import Dataset, DataUnavailableError, Split, check_dataset
from softmax_research.data.embedded import digits, spiral, wdbc
from softmax_research.data.imbalance import (
  alternating_counts,
  keep_first,
  long_tailed_counts,
  step_counts,
)
from softmax_research.data.sources import NUM_CLASSES, load
from softmax_research.data.splits import split_train_validation, stratified_sample
from softmax_research.data.standardisation import channel_statistics, standardise
from softmax_research.data.text import BUILT_IN_TEXTS, Text, encode_text, read_text
from softmax_research.data.tfds_images import load_tfds_images

__all__ = [
  "BUILT_IN_TEXTS",
  "NUM_CLASSES",
  "DataUnavailableError",
  "Dataset",
  "Split",
  "Text",
  "alternating_counts",
  "augment",
  "cache_directory",
  "channel_statistics",
  "check_dataset",
  "digits",
  "encode_text",
  "keep_first",
  "load",
  "load_tfds_images",
  "long_tailed_counts",
  "random_crop",
  "random_flip",
  "read_text",
  "spiral",
  "split_train_validation",
  "standardise",
  "step_counts",
  "stratified_sample",
  "wdbc",
]
