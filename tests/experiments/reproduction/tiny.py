"""A paper's table so small that it takes seconds; a measure of its last setting must fail."""

from configs import default, tables
from experiments.reproduction import paper_table


def get_config():
  """Return the configuration, two variants of one table."""

  def setting(head="softmax", **options):
    train = default.get_config()
    train.num_epochs, train.batch_size = 2, 100
    train.backbone.widths = (8, 2)
    return tables.setting(train, (("m=2", head),), num_train=400, **options)

  settings = {
    "mnist": setting(
      metrics=("accuracy", "angle_margin", "temperature scaling/ece"),
      measures=("calibration", "pgd:num_steps=2:num_images=50", "features"),
      search=(("optimizer.learning_rate", (1e-6, 1e-2)),),
    ),
    "folds": setting(protocol="cross_validation", folds=2, metrics=("cv_accuracy",)),
    "tree": setting("hierarchical", measures=("features",)),
  }
  variant = tables.variant(settings, "Digits in place of MNIST.", seeds=2)
  return tables.table("liu2016", full=variant, cpu=variant.copy_and_resolve_references())


def variant(name="cpu"):
  """Return one variant, as the study has it."""
  config = get_config()
  config.variant = name
  return paper_table.choose(config)
