"""A paper's table so small that it takes seconds; a measure of its last setting must fail."""

from configs import default, tables
from experiments import reproduce


def fail(model, splits):
  """Fail, as a measure of somebody's own may."""
  raise ValueError("nothing can be measured")


def get_config():
  """Return the configuration, two variants of one table."""

  def setting(**options):
    train = default.get_config(num_epochs=2, batch_size=100)
    train.backbone.widths = (8, 2)
    train.optimizer.learning_rate = 1e-2
    return tables.setting(train, (("m=2", "softmax"),), num_train=400, **options)

  settings = {
    "mnist": setting(
      metrics=("accuracy", "angle_margin", "temperature scaling/ece"),
      measures=("calibration", "pgd:num_steps=2:num_images=50", "features"),
      search=(("optimizer.learning_rate", (1e-6, 1e-2)),),
    ),
    "folds": setting(protocol="cross_validation", folds=2, metrics=("cv_accuracy",)),
    # What is trained is what the search chooses, so its programs are there.
    "failing": setting(measures=("tests.experiments.reproduction.tiny.fail",)),
  }
  variant = tables.variant(settings, "Digits in place of MNIST.", seeds=2)
  return tables.table("liu2016", full=variant, cpu=variant.copy_and_resolve_references())


def variant(name="cpu"):
  """Return one variant, as the study has it."""
  config = get_config()
  config.variant = name
  return reproduce.choose(config)
