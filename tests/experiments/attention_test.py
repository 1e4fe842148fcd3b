"""The study of attention at its smallest, its tasks, and what is measured of weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import attention, attention_tasks
from softmax_research import functional, heads
from softmax_research.study import runner, workdir


def halved(num_heads, *, power):
  """Attend to half of what softmax of powers of the scores attends to."""

  def attend(query, key, value, *, causal):
    outputs = functional.attention(
      query, key, value, causal=causal, score=lambda logits: jnp.abs(logits) ** power
    )
    return outputs / 2

  return attend


SMALL = attention.Settings(
  parts=("recall",),
  attentions=("softmax", f"{__name__}.halved:power=2"),
  width=8,
  depth=1,
  length=8,
  pairs=2,
  keys=8,
  values=4,
  recall_steps=40,
  recall_batch=8,
  num_test=64,
  points=2,
  seeds=2,
)


def test_it_trains_judges_longer_sequences_and_reports(tmp_path):
  assert runner.run(attention.STUDY, SMALL, runner.Options(tmp_path)) == []
  records = workdir.read(tmp_path)
  assert len(records) == 4 and all(record["status"] == "finished" for record in records)
  for record in records:
    assert set(record["metrics"]) == {"test", "2 times as long", "4 times as long"}
    assert record["curves"]["step"] == [20, 40]
    numbers = record["measured"]
    assert 0 < numbers["support"] <= 6 and 0 <= numbers["first"] <= 1
    total = 1 if record["cell"]["attention"] == "softmax" else 0.5
    assert abs(numbers["total"] - total) < 1e-5
  report = (tmp_path / "report.md").read_text()
  for expected in (
    *("## Recall: trained with 2 pairs", "4 times as long", "equal time", "kurtosis"),
    "is read in the middle of its schedule",
  ):
    assert expected in report
  assert (tmp_path / "figures" / "recall_weights_shown.svg").exists()
  # A claim about a test that the settings leave out is none.
  claims_of = attention.STUDY.claims
  assert len(claims_of(SMALL._replace(longer=(2,)))) == len(claims_of(SMALL)) - 1
  # Without softmax the first attention is what the others are compared with.
  others = [record for record in records if record["cell"]["attention"] != "softmax"]
  assert len(list(attention.report(others, SMALL))) > 3


def told(num_classes):
  """Build a head that learns nothing unless it is told each step, and a key of its own."""
  plain = heads.dense(num_classes)

  def loss(params, features, labels, *, step=0, key=None):
    seen = jax.random.uniform(key) + step
    jax.debug.callback(lambda *of: _SEEN.append(tuple(map(float, of))), step, seen)
    return plain.loss(params, features, labels)

  return plain._replace(loss=loss)


_SEEN = []


def test_the_head_is_told_the_step_and_has_a_key_of_its_own_in_each():
  settings = SMALL._replace(head=f"{__name__}.told", recall_steps=4)
  trainer = attention_tasks.Trainer(attention_tasks.recall(settings, "softmax"), settings, 4)
  list(trainer.train(0))
  jax.effects_barrier()
  assert [step for step, _ in sorted(_SEEN)] == [0, 1, 2, 3]
  draws = {seen - step for step, seen in _SEEN}
  assert len(draws) == 4 and all(0 < draw < 1 for draw in draws)


def test_recall_asks_for_the_value_of_each_key():
  task = attention_tasks.recall(SMALL, "softmax")
  inputs, labels = jax.device_get(task.draw(jax.random.key(0)))
  assert inputs.shape == labels.shape == (8, 6) and (labels[:, :4] == -1).all()
  for sequence, asked in zip(inputs, labels[:, 4:], strict=True):
    pairs = dict(zip(sequence[0:4:2], sequence[1:4:2] - SMALL.keys, strict=True))
    assert len(pairs) == 2 and [pairs[key] for key in sequence[4:]] == asked.tolist()
  assert task.tests["4 times as long"][0].shape == (16, 24)


def test_images_that_patches_do_not_divide_are_refused_before_any_work(tmp_path):
  settings = SMALL._replace(parts=("images",), patch=3)
  with pytest.raises(ValueError, match="patches of side 3 for images of 8 by 8"):
    runner.run(attention.STUDY, settings, runner.Options(tmp_path))
  assert workdir.read(tmp_path) == []


def test_longer_contexts_are_judged_on_the_same_bytes(tmp_path):
  text = tmp_path / "text.txt"
  text.write_bytes(bytes(range(97, 123)) * 200)
  task = attention_tasks.language(SMALL._replace(text=str(text)), "softmax")
  asked = [labels[:, -8:] for _, labels in task.tests.values()]
  np.testing.assert_array_equal(asked[0], asked[2])
  inputs, labels = task.tests["4 times as long"]
  assert inputs.shape[1] == 32 and (labels[:, :24] == -1).all()
  np.testing.assert_array_equal(inputs[:, -7:], labels[:, -8:-1])
  batch, following = task.draw(jax.random.key(1))
  np.testing.assert_array_equal(batch[:, 1:], following[:, :-1])


def test_weights_in_numbers_equal_what_can_be_counted():
  weights = np.zeros((1, 1, 4, 4), np.float32)
  weights[0, 0, 2:, :2] = 0.25  # Half of the weight on the first key, and half of all lost.
  found = attention_tasks.weights_in_numbers(jnp.asarray(weights), causal=True)
  expected = {"entropy": np.log(2), "support": 2, "first": 0.5, "total": 0.5}
  for name, value in expected.items():
    np.testing.assert_allclose(found[name], value, rtol=1e-6)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"parts": ("speech",)}, "the parts are images, language, recall"),
    ({"attentions": ("hardmax",)}, "the attentions are"),
    ({"keys": 7}, "--keys=7; it must be at least 8"),
    ({"width": 0}, "--width=0"),
    ({"heads": 3}, "which they must divide"),
    ({"attentions": ("soft_cap:cap=-1.0",)}, "Got cap=-1.0"),
    ({"parts": ("language",), "text": __file__, "length": 10_000}, "Give a longer text"),
    ({"head": "soft"}, "the heads are"),
    ({"parts": ("language",), "text": "nowhere.txt"}, "'nowhere.txt', which is no file"),
    ({"parts": ("images",), "dataset": "nothing"}, "nothing"),
  ],
)
def test_settings_that_are_none_are_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    attention.check(SMALL._replace(**changes))
