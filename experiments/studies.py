"""Studies by their names in records: `compare`, or `mutual_information.gaussians` of several."""

import importlib

from softmax_research.study.study import Study


def find(name: str) -> Study:
  """Return a study, which its script holds as `STUDY`, or as one of `STUDIES`.

  Args:
    name: of a module of `experiments`, with a dot and the study's name where the module has
      several; or of a module of the user's own.

  Returns:
    The study.

  Raises:
    ValueError: there is no such study.

  Example:
    >>> find("nothing")
    Traceback (most recent call last):
    ...
    ValueError: There is no study 'nothing': no module experiments.nothing has it, and none of ...
  """
  script, _, part = name.partition(".")
  for module in (f"experiments.{script}", name):
    try:
      found = importlib.import_module(module)
    except ModuleNotFoundError as error:
      if error.name is None or not module.startswith(error.name):
        raise  # The study is there, and what it needs is not.
      continue
    study = getattr(found, "STUDIES", {}).get(part) or getattr(found, "STUDY", None)
    if study is not None:
      return study
  raise ValueError(
    f"There is no study {name!r}: no module experiments.{script} has it, and none of that name. "
    "One of your own is found as STUDY of its file, from the directory where that lies."
  )
