"""Next-word prediction on Python's language reference, six output layers at equal time.

python -m experiments.many_classes --config=configs/many_classes_words.py --workdir=runs/words

--config.text=FILE takes another text, in words or with --config.unit=bytes in bytes.
--config.text=stdlib takes the standard library's sources: some 100,000 identifiers.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.task = "text"
  config.text = "pydoc"
  config.unit = "words"
  config.context = 4
  config.embedding = 64
  config.backbone = ConfigDict({"name": "mlp", "widths": (256, 128)})

  config.heads = "softmax,huffman,two_level,hierarchical,adaptive,sampled"
  config.seeds = 3
  config.seconds = 15.0
  config.looks = 6
  config.batch_size = 256
  config.optimizer = ConfigDict({"name": "adam", "learning_rate": 1e-3})
  config.num_test = 4000
  return config
