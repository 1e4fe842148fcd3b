"""What attention costs by its length: products that it takes, and times that were measured."""

import json

import matplotlib.pyplot as plt
import numpy as np

figure, (axes, measured) = plt.subplots(1, 2, figsize=(8, 3.4))
lengths = 2.0 ** np.arange(8, 18)
# Multiplications a head, with values of 64 features: causal weights are half of a square.
axes.loglog(lengths, lengths**2 / 2 * 128, label="any score, 64 features")
for size, style in ((16, "-"), (32, "--"), (64, ":")):
  features, chunk = 1 + size + size * (size + 1) // 2, 128 if size < 32 else 512
  per_token = 2 * features * 65 + chunk * (size + 65)
  axes.loglog(lengths, lengths * per_token, style, color="C1", label=f"linear Taylor, {size}")
axes.set(xlabel="length", ylabel="multiplications a head", title="Forward pass")

with open("../../results/benchmarks/attention.jsonl") as file:
  rows = [row for row in map(json.loads, file) if "crossing" in row["case"]]
# A case is named "linear Taylor, crossing [1, 1024, 2, 64], causal".
found = [int(row["case"].partition("[")[2].split(",")[1]) for row in rows]
measured.loglog(found, [row["peer_ms"] for row in rows], "o-", label="softmax")
measured.loglog(found, [row["ours_ms"] for row in rows], "o:", label="linear Taylor")
measured.set(xlabel="length", ylabel="ms, two cores", title="Value and gradients, 64 features")
axes.legend()
measured.legend()
