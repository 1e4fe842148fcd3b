"""The loop: curves, resuming, divergence and batched prediction."""

import jax
import numpy as np
import optax
import pytest

from softmax_research import heads, training
from tests.training.models import bright_rows, tiny_programs


@pytest.fixture(name="programs", scope="module")
def _programs():
  return training.parallelise(tiny_programs(), training.make_layout(seeds_by="vmap"))


def _fit(programs, train=None, **options):
  arguments = {"seeds": [0, 1], "num_epochs": 4, "batch_size": 16} | options
  return training.fit(programs, train or bright_rows(), bright_rows(40, seed=1), **arguments)


def _save(programs, states, curves):
  """What a script keeps on disk."""
  return programs.gather(states), [{name: list(c) for name, c in of.items()} for of in curves]


def test_curves_have_a_value_an_epoch_and_the_loss_falls(programs):
  fit = _fit(programs, num_epochs=12)
  for curves in fit.curves:
    assert curves["epoch"] == list(range(1, 13))
    assert {len(curve) for curve in curves.values()} == {12}
    assert curves["train_loss"][-1] < 0.5 * curves["train_loss"][0]
    assert curves["validation_accuracy"][-1] > 0.9
  assert fit.states.step.tolist() == [12 * 6] * 2
  assert fit.diverged == [None, None]
  assert not fit.interrupted


def test_progress_counts_every_step(programs):
  seen = []
  _fit(programs, on_progress=seen.append)
  assert seen[-1].step == seen[-1].num_steps == 24
  assert [p.step for p in seen] == sorted(p.step for p in seen)
  assert {p.epoch for p in seen} == {1, 2, 3, 4}


def test_the_call_that_compiles_counts_for_no_time_left(programs, monkeypatch):
  now = [0.0]
  monkeypatch.setattr(training.loop.time, "perf_counter", lambda: now[0])
  run_steps = programs.run_steps

  def slow_at_first(states, batches, start, stop):
    # The first call takes an hour, and every step after it a second.
    now[0] += (stop - start) if now[0] else 3600.0
    return run_steps(states, batches, start, stop)

  seen = []
  _fit(programs._replace(run_steps=slow_at_first), on_progress=seen.append)
  assert (seen[0].step, seen[0].loss, seen[0].seconds_left) == (0, None, None)
  assert seen[1].step == 1 and seen[1].seconds_left is None and seen[1].images_per_second == 0
  for progress in seen[2:]:
    assert progress.seconds_left == progress.num_steps - progress.step
    assert progress.images_per_second == 2 * 16


def test_predictions_that_are_not_numbers_after_the_last_update_are_a_divergence(programs):
  predict = programs.predict

  def broken(states, images):
    log_probs = np.array(predict(states, images))
    log_probs[1, 3] = np.nan
    return log_probs

  fit = _fit(programs._replace(predict=broken), num_epochs=1)
  assert fit.diverged[0] is None and fit.diverged[1].step == 6
  # Nor is one without validation taken for well, or one that was ended after it was saved.
  states = programs.gather(fit.states)
  states.params["head"]["bias"] = states.params["head"]["bias"] + [[0], [np.nan]]
  for validation in (None, bright_rows()):
    again = {"num_epochs": 1, "resume": (programs.scatter(states), fit.curves)}
    again = training.fit(programs, bright_rows(), validation, seeds=[0, 1], batch_size=16, **again)
    assert again.diverged == [None, fit.diverged[1]]
  assert fit.curves[1]["validation_nll"] == [None]
  # A class may be impossible where nothing is wrong.
  log_probs = np.array([[0.0, -np.inf], [np.nan, np.nan]])
  assert training.loop._scores(log_probs, np.array([0, 0]), None) == (None, 0.5)


def test_a_run_cut_between_any_two_calls_ends_with_the_same_bits(programs, monkeypatch):
  whole = _fit(programs)
  # Four steps a call: calls end within epochs of six steps and between them.
  monkeypatch.setattr(training.loop._Clock, "steps_per_call", lambda clock: 4)
  saved, positions, unfinished = None, [], True
  while unfinished:
    resume = saved and (programs.scatter(saved[0]), saved[1])
    fit = _fit(programs, resume=resume, should_stop=lambda: True)
    saved, unfinished = _save(programs, fit.states, fit.curves), fit.interrupted
    positions.append(int(saved[0].step.max()))
  assert positions == [4, 6, 10, 12, 16, 18, 22, 24]
  jax.tree.map(np.testing.assert_array_equal, programs.gather(whole.states), saved[0])
  for ours, undisturbed in zip(saved[1], whole.curves, strict=True):
    assert ours | {"seconds": 0} == undisturbed | {"seconds": 0}


def test_what_an_epoch_leaves_can_be_resumed(programs):
  whole, saved = _fit(programs), []
  _fit(programs, on_epoch=lambda *left: saved.append(_save(programs, *left)))
  assert [states.step.tolist() for states, _ in saved] == [[6, 6], [12, 12], [18, 18], [24, 24]]
  states, curves = saved[1]
  resumed = _fit(programs, resume=(programs.scatter(states), curves))
  jax.tree.map(
    np.testing.assert_array_equal, programs.gather(whole.states), programs.gather(resumed.states)
  )


@pytest.mark.parametrize("seeds_by", ["vmap", "map"])
def test_a_seed_that_diverges_freezes_and_the_others_go_on(seeds_by):
  programs = training.parallelise(tiny_programs(), training.make_layout(seeds_by=seeds_by))
  train = bright_rows()
  whole = _fit(programs, train)
  states = programs.gather(programs.init([0, 1]))
  head = states.params["head"]
  head["bias"] = head["bias"] + [[0], [np.inf]]  # The second seed's first loss is NaN.
  curves = _fit(programs, train, num_epochs=0).curves
  fit = _fit(programs, train, resume=(programs.scatter(states), curves))
  assert fit.diverged == [None, training.Divergence(step=0, last_finite_loss=None)]
  assert fit.states.step.tolist() == [24, 0]
  assert fit.curves[1]["epoch"] == []
  ours, undisturbed = (jax.tree.map(lambda x: x[0], x.states.params) for x in (fit, whole))
  jax.tree.map(np.testing.assert_array_equal, ours, undisturbed)


def test_losses_that_are_not_finite_stop_the_runs(programs):
  train = bright_rows()
  train.labels[:] = 9  # Out of range: every loss is NaN.
  fit = _fit(programs, train)
  assert fit.diverged == [training.Divergence(step=0, last_finite_loss=None)] * 2
  assert not fit.interrupted and fit.curves[0]["epoch"] == []
  assert all(np.all(np.isfinite(param)) for param in jax.tree.leaves(fit.states.params))


def test_prediction_in_padded_batches_equals_prediction_at_once(programs):
  states = programs.init([0, 1])
  images = bright_rows(50).images
  at_once = programs.predict(states, images)
  in_batches = training.predict(programs, states, images, batch_size=16)
  np.testing.assert_allclose(in_batches, at_once, atol=1e-6)
  assert in_batches.shape == (2, 50, 3)


@pytest.mark.parametrize("batch_size", [0, -1, 97, 2.5])
def test_a_batch_size_that_does_not_fit_is_refused(programs, batch_size):
  with pytest.raises(ValueError, match=f"batch_size={batch_size}"):
    _fit(programs, batch_size=batch_size)


def test_a_fit_to_partly_labelled_data_learns_and_judges_by_labels_alone():
  programs = training.parallelise(tiny_programs(ignore_label=-1))
  train, validation = bright_rows(), bright_rows(40, seed=1)
  partly = [
    split._replace(labels=np.where(np.arange(len(split.labels)) % 2, -1, split.labels))
    for split in (train, validation)
  ]
  fit = training.fit(programs, *partly, seeds=[0], num_epochs=15, batch_size=16)
  (curves,) = fit.curves
  assert curves["validation_accuracy"][-1] > 0.9
  log_probs = training.predict(programs, fit.states, validation.images)[0]
  expected = training.evaluate(log_probs[::2], validation.labels[::2])
  assert curves["validation_nll"][-1] == pytest.approx(expected["nll"])
  unborn = programs._replace(init=None)  # Refused before any work.
  nothing = validation._replace(labels=np.full(40, -1))
  for splits, purpose in (((train, nothing), "validation"), ((nothing, None), "training")):
    with pytest.raises(ValueError, match=f"40 examples for {purpose}, none with a label"):
      training.fit(unborn, *splits, seeds=[0], num_epochs=1, batch_size=16)
  with pytest.raises(ValueError, match="0 examples for validation"):
    none = validation._replace(images=validation.images[:0], labels=validation.labels[:0])
    training.fit(unborn, train, none, seeds=[0], num_epochs=1, batch_size=16)


@pytest.mark.parametrize("strategy", ["jit", "pmap"])
def test_batches_without_a_label_leave_the_training_loss_alone(strategy):
  made = {"head": heads.make("softmax", 3), "optimizer": optax.sgd(0.0), "ignore_label": -1}
  programs = training.parallelise(tiny_programs(**made), training.make_layout(strategy=strategy))
  train, seen = bright_rows(), []
  train.labels[3:] = -1  # Of six batches three or more have no label.
  fit = training.fit(
    programs, train, None, seeds=[0, 1], num_epochs=3, batch_size=16, on_progress=seen.append
  )
  losses = -training.predict(programs, fit.states, train.images[:3])[:, range(3), train.labels[:3]]
  for epoch in range(3):
    orders = np.asarray(programs.deal(fit.states, programs.hold(*train), epoch, 6, 16)[0])
    for own, order, curves in zip(losses, orders.reshape(2, 6, 16), fit.curves, strict=True):
      means = [np.mean(own[batch[batch < 3]]) for batch in order if np.any(batch < 3)]
      assert curves["train_loss"][epoch] == pytest.approx(np.mean(means), rel=1e-5)
  ends = [progress.loss for progress in seen if progress.step % 6 == 0][1:]
  assert ends == pytest.approx(np.mean([curves["train_loss"] for curves in fit.curves], 0))
  # Nor does one take the place of the last loss that was finite.
  assert np.all(programs.gather(fit.states).last_finite_loss > 0.1)
  # Of an epoch that meets no label there is no loss.
  train.labels[:] = [*[-1] * 95, 0]
  fit = training.fit(programs, train, None, seeds=range(2), num_epochs=8, batch_size=64)
  assert {loss is None for curves in fit.curves for loss in curves["train_loss"]} == {True, False}


def test_several_labels_are_learnt_without_validation_and_judged_as_sets():
  examples = [bright_rows(size, seed) for size, seed in ((96, 0), (40, 1))]
  train, test = (split._replace(labels=np.eye(3, dtype=int)[split.labels]) for split in examples)
  for split in (train, test):  # Another bright row is another label.
    split.images[::2, 0] += 150 * (split.labels[::2, :1, None, None] == 0).astype(np.uint8)[:, 0]
    split.labels[::2, 0] = 1
  programs = training.parallelise(tiny_programs(head=heads.make("one_vs_all", 3)))
  options, seen = {"seeds": [0, 1], "num_epochs": 15, "batch_size": 16}, []
  fit = training.fit(programs, train, None, **options, on_progress=seen.append)
  for curves in fit.curves:
    assert curves["epoch"] == list(range(1, 16))
    assert curves["validation_nll"] == curves["validation_accuracy"] == [None] * 15
    assert curves["train_loss"][-1] < 0.5 * curves["train_loss"][0]
  assert seen[-1].step == 90 and {progress.validation_accuracy for progress in seen} == {None}
  scores = np.exp(training.predict(programs, fit.states, test.images))[0]
  found = training.evaluate_sets(scores, scores >= 0.4, test.labels)
  assert found["mean_average_precision"] > 0.9
  for labels in (test.labels, np.float32(test.labels)):
    message = "no distributions over classes; .* Pass validation=None, .* training.evaluate_sets"
    unborn = programs._replace(init=None)  # Refused before any work.
    with pytest.raises(ValueError, match=message):
      training.fit(unborn, train, test._replace(labels=labels), **options)
