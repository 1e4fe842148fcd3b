"""Products that attention takes by its length: all weights, or features of the Taylor series."""

import matplotlib.pyplot as plt
import numpy as np

lengths = 2.0 ** np.arange(8, 18)
figure, axes = plt.subplots(figsize=(5.5, 3.6))
# Multiplications a head, with values of 64 features: causal weights are half of a square.
axes.loglog(lengths, lengths**2 / 2 * 128, label="any score, 64 features")
for size, style in ((16, "-"), (32, "--"), (64, ":")):
  features, chunk = 1 + size + size * (size + 1) // 2, 128 if size < 32 else 512
  per_token = 2 * features * 65 + chunk * (size + 65)
  axes.loglog(lengths, lengths * per_token, style, color="C1", label=f"linear Taylor, {size}")
axes.set(xlabel="length", ylabel="multiplications a head", title="Forward pass")
axes.legend(frameon=False, fontsize=8)
axes.spines[["top", "right"]].set_visible(False)
