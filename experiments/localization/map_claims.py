"""Claims of activation maps: which kind of map, and which head, finds more objects.

A box is found where it overlaps the true one by half or more.
"""

from softmax_research.study.claims import Claim, Comparison, Test

# Place of the overlap of 0.5 among the levels that records have.
_LEVEL = 1
#: How maps become boxes: as the paper's code does, and with what is best on the validation split.
PAPERS_WAY, OUR_WAY = "smoothed/paper", "plain/chosen"
_WAYS = {
  PAPERS_WAY: ("smoothed maps", "At a threshold of 0.2, as in the paper's code."),
  OUR_WAY: ("plain maps", "At the threshold that is best on validation."),
}


def _path(kind: str, way: str, measure: str) -> str:
  return f"localisation/maps/{kind}/{way}/{measure}/{_LEVEL}"


def of_maps(way: str) -> tuple[Claim, ...]:
  """Return the claims that one kind of map finds more boxes than another, with every head.

  Args:
    way: `PAPERS_WAY` or `OUR_WAY`.
  """
  claims = []
  for better, worse in (("infoCAM", "CAM"), ("infoCAM+", "CAM"), ("infoCAM+", "infoCAM")):
    # A kind of map is no cell: both numbers stand in one record.
    comparison = Comparison(
      {}, {}, _path(better, way, "known"), "higher", _path(worse, way, "known")
    )
    test = Test(None, "", "", (comparison,), each={"head": ".*"})
    maps, threshold = _WAYS[way]
    text = f"{better} finds more boxes than {worse} in {maps}"
    claims.append(Claim("qin2019", text, (test,), f"The class is given. {threshold}"))
  return tuple(claims)


def _of_heads(text: str, metric: str) -> Claim:
  comparison = Comparison("pc_softmax", "softmax", metric, "higher")
  return Claim("heads", f"PC-softmax {text} than softmax", (Test(None, "", "", (comparison,)),))


#: The study's own question of its two heads.
OF_HEADS = (
  _of_heads("classifies more scenes", "accuracy"),
  *(
    _of_heads(f"finds more {what} by {kind}", _path(kind, OUR_WAY, measure))
    for measure, what in (("known", "boxes, the class given,"), ("top_1", "boxes with their class"))
    for kind in ("CAM", "infoCAM", "infoCAM+")
  ),
)

CLAIMS = (*of_maps(PAPERS_WAY), *of_maps(OUR_WAY), *OF_HEADS)
