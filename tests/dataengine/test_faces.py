"""What a dataset says of faces: alike videos together, each counted once, and nothing that a stranger's data breaks."""

from __future__ import annotations

import pytest

from dataengine.episode import Meta
from dataengine.faces import recall_told, told

MEASURED = {"faces": 41, "recall": 0.87, "recall_95": [0.75, 0.94], "precision": None, "precision_95": [0.0, 1.0]}


def meta(video: str, faces: int | None, **more: object) -> Meta:
    said = {"detector": None} if faces is None else {"detector": "haar 1", "blurred": True, "video": {"faces": faces}}
    return Meta(source={"sha256": video}, extra={"faces": {**said, **more}})


def test_videos_are_counted_once_however_often_they_are_cut() -> None:
    metas = [meta("a", 3), meta("a", 3), meta("b", 0), meta("c", 2)]
    assert told(metas) == "haar 1, recall not known; 5 faces in 2 of 3 videos; blurred"
    known = [meta("a", 3, measured=MEASURED), meta("b", 1, measured=MEASURED, blurred=False), meta("c", None)]
    recall = "haar 1, recall 0.87 [0.75, 0.94] on 41 labelled faces"
    assert told(known) == (
        f"{recall}; 3 faces in 1 of 1 video; blurred; {recall}; 1 face in 1 of 1 video; not blurred; "
        "not assessed in 1 video"
    )
    assert told([Meta(), Meta(extra={"faces": "none"})]) == ""


@pytest.mark.parametrize(
    "measured", [None, {}, 7, "all", [1], {**MEASURED, "recall": "all"}, {**MEASURED, "recall_95": 3}]
)
def test_what_a_stranger_says_breaks_nothing(measured: object) -> None:
    assert recall_told(measured) == "recall not known"
    odd = Meta(extra={"faces": {"detector": ["x"], "measured": measured, "video": {"faces": "many"}, "blurred": "yes"}})
    assert told([odd]) == "['x'], recall not known; 0 faces in 0 of 1 video; not blurred"
    assert told([Meta(source={"sha256": []}, extra={"faces": {"detector": "x", "video": 4}})]).startswith("x, ")
