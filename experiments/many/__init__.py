"""Many classes: tasks, equal time and the report of `experiments.many_classes`."""
