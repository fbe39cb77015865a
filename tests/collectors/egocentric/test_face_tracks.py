"""A face that a detector misses for a moment is hidden in that moment, and it is looked for only once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from face_made import RedFaces, place, scene

from collectors.egocentric import face_tracks
from collectors.egocentric.face_tracks import Boxes, faces, filled, find, follow, spans
from collectors.egocentric.footage import Footage
from dataengine.episode import ArrayClip
from dataengine.errors import ConfigError


def boxes_of(*frames: list[tuple[float, ...]]) -> Boxes:
    counts = [len(frame) for frame in frames]
    every = np.array([box for frame in frames for box in frame], np.float32).reshape(-1, 4)
    return Boxes(np.concatenate([[0], np.cumsum(counts)]), every)


@pytest.fixture
def footage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Footage:
    monkeypatch.setenv("DATAENGINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(face_tracks, "PIECE", 2.0)
    monkeypatch.setattr(RedFaces, "looked", 0)
    return Footage(tmp_path / "film", ArrayClip(scene(60, 20, 50), 10.0), "abc", ())


def test_gaps_are_bridged_and_ends_are_held(footage: Footage) -> None:
    found = faces(footage, RedFaces(every=4))  # sees frames 20, 24, … 48
    assert np.flatnonzero(np.diff(found.first)).tolist() == list(range(20, 50, 4))
    (track,) = follow(found, 6)
    hidden = filled([track], 60, 3)
    assert np.flatnonzero(np.diff(hidden.first)).tolist() == list(range(17, 52))
    assert spans([track], 60, 3).tolist() == [[17, 52]]
    for frame in range(20, 49):  # where it is in truth
        rows, columns = place(frame, 20)
        np.testing.assert_allclose(hidden.of(frame), [[columns.start, rows.start, columns.stop, rows.stop]], atol=1e-4)
    np.testing.assert_array_equal(hidden.of(17), found.of(20))
    np.testing.assert_array_equal(hidden.of(51), found.of(48))
    assert len(follow(found, 2)) == 8  # gaps of three are too long then
    assert np.flatnonzero(np.diff(filled(follow(found, 2), 60, 1).first)).size == 8 * 3


def test_faces_that_cross_and_jump_are_tracks_of_their_own() -> None:
    one = [(10.0 + 3 * n, 10.0, 20.0 + 3 * n, 20.0) for n in range(20)]
    two = [(70.0 - 3 * n, 40.0, 80.0 - 3 * n, 50.0) for n in range(20)]
    tracks = follow(boxes_of(*([b, a] if n % 2 else [a, b] for n, (a, b) in enumerate(zip(one, two, strict=True)))), 5)
    assert [track.at for track in tracks] == [list(range(20))] * 2
    np.testing.assert_array_equal(np.stack(tracks[0].boxes), np.array(one, np.float32))
    away = boxes_of([(0, 0, 10, 10)], [(40, 0, 50, 10)], [], [], [(40, 0, 50, 10)])
    assert [track.at for track in follow(away, 2)] == [[0], [1, 4]]
    assert [track.at for track in follow(away, 1)] == [[0], [1], [4]]
    nothing = filled([], 5, 3)
    assert nothing.first.tolist() == [0] * 6 and nothing.boxes.shape == (0, 4) and spans([], 5, 3).shape == (0, 2)


def test_every_picture_is_looked_at_once(footage: Footage, tmp_path: Path) -> None:
    first = faces(footage, RedFaces())
    assert RedFaces.looked == 60
    again = faces(footage, RedFaces())
    assert RedFaces.looked == 60 and all((a == b).all() for a, b in zip(first, again, strict=True))
    for kept in sorted((tmp_path / "cache").rglob("*.npz"))[:2]:
        kept.write_bytes(kept.read_bytes()[:200])
    again = faces(footage, RedFaces())
    assert RedFaces.looked == 100 and all((a == b).all() for a, b in zip(first, again, strict=True))
    faces(footage._replace(sha256="def"), RedFaces())
    assert RedFaces.looked == 160


@pytest.mark.parametrize(
    "given",
    [
        np.zeros((2, 4)),
        np.zeros(5),
        np.array([[0, 0, np.nan, 9, 1]]),
        np.array([[9, 0, 3, 9, 1.0]]),
        np.zeros((2000, 5)),
        [["a"] * 5],
    ],
)
def test_a_detector_that_gives_no_boxes_is_named(given: object) -> None:
    class Wrong:
        version = "wrong 7"

        def find(self, picture: np.ndarray) -> np.ndarray:
            return given  # type: ignore[return-value]

    with pytest.raises(ConfigError, match="wrong 7"):
        find(Wrong(), np.zeros((4, 4, 3), np.uint8))
