"""Score functions of the family, and the probability of the first of two classes under each."""

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from softmax_research import functional

_SCORES = {
  "softmax": lambda z: z,
  "Taylor, order 2": lambda z: functional.taylor_score(z, order=2),
  "Taylor, order 6": lambda z: functional.taylor_score(z, order=6),
  "spherical, ε = 0.1": lambda z: functional.spherical_score(z, epsilon=0.1),
  "ReLU, ε = 0.001": lambda z: functional.relu_score(z, epsilon=1e-3),
}

logits = np.linspace(-6, 6, 481)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
for name, score in _SCORES.items():
  left.plot(logits, score(logits), label=name)
  pairs = jnp.stack([jnp.asarray(logits), jnp.zeros(len(logits))], axis=-1)
  right.plot(logits, jnp.exp(functional.log_normalise(score(pairs)))[:, 0])
left.set(xlabel="logit z", ylabel="score s(z), nats", ylim=(-8, 7), title="Scores")
right.set(xlabel="logit z of the first class", title="Probability against a class of logit 0")
left.legend()
