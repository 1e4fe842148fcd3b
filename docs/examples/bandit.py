"""Learn which arm pays in which state by REINFORCE, with a policy that is any head.

python bandit.py softmax taylor huffman sparsemax
"""

import sys

import jax
import jax.numpy as jnp

from softmax_research import heads

NUM_ARMS, NUM_STATES, NUM_FEATURES = 10, 8, 16


def learn(head: heads.Head, *, steps: int = 400, batch: int = 64, rate: float = 2.0, seed: int = 0):
  """Return the mean reward of each step; the best policy's is 0.9, chance 0.18."""
  table_key, head_key, key = jax.random.split(jax.random.key(seed), 3)
  table = jax.random.normal(table_key, (NUM_STATES, NUM_FEATURES))
  best = (3 * jnp.arange(NUM_STATES)) % NUM_ARMS

  def step(params, key):
    state_key, arm_key, pay_key = jax.random.split(key, 3)
    states = jax.random.randint(state_key, (batch,), 0, NUM_STATES)
    arms = heads.sample(head, params, table[states], arm_key)
    rewards = jax.random.bernoulli(pay_key, jnp.where(arms == best[states], 0.9, 0.1)) * 1.0
    # The mean reward takes no direction from the gradient and much of its variance.
    advantages = rewards - jnp.mean(rewards)

    def loss(params):
      log_probs = head.log_prob(params, table[states])
      return -jnp.mean(advantages * jnp.take_along_axis(log_probs, arms[:, None], axis=1)[:, 0])

    params = jax.tree.map(lambda p, g: p - rate * g, params, jax.grad(loss)(params))
    return params, jnp.mean(rewards)

  return jax.lax.scan(step, head.init(head_key, NUM_FEATURES), jax.random.split(key, steps))[1]


if __name__ == "__main__":
  for name in sys.argv[1:]:
    counts = {"class_counts": [1] * NUM_ARMS} if "class_counts" in heads.head_options(name) else {}
    rewards = jax.jit(learn, static_argnums=0)(heads.make(name, NUM_ARMS, **counts))
    print(f"{name}: {rewards[:20].mean():.2f} at first, {rewards[-20:].mean():.2f} at last")
