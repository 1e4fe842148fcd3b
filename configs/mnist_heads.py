"""Every head of the library on MNIST, with a small MLP: what each costs in accuracy and NLL.

python -m experiments.compare --config=configs/mnist_heads.py --workdir=runs/mnist_heads
"""

from ml_collections import ConfigDict

from configs import default
from softmax_research.heads import HEADS

# Ten classes are few to draw from, or to divide.
_OPTIONS = {
  "adaptive": "cutoffs=(3,6)",
  **dict.fromkeys(("negative_sampling", "nce", "partial_fc", "sampled"), "num_samples=5"),
}
_MORE = (
  *("softmax:temperature=4.0", "taylor:order=6", "l_softmax:margin=4"),
  *("softmax:link=focal", "softmax:link=poly", "softmax:link=generalised"),
)


def get_config() -> ConfigDict:
  heads = [f"{name}:{_OPTIONS[name]}" if name in _OPTIONS else name for name in HEADS]
  heads = ",".join((*heads, *_MORE))
  config = default.get_config(dataset="mnist", heads=heads, num_epochs=5, batch_size=256)
  config.backbone.dropout = 0.2
  return config
