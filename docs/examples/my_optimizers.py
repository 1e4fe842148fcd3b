"""An optimiser and a schedule of one's own.

python -m experiments.compare --workdir=runs/normalised --config.heads=softmax --config.seeds=2 \
    --config.optimizer='my_optimizers.normalised:learning_rate=0.1:schedule=(my_optimizers.triangle)'
"""

import jax
import jax.numpy as jnp
import optax


def normalised(learning_rate, *, momentum: float = 0.9) -> optax.GradientTransformation:
  """Step along the averaged gradient, whatever its length; the rate is a schedule."""

  def scale_to_unit(updates, params):
    length = jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(updates)))
    return jax.tree.map(lambda leaf: leaf / jnp.maximum(length, 1e-12), updates)

  return optax.chain(
    optax.trace(decay=momentum),
    optax.stateless(scale_to_unit),
    optax.scale_by_learning_rate(learning_rate),
  )


def triangle(learning_rate, num_steps, *, peak: float = 0.3) -> optax.Schedule:
  """Rise linearly to the rate until a part of the steps is over, and fall linearly to zero."""
  top = round(peak * num_steps)
  rise = optax.linear_schedule(0.0, learning_rate, top)
  fall = optax.linear_schedule(learning_rate, 0.0, num_steps - top)
  return optax.join_schedules([rise, fall], [top])
