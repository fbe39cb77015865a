"""Long videos cut into episodes where hands are there and move, by a list that a person may edit.

The list is a CSV file: the video's name, start and stop in seconds, and the task; `write_cuts` makes it of a store, and
`cuts` of the stage takes it back. Videos that it does not name are cut by what the hands do.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from dataengine import hands
from dataengine.episode import Episode
from dataengine.errors import ConfigError, SourceError
from dataengine.guard import read_text
from dataengine.plugins import Drop
from dataengine.runs import runs
from pipelines.retarget.person import with_pinch

if TYPE_CHECKING:
    from dataengine.store import Store

FIELDS = ("video", "start", "stop", "task")
WINDOW = 0.3  # [s] over which a speed is taken
MOST_CUTS = 1_000_000
MOST_BYTES = 256 << 20


class Cut(NamedTuple):
    """start, stop: [s] of the video. task: None keeps the video's own."""

    start: float
    stop: float
    task: str | None


@dataclass(frozen=True)
class CutHands:
    """Cut every episode to where a hand moves; what has no such span, or none that is sure enough, is dropped.

    moving: mean speed of a hand's landmarks in the picture, from which on it does something [hand lengths a second].
    pause: how long both hands may rest or be away inside an episode [s]. shortest: of an episode [s]. margin: kept
    before and after [s]. sigma [m], turn_sigma [rad]: an episode is dropped where neither hand's place and rotation are
    sure to that in half of the frames that show it. seen: least share of an episode's frames in which a hand was found,
    bridged gaps not counted. cuts: a list of cuts to take instead for the videos it names, all of them.
    """

    moving: float = 0.25
    pause: float = 1.0
    shortest: float = 1.0
    margin: float = 0.2
    sigma: float | None = None
    turn_sigma: float | None = None
    seen: float = 0.0
    cuts: Path | None = None

    name: ClassVar[str] = "cut_hands"
    version: ClassVar[str] = "2"
    reads: ClassVar[tuple[str, ...]] = ("observation.hands.*", "clips")

    def __post_init__(self) -> None:
        for field in ("moving", "pause", "shortest", "margin"):
            if not 0 <= getattr(self, field) < 3600:
                raise ConfigError(f"cut_hands.{field}: {getattr(self, field)} is not 0 to 3600")
        for field in ("sigma", "turn_sigma"):
            if (given := getattr(self, field)) is not None and not given > 0:
                raise ConfigError(f"cut_hands.{field}: {given} is not above 0")
        if not 0 <= self.seen <= 1:
            raise ConfigError(f"cut_hands.seen: {self.seen} is a share, 0 to 1")
        if self.cuts is not None:
            _ = self.listed

    @cached_property
    def listed(self) -> Mapping[str, list[Cut]]:
        """The list of cuts, by video."""
        return read_cuts(self.cuts) if self.cuts is not None else {}

    def run(self, episodes: Iterator[Episode]) -> Iterator[Episode | Drop]:
        for episode in episodes:
            yield from self._cut(episode)

    def _cut(self, episode: Episode) -> Iterator[Episode | Drop]:
        episode = with_pinch(episode, {"name": self.name, "version": self.version})
        video = str(episode.meta.source.get("file", ""))
        if video in self.listed:
            for cut in self.listed[video]:
                start, stop = (round(time * episode.fps) for time in cut[:2])
                if not 0 <= start < min(stop, episode.length):
                    seconds = episode.length / episode.fps
                    evidence = {"start": cut.start, "stop": cut.stop, "seconds": seconds}
                    why = f"the cut from {cut.start:g} to {cut.stop:g} s lies outside its video of {seconds:.2f} s"
                    yield Drop(episode.id, why, evidence)
                    continue
                part = episode.slice(start, min(stop, episode.length))
                yield part if cut.task is None else part.with_meta(tasks=(cut.task,))
            return
        there, speed = presence(episode), speeds(episode)
        found = active(there, speed >= self.moving, episode.fps, self.pause, self.shortest, self.margin)
        for start, stop in found:
            part = episode.slice(start, stop)
            yield self._doubted(part) or part
        if not found:
            seen = float(there.any(0).mean()) if there.size else 0.0
            fastest = round(float(speed.max(initial=0)), 3)
            why = "no hand moves for long enough" if seen else "no hand is seen"
            yield Drop(episode.id, why, {"share_with_hands": round(seen, 3), "fastest": fastest})

    def _doubted(self, part: Episode) -> Drop | None:
        """Why a part is not to be trusted; None where it is."""
        tracked = np.stack([part.frames[hands.column(side, "tracked")] for side in hands.SIDES])
        share = float((tracked == hands.SEEN).any(0).mean())
        if share < self.seen:
            why = f"a hand is found in {share:.0%} of the frames; asked for are {self.seen:.0%}"
            return Drop(part.id, why, {"seen": round(share, 3), "frames": part.length})
        if self.sigma is None and self.turn_sigma is None:
            return None
        limits = np.array([np.inf if one is None else one for one in (self.sigma, self.turn_sigma)])
        sure: dict[str, np.ndarray] = {}
        for side, there in zip(hands.SIDES, tracked != hands.ABSENT, strict=True):
            if there.any():
                sure[side] = np.median(np.asarray(part.frames[hands.column(side, "sigma")], np.float64)[there], axis=0)
        if not sure or any((each <= limits).all() for each in sure.values()):
            return None
        best = min(sure, key=lambda side: float((sure[side] / limits).max()))
        place, turn = 1e3 * sure[best][0], np.rad2deg(sure[best][1])
        asked = [f"{1e3 * limits[0]:.3g} mm"] * (self.sigma is not None)
        asked += [f"{np.rad2deg(limits[1]):.3g}°"] * (self.turn_sigma is not None)
        why = f"the {best} hand is sure to {place:.3g} mm and {turn:.3g}° only; asked for are {' and '.join(asked)}"
        evidence = {"place_mm": round(place, 1), "rotation_deg": round(float(turn), 2), "frames": part.length}
        return Drop(part.id, why, evidence)


def presence(episode: Episode) -> np.ndarray:
    """`(2, T)` bool: left and right hand there, bridged gaps included."""
    columns = [hands.column(side, "tracked") for side in hands.SIDES]
    if lacking := [column for column in columns if column not in episode.frames]:
        raise ConfigError(f"cut_hands: episode {episode.id} has no {lacking[0]}: it is no episode of hands")
    return np.stack([episode.frames[column] != hands.ABSENT for column in columns])


def speeds(episode: Episode) -> np.ndarray:
    """`(2, T)` mean speed of a hand's landmarks in the picture over `WINDOW` [hand lengths a second]; 0 where it is
    not there all that time."""
    there = presence(episode)
    half = max(1, round(WINDOW * episode.fps / 2))
    at = np.arange(episode.length)
    before, after = np.maximum(at - half, 0), np.minimum(at + half, episode.length - 1)
    gone = np.cumsum(np.pad(~there, ((0, 0), (1, 0))), axis=1)
    whole = gone[:, after + 1] - gone[:, before] == 0
    found = np.zeros(there.shape)
    for place, side in enumerate(hands.SIDES):
        marks = np.asarray(episode.frames[hands.column(side, "pixels")], np.float64)
        size = np.linalg.norm(marks[:, hands.MIDDLE_KNUCKLE] - marks[:, hands.WRIST], axis=1)
        usual = float(np.median(size[there[place]])) if there[place].any() else 1.0
        moved = np.linalg.norm(marks[after] - marks[before], axis=2).mean(1)
        seconds = np.maximum(after - before, 1) / episode.fps
        found[place] = np.where(whole[place], moved / np.maximum(size, 0.5 * max(usual, 1e-6)) / seconds, 0)
    return found


def active(
    there: np.ndarray, moving: np.ndarray, fps: float, pause: float, shortest: float, margin: float
) -> list[tuple[int, int]]:
    """Spans of frames, stop exclusive, in which a hand is there and moves: rests up to `pause` belong to them, and
    `margin` around them as far as a hand is seen."""
    busy = (there & moving).any(0)
    spans = runs(busy)
    joined: list[list[int]] = []
    for start, stop in spans:
        if joined and start - joined[-1][1] <= pause * fps:
            joined[-1][1] = stop
        else:
            joined.append([start, stop])
    some, room = np.atleast_1d(there.any(0)), round(margin * fps)
    found: list[tuple[int, int]] = []
    for start, stop in joined:
        if stop - start < shortest * fps:
            continue
        first, last = start, stop
        while first > max(start - room, found[-1][1] if found else 0) and some[first - 1]:
            first -= 1
        while last < min(stop + room, len(some)) and some[last]:
            last += 1
        found.append((first, last))
    return found


def read_cuts(path: Path) -> dict[str, list[Cut]]:
    """The cuts of every video in a list. Raises `SourceError` with the line that cannot be used."""
    if not path.is_file():
        raise SourceError(path, "is not there")
    rows = csv.DictReader(io.StringIO(read_text(path, MOST_BYTES), newline=""), skipinitialspace=True)
    try:
        return _read(rows, path)
    except csv.Error as error:
        raise SourceError(path, f"line {rows.line_num + 1}: {error}") from error


def _read(rows: csv.DictReader[str], path: Path) -> dict[str, list[Cut]]:
    if not set(FIELDS[:3]) <= set(rows.fieldnames or ()):
        raise SourceError(path, f"begins with {', '.join(rows.fieldnames or ()) or 'nothing'}, not {', '.join(FIELDS)}")
    found: dict[str, list[Cut]] = {}
    for number, row in enumerate(rows, 2):
        if number > MOST_CUTS:
            raise SourceError(path, f"has more than {MOST_CUTS} lines")
        if None in row:
            raise SourceError(path, f"line {number} has too many fields: a task with commas stands in quotes")
        try:
            start, stop = float(row["start"]), float(row["stop"])
        except (TypeError, ValueError):
            raise SourceError(path, f"line {number}: start and stop are seconds") from None
        if not row["video"] or not 0 <= start < stop < float("inf"):
            raise SourceError(path, f"line {number}: a video, and a start before its stop")
        found.setdefault(row["video"], []).append(Cut(start, stop, row.get("task") or None))
    return found


def write_cuts(store: Store, path: Path) -> int:
    """The list of cuts that a store was made with, one line an episode, to be edited; how many."""
    rows: list[tuple[str, str, str, str]] = []
    for episode in store.episodes():
        start, stop = 0, episode.length
        for step in episode.meta.lineage:  # each slice counts in what the ones before it left
            if step.name == "slice":
                start, stop = start + int(step.params["start"]), start + int(step.params["stop"])
        video = str(episode.meta.source.get("file", ""))
        task = episode.meta.tasks[0] if episode.meta.tasks else ""
        rows.append((video, f"{start / episode.fps:.3f}", f"{stop / episode.fps:.3f}", task))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    rows.sort(key=lambda row: (row[0], float(row[1])))
    writer.writerows(rows)
    path.write_text(text.getvalue())
    return len(rows)
