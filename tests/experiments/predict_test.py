"""The script that predicts: what it says of bad input. Models are tried beside what keeps them."""

from tests.experiments.scripts import expect_error, run_script


def test_bad_input_is_refused_in_a_line(tmp_path):
  workdir = f"--workdir={tmp_path}"
  for arguments, expected in (
    ([workdir], "Got no --images: File or folder"),
    ([workdir, "--images=a.npy"], "There are no models in"),
  ):
    assert expected in expect_error("predict", *arguments)
  assert "--images" in run_script("predict", "--help", check=False).stdout
