"""The study of label sets: its scenes, its heads' targets and a run from end to end."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import label_sets
from softmax_research import data, functional
from softmax_research.study import runner, workdir

_SMALL = label_sets.Settings(
  heads=("one_vs_all", "softmax"), num_train=960, epochs=10, seeds=2, backbone="mlp:widths=64"
)


def test_labels_are_what_a_scene_shows():
  labels = np.arange(12, dtype=np.int32) % 4
  # Each image is filled by its label's own number.
  images = np.tile(10 + labels[:, None, None, None], (1, 2, 3, 1)).astype(np.uint8)
  scenes = label_sets.draw(data.Split(images, labels), 4, 50, _SMALL, 0)
  assert scenes.images.shape == (50, 4, 6, 1)
  for scene, own in zip(scenes.images, scenes.labels, strict=True):
    shown = set(np.unique(scene).tolist()) - {0}
    assert shown == {10 + k for k in np.flatnonzero(own)}
    assert 1 <= np.count_nonzero(scene) / 6 <= 3


def test_targets_are_several_labels_or_distributions_over_them():
  features, several = jax.random.normal(jax.random.key(0), (3, 5)), jnp.eye(3, dtype=jnp.int32)
  several = several.at[0, 2].set(1)
  for text, loss in (
    ("one_vs_all", functional.one_vs_all_cross_entropy),
    ("softmax", lambda z, y: functional.cross_entropy(z, y / y.sum(-1, keepdims=True))),
  ):
    head = label_sets.head_of(text, 3)
    params = head.init(jax.random.key(1), 5)
    logits = features @ params["kernel"] + params["bias"]
    np.testing.assert_allclose(
      head.loss(params, features, several), loss(logits, several), rtol=1e-5
    )
    total = np.exp(head.log_prob(params, features)).sum(-1)
    assert np.allclose(total, 1, rtol=1e-5) == (text == "softmax")


def test_the_study_from_end_to_end(tmp_path):
  assert runner.run(label_sets.STUDY, _SMALL, runner.Options(tmp_path, "command")) == []
  records = workdir.read(tmp_path)
  assert [(r["cell"]["head"], r["seed"]) for r in records] == [
    (head, seed) for head in _SMALL.heads for seed in (0, 1)
  ]
  for record in records:
    # A class is in a fifth of the scenes or so, which chance would find.
    assert record["metrics"]["test"]["mean_average_precision"] > 0.3
  assert "| mAP, % |" in " ".join((tmp_path / "report.md").read_text().split())


def test_names_of_data_are_escaped_in_headings():
  title = next(iter(label_sets.report([], _SMALL._replace(dataset="<b>.npz"))))
  assert "<b>" not in title and "b" in title


def test_a_seed_that_diverges_is_not_judged(tmp_path):
  small = _SMALL._replace(heads=("one_vs_all",), epochs=1, seeds=1, learning_rate=1e30)
  assert runner.run(label_sets.STUDY, small, runner.Options(tmp_path, "command")) == []
  (made,) = workdir.read(tmp_path)
  assert made["status"] == "diverged" and made["measured"]["diverged"]["step"] > 0
  assert not made["metrics"] and "diverged" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"most": 5}, "most=5; a grid of 2 has fewer"),
    ({"heads": ("softmacks",)}, "head 'softmacks'"),
    ({"heads": ("softmax", "pc_softmax")}, "no class_counts for the head 'pc_softmax'"),
    ({"dataset": "wine"}, "made of images"),
    ({"num_train": 10}, "num_train"),
    ({"learning_rate": -1.0}, "learning_rate=-1"),
    ({"backbone": "cnn:stages=8-8-8-8-8"}, "too small for stages"),
  ],
)
def test_what_is_refused(change, message):
  settings = _SMALL._replace(**change)
  with pytest.raises(ValueError, match=message):
    label_sets.check(settings)
    label_sets.prepare(settings, label_sets.STUDY.cells(settings))
