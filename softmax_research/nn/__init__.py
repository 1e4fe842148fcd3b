"""Backbones: networks as pure functions from images to features, and adapters from Flax."""

from softmax_research.nn import forms
from softmax_research.nn.activations import ACTIVATIONS, PReLU, make_activation
from softmax_research.nn.adapters import from_linen, from_nnx
from softmax_research.nn.backbone import Backbone, in_bfloat16
from softmax_research.nn.cnn import CNN
from softmax_research.nn.convolution import conv
from softmax_research.nn.cpu import max_pool
from softmax_research.nn.critics import JointCritic, SeparableCritic
from softmax_research.nn.layer import KERNEL_INITIALISERS, Layer
from softmax_research.nn.mlp import MLP
from softmax_research.nn.registry import NETWORKS, Identity, make, network_options

__all__ = [
  "ACTIVATIONS",
  "CNN",
  "KERNEL_INITIALISERS",
  "MLP",
  "NETWORKS",
  "Backbone",
  "Identity",
  "JointCritic",
  "Layer",
  "PReLU",
  "SeparableCritic",
  "conv",
  "forms",
  "from_linen",
  "from_nnx",
  "in_bfloat16",
  "make",
  "make_activation",
  "max_pool",
  "network_options",
]
