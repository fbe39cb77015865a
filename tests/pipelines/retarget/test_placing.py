"""Distances put right by a table that the hand comes down to."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dataengine import hands
from dataengine.episode import Episode
from dataengine.errors import ConfigError, EpisodeError
from pipelines.retarget.hand import Poses
from pipelines.retarget.motion import Reading
from pipelines.retarget.placing import FINGER

OVER = Poses(np.array([[0.1, 0.0, 0.9]]), Rotation.from_euler("x", 172, degrees=True).as_matrix()[None])  # looks down


def too_far(episode: Episode, times: float) -> Episode:
    """As a camera sees it that takes everything for `times` as far away, and the hand for as large."""
    frames = dict(episode.frames)
    for side in hands.SIDES:
        if (key := hands.column(side, "landmarks")) in frames:
            frames[key] = frames[key] * np.float32(times)
            key = hands.column(side, "wrist")
            frames[key] = frames[key] * np.array([times] * 3 + [1] * 4, np.float32)
    return replace(episode, frames=frames)


def lowest(episode: Episode, made: SimpleNamespace) -> float:
    tips = episode.frames[hands.column("right", "landmarks")][:, list(hands.TIPS)].astype(float)
    heights = (tips @ OVER.turn[0].T + OVER.point[0])[..., 2].min(1)
    return float(np.quantile(heights, 0.03)) - FINGER


@pytest.mark.parametrize("times", [0.85, 1.0, 1.15])
@pytest.mark.parametrize("moving", [False, True])
def test_a_table_puts_distances_right(made: SimpleNamespace, times: float, moving: bool) -> None:
    tool = made.tool_path(120, seed=3)
    camera = Poses(np.repeat(OVER.point, 120, 0), np.repeat(OVER.turn, 120, 0)) if moving else OVER
    episode = made.episode_of(tool, camera=camera, moving=moving)
    table = lowest(episode, made)
    pose = made.pose_numbers(OVER)
    where: dict = {"world": (0, 0, 0, 0, 0, 0, 1.0)} if moving else {"camera": pose}
    found = Reading(table=table, **where).motion(too_far(episode, times), "right").tool
    np.testing.assert_allclose(found.point, tool.point, atol=1.5e-3)
    without = Reading(**where).motion(too_far(episode, times), "right").tool
    assert np.abs(without.point - tool.point).max() > 0.05 or times == 1.0


def test_a_hand_that_stays_away_from_the_table_is_said(made: SimpleNamespace) -> None:
    episode = made.episode_of(made.tool_path(60), camera=OVER)
    with pytest.raises(EpisodeError, match="does not come down to the table"):
        Reading(table=-2.0, camera=made.pose_numbers(OVER)).motion(episode, "right")
    with pytest.raises(ConfigError, match="needs camera or world"):
        Reading(table=0.0)
