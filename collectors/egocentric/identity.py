"""Which sighting is whose hand: tracks through crossings and short losses, then left and right by what all frames say.

A tracker names each hand anew in every picture, sometimes wrongly. So sightings are first joined to pieces of track by
where and how the hand stands, with a step of constant velocity ahead (Hungarian assignment, Kuhn 1955), and a piece
is given a side as a whole: by the weight of its frames' votes, and by which hand was there shortly before and after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from dataengine import hands
from dataengine.plugins import Sighting

GATE = 0.9  # hand lengths: a hand that is farther from where it was expected is another one
SLACK = 0.12  # hand lengths more for every frame it was not seen
DAMPED = 0.8  # of the velocity goes on with every frame not seen
SAME = 0.3  # hand lengths: nearer than that, two sightings are one hand seen twice
TURNCOAT = 0.25  # hand lengths that a sighting of the other side seems farther away
LOST = 0.5  # [s] after which a track ends
NEAR, SOON, FRAMES = 2.0, 1.0, 20.0  # hand lengths, seconds: what was there so near and lately weighs as so many frames
CERTAIN = 0.9  # of the most that all frames of a track can say against a side
OVERLAP = 3  # frames two tracks of one hand may share


@dataclass(eq=False)
class _Piece:
    """One track while it is made. at: frames; sightings: one each. votes: frames that speak for a right hand, less
    those for a left one, by how sure they are."""

    at: list[int] = field(default_factory=list)
    sightings: list[Sighting] = field(default_factory=list)
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))
    votes: float = 0.0

    def add(self, frame: int, sighting: Sighting) -> None:
        if self.at:
            moved = (_middle(sighting) - _middle(self.sightings[-1])) / (frame - self.at[-1])
            self.velocity = 0.5 * self.velocity + 0.5 * moved
        self.at.append(frame)
        self.sightings.append(sighting)
        self.votes += (1 if sighting.right else -1) * max(2 * sighting.score - 1, 0.02)

    def distance(self, frame: int, sighting: Sighting) -> float:
        """From where it is expected, mean over the landmarks, in hand lengths beyond what the wait allows."""
        last, wait = self.sightings[-1], frame - self.at[-1]
        ahead = self.velocity * sum(DAMPED**k for k in range(wait))
        apart = np.linalg.norm(sighting.pixels - last.pixels - ahead, axis=1).mean()
        size = max(_length(last), _length(sighting), 1e-6)
        return float(apart / size) - SLACK * (wait - 1) + TURNCOAT * (sighting.right != (self.votes > 0))


@dataclass(frozen=True)
class Tracks:
    """Both hands of a clip, left first, NaN where there is none. pixels: `(2, T, 21, 2)` and world: `(2, T, 21, 3)`, as
    the tracker says them. score: `(2, T)`, how sure it was. others: sightings that were neither, such as a second
    person's."""

    pixels: np.ndarray
    world: np.ndarray
    score: np.ndarray
    others: int


def assign(frames: Sequence[Sequence[Sighting]], fps: float, sides: Sequence[str] = hands.SIDES) -> Tracks:
    """Sightings of every frame to the hands of one person. sides: the hands there may be."""
    pieces = _pieces(frames, fps)
    given: dict[str, list[_Piece]] = {side: [] for side in sides}
    for piece in sorted(pieces, key=lambda piece: -abs(piece.votes)):
        free = [side for side in sides if not _clash(piece, given[side]) and not _is_other(piece, side)]
        if free:
            given[max(free, key=lambda side: _belongs(piece, side, given[side], fps))].append(piece)
    count = len(frames)
    pixels, world = (np.full((2, count, 21, size), np.nan, np.float32) for size in (2, 3))
    score = np.zeros((2, count))
    for side, mine in given.items():
        place = hands.SIDES.index(side)
        for piece in reversed(mine):  # the surest last, so that it stays where two overlap
            pixels[place, piece.at] = [s.pixels for s in piece.sightings]
            world[place, piece.at] = [s.world for s in piece.sightings]
            score[place, piece.at] = [s.score for s in piece.sightings]
    kept = sum(len(piece.at) for mine in given.values() for piece in mine)
    return Tracks(pixels, world, score, sum(map(len, frames)) - kept)


def _pieces(frames: Sequence[Sequence[Sighting]], fps: float) -> list[_Piece]:
    longest = max(1, round(LOST * fps))
    live: list[_Piece] = []
    done: list[_Piece] = []
    for number, seen in enumerate(frames):
        seen = _once(seen)
        done += [piece for piece in live if number - piece.at[-1] > longest]
        live = [piece for piece in live if number - piece.at[-1] <= longest]
        cost = np.array([[piece.distance(number, s) for s in seen] for piece in live]).reshape(len(live), len(seen))
        taken = set()
        for row, column in zip(*linear_sum_assignment(np.minimum(cost, 1e6)), strict=True):
            if cost[row, column] < GATE:
                live[row].add(number, seen[column])
                taken.add(int(column))
        for column, sighting in enumerate(seen):
            if column not in taken:
                live.append(_Piece())
                live[-1].add(number, sighting)
    return done + live


def _once(seen: Sequence[Sighting]) -> list[Sighting]:
    """Without the less sure of two sightings of one hand."""
    kept: list[Sighting] = []
    for sighting in sorted(seen, key=lambda s: -s.score):
        size = max(_length(sighting), 1e-6)
        if all(np.linalg.norm(sighting.pixels - other.pixels, axis=1).mean() > SAME * size for other in kept):
            kept.append(sighting)
    return kept


def _clash(piece: _Piece, others: list[_Piece]) -> bool:
    """Of two that are as short as that, as in a photograph, neither is the other one's echo."""
    mine = set(piece.at)
    return any(len(mine.intersection(other.at)) > min(OVERLAP, max(len(mine), len(other.at)) // 2) for other in others)


def _is_other(piece: _Piece, side: str) -> bool:
    """Whether every frame is sure that it is the other hand: then it is a second person's before it is this one."""
    votes = piece.votes if side == "right" else -piece.votes
    return votes < -CERTAIN * len(piece.at)


def _belongs(piece: _Piece, side: str, mine: list[_Piece], fps: float) -> float:
    """How much speaks for a side: its votes, and how near the side's hand was before or after, in frames."""
    votes = piece.votes if side == "right" else -piece.votes
    near = 0.0
    for other in mine:
        before = other.at[-1] <= piece.at[0]
        last, first = (other, piece) if before else (piece, other)
        wait = (first.at[0] - last.at[-1]) / fps
        apart = np.linalg.norm(_middle(first.sightings[0]) - _middle(last.sightings[-1]))
        apart /= max(_length(first.sightings[0]), 1e-6)
        near = max(near, max(0.0, 1 - float(apart) / NEAR) * float(np.exp(-max(wait, 0.0) / SOON)))
    return votes + FRAMES * near


def _middle(sighting: Sighting) -> np.ndarray:
    return sighting.pixels.mean(0)


def _length(sighting: Sighting) -> float:
    """Of the hand in the picture [px]: the longest side of palm and fingers, so that a turned one counts too."""
    marks = sighting.pixels
    spans = marks[[hands.MIDDLE_KNUCKLE, 5, 17, *hands.TIPS]] - marks[[hands.WRIST, 17, hands.WRIST, 2, 5, 9, 13, 17]]
    return float(np.linalg.norm(spans, axis=1).max())
