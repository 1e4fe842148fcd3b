"""Parallel programs: one seed's programs run for many seeds, over many devices."""

from softmax_research.training.by_jit import by_jit
from softmax_research.training.by_pmap import by_pmap
from softmax_research.training.layout import Layout, make_layout
from softmax_research.training.seeds import ParallelPrograms
from softmax_research.training.step import Programs


def parallelise(programs: Programs, layout: Layout | None = None) -> ParallelPrograms:
  """Run one seed's programs for many seeds over the devices of a layout.

  A seed's numbers do not depend on the seeds beside it, nor on the number of devices, but for
  the order of sums: float32 rounds them differently.

  Args:
    programs: see `make_programs`; made with `axis_name=layout.axis_name` and
      `mesh=layout.step_mesh`.
    layout: one device by default.

  Returns:
    The programs.

  Raises:
    ValueError: the head's classes cannot be sharded as the layout says.
  """
  layout = layout or make_layout()
  return (by_pmap if layout.strategy == "pmap" else by_jit)(programs, layout)
