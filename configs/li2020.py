"""Li, Li, Pan, Zhu 2020, "On the Learning Property of Logistic and Softmax Losses".

python -m experiments.reproduce --config=configs/li2020.py --variant=cpu --workdir=runs/li2020_cpu

AAAI 2020, arXiv 2003.02309. One-against-all logistic loss against softmax with balanced classes;
`python -m experiments.imbalance` has both under imbalance.

Run time and hardware: `cpu` 37 minutes on one core of an AMD EPYC; `full` has not been run.

To expect: the paper's numbers, nets and data are not available.
"""

from ml_collections import ConfigDict

from configs import debrebisson2015

_METHODS = (("softmax", "softmax"), ("logistic", "one_vs_all"))


def get_config() -> ConfigDict:
  config = debrebisson2015.get_config()
  config.paper = "li2020"
  for name in ("full", "cpu"):
    config[name].deviations = (
      "The paper's data, nets and schedules are not available: data and nets are those of "
      f"configs/debrebisson2015.py, variant {name}.",
      "LGL-INR is left out: its weights are not available.",
    )
    for setting in config[name].settings.values():
      setting.methods, setting.metrics, setting.published = _METHODS, ("accuracy",), "all"
  return config
