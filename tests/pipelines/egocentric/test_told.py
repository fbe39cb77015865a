"""What retargeting wrote is read back from the episode alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hands_seen import seen

from dataengine import hands
from dataengine.episode import Episode, Step
from dataengine.errors import EpisodeError
from pipelines.egocentric.lens import lens_of
from pipelines.egocentric.told import arms_of, cameras, film_of, place_of, step_of, told
from pipelines.retarget.hand import read_hand
from pipelines.retarget.pose import tool_poses
from pipelines.retarget.rotations import NAMES
from pipelines.retarget.stage import Retarget


def retarget(episode: Episode, **params) -> list[Episode]:
    found = list(Retarget(**{"jump": None, **params}).run(iter([episode])))
    assert all(isinstance(each, Episode) for each in found), found
    return found


@pytest.mark.parametrize("rotation", sorted(NAMES))
@pytest.mark.parametrize("based", [True, False], ids=["in a base", "in the camera's frame"])
@pytest.mark.parametrize("action", ["absolute", "delta"])
def test_poses_come_back_from_every_convention(rotation: str, based: bool, action: str) -> None:
    given = seen()
    where = {"camera": given.pose} if based else {}
    (episode,) = retarget(given.episode, rotation=rotation, action=action, **where)
    found = told(episode)["right"]
    assert found.tool is not None and found.joints is None
    truth = tool_poses(read_hand(given.episode, "right"))
    wanted = truth.seen_from(given.camera) if based else truth
    np.testing.assert_allclose(found.tool.point, wanted.point, atol=1e-5)
    np.testing.assert_allclose(found.tool.turn, wanted.turn, atol=1e-4)
    assert found.opening is not None and found.closed is not None
    assert found.opening[0] > 0.9 and not found.closed[0] and found.closed[-1]


@pytest.mark.parametrize("workspace", [{}, {"scale": 0.6, "shift": (0.5, 0.1, -0.2)}])
def test_the_camera_sees_the_tool_where_the_fingers_meet(workspace: dict) -> None:
    """Also where the workspace was grown: then the camera goes with it."""
    given = seen(off_centre=(5.0, -3.0))
    (episode,) = retarget(given.episode, camera=given.pose, **workspace)
    tool = told(episode)["right"].tool
    lens = lens_of(episode, 320, 240)
    assert tool is not None and lens is not None
    np.testing.assert_allclose(lens.project(tool.seen_from(cameras(episode).inverse()).point), given.pixels, atol=0.02)


def test_which_part_of_the_film_an_episode_is() -> None:
    """Slice by slice, before retargeting and by it: the numbers of the pixels' own frames."""
    given = seen(frames=60).episode
    sigma = given.frames[hands.column("right", "sigma")].copy()
    sigma[30:34] = 0.2
    clip = replace(given, frames={**given.frames, hands.column("right", "sigma"): sigma}).slice(6, 56)
    parts = retarget(clip, sigma=0.05, shortest=0.1)
    assert film_of(given) == (0, 60) and [film_of(part) for part in parts] == [(6, 30), (34, 56)]
    for part in parts:
        start, stop = film_of(part)
        key = hands.column("right", "pixels")
        np.testing.assert_array_equal(part.frames[key], given.frames[key][start:stop])
    odd = parts[0].with_step(Step("slice", "1", {"start": "2", "stop": 9}))
    with pytest.raises(EpisodeError, match="slice whose start is '2'"):
        film_of(odd)


def test_levels_of_the_gripper_that_are_no_numbers_are_refused() -> None:
    (episode,) = retarget(seen().episode)
    (*before, step) = episode.meta.lineage
    odd = replace(step, params={**step.params, "close_below": "soon"})
    with pytest.raises(EpisodeError, match=r"closes and opens the gripper at 'soon' and 0\.2"):
        told(replace(episode, meta=replace(episode.meta, lineage=(*before, odd))))


def test_both_hands_are_read_one_by_one() -> None:
    one, two = seen(side="right"), seen(side="left")
    left = {key: column for key, column in two.episode.frames.items() if ".left." in key}
    both = replace(one.episode, frames={**one.episode.frames, **left})
    (episode,) = retarget(both, hand="both", camera=one.pose)
    found = told(episode)
    assert list(found) == ["left", "right"]
    for side, given in (("left", two), ("right", one)):
        assert found[side].tool is not None
        np.testing.assert_allclose(found[side].tool.point, given.pinch, atol=1e-5)


def test_pieces_know_where_they_were() -> None:
    """A stage before that cut, the stage's own cuts, and cuts after it."""
    given = seen(frames=120).episode
    key = hands.column("right", "tracked")
    tracked = given.frames[key].copy()
    tracked[50:58] = hands.ABSENT
    episode = replace(given, frames={**given.frames, key: tracked})
    before = episode.slice(10, 110).with_step(Step("cut_hands", "1"))
    one, two = retarget(before)
    assert [place_of(each) for each in (one, two)] == [(0, 40), (48, 100)]
    assert place_of(two.slice(5, 30)) == (53, 78)
    (whole,) = retarget(given.slice(10, 40))
    assert place_of(whole) == (0, 30) and place_of(whole.slice(3, 20)) == (3, 20) and place_of(given) == (0, 120)
    assert place_of(given.slice(7, 20)) == (0, 13)  # nothing was retargeted: it is the whole of itself


def test_what_was_not_retargeted_to_a_gripper_is_said() -> None:
    given = seen(frames=30).episode
    (kept,) = retarget(given, space="hand")
    assert step_of(given) is None and step_of(kept) is None
    for episode in (given, kept):
        with pytest.raises(EpisodeError, match="not retargeted to a gripper"):
            told(episode)


def changed(episode: Episode, **params: object) -> Episode:
    step = episode.meta.lineage[-1]
    lineage = (*episode.meta.lineage[:-1], replace(step, params={**step.params, **params}))
    return replace(episode, meta=replace(episode.meta, lineage=lineage))


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"rotation": "cardan"}, "names no rotation"),
        ({"rotation": "euler"}, "has no ee.roll"),
        ({"arm": {"joints": ["a", "b"]}}, "describes no arm"),
        ({"arm": {"tool": "t", "joints": ["a", "a"]}}, "describes no arm"),
        ({"hand": "both"}, "has no left_"),
        ({"camera": [1, 2, 3]}, "places no camera"),
        ({"camera": "there"}, "places no camera"),
        ({"scale": -1}, "places no camera"),
    ],
)
def test_a_lineage_that_somebody_wrote_is_not_believed(params: dict, why: str) -> None:
    given = seen(frames=30)
    (episode,) = retarget(given.episode, camera=given.pose)
    with pytest.raises(EpisodeError, match=why):
        other = changed(episode, **params)
        told(other), arms_of(other), cameras(other)


def test_a_slice_that_is_none() -> None:
    (episode,) = retarget(seen(frames=30).episode)
    lineage = (*episode.meta.lineage, Step("slice", "1", {"start": "0", "stop": 5}))
    with pytest.raises(EpisodeError, match="slice whose start"):
        place_of(replace(episode, meta=replace(episode.meta, lineage=lineage)))
