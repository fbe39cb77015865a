"""A camera whose path has no scale: its turns are used where that is asked for, its places never."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from dataengine import hands
from dataengine.episode import Episode, Feature
from dataengine.errors import EpisodeError
from pipelines.retarget.hand import Poses
from pipelines.retarget.placing import camera_lost, camera_poses, up_to_scale
from pipelines.retarget.stage import Retarget


def without_scale(episode: Episode, *, goes: bool = True) -> Episode:
    """The same, as an estimate from the background leaves it: places in a unit of its own."""
    feature = Feature("float32", (7,), role="other", unit=("1",) * 7)
    pose = np.array(episode.frames[hands.CAMERA_POSE])
    pose[:, :3] *= 3.0 * goes
    columns = {**episode.frames, hands.CAMERA_POSE: pose}
    return replace(episode, features={**episode.features, hands.CAMERA_POSE: feature}, frames=columns).check()


def test_turns_are_taken_out_and_places_are_not_made_metres(made: SimpleNamespace) -> None:
    tool = made.tool_path()
    frames = len(tool.point)
    moving = Poses(np.zeros((frames, 3)), made.tool_path(seed=9).turn)  # turns where it stands
    seen = made.episode_of(tool, camera=moving, moving=True)
    step = np.linspace(0, 0.2, frames)[:, None] * [1.0, 0.0, 0.0]
    walks = made.episode_of(tool, camera=Poses(step, moving.turn), moving=True)
    start = made.pose_numbers(moving.cut(0, 1))
    plain, turned = Retarget(camera=start), Retarget(camera=start, turns_only=True)
    with pytest.raises(EpisodeError, match=r"up to scale alone.*turns_only"):
        list(plain.run(iter([without_scale(walks)])))
    metric = plain.motion(seen, "right").tool
    assert np.abs(metric.point - tool.point).max() < 1e-5
    found = turned.motion(without_scale(walks), "right")
    assert made.angle(found.tool.turn, tool.turn).max() < 1e-3
    assert np.abs(found.tool.point + step - tool.point).max() < 1e-5  # off by where it went, which nobody knows
    (out, *_) = turned.run(iter([without_scale(walks)]))
    assert any("turned where it stood" in text for text in out.meta.lineage[-1].assumed)


def test_a_camera_that_only_turned_needs_no_scale(made: SimpleNamespace) -> None:
    tool = made.tool_path()
    moving = Poses(np.zeros((len(tool.point), 3)), made.tool_path(seed=9).turn)
    episode = without_scale(made.episode_of(tool, camera=moving, moving=True), goes=False)
    assert not up_to_scale(episode) and up_to_scale(without_scale(_walking(made)))
    found = Retarget(camera=made.pose_numbers(moving.cut(0, 1))).motion(episode, "right").tool
    assert np.abs(found.point - tool.point).max() < 1e-5
    placed = camera_poses(without_scale(_walking(made)))
    assert placed is not None and not placed.point.any()


def with_quality(episode: Episode, quality: np.ndarray) -> Episode:
    feature = Feature("float32", (1,), role="other")
    return episode.with_columns({hands.CAMERA_QUALITY: feature}, {hands.CAMERA_QUALITY: quality.astype(np.float32)})


def _walking(made: SimpleNamespace) -> Episode:
    return made.episode_of(made.tool_path(), camera=made.tool_path(seed=8), moving=True)


def test_frames_in_which_nothing_says_where_the_camera_is_are_cut_out(made: SimpleNamespace) -> None:
    walks = _walking(made)
    quality = np.ones(walks.length, np.float32)
    quality[20:26] = 0
    unsure = with_quality(walks, quality)
    world = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    found = [each for each in Retarget(world=world, shortest=0.1).run(iter([unsure])) if isinstance(each, Episode)]
    assert [each.length for each in found] == [20, walks.length - 26]
    (cut,) = found[0].labels["retarget_cuts"].table.to_pylist()
    assert (cut["start"], cut["stop"], cut["reason"]) == (20, 26, "camera") and "where the camera was" in cut["text"]
    # Rows of a hand stand in their own camera's frame, but where the next one is needs to know how it moved.
    pieces = [each for each in Retarget(space="hand", shortest=0.1).run(iter([unsure])) if isinstance(each, Episode)]
    assert [each.length for each in pieces] == [20, walks.length - 26]
    with pytest.raises(EpisodeError, match=r"a frame of it is \(1,\)"):
        camera_lost(replace(unsure, frames={**unsure.frames, hands.CAMERA_QUALITY: quality[:-1]}))


def _begins_lost(made: SimpleNamespace, tool: Poses, camera: Poses) -> Episode:
    """As a board leaves it that comes into view late: until then the pose is that of when it first did."""
    episode = made.episode_of(tool, camera=camera, moving=True)
    pose = np.array(episode.frames[hands.CAMERA_POSE])
    pose[:30] = pose[30]
    quality = np.where(np.arange(len(pose)) < 30, 0, 1)
    return with_quality(replace(episode, frames={**episode.frames, hands.CAMERA_POSE: pose}), quality)


def test_a_camera_that_is_not_known_where_its_pose_is_given_is_no_reference(made: SimpleNamespace) -> None:
    """Everything would be off by as much as the camera went until it was known."""
    tool, camera = made.tool_path(), made.tool_path(seed=8)
    late = _begins_lost(made, tool, camera)
    with pytest.raises(EpisodeError, match=r"where the camera was in the first frame.*give `world`") as told:
        list(Retarget(camera=made.pose_numbers(camera)).run(iter([late])))
    assert told.value.feature == hands.CAMERA_QUALITY
    (found,) = Retarget(world=(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)).run(iter([late]))
    assert isinstance(found, Episode) and found.length == 60
    assert np.abs(found.frames["observation.state"][:, :3] - tool.point[30:]).max() < 1e-5
    (own,) = Retarget().run(iter([late]))  # the camera as it was first known
    known = tool.seen_from(camera.cut(30, 31).inverse())
    assert isinstance(own, Episode)
    assert np.abs(own.frames["observation.state"][:, :3] - known.point[30:]).max() < 1e-5
    still = made.episode_of(tool, camera=camera.cut(0, 1), moving=False)
    pose = np.repeat(made.pose_numbers(camera.cut(0, 1)), len(tool.point)).reshape(7, -1).T.astype(np.float32)
    still = still.with_columns({hands.CAMERA_POSE: Feature("float32", (7,), role="other")}, {hands.CAMERA_POSE: pose})
    stands = with_quality(still, np.where(np.arange(len(pose)) < 30, 0, 1))
    (found,) = Retarget(camera=made.pose_numbers(camera)).run(iter([stands]))  # it went nowhere
    assert isinstance(found, Episode) and found.length == 60


def test_a_camera_whose_beginning_was_cut_away_is_no_reference_either(made: SimpleNamespace) -> None:
    """`cut_hands` makes several episodes of a video; the pose is that of the video's first picture."""
    tool, camera = made.tool_path(), made.tool_path(seed=8)
    whole = made.episode_of(tool, camera=camera, moving=True)
    start = Retarget(camera=made.pose_numbers(camera))
    with pytest.raises(EpisodeError, match=r"where it began.*was cut away: give `world`"):
        list(start.run(iter([whole.slice(20, 90)])))
    for first, second in ((start, whole.slice(0, 70)), (Retarget(world=(0, 0, 0, 0, 0, 0, 1.0)), whole.slice(20, 90))):
        (found,) = first.run(iter([second]))
        assert isinstance(found, Episode) and found.length == 70
    (still,) = start.run(iter([made.episode_of(tool, camera=camera.cut(0, 1)).slice(20, 90)]))
    assert isinstance(still, Episode)


def test_frames_without_a_camera_neither_come_down_to_the_table_nor_carry(made: SimpleNamespace) -> None:
    tool = made.tool_path(120)
    tool.point[:] = [0.3, 0.0, 0.2] + np.linspace(0, 0.1, 120)[:, None] * [0.0, 1.0, 0.0]
    above = Poses(np.array([[0.3, 0.0, 0.9]]), np.diag([1.0, -1.0, -1.0])[None])
    camera = Poses(np.repeat(above.point, 120, 0), np.repeat(above.turn, 120, 0))
    camera.point[:, 0] += np.linspace(0, 0.01, 120)
    told = made.episode_of(tool, 0.02, camera=camera, moving=True)
    pose = np.array(told.frames[hands.CAMERA_POSE])
    pose[60:90, 2] -= 0.15  # where nothing says where it is
    quality = np.where((np.arange(120) >= 60) & (np.arange(120) < 90), 0, 1)
    wrong = with_quality(replace(told, frames={**told.frames, hands.CAMERA_POSE: pose}), quality)
    given = {"world": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0), "table": 0.15}
    right = with_quality(told, quality)
    for one, other in zip(Retarget(**given).run(iter([wrong])), Retarget(**given).run(iter([right])), strict=True):
        assert isinstance(one, Episode) and isinstance(other, Episode)
        assert np.allclose(one.frames["action"], other.frames["action"], atol=1e-6)
        assert one.labels["grasp"].table.equals(other.labels["grasp"].table)
        (step,) = (each for each in one.meta.lineage if each.name == "retarget")
        assert any("the table's height says how far" in text and "right hand" in text for text in step.assumed)
