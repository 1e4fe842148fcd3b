"""Training: jitted programs, the loop, evaluation, checkpoints and results on disk."""

from softmax_research.training.checkpoints import Checkpoints
from softmax_research.training.loop import Divergence, Fit, Progress, check_batch_size, fit, predict
from softmax_research.training.metrics import evaluate
from softmax_research.training.optimizers import OPTIMIZERS, SCHEDULES
from softmax_research.training.optimizers import make as make_optimizer
from softmax_research.training.progress import display
from softmax_research.training.step import Programs, TrainState, make_programs

__all__ = [
  "OPTIMIZERS",
  "SCHEDULES",
  "Checkpoints",
  "Divergence",
  "Fit",
  "Programs",
  "Progress",
  "TrainState",
  "check_batch_size",
  "display",
  "evaluate",
  "fit",
  "make_optimizer",
  "make_programs",
  "predict",
]
