"""Many classes: the tasks of `experiments.many_classes`, and training for equal time."""
