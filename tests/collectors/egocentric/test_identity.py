"""Whose hand is it? Two hands that cross, a tracker that takes one for the other, and a stranger's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.egocentric.identity import assign
from dataengine import hands
from dataengine.plugins import Sighting

SHAPE = np.random.default_rng(3).uniform(-40, 40, (21, 2))
SHAPE[hands.WRIST], SHAPE[hands.MIDDLE_KNUCKLE] = (0, 45), (0, -45)


def sighting(at: tuple[float, float], *, right: bool, score: float = 0.95, bend: float = 0.0) -> Sighting:
    mirrored = SHAPE * (1 if right else -1, 1) * (1, 1 - bend)
    return Sighting((mirrored + at).astype(np.float32), np.zeros((21, 3), np.float32), right, score)


def crossing(count: int = 90, gap: float = 55.0) -> list[list[Sighting]]:
    """The left hand goes right and back, the right hand left and back, one above the other where they pass."""
    across = 260 * np.cos(np.linspace(0, 2 * np.pi, count))
    return [
        [
            sighting((400 - x, 300), right=False, bend=0.1 * np.sin(n / 5)),
            sighting((400 + x, 300 + gap), right=True, bend=0.1 * np.cos(n / 5)),
        ]
        for n, x in enumerate(across)
    ]


def middles(tracks, side: str) -> np.ndarray:
    return tracks.pixels[hands.SIDES.index(side)].mean(axis=1)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_hands_that_cross_stay_who_they_are(seed: int) -> None:
    """One name in five is wrong, one sighting in ten is missing, and for a fifth of a second both."""
    rng = np.random.default_rng(seed)
    truth = crossing()
    gone = int(rng.integers(20, 60))
    lost = range(gone, gone + 6) if rng.random() < 0.5 else range(0)
    seen = []
    for number, pair in enumerate(truth):
        kept = [] if number in lost else [one for one in pair if rng.random() > 0.1]
        seen.append(
            [
                Sighting(s.pixels + rng.normal(0, 1, (21, 2)), s.world, s.right != (rng.random() < 0.2), s.score)
                for s in (kept if rng.random() < 0.5 else kept[::-1])
            ]
        )
    tracks = assign(seen, 30.0)
    for place, side in enumerate(hands.SIDES):
        found = middles(tracks, side)
        want = np.array([pair[place].pixels.mean(0) for pair in truth])
        there = np.isfinite(found).all(1)
        assert there.mean() > 0.7
        assert np.linalg.norm(found[there] - want[there], axis=1).max() < 5


def test_a_hand_that_was_away_is_the_same_by_its_votes() -> None:
    seen = [[sighting((300, 300), right=False)] if n < 30 or n > 70 else [] for n in range(100)]
    tracks = assign(seen, 30.0)
    assert np.isfinite(tracks.pixels[0, :, 0, 0]).sum() == 59 and np.isnan(tracks.pixels[1]).all()


def test_a_short_return_near_where_it_left_beats_a_wrong_name() -> None:
    seen = [[sighting((300, 300), right=False)] for _ in range(40)]
    seen += [[] for _ in range(18)]  # longer than a track lives
    seen += [[sighting((310, 305), right=True, score=0.7)] for _ in range(6)]
    tracks = assign(seen, 30.0)
    assert np.isfinite(tracks.pixels[0, -6:, 0, 0]).all() and np.isnan(tracks.pixels[1]).all()


def test_a_hand_seen_twice_is_one_hand_and_a_stranger_is_none() -> None:
    one = sighting((300, 300), right=True)
    tracks = assign([[Sighting(one.pixels + 6, one.world, False, 0.6), one] for _ in range(30)], 30.0)
    assert np.isfinite(tracks.pixels[1, :, 0, 0]).all() and np.isnan(tracks.pixels[0]).all()
    three = [
        [
            sighting((200, 300), right=False),
            sighting((500, 300), right=True),
            sighting((800, 200), right=True, score=0.7),
        ]
        for _ in range(30)
    ]
    tracks = assign(three, 30.0)
    assert tracks.others == 30
    assert np.allclose(np.nanmean(middles(tracks, "right")[:, 0]), three[0][1].pixels[:, 0].mean(), atol=1)


def test_only_the_hands_there_may_be() -> None:
    tracks = assign([[sighting((300, 300), right=False)] for _ in range(20)], 30.0, ("right",))
    assert np.isnan(tracks.pixels[0]).all() and np.isfinite(tracks.pixels[1]).all()


@pytest.mark.parametrize("count", [0, 1, 5])
def test_nothing_to_see_is_nothing_found(count: int) -> None:
    tracks = assign([[] for _ in range(count)], 30.0)
    assert tracks.pixels.shape == (2, count, 21, 2) and np.isnan(tracks.pixels).all() and tracks.others == 0


def test_both_hands_of_a_photograph_are_found_and_a_hands_echo_stays_its_echo() -> None:
    pair = [sighting((300, 300), right=True), sighting((480, 300), right=False, score=0.89)]
    for seen in (pair, pair[::-1]):
        tracks = assign([seen], 30.0)
        assert np.isfinite(tracks.pixels).all() and tracks.others == 0
        assert middles(tracks, "left")[0] == pytest.approx(pair[1].pixels.mean(0))
    alike = assign([[pair[0], sighting((480, 300), right=True, score=0.9)]], 30.0)
    assert np.isfinite(alike.pixels).all()  # a person has one of each, and names are wrong at times
    strange = assign([[sighting((x, 300), right=True, score=0.98) for x in (300, 480)]], 30.0)
    assert not np.isfinite(strange.pixels[0]).any() and strange.others == 1  # somebody else's
    long = [[sighting((300, 300), right=True)] for _ in range(60)]
    long[30].append(sighting((380, 300), right=True, score=0.6))
    assert not np.isfinite(assign(long, 30.0).pixels[0]).any()
