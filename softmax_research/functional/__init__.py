"""Pure functions on arrays: scores, normalisers, margins and losses.

Where functions share arguments one of them describes these, and the others name it.
Examples know `jax`, `jnp` and the names of their module.
"""

from softmax_research.functional.adaptive_softmax import (
  adaptive_cutoffs,
  adaptive_softmax_init,
  adaptive_softmax_label_log_prob,
  adaptive_softmax_log_probs,
)
from softmax_research.functional.attention import attention
from softmax_research.functional.contrastive import info_nce_loss, nt_xent_loss
from softmax_research.functional.distillation import linear_kl_divergence
from softmax_research.functional.entmax import entmax, entmax_loss, sparsemax, sparsemax_loss
from softmax_research.functional.gates import load_balance_loss, top_k_gates
from softmax_research.functional.gumbel import gumbel_max, gumbel_softmax
from softmax_research.functional.linear_cross_entropy import linear_cross_entropy
from softmax_research.functional.linear_top_k import (
  TopClasses,
  linear_log_normaliser,
  linear_top_k,
)
from softmax_research.functional.links import focal_link, generalised_link, poly_link
from softmax_research.functional.losses import (
  cross_entropy,
  multiclass_hinge,
  negative_log_likelihood,
  one_vs_all_cross_entropy,
  squared_error_loss,
)
from softmax_research.functional.margins import (
  additive_angular_margin,
  additive_cosine_margin,
  combined_margin,
  curricular_margin,
  large_margin,
  large_margin_annealing,
  soft_margin,
)
from softmax_research.functional.negative_sampling import (
  negative_sampling_loss,
  noise_contrastive_loss,
)
from softmax_research.functional.normalise import (
  log_normalise,
  log_normaliser,
  log_softmax,
  softmax,
)
from softmax_research.functional.priors import (
  class_balanced_weights,
  log_pc_softmax,
  log_prior_from_counts,
  pc_cross_entropy,
  shift_prior,
)
from softmax_research.functional.row_maps import (
  ev_softmax,
  keep_above_mean,
  keep_above_quantile,
  logit_norm,
  r_softmax,
)
from softmax_research.functional.sampled_softmax import Candidates, sampled_softmax_loss
from softmax_research.functional.samplers import (
  Sampler,
  log_uniform_sampler,
  uniform_sampler,
  weighted_sampler,
)
from softmax_research.functional.scores import (
  log_spherical_softmax,
  log_taylor_softmax,
  multimax_score,
  relu_score,
  sigsoftmax_score,
  soft_cap_score,
  spherical_score,
  spherical_softmax,
  stablemax_score,
  taylor_score,
  taylor_softmax,
)
from softmax_research.functional.taylor_attention import taylor_attention
from softmax_research.functional.tempered import bi_tempered_loss, tempered_softmax
from softmax_research.functional.tree import (
  Tree,
  balanced_tree,
  huffman_tree,
  taxonomy_tree,
  two_level_tree,
)
from softmax_research.functional.tree_path import tree_label_rows
from softmax_research.functional.tree_prediction import TreeSearch, tree_sample, tree_top_k
from softmax_research.functional.tree_softmax import tree_init, tree_label_log_prob, tree_log_probs
