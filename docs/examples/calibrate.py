"""Calibrate a trained model by a temperature that is fitted to its validation split.

python calibrate.py
"""

from softmax_research import data, training


def main():
  """Print what a model of experiments.train is worth on test data, before and after."""
  model = training.load("runs/pets", "taylor")
  pets = data.load("pets.npz")
  # The validation split of the run: of its defaults validation_fraction=0.1 and split_seed=0.
  _, validation = data.split_train_validation(pets.train, fraction=0.1, seed=0)
  calibrate = training.fit_temperature(model(validation.images), validation.labels)

  log_probs = model(pets.test.images)
  for name, found in (("as trained", log_probs), ("calibrated", calibrate(log_probs))):
    metrics = training.evaluate(found, pets.test.labels)
    print(name, *(f"{of} {metrics[of]:.3f}" for of in ("accuracy", "nll", "ece")))


if __name__ == "__main__":
  main()
