"""Recall and precision on labelled pictures, by hand and by SciPy; samples that are none say which row is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from face_made import RED, RedFaces
from PIL import Image
from scipy.stats import binomtest

from collectors.egocentric.face_sample import matched, measure, read_sample
from dataengine.errors import SourceError
from dataengine.faces import recall_told

HEAD = "picture,left,top,right,bottom\n"


def sample(folder: Path) -> Path:
    """Five marked faces in three pictures: three are red, one is green, and one is marked far too large; a red thing
    is no face."""
    folder.mkdir()
    blank = np.full((80, 100, 3), 90, np.uint8)
    pictures = {name: blank.copy() for name in ("a.png", "b.png", "c.png", "none.png")}
    for name, left, top in (
        ("a.png", 10, 10),
        ("a.png", 50, 40),
        ("b.png", 20, 30),
        ("c.png", 5, 5),
        ("none.png", 60, 9),
    ):
        pictures[name][top : top + 20, left : left + 20] = RED
    pictures["b.png"][50:70, 70:90] = (30, 220, 30)
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(folder / name)
    rows = ["a.png,10,10,30,30", "a.png,52,41,71,62", "b.png,20,30,40,50", "b.png,70,50,90,70", "c.png,5,5,60,60"]
    (folder / "faces.csv").write_text(HEAD + "\n".join(rows) + "\n")
    return folder


def test_recall_and_precision_are_counted_and_their_intervals_are_wilsons(tmp_path: Path) -> None:
    found = measure(sample(tmp_path / "sample"), RedFaces())
    assert (found["faces"], found["pictures"], found["found"], found["wrong"]) == (5, 4, 3, 2)
    assert found["recall"] == 0.6 and found["precision"] == 0.6
    want = binomtest(3, 5).proportion_ci(0.95, method="wilson")
    assert found["recall_95"] == pytest.approx([want.low, want.high], abs=1e-4) == found["precision_95"]
    assert recall_told(found) == "recall 0.60 [0.23, 0.88] and precision 0.60 [0.23, 0.88] on 5 labelled faces"


def test_each_face_is_found_once_by_the_surest_box() -> None:
    faces = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], float)
    found = np.array([[0, 0, 10, 9, 0.2], [0, 0, 10, 10, 0.9], [22, 0, 32, 10, 0.5], [25, 0, 35, 10, 0.4]])
    assert matched(found, faces).tolist() == [True, True, False, False]  # by score: 0.9, 0.5, 0.4, 0.2
    assert matched(found[:0], faces).tolist() == [] and matched(found, faces[:0]).tolist() == [False] * 4
    half = np.array([[0, 0, 10, 20, 1.0]])  # shares exactly half of the union
    assert matched(half, faces[:1]).tolist() == [True]
    half[0, 3] += 0.1
    assert matched(half, faces[:1]).tolist() == [False]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, r"faces\.csv: is not there"),
        ("a,b\n", "has the columns a, b"),
        ("", "no CSV file"),
        (HEAD, "marks no face"),
        (HEAD + "a.png,1,2,3\n", "row 2 is not a picture and four numbers"),
        (HEAD + "a.png,1,2,30,x\n", "row 2"),
        (HEAD + "a.png,1,2,nan,9\n", "row 2 has a face that is nowhere"),
        (HEAD + "a.png,9,2,3,9\n", "row 2 has a face that is nowhere"),
        (HEAD + "a.png,1,2,3,9\nz.png,1,2,3,9\n", r"'z\.png', which is not in its folder"),
        (HEAD + "../a.png,1,2,3,9\n", "which is not in its folder"),
        (HEAD + "a.png,1,2,300,9\n", r"outside of a\.png, which is 100×80"),
        (HEAD + "a.png,-1,2,30,9\n", r"outside of a\.png"),
    ],
)
def test_a_sample_that_is_none(tmp_path: Path, text: str | None, why: str) -> None:
    folder = sample(tmp_path / "sample")
    (folder / "faces.csv").unlink()
    if text is not None:
        (folder / "faces.csv").write_text(text)
    with pytest.raises(SourceError, match=why):
        measure(folder, RedFaces())


def test_a_picture_that_leads_out_of_the_sample_or_is_none(tmp_path: Path) -> None:
    folder = sample(tmp_path / "sample")
    (tmp_path / "secret.png").write_bytes((folder / "a.png").read_bytes())
    (folder / "d.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(SourceError, match="link that leaves"):
        read_sample(folder)
    (folder / "d.png").unlink()
    (folder / "d.png").write_text("no picture")
    with pytest.raises(SourceError, match=r"d\.png: is no picture"):
        measure(folder, RedFaces())
