"""Margins: the label's logit as a function of its angle, and the gradient against the margin."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from softmax_research import functional

angles = np.linspace(0, np.pi, 400)
cosines = jnp.cos(jnp.asarray(angles))[:, None]
labels = jnp.zeros(len(angles), int)
norms = {"feature_norms": jnp.ones(len(angles)), "kernel_norms": jnp.ones(1)}

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
left.plot(np.degrees(angles), cosines[:, 0], color="0.4", label="none")
for m in (2, 3, 4):
  changed = functional.large_margin(cosines, labels, margin=m, **norms)[:, 0]
  left.plot(np.degrees(angles), changed, label=f"L-Softmax, m = {m}")
for name, function, m in (
  ("cosine, m = 0.35", functional.additive_cosine_margin, 0.35),
  ("angular, m = 0.5", functional.additive_angular_margin, 0.5),
):
  changed = function(cosines, labels, margin=m)[:, 0]
  left.plot(np.degrees(angles), changed, "--", label=name)
left.set(
  xlabel="angle to the label's weights, degrees",
  ylabel="the label's logit at unit norms",
  title="Margins on angles",
)
left.legend()


def gradient(margin, lead, score):
  """Size of the loss's gradient at a label that leads one other class by `lead` logits."""

  def loss(logits):
    scores = score(functional.soft_margin(logits, jnp.array(0), margin=margin))
    return functional.cross_entropy(scores, jnp.array(0))

  return -jax.grad(loss)(jnp.array([lead, 0.0]))[0]


margins = np.linspace(0, 4, 81)
for lead, colour in ((0.5, "C0"), (1.5, "C1"), (3.0, "C2")):
  for style, score in (("-", lambda z: z), ("--", lambda z: functional.taylor_score(z, order=2))):
    sizes = jax.vmap(gradient, in_axes=(0, None, None))(margins, lead, score)
    kind = "SM" if style == "-" else "SM-Taylor"
    right.plot(margins, sizes, style, color=colour, label=f"{kind}, lead {lead}")
right.axhline(0, color="0.7", linewidth=0.8)
right.set(
  xlabel="soft margin m",
  ylabel="pull on the label's logit",
  title="Gradient against the soft margin",
)
right.legend()
