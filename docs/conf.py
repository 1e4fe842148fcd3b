"""Settings of the documentation; `make docs` builds it."""

import importlib.resources
import os
import pathlib
import sys

_HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE / "_ext"), str(_HERE.parent)]
# The pages need no accelerator, and must not take one from a running experiment.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from softmax_research.training import environment  # noqa: E402  (The platform is chosen first.)

environment.keep_programs()

project = "softmax_research"
copyright = "the softmax_research authors"
exclude_patterns = ["_build"]
default_role = "py:obj"

extensions = [
  "sphinx.ext.autodoc",
  "sphinx.ext.napoleon",
  "matplotlib.sphinxext.plot_directive",
  "api_pages",
  "benchmark_tables",
  "mathml",
]

api_root = "softmax_research"
autodoc_preserve_defaults = True
autodoc_typehints = "none"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = ["Reference"]

html_theme = "furo"
html_title = project
# Browsers take the shapes of large brackets and sums from a font with mathematical tables; few
# systems have one, so the pages bring the one that ziamath carries.
_font = importlib.resources.files("ziamath") / "fonts" / "STIXTwoMath-Regular.ttf"
html_static_path = ["_static", str(_font)]
html_css_files = ["math.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_copy_source = False

# A page shows the figure that a script draws: ``.. plot:: figures/scores.py``, from any folder.
plot_basedir = str(_HERE)
plot_formats = ["svg"]
plot_html_show_formats = False
plot_html_show_source_link = False
plot_include_source = False
plot_rcparams = {
  "axes.spines.right": False,
  "axes.spines.top": False,
  "figure.constrained_layout.use": True,
  "legend.fontsize": 8,
  "legend.frameon": False,
  "svg.hashsalt": project,
}
