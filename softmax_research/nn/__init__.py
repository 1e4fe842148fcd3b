"""Backbones: networks as pure functions from images to features, and adapters from Flax.

Shared arguments are described as those of `functional` are.
"""

from softmax_research.nn.adapters import (
  NETWORKS,
  from_linen,
  from_nnx,
  identity,
  in_form,
  make,
  seeds_by,
)
from softmax_research.nn.backbone import Backbone, in_bfloat16
from softmax_research.nn.cnn import CNN
from softmax_research.nn.cpu import max_pool
from softmax_research.nn.critics import JointCritic, SeparableCritic
from softmax_research.nn.layer import ACTIVATIONS, KERNEL_INITIALISERS
from softmax_research.nn.mlp import MLP
from softmax_research.nn.resnet import ResNet
from softmax_research.nn.self_attention import ATTENTIONS, SelfAttention
from softmax_research.nn.transformer import Decoder, Transformer
from softmax_research.nn.whitening import Whitening, whitening_filters
