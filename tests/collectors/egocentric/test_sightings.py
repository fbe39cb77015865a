"""What a tracker saw is kept, so that a killed run goes on where it was."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from collectors.egocentric import sightings as kept
from collectors.egocentric.footage import Footage
from dataengine.episode import ArrayClip
from dataengine.errors import MachineError
from dataengine.plugins import Sighting


class Counting:
    """A tracker that sees as many hands as the picture is bright, and counts the pictures it looked at."""

    version = "counting 1"

    def __init__(self, until: int | None = None) -> None:
        self.looked, self.until = 0, until

    def track(self, pictures: Iterable[np.ndarray], fps: float) -> Iterator[list[Sighting]]:
        for picture in pictures:
            if self.looked == self.until:
                raise KeyboardInterrupt
            self.looked += 1
            level = float(picture[0, 0, 0])
            marks = np.full((21, 2), level, np.float32)
            yield [Sighting(marks, np.zeros((21, 3), np.float32), bool(k), 0.5) for k in range(int(level) % 3)]


@pytest.fixture
def footage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Footage:
    monkeypatch.setenv("DATAENGINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "PIECE", 2.0)
    pictures = np.arange(50, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    return Footage(tmp_path / "film", ArrayClip(pictures, 10.0), "abc", ())


def same(a: list[list[Sighting]], b: list[list[Sighting]]) -> bool:
    assert [len(seen) for seen in a] == [len(seen) for seen in b] == [n % 3 for n in range(50)]
    pairs = ((s, t) for x, y in zip(a, b, strict=True) for s, t in zip(x, y, strict=True))
    return all((s.pixels == t.pixels).all() and (s.right, s.score) == (t.right, t.score) for s, t in pairs)


def test_a_second_look_is_not_needed(footage: Footage) -> None:
    first, second = Counting(), Counting()
    found = kept.sightings(footage, first)
    assert same(found, kept.sightings(footage, second))
    assert (first.looked, second.looked) == (50, 0)


def test_a_cache_that_cannot_be_written_is_named(footage: Footage, monkeypatch: pytest.MonkeyPatch) -> None:
    (footage.path.parent / "file").write_text("")
    monkeypatch.setenv("DATAENGINE_CACHE", str(footage.path.parent / "file"))
    with pytest.raises(MachineError, match=r"cache .*/file cannot be written: Not a directory.*DATAENGINE_CACHE"):
        kept.sightings(footage, Counting())
    monkeypatch.setenv("DATAENGINE_CACHE", str(footage.path.parent / "full"))

    def full(file: object, **arrays: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(kept.np, "savez", full)
    with pytest.raises(MachineError, match=r"cache .*/full cannot be written: No space") as raised:
        kept.sightings(footage, Counting())
    assert raised.value.__cause__.errno == errno.ENOSPC  # by which a flow knows that no video is at fault
    assert not [path for path in (footage.path.parent / "full").rglob("*") if path.is_file()]


def test_a_killed_run_goes_on_at_its_piece(footage: Footage) -> None:
    with pytest.raises(KeyboardInterrupt):
        kept.sightings(footage, Counting(until=47))
    again = Counting()
    assert same(kept.sightings(footage, again), kept.sightings(footage, Counting()))
    assert again.looked == 10  # the last of three pieces of twenty


def test_another_model_or_video_is_looked_at(footage: Footage) -> None:
    kept.sightings(footage, Counting())
    other = Counting()
    other.version = "counting 2"
    kept.sightings(footage, other)
    changed = Counting()
    kept.sightings(footage._replace(sha256="def"), changed)
    assert other.looked == changed.looked == 50


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_what_was_kept_and_is_damaged_is_made_anew(footage: Footage, tmp_path: Path, damage: bytes | None) -> None:
    found = kept.sightings(footage, Counting())
    for path in (tmp_path / "cache").rglob("*.npz"):
        path.write_bytes(path.read_bytes()[:100] if damage is None else damage)
    again = Counting()
    assert same(found, kept.sightings(footage, again)) and again.looked == 50
