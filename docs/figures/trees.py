"""Trees on Zipf-distributed classes: the mean path of a label against the number of classes."""

import matplotlib.pyplot as plt
import numpy as np

from softmax_research import functional

sizes = [2**exponent for exponent in range(4, 17, 2)]
means = {"balanced": [], "Huffman": [], "entropy, bits": []}
for size in sizes:
  frequencies = 1 / np.arange(1, size + 1)
  frequencies /= frequencies.sum()
  for name, tree in (
    ("balanced", functional.balanced_tree(size)),
    ("Huffman", functional.huffman_tree(np.round(1e9 * frequencies).astype(np.int64))),
  ):
    means[name].append(frequencies @ tree.path_lengths)
  means["entropy, bits"].append(-frequencies @ np.log2(frequencies))

figure, axes = plt.subplots(figsize=(5.5, 3.6))
for name, values in means.items():
  axes.semilogx(sizes, values, "--" if "entropy" in name else "o-", base=2, label=name)
axes.set(xlabel="classes K", ylabel="mean path of a label, edges", title="Zipf's frequencies")
axes.legend()
