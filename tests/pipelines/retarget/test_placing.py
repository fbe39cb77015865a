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


def _walking(made: SimpleNamespace) -> Episode:
    return made.episode_of(made.tool_path(), camera=made.tool_path(seed=8), moving=True)


def test_frames_in_which_nothing_says_where_the_camera_is_are_cut_out(made: SimpleNamespace) -> None:
    walks = _walking(made)
    quality = np.ones(walks.length, np.float32)
    quality[20:26] = 0
    unsure = walks.with_columns(
        {hands.CAMERA_QUALITY: Feature("float32", (1,), role="other")}, {hands.CAMERA_QUALITY: quality}
    )
    world = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    found = [each for each in Retarget(world=world, shortest=0.1).run(iter([unsure])) if isinstance(each, Episode)]
    assert [each.length for each in found] == [20, walks.length - 26]
    (cut,) = found[0].labels["retarget_cuts"].table.to_pylist()
    assert (cut["start"], cut["stop"], cut["reason"]) == (20, 26, "camera") and "where the camera was" in cut["text"]
    (whole,) = Retarget(space="hand").run(iter([unsure]))  # its rows stand in their own camera's frame
    assert isinstance(whole, Episode) and whole.length == walks.length
    with pytest.raises(EpisodeError, match=r"a frame of it is \(1,\)"):
        camera_lost(replace(unsure, frames={**unsure.frames, hands.CAMERA_QUALITY: quality[:-1]}))
