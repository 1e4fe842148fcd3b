"""Packaging of softmax_research; tool settings live in pyproject.toml."""

import pathlib

import setuptools

_HERE = pathlib.Path(__file__).parent

# TensorFlow is needed once, to prepare an image dataset; reading it afterwards needs none.
_TFDS = [
  "tensorflow-datasets>=4.9.9",
  "array-record>=0.8",
  "importlib-resources>=6",
  "tensorflow-cpu>=2.20; platform_system == 'Linux' and platform_machine == 'x86_64'",
  "tensorflow>=2.20; platform_system != 'Linux' or platform_machine != 'x86_64'",
]

setuptools.setup(
  name="softmax_research",
  version="0.1.0",
  description="Softmax and its variants in JAX: functions, heads, training and papers' tables",
  long_description=(_HERE / "README.md").read_text(encoding="utf-8"),
  long_description_content_type="text/markdown",
  license="Apache-2.0",
  python_requires=">=3.11",
  # The experiments and their configurations come along, so that they run outside a clone too.
  packages=setuptools.find_packages(include=["softmax_research*", "experiments*", "configs*"]),
  package_data={"softmax_research": ["**/*.json", "**/*.html", "**/*.css"]},
  install_requires=[
    "jax>=0.10,<0.13",
    "flax>=0.12,<0.14",
    "optax>=0.2.5,<0.3",
    "absl-py>=2.1",
    "ml_collections>=1.0",
    "numpy>=2.0",
    "scipy>=1.13",
    "scikit-learn>=1.5",
    "matplotlib>=3.9",
    "pillow>=11",
    "jinja2>=3.1",
    "markdown-it-py>=3",
    "tensorboardX>=2.6",
  ],
  extras_require={
    "tfds": _TFDS,
    "test": [
      "pytest>=8",
      "pytest-xdist>=3.6",
      "hypothesis>=6.100",
      "mpmath>=1.3",
      "import-linter>=2.1",
      "ruff>=0.8",
    ],
    "docs": ["sphinx>=8.2", "furo>=2024.8", "math-core>=0.9,<0.10", "ziamath>=0.13"],
    "peers": ["torch==2.13.0", "entmax>=1.3"],
  },
)
