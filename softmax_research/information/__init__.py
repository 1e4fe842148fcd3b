"""Mutual information from classifiers and critics, exact truths, and activation maps.

Shared arguments are described as those of `functional` are.
"""

from softmax_research.information.activation_maps import cam, info_cam, info_cam_plus, smooth
from softmax_research.information.boxes import (
  Box,
  bounding_box,
  intersection_over_union,
  scale_box,
)
from softmax_research.information.classifiers import (
  pc_softmax_information,
  plug_in_information,
  softmax_information,
)
from softmax_research.information.critics import (
  donsker_varadhan,
  info_nce,
  interpolated,
  jensen_shannon,
  mine,
  nwj,
  smile,
)
from softmax_research.information.estimation import Estimate, estimate
from softmax_research.information.estimators import ESTIMATORS, Estimator
from softmax_research.information.truths import (
  correlated_gaussian_information,
  discrete_information,
  gaussian_correlation,
  gaussian_mixture_information,
)
