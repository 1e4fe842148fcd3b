"""Write the API reference from what the packages import.

Each package below `api_root` gets a page. Its public names are grouped by the module that defines
them, under that module's docstring, so nothing is edited by hand when a name is added. The
docstring of a constant is a ``#:`` comment above it.
"""

import importlib
import inspect
import pkgutil
import shutil
import types
from pathlib import Path

from sphinx.pycode import ModuleAnalyzer


def find_packages(root):
  """Returns the packages directly below the package `root` that declare public names."""
  found = pkgutil.iter_modules(importlib.import_module(root).__path__, f"{root}.")
  packages = [importlib.import_module(module.name) for module in found if module.ispkg]
  return [package for package in packages if public_names(package)]


def public_names(package):
  """Returns a package's names, less the private ones and the modules: those have no entry."""
  return [name for name, of in vars(package).items() if name[0] != "_" and not inspect.ismodule(of)]


def describe(package, name):
  """Returns the defining module's name, the kind and the documentation of a public name.

  The documentation is None where there is none of the name's own: what a NamedTuple or a dataclass
  makes up for itself, or what an instance shows of its type, does not count.
  """
  value = getattr(package, name)
  if not callable(value) or isinstance(value, types.GenericAlias):
    return _describe_constant(package, name, value)
  kind = "class" if inspect.isclass(value) else "function"
  text = value.__doc__
  made_up = text and (text.startswith(f"{value.__name__}(") if kind == "class" else False)
  inherited = kind == "function" and text == type(value).__doc__
  return value.__module__, kind, None if made_up or inherited else text


def _describe_constant(package, name, value):
  for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
    comment = ModuleAnalyzer.for_module(module.name).find_attr_docs().get(("", name))
    if comment and getattr(importlib.import_module(module.name), name) is value:
      return module.name, "data", "\n".join(comment)
  return package.__name__, "data", None


def _heading(text, underline):
  return [text, underline * len(text), ""]


def _entry(package, name, kind, text):
  path = f"{package.__name__}.{name}"
  if kind == "class":
    return [f".. autoclass:: {path}", "   :members:", "   :special-members: __call__", ""]
  if kind == "function":
    return [f".. autofunction:: {path}", ""]
  lines = [f"   {line}" for line in (text or "").splitlines()]
  return [f".. py:data:: {name}", f"   :module: {package.__name__}", "", *lines, ""]


def page(package):
  """Returns the reStructuredText of a package's page."""
  groups = {}
  for name in public_names(package):
    module, kind, text = describe(package, name)
    groups.setdefault(module, []).append((name, kind, text))
  lines = _heading(package.__name__, "=")
  lines += [f".. automodule:: {package.__name__}", "   :no-members:", ""]
  for module, members in sorted(groups.items()):
    lines += _heading(module.rpartition(".")[2].replace("_", " ").capitalize(), "-")
    if module != package.__name__:
      lines += [f".. automodule:: {module}", "   :no-members:", "   :no-index:", ""]
    for name, kind, text in members:
      lines += _entry(package, name, kind, text)
  return "\n".join(lines)


def _index(packages):
  lines = _heading("API reference", "=")
  for package in packages:
    summary = (inspect.getdoc(package) or "").partition("\n")[0]
    lines += [f":doc:`{package.__name__}`", f"   {summary}", ""]
  lines += [".. toctree::", "   :hidden:", "", *(f"   {package.__name__}" for package in packages)]
  return "\n".join([*lines, ""])


def _write_pages(app):
  folder = Path(app.srcdir, "api")
  shutil.rmtree(folder, ignore_errors=True)
  folder.mkdir()
  packages = find_packages(app.config.api_root)
  (folder / "index.rst").write_text(_index(packages), encoding="utf-8")
  for package in packages:
    (folder / f"{package.__name__}.rst").write_text(page(package), encoding="utf-8")


def _skip_made_up(app, what, name, value, skip, options):
  """Leaves out the fields of a NamedTuple, whose docstrings only number them."""
  made_up = str(getattr(value, "__doc__", "")).startswith("Alias for field number")
  return True if made_up else None


def setup(app):
  app.setup_extension("sphinx.ext.autodoc")
  app.add_config_value("api_root", None, "env", types=[str])
  app.connect("builder-inited", _write_pages)
  app.connect("autodoc-skip-member", _skip_made_up)
  return {"parallel_read_safe": True, "parallel_write_safe": True}
