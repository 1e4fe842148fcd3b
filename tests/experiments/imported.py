"""What scripts import, for `scripts.start_script`; nothing here touches a device."""

import jinja2  # noqa: F401
import markdown_it  # noqa: F401

from experiments import compare, train  # noqa: F401
from softmax_research.study import classifier_plots, dot_plot, line_plot  # noqa: F401
