"""Weights of attention by the logit of one key among many, and what a sink takes."""

import functools

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from softmax_research import functional

# One key of a logit beside 31 from -1 to 1; with one feature keys are logits.
logits = np.linspace(-6, 8, 281)
_KEYS = 32
_KINDS = {
  "softmax": {},
  "softmax, sink 2": {"sink": 2.0},
  "Taylor, order 2": {"score": functional.taylor_score},
  "entmax 1.5": {"normaliser": "entmax"},
  "sparsemax": {"normaliser": "sparsemax"},
  "sigmoid": {"normaliser": "sigmoid"},
  "ReLU over length": {"normaliser": "relu"},
  "softpick": {"normaliser": "softpick"},
}

others = np.broadcast_to(np.linspace(-1, 1, _KEYS - 1), (len(logits), _KEYS - 1))
keys = np.concatenate([logits[:, None], others], axis=1).astype(np.float32)
attend = functools.partial(
  functional.attention,
  jnp.ones((len(logits), 1, 1, 1)),
  jnp.asarray(keys)[..., None, None],
)
value = jnp.zeros((len(logits), _KEYS, 1, 2)).at[:, 0, 0, 0].set(1).at[:, :, 0, 1].set(1)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
for index, (name, options) in enumerate(_KINDS.items()):
  found = attend(value, **options)[:, 0, 0]
  style = {"color": f"C{index}", "linestyle": "--" if index == 1 else "-"}
  left.plot(logits, found[:, 0], label=name, **style)
  right.plot(logits, found[:, 1], **style)
left.set(xlabel="logit of the key", ylabel="weight", ylim=(0, 1.05), title="Weight of one key")
right.set(xlabel="logit of the key", ylim=(0, 2.2), title="Sum of all 32 weights")
left.legend()
