"""Training: jitted programs, the loop, evaluation and checkpoints."""

from softmax_research.training.calibration import (
  best_temperature,
  fit_histogram_binning,
  fit_isotonic_regression,
  fit_matrix_scaling,
  fit_temperature,
  fit_vector_scaling,
)
from softmax_research.training.checkpoints import Checkpoints
from softmax_research.training.finished import (
  FinishedModel,
  export_prediction,
  load,
  save_model,
)
from softmax_research.training.label_sets import best_threshold, evaluate_sets
from softmax_research.training.loop import Curves, Fit, Progress, check_batch_size, fit, predict
from softmax_research.training.metrics import evaluate
from softmax_research.training.optimizers import (
  OPTIMIZERS,
  SCHEDULES,
  average_last,
  scale_rates,
)
from softmax_research.training.optimizers import make as make_optimizer
from softmax_research.training.parallel import (
  Layout,
  ParallelPrograms,
  make_layout,
  parallelise,
)
from softmax_research.training.row_updates import ALL_ROWS, update_rows
from softmax_research.training.step import Divergence, Programs, TrainState, make_programs
