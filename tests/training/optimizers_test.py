"""Optimisers by name: their steps against hand-written updates, and their errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from softmax_research.training import optimizers


@functools.partial(jax.jit, static_argnums=0)
def _steps(optimizer, grads, params):
  """Return the parameters after each update, all in one program."""
  state, seen = optimizer.init(params), []
  for grad in grads:
    updates, state = optimizer.update(grad, state, params)
    params = optax.apply_updates(params, updates)
    seen.append(params)
  return seen


def test_sgd_with_momentum_and_coupled_decay_follows_the_papers_recurrence():
  rng = np.random.default_rng(0)
  w, grads = rng.normal(size=(3, 2)), rng.normal(size=(4, 3, 2))
  optimizer = optimizers.make(
    "sgd", learning_rate=0.1, num_steps=4, momentum=0.9, weight_decay=0.01
  )
  ours = _steps(optimizer, [{"w": jnp.asarray(g)} for g in grads], {"w": jnp.asarray(w)})
  velocity = np.zeros_like(w)
  for grad, params in zip(grads, ours, strict=True):
    velocity = 0.9 * velocity + grad + 0.01 * w
    w = w - 0.1 * velocity
    np.testing.assert_allclose(params["w"], w, rtol=1e-5)


def test_biases_do_not_decay():
  optimizer = optimizers.make("sgd", learning_rate=1.0, num_steps=1, momentum=0, weight_decay=0.5)
  params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
  zero = {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}
  (after,) = _steps(optimizer, [zero], params)
  np.testing.assert_allclose(after["kernel"], 0.5)
  np.testing.assert_allclose(after["bias"], 1.0)


def test_decoupled_decay_shrinks_the_weights_beside_nesterovs_momentum():
  rng = np.random.default_rng(0)
  w, grads = rng.normal(size=(3, 2)), rng.normal(size=(4, 3, 2))
  optimizer = optimizers.make(
    "sgd:momentum=0.9:nesterov=True:weight_decay=0.2:decoupled=True", learning_rate=0.1, num_steps=4
  )
  ours = _steps(optimizer, [{"w": jnp.asarray(g)} for g in grads], {"w": jnp.asarray(w)})
  velocity = np.zeros_like(w)
  for grad, params in zip(grads, ours, strict=True):
    velocity = 0.9 * velocity + grad
    w = w - 0.1 * (grad + 0.9 * velocity) - 0.1 * 0.2 * w
    np.testing.assert_allclose(params["w"], w, rtol=1e-5)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_groups_of_parameters_have_rates_of_their_own(name):
  rng = np.random.default_rng(0)
  params = {
    "first": {"kernel": rng.normal(size=(2, 2)), "norm": {"bias": rng.normal(size=2)}},
    "last": {"kernel": rng.normal(size=(2, 2))},
  }
  grads = [
    jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), jnp.float32), params)
    for _ in range(4)
  ]
  params = jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), params)

  def run(rate, **options):
    made = optimizers.make(name, learning_rate=rate, weight_decay=0.1, num_steps=4, **options)
    return _steps(made, grads, params)[-1]

  # The longer pattern takes the kernel from the other one.
  ours = run(0.01, rates={"first/*": 5.0, "first/kernel": 0.0})
  np.testing.assert_array_equal(ours["first"]["kernel"], params["first"]["kernel"])
  by_hand = run(0.05)["first"]["norm"]["bias"]  # As if it had been trained apart, at that rate.
  np.testing.assert_allclose(ours["first"]["norm"]["bias"], by_hand, rtol=1e-5)
  np.testing.assert_allclose(ours["last"]["kernel"], run(0.01)["last"]["kernel"], rtol=1e-6)


def test_a_pattern_that_fits_nothing_and_factors_below_zero_are_refused():
  made = optimizers.make("sgd", learning_rate=0.1, num_steps=4, rates={"*/nrom/bias": 2.0})
  with pytest.raises(ValueError, match=r"/nrom/bias' fits no parameter; there are a/norm/bias"):
    made.init({"a": {"norm": {"bias": jnp.zeros(2)}}})
  with pytest.raises(ValueError, match=r"it must be finite and >= 0"):
    optimizers.make("sgd", learning_rate=0.1, num_steps=4, rates={"*": -1.0})


def test_a_run_ends_at_the_average_of_its_last_parameters():
  rng = np.random.default_rng(0)
  grads = [{"w": jnp.asarray(rng.normal(size=3), jnp.float32)} for _ in range(8)]
  params = {"w": jnp.zeros(3, jnp.float32)}
  plain = _steps(optimizers.make("sgd", learning_rate=0.1, num_steps=8), grads, params)
  averaged = optimizers.make("sgd", learning_rate=0.1, num_steps=8, average=0.375)
  ours = _steps(averaged, grads, params)
  for mine, theirs in zip(ours[:-1], plain[:-1], strict=True):
    np.testing.assert_allclose(mine["w"], theirs["w"], rtol=1e-5, atol=1e-6)
  expected = np.mean([step["w"] for step in plain[-3:]], axis=0)
  np.testing.assert_allclose(ours[-1]["w"], expected, rtol=1e-5, atol=1e-6)


@jax.jit
def _average_of_no_updates(params):
  average = optimizers.average_last(3000, 3000)

  def step(_, made):
    updates, state = average.update(jnp.zeros_like(params), made[1], made[0])
    return made[0] + updates, state

  return jax.lax.fori_loop(0, 3000, step, (params, average.init(params)))[0]


def test_parameters_that_stay_are_their_average():
  params = jnp.asarray(np.random.default_rng(0).normal(size=100), jnp.float32)
  np.testing.assert_array_equal(_average_of_no_updates(params), params)


@pytest.mark.parametrize(
  ("schedule", "options", "expected"),
  [
    ("constant", {}, [0.1] * 5),
    ("linear", {}, [0.1, 0.075, 0.05, 0.025, 0.0]),
    ("cosine", {}, [0.05 * (1 + np.cos(np.pi * t / 4)) for t in range(5)]),
    ("steps", {"boundaries": (0.5, 3), "factor": 0.1}, [0.1, 0.1, 0.01, 0.001, 0.001]),
    ("steps", {"boundaries": (0.5, 1.0)}, [0.1, 0.1, 0.01, 0.01, 0.001]),
    ("steps", {"boundaries": (0.5, 0.6)}, [0.1, 0.1, 0.001, 0.001, 0.001]),
    ("inverse_time", {"decay": 1.0}, [0.1 / (1 + t) for t in range(5)]),
  ],
)
def test_schedules_give_their_rates(schedule, options, expected):
  optimizer = optimizers.make(
    "sgd",
    learning_rate=0.1,
    num_steps=4,
    schedule=schedule,
    schedule_options=options,
    momentum=0,
  )
  states = _steps(optimizer, [jnp.ones(())] * 5, jnp.zeros(()))
  rates = -np.diff([0.0, *[float(state) for state in states]])
  np.testing.assert_allclose(rates, expected, atol=1e-7)


def test_warmup_rises_from_zero_to_the_rate():
  optimizer = optimizers.make("sgd", learning_rate=0.4, num_steps=8, warmup=0.5, momentum=0)
  states = _steps(optimizer, [jnp.ones(())] * 6, jnp.zeros(()))
  rates = -np.diff([0.0, *[float(state) for state in states]])
  np.testing.assert_allclose(rates, [0.0, 0.1, 0.2, 0.3, 0.4, 0.4], atol=1e-7)


def test_clipping_bounds_the_norm_of_the_gradient():
  optimizer = optimizers.make("sgd", learning_rate=1.0, num_steps=1, momentum=0, clip_norm=1.0)
  (after,) = _steps(optimizer, [jnp.array([3.0, 4.0])], jnp.zeros(2))
  np.testing.assert_allclose(after, [-0.6, -0.8], rtol=1e-6)


def test_what_is_frozen_clips_nothing():
  options = {"momentum": 0, "clip_norm": 1.0, "rates": {"frozen": 0.0, "head": 2.0}}
  optimizer = optimizers.make("sgd", learning_rate=1.0, num_steps=1, **options)
  grads = {"frozen": jnp.full(2, 9.0), "head": jnp.array([0.3, 0.4])}
  (after,) = _steps(optimizer, [grads], jax.tree.map(jnp.zeros_like, grads))
  assert after["frozen"].tolist() == [0, 0]
  np.testing.assert_allclose(after["head"], [-0.6, -0.8], rtol=1e-6)


@pytest.mark.parametrize("name", sorted(optimizers.OPTIMIZERS))
def test_every_optimizer_of_optax_descends_a_quadratic(name):
  options = {"key": 0} if name == "noisy_sgd" else {}
  # Rates of these are relative, to the parameters' norm or to their last step.
  rate = {"adadelta": 50.0, "adagrad": 0.2, "lars": 20.0, "sm3": 0.2}.get(name, 0.05)
  optimizer = optimizers.make(name, learning_rate=rate, num_steps=50, schedule="linear", **options)

  def step(_, carry):
    params, state = carry
    updates, state = optimizer.update(2 * params, state, params)
    return optax.apply_updates(params, updates), state

  @jax.jit
  def run(params):
    return jax.lax.fori_loop(0, 30, step, (params, optimizer.init(params)))[0]

  assert np.sum(run(np.float32([[1.0, -2.0]])) ** 2) < 3.0


def test_a_text_names_optimizer_schedule_and_options():
  text = "sgd:learning_rate=0.1:momentum=0:schedule=(exponential_decay:decay_rate=0.5)"
  optimizer = optimizers.make(text, num_steps=1)
  rates = -np.diff([0.0, *map(float, _steps(optimizer, [jnp.ones(())] * 3, jnp.zeros(())))])
  np.testing.assert_allclose(rates, [0.1, 0.05, 0.025], rtol=1e-5)


@pytest.mark.parametrize("name", sorted(optimizers.SCHEDULES))
def test_every_schedule_of_optax_takes_the_rate_and_the_steps(name):
  options = {
    "exponential_decay": {"decay_rate": 0.5},
    "piecewise_interpolate_schedule": {"interpolate_type": "linear"},
    "polynomial_schedule": {"power": 2},
    "warmup_constant_schedule": {"warmup_steps": 2},
    "warmup_cosine_decay_schedule": {"warmup_steps": 2},
    "warmup_exponential_decay_schedule": {"warmup_steps": 2, "decay_rate": 0.5},
  }.get(name, {})
  rate = optimizers.SCHEDULES.make(name, 0.4, 8, **options)
  rates = jax.jit(lambda: [rate(step) for step in range(9)])()
  assert max(rates) == pytest.approx(0.4)
  with pytest.raises(ValueError, match="Got option 'power_'"):
    optimizers.SCHEDULES.make(name, 0.4, 8, power_=1)


def _own(rate, *, scale=1.0):
  return optax.sgd(lambda step: scale * rate(step))


def _own_rate(learning_rate, num_steps, *, divisor=2):
  return lambda step: learning_rate / divisor


def _no_rate(learning_rate, num_steps):
  def rate(step):
    raise RuntimeError("boom")

  return rate


def _two_rates(learning_rate, num_steps):
  return lambda step: jnp.full(2, learning_rate)


def test_optimizers_and_schedules_of_ones_own():
  text = f"{__name__}._own:learning_rate=0.1:scale=3:schedule={__name__}._own_rate"
  (after,) = _steps(optimizers.make(text, num_steps=9), [jnp.ones(())], jnp.zeros(()))
  assert float(after) == pytest.approx(-0.15)


def test_only_matrices_decay_whatever_the_optimizer():
  params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
  for name in ("adamw", "lion", "adan"):
    optimizer = optimizers.make(name, learning_rate=0.1, num_steps=1, weight_decay=0.5)
    (after,) = _steps(optimizer, [jax.tree.map(jnp.zeros_like, params)], params)
    assert float(after["kernel"][0, 0]) < 1 and after["bias"].tolist() == [1, 1]


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"name": "adm"}, "adagrad, adam, .*, yogi"),
    ({"name": "adam", "momentum": 0.9}, r"its options are average=0\.0, b1=0\.9, b2=0\.999"),
    ({"name": "adam", "schedule": "cosin"}, "constant, .* steps"),
    ({"name": "adam", "schedule_options": {"factor": 1}}, "'factor' for the schedule"),
    ({"name": "adam", "learning_rate": "fast"}, "'fast' .* it must be a number"),
    ({"name": "adam", "learning_rate": 0.0}, "learning_rate=0.0"),
    ({"name": "adam", "warmup": 1.5}, "warmup=1.5"),
    ({"name": "sgd", "weight_decay": -1.0}, "weight_decay=-1.0"),
    ({"name": "sgd", "momentum": 1.5}, r"momentum=1.5; it must lie in \[0, 1\)"),
    (
      {"name": "adam", "eps_root": "abc"},
      "eps_root='abc' for the optimizer 'adam'; it must be a n",
    ),
    ({"name": "adam", "b1": 1.0}, r"b1=1.0; it must lie in \[0, 1\)"),
    ({"name": "adam", "schedule": "steps:boundaries=0.5-2"}, r"boundaries='0.5-2' .*0.75"),
    ({"name": "adam", "schedule": "steps:boundaries=(0.5,-2)"}, r"boundaries=\(0.5, -2\)"),
    ({"name": "adam", "schedule": "steps:boundaries=(1e999,)"}, r"boundaries=\(inf,\)"),
    ({"name": "adam", "schedule": "inverse_time:decay=-1.0"}, r"decay=-1.0; it must be"),
    (
      {"name": "adam", "schedule": "cosine:alpha=x"},
      "alpha='x' for the schedule 'cosine'; it must be a number",
    ),
    ({"name": "adam", "schedule": f"{__name__}._no_rate"}, "whose rate cannot be had: boom"),
    ({"name": "adam", "schedule": f"{__name__}._two_rates"}, r"rate has the shape \(2,\)"),
    (
      {"name": "adam", "schedule": "piecewise_constant_schedule:boundaries_and_scales=3"},
      "the schedule 'piecewise_constant_schedule', but",
    ),
    ({"name": "sgd", "clip_norm": 0.0}, "clip_norm=0.0"),
  ],
)
def test_bad_arguments_are_refused(arguments, message):
  with pytest.raises(ValueError, match=message):
    optimizers.make(**{"learning_rate": 0.1, "num_steps": 4} | arguments)
