"""What a person's pinch goes between is learnt from the whole video, and holds for every piece of it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from dataengine.episode import Episode, Label
from dataengine.errors import EpisodeError
from pipelines.egocentric.cuts import CutHands
from pipelines.retarget.gripper import Extremes
from pipelines.retarget.person import PINCH, known_pinch, with_pinch
from pipelines.retarget.stage import Retarget

WIDE, NARROW = 0.09, 0.02  # [m] between the tips


@pytest.fixture
def video(made: SimpleNamespace) -> Episode:
    """A right hand that is open in its first half and pinches in the second."""
    tool = made.tool_path()
    frames = len(tool.point)
    distance = np.where(np.arange(frames) < frames // 2, WIDE, NARROW)
    return made.episode_of(tool, distance)


def openings(episode: Episode) -> np.ndarray:
    return Retarget().motion(episode, "right").opening


def test_a_piece_without_a_pinch_is_open_as_the_video_says(video: Episode) -> None:
    half = video.length // 2
    whole, known = openings(video), with_pinch(video, {})
    first = known.slice(0, half)
    np.testing.assert_allclose(openings(first)[5:-5], whole[5 : half - 5], atol=1e-9)
    second = known.slice(half, video.length)
    np.testing.assert_allclose(openings(second)[5:-5], whole[half + 5 : -5], atol=1e-9)
    row = known.labels[PINCH].table.to_pylist()
    assert [(r["side"], r["frames"]) for r in row] == [("right", video.length)] and known_pinch(first, "left") is None
    found = known_pinch(first, "right")
    assert found is not None and found.most / found.least == pytest.approx(WIDE / NARROW, rel=0.05)
    alone = Retarget().motion(video.slice(0, half), "right").calibration
    assert alone.measured == (False, False)  # nobody knows what closed is
    assert Retarget().motion(first, "right").calibration.measured == (True, True)


def test_the_stage_that_cuts_says_it(made: SimpleNamespace) -> None:
    both = made.episode_of(made.tool_path(), 0.06, sides=("left", "right"))
    (piece, *_) = CutHands(moving=0.0).run(iter([both]))
    assert isinstance(piece, Episode) and known_pinch(piece, "right") is not None
    assert piece.labels[PINCH].source["name"] == "cut_hands"


def test_what_is_known_of_the_person_goes_first(video: Episode) -> None:
    known = with_pinch(video, {})
    told = Retarget(closed_at=0.1, open_at=0.5).motion(known, "right").calibration
    assert told.measured == (False, False) and told.opened / told.closed == pytest.approx(5)


@pytest.mark.parametrize(
    "rows",
    [
        [{"side": "right", "least": 0.5, "most": 0.2}],
        [{"side": "right", "least": float("nan"), "most": 0.2}],
        [{"side": "right", "least": None, "most": 0.2}],
        [{"side": "right", "most": 0.2}],
    ],
)
def test_a_label_of_somebody_else_is_told(video: Episode, rows: list[dict]) -> None:
    spoilt = replace(video, labels={PINCH: Label("episode", pa.Table.from_pylist(rows), {})})
    with pytest.raises(EpisodeError, match="the label pinch holds"):
        known_pinch(spoilt, "right")


def test_extremes_are_shares_of_the_hand(video: Episode) -> None:
    assert isinstance(known_pinch(with_pinch(video, {}), "right"), Extremes)
