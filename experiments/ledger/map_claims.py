"""Claims of activation maps: which kind of map, and which head, finds more objects.

A box is found where it overlaps the true one by half or more.
"""

from softmax_research.study.claims import Claim, Comparison, Test

#: How maps become boxes: as the paper's code does, and with what is best on the validation split.
PAPERS_WAY, OUR_WAY = "smoothed/paper", "plain/chosen"
_WORDS = {
  PAPERS_WAY: ("smoothed maps", "At a threshold of 0.2, as in the paper's code."),
  OUR_WAY: ("plain maps", "At the threshold that is best on validation."),
}


def _path(kind: str, way: str, measure: str) -> str:
  return f"localisation/maps/{kind}/{way}/{measure}/1"  # of the overlaps the second, 0.5


def of_maps(way: str) -> tuple[Claim, ...]:
  """Return the claims that one kind of map finds more boxes than another in a way of the above."""
  found = []
  for better, worse in (("infoCAM", "CAM"), ("infoCAM+", "CAM"), ("infoCAM+", "infoCAM")):
    # A kind of map is no cell: both numbers stand in one record.
    ours, theirs = (_path(kind, way, "known") for kind in (better, worse))
    test = Test(None, "", "", (Comparison({}, {}, ours, "higher", theirs),), each={"head": ".*"})
    words, threshold = _WORDS[way]
    text = f"{better} finds more boxes than {worse} in {words}"
    found.append(Claim("qin2019", text, (test,), f"The class is given. {threshold}"))
  return tuple(found)


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
