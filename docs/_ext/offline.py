"""Fail the build where a page or a style sheet would load something from the network."""

import re
from pathlib import Path

from sphinx.util import logging

_logger = logging.getLogger(__name__)
# Links that a reader may follow are fine; what the browser fetches by itself is not.
_LOADED = re.compile(
  r"""<(?:script|img|iframe|source|link|object)\b[^>]*?\b(?:src|href|data)=["']((?:https?:)?//[^"']+)"""
  r"""|(?:@import\s+|url\()["']?((?:https?:)?//[^"')]+)"""
)


def _check(app, exception):
  if exception is not None or app.builder.format != "html":
    return
  for path in sorted(Path(app.outdir).rglob("*")):
    if path.suffix in (".html", ".css"):
      for match in _LOADED.finditer(path.read_text(encoding="utf-8")):
        _logger.warning(
          "%s loads %s, which is not there offline",
          path.relative_to(app.outdir),
          match[1] or match[2],
          type="offline",
        )


def setup(app):
  app.connect("build-finished", _check)
  return {"parallel_read_safe": True, "parallel_write_safe": True}
