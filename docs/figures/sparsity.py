"""Sparse normalisers: a two-class probability, and how many of ten classes get any."""

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from softmax_research import functional

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
logits = np.linspace(-4, 4, 321)
pairs = jnp.stack([jnp.asarray(logits), jnp.zeros(len(logits))], axis=-1)
for alpha in (1.0, 1.25, 1.5, 2.0, 4.0):
  name = {1.0: "softmax (α = 1)", 2.0: "sparsemax (α = 2)"}.get(alpha, f"α = {alpha}")
  left.plot(logits, functional.entmax(pairs, alpha=alpha)[:, 0], label=name)
left.set(xlabel="logit against a class of logit 0", ylabel="probability", title="Two classes")
left.legend()

rng = np.random.default_rng(0)
scales = np.geomspace(0.05, 5, 25)
draws = rng.normal(size=(400, 10))
for alpha in (1.25, 1.5, 2.0, 4.0):
  support = [
    np.mean(np.sum(functional.entmax(scale * draws, alpha=alpha) > 0, axis=-1)) for scale in scales
  ]
  right.semilogx(scales, support, label=f"α = {alpha}")
right.set(
  xlabel="standard deviation of the logits",
  ylabel="classes above 0, of 10",
  title="Support (mean of 400 draws)",
  ylim=(0, 10.3),
)
right.legend()
