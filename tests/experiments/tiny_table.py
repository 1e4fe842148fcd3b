"""A paper's configuration so small that its table takes seconds; its last setting must fail."""

from configs import default, tables


def get_config():
  def setting(batch_size, **options):
    train = default.get_config()
    train.num_epochs, train.batch_size = 2, batch_size
    train.backbone.widths = (8, 2)
    methods = (("softmax", "softmax"), ("m=2", "l_softmax:margin=2"))
    return tables.setting(train, methods, num_train=400, **options)

  settings = {
    "mnist": setting(
      100,
      metrics=("accuracy", "angle_margin", "temperature scaling/ece"),
      measures=("calibration", "pgd:num_steps=2:num_images=50", "features"),
      search=(("optimizer.learning_rate", (1e-6, 1e-2)),),
    ),
    "folds": setting(100, protocol="cross_validation", folds=2, metrics=("cv_accuracy",)),
    "too_small": setting(1000),
  }
  variant = tables.variant(settings, deviations=("Digits in place of MNIST.",), seeds=2)
  return tables.table("liu2016", full=variant, cpu=variant.copy_and_resolve_references())
