"""Priors: where two Gaussian classes are told apart, with and without the prior."""

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from softmax_research import functional

points = np.linspace(-4, 4, 401)
# Class-conditional log-densities of unit Gaussians at -1 and 1, up to a constant.
evidence = jnp.stack([-0.5 * (points + 1) ** 2, -0.5 * (points - 1) ** 2], axis=-1)
prior = jnp.log(jnp.array([0.9, 0.1]))
uniform = jnp.log(jnp.array([0.5, 0.5]))
plain = functional.log_softmax(evidence + prior)

figure, axes = plt.subplots(figsize=(5.5, 3.6))
axes.plot(points, jnp.exp(plain)[:, 1], label="softmax trained on 9 : 1")
moved = functional.shift_prior(plain, prior, uniform)
axes.plot(points, jnp.exp(moved)[:, 1], label="the same, moved to 1 : 1")
corrected = jnp.exp(functional.log_softmax(evidence))[:, 1]
axes.plot(points, corrected, "--", label="PC-softmax's logits under 1 : 1")
axes.axhline(0.5, color="0.7", linewidth=0.8)
axes.set(xlabel="x", ylabel="probability of the rare class", title="Two Gaussians at −1 and 1")
axes.legend()
