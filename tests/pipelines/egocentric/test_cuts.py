"""Where a video is cut: by hands that move, or by a person's list, and what is dropped says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataengine import hands
from dataengine.episode import Episode, Meta
from dataengine.errors import ConfigError, SourceError
from dataengine.plugins import Drop
from dataengine.store import Store
from pipelines.egocentric.cuts import CutHands, active, presence, read_cuts, speeds, write_cuts

FPS = 20.0


def an_episode(speed: np.ndarray, there: np.ndarray | None = None, *, name: str = "film.mp4") -> Episode:
    """A right hand of 100 px that goes along x at `speed` `(T,)` [hand lengths a second]."""
    count = len(speed)
    features = {key: feature for side in hands.SIDES for key, feature in hands.features(side).items()}
    columns = {key: np.zeros((count, *(() if f.shape == (1,) else f.shape)), f.dtype) for key, f in features.items()}
    marks = np.zeros((count, 21, 2))
    marks[:, hands.MIDDLE_KNUCKLE, 1] = -100
    marks[..., 0] += 100 * np.cumsum(speed)[:, None] / FPS
    columns[hands.column("right", "pixels")] = marks.astype(np.float32)
    tracked = np.full(count, hands.SEEN) if there is None else np.where(there, hands.SEEN, hands.ABSENT)
    columns[hands.column("right", "tracked")] = tracked.astype(np.int64)
    meta = Meta(tasks=("tidy up",), source={"file": name})
    return Episode(f"id-{name}", FPS, features, columns, meta=meta).check()


def cut(episode: Episode, **params) -> list:
    return list(CutHands(**params).run(iter([episode])))


def test_two_actions_with_a_long_rest_are_two_episodes() -> None:
    speed = np.concatenate([np.zeros(60), np.ones(60), np.zeros(80), np.full(50, 0.8), np.zeros(40)])
    parts = cut(an_episode(speed), margin=0.0)
    spans = [(p.meta.lineage[-1].params["start"], p.meta.lineage[-1].params["stop"]) for p in parts]
    np.testing.assert_allclose(spans, [(60, 120), (200, 250)], atol=4)
    assert all(p.meta.parent == "id-film.mp4" and p.meta.tasks == ("tidy up",) for p in parts)
    wider = cut(an_episode(speed), margin=0.5)
    assert [p.length for p in wider] == [p.length + 20 for p in parts]


def test_a_short_rest_and_a_short_loss_belong_to_it() -> None:
    speed = np.concatenate([np.ones(60), np.zeros(15), np.ones(60)])
    there = np.ones(135, bool)
    there[30:36] = False
    assert [p.length for p in cut(an_episode(speed, there), margin=0.0)] == [pytest.approx(135, abs=4)]
    assert len(cut(an_episode(speed, there), margin=0.0, pause=0.2)) > 1


def test_speed_is_in_hand_lengths_a_second_and_only_of_hands_that_are_there() -> None:
    episode = an_episode(np.full(100, 0.7), np.arange(100) >= 50)
    found = speeds(episode)
    np.testing.assert_allclose(found[1, 56:95], 0.7, rtol=1e-4)
    assert (found[1, :53] == 0).all() and (found[0] == 0).all()
    assert presence(episode)[1].sum() == 50


@pytest.mark.parametrize(("speed", "there", "why"), [(0.0, True, "no hand moves"), (1.0, False, "no hand is seen")])
def test_what_shows_nothing_is_dropped_with_the_reason(speed: float, there: bool, why: str) -> None:
    (dropped,) = cut(an_episode(np.full(80, speed), np.full(80, there)))
    assert isinstance(dropped, Drop) and why in dropped.reason and dropped.evidence["share_with_hands"] == float(there)


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=120), st.floats(0, 2), st.floats(0, 1))
def test_spans_are_apart_inside_and_long_enough(
    frames: list[tuple[bool, bool]], shortest: float, margin: float
) -> None:
    there, moving = (np.array(column)[None] for column in zip(*frames, strict=True))
    found = active(there, moving, FPS, 0.5, shortest, margin)
    edges = [edge for span in found for edge in span]
    assert edges == sorted(edges) and (not edges or (edges[0] >= 0 and edges[-1] <= len(frames)))
    assert all(stop - start >= shortest * FPS for start, stop in found)
    busy = np.flatnonzero((there & moving)[0])
    inside = np.zeros(len(frames), bool)
    for start, stop in found:
        inside[start:stop] = True
        assert len(np.intersect1d(busy, np.arange(start, stop)))
    if shortest == 0:
        assert inside[busy].all()


def test_a_persons_list_is_taken_as_it_is(tmp_path: Path) -> None:
    listed = tmp_path / "cuts.csv"
    listed.write_text('video,start,stop,task\nfilm.mp4,0.5,2.0,"pour, then stop"\nfilm.mp4,3,4,\nfilm.mp4,90,99,\n')
    one, two, three = cut(an_episode(np.zeros(100)), cuts=listed)
    assert (one.length, one.meta.tasks, two.length, two.meta.tasks) == (30, ("pour, then stop",), 20, ("tidy up",))
    assert isinstance(three, Drop) and "outside its video" in three.reason
    (other,) = cut(an_episode(np.zeros(100), name="other.mp4"), cuts=listed)
    assert isinstance(other, Drop) and "no hand moves" in other.reason


def test_the_list_of_a_store_gives_the_same_cuts_again(tmp_path: Path) -> None:
    speed = np.concatenate([np.ones(60), np.zeros(60), np.ones(60)])
    film = an_episode(speed)
    parts = cut(film)
    store = Store.create(tmp_path / "store", fps=FPS, features=film.features)
    with store.writer() as writer:
        for part in parts:
            writer.append(part)
    listed = tmp_path / "cuts.csv"
    assert write_cuts(Store.open(tmp_path / "store"), listed) == 2
    again = cut(film, cuts=listed)
    assert [e.id for e in again] == [e.id for e in parts] and len(parts) == 2
    assert set(read_cuts(listed)) == {"film.mp4"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "begins with nothing"),
        ("a,b\n1,2\n", "begins with a, b"),
        ("video,start,stop\nx,1,soon\n", "line 2: start and stop"),
        ("video,start,stop,task\nx,1,2,wave, then pinch\n", "line 2 has too many fields.*quotes"),
        ("video,start,stop\nx,1,2\nx,3,2\n", "line 3"),
        ("video,start,stop\nx,1,inf\n", "line 2"),
        ("video,start,stop\nx,1\n", "line 2"),
        ("video,start,stop\nx,1,nan\n", "line 2"),
        ("video,start,stop,task\nx,1,2,a\nx,1,2," + "a" * 200_000 + "\n", "line 3: field larger than field limit"),
        ("a" * 200_000, "line 1: field larger than field limit"),
    ],
)
def test_a_list_that_cannot_be_used_names_the_line(tmp_path: Path, text: str, why: str) -> None:
    listed = tmp_path / "cuts.csv"
    listed.write_text(text)
    with pytest.raises(SourceError, match=why):
        CutHands(cuts=listed)


def test_a_list_of_a_person_may_be_long_and_have_spaces(tmp_path: Path) -> None:
    listed = tmp_path / "cuts.csv"
    listed.write_text("video, start, stop, task\n" + "film.mp4, 0.5, 2.0, pour the tea into the cup\n" * 120_000)
    found = read_cuts(listed)["film.mp4"]
    assert len(found) == 120_000 and found[0] == (0.5, 2.0, "pour the tea into the cup")


def doubtful(**sides: tuple[float, float]) -> Episode:
    """Hands that move for 80 frames, each sure to so many metres and radians."""
    episode = an_episode(np.ones(80))
    changed = {}
    for side, sigma in sides.items():
        changed[hands.column(side, "sigma")] = np.tile(np.float32(sigma), (80, 1))
        changed[hands.column(side, "tracked")] = np.full(80, hands.SEEN)
    return episode.with_columns({}, changed)


def test_what_is_not_sure_enough_is_dropped_in_millimetres_and_degrees() -> None:
    episode = doubtful(right=(0.06, 0.2))
    for limits in ({}, {"sigma": 0.07}, {"turn_sigma": 0.25}, {"sigma": 0.07, "turn_sigma": 0.25}):
        assert isinstance(cut(episode, **limits)[0], Episode)
    (dropped,) = cut(episode, sigma=0.05, turn_sigma=0.25)
    assert isinstance(dropped, Drop)
    assert dropped.reason == "the right hand is sure to 60 mm and 11.5° only; asked for are 50 mm and 14.3°"
    assert dropped.evidence == {"place_mm": 60.0, "rotation_deg": 11.46, "frames": 80}
    (dropped,) = cut(episode, turn_sigma=0.1)
    assert isinstance(dropped, Drop) and "asked for are 5.73°" in dropped.reason
    both = doubtful(left=(0.02, 0.1), right=(0.06, 0.2))  # one hand that is sure is enough
    assert isinstance(cut(both, sigma=0.05)[0], Episode)


def test_a_hand_that_was_seldom_found_is_dropped() -> None:
    episode = doubtful(right=(0.01, 0.1))
    tracked = np.where(np.arange(80) % 2, hands.SEEN, hands.FILLED).astype(np.int64)
    bridged = episode.with_columns({}, {hands.column("right", "tracked"): tracked})
    assert isinstance(cut(bridged, seen=0.4)[0], Episode)
    (dropped,) = cut(bridged, seen=0.9)
    assert isinstance(dropped, Drop) and "found in 50% of the frames; asked for are 90%" in dropped.reason


def test_parameters_and_episodes_that_make_no_sense() -> None:
    with pytest.raises(ConfigError, match="shortest"):
        CutHands(shortest=-1)
    with pytest.raises(ConfigError, match="turn_sigma"):
        CutHands(turn_sigma=0.0)
    with pytest.raises(ConfigError, match="seen"):
        CutHands(seen=1.5)
    bare = an_episode(np.zeros(30)).select([hands.column("left", "tracked")])
    with pytest.raises(ConfigError, match="no episode of hands"):
        cut(bare)
