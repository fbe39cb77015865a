"""LeRobot v2.0, v2.1 and GR00T's demo as others wrote them, against an independent reading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from lerobot_folders import TOP

from conftest import shared_data
from converters.base import detect
from converters.lerobot_v2 import LeRobotV2
from dataengine.episode import CAPTURE_TIME, Episode
from dataengine.source import Plan

TABLE = "data/chunk-000/episode_000001.parquet"
VIDEO = f"videos/chunk-000/{TOP}/episode_000001.mp4"


def read(root: Path, mapping: dict[str, Any] | None = None) -> tuple[Plan, list[Episode]]:
    converter = LeRobotV2()
    plan = converter.plan(root, mapping)
    return plan, [converter.read(plan, ref) for ref in plan.episodes if ref.problem is None]


def truth_of(name: str) -> dict[str, Any]:
    return json.loads(shared_data("truth.json").read_text())[name]


def check_against_truth(root: Path, truth: dict[str, Any]) -> None:
    """Frames, sums, first and last rows and mean colours of an independent reading."""
    plan, episodes = read(root)
    assert (plan.fps, plan.frames, len(episodes)) == (truth["fps"], truth["total_frames"], truth["total_episodes"])
    for episode, (_, want) in zip(episodes, sorted(truth["episodes"].items(), key=lambda e: int(e[0])), strict=True):
        assert len(episode) == want["frames"]
        for key, values in (("action", want["action"]), ("observation.state", want["state"])):
            column = episode.frames[key]
            assert column.shape == tuple(values["shape"])
            np.testing.assert_allclose(column.sum(0, dtype=np.float64), values["sum_per_dim"], atol=2e-3)
            np.testing.assert_allclose(column[[0, -1]], [values["first"], values["last"]], atol=1e-5)
        for key, camera in want["cameras"].items():
            if "frame_0" not in camera or key not in episode.clips:
                continue
            clip = episode.clips[key]
            assert clip.length == camera["frames"]
            for index, named in ((0, "frame_0"), (clip.length - 1, "frame_last")):
                frame = clip.frame(index)
                assert frame.shape == tuple(camera["shape"])
                np.testing.assert_allclose(frame.mean((0, 1)), camera[named]["mean_per_channel"], atol=1.0)
                half = frame[: frame.shape[0] // 2].mean()
                np.testing.assert_allclose(half, camera[named]["top_half"], atol=1.0)


@pytest.mark.parametrize("name", ["lerobot_v20", "lerobot_v21"])
def test_real_folders_are_what_an_independent_reading_found(name: str) -> None:
    check_against_truth(shared_data(name), truth_of(name))


def test_real_groot_demo() -> None:
    root = shared_data("groot_lerobot/robot_sim.PickNPlace")
    check_against_truth(root, truth_of("groot_lerobot"))
    plan, episodes = read(root)
    assert plan.features["action"].names is not None
    assert plan.features["action"].names[7] == "left_hand.0" and plan.features["action"].names[-1] == "waist.2"
    assert {e.meta.tasks for e in episodes} == {
        (f"pick the {thing} from the counter and place it in the plate",)
        for thing in ("squash", "ketchup", "candle", "bar", "spray")
    }
    assert all(e.labels["human.validity"].table.column("valid").to_pylist() == [True] for e in episodes)
    by_hand = pq.read_table(root / "data/chunk-000/episode_000002.parquet", columns=["timestamp"])
    assert np.array_equal(episodes[2].frames[CAPTURE_TIME], by_hand.column(0).to_numpy())


def test_real_pictures_in_the_table_have_the_known_sum() -> None:
    episode = read(shared_data("lerobot_v20"))[1][1]
    assert sum(int(frame.sum()) for frame in episode.clips["observation.images.angle"].frames()) == 97550970


def test_a_real_robot() -> None:
    root = shared_data("lerobot_v21_g1")
    plan, episodes = read(root)
    assert plan.features["action"].names is not None and plan.features["action"].names[0] == "kLeftShoulderPitch"
    for number, episode in enumerate(episodes):
        table = pq.read_table(root / f"data/chunk-000/episode_{number:06d}.parquet")
        by_hand = np.stack(table.column("observation.state").to_pylist()).astype(np.float32)
        assert np.array_equal(episode.frames["observation.state"], by_hand)
        with av.open(str(root / f"videos/chunk-000/observation.images.cam_high/episode_{number:06d}.mp4")) as video:
            first = next(video.decode(video=0)).to_ndarray(format="rgb24")
        assert np.array_equal(episode.clips["observation.images.cam_high"].frame(0), first)


def test_the_same_rollouts_come_out_of_both_versions() -> None:
    for old, new in zip(read(shared_data("lerobot_v20"))[1], read(shared_data("lerobot_v21"))[1], strict=True):
        assert old.meta.tasks == new.meta.tasks
        for key in ("observation.state", "action", "next.reward"):
            assert np.array_equal(old.frames[key], new.frames[key])
        lossless, coded = old.clips["observation.images.angle"], new.clips["observation.images.angle"]
        pairs = zip(lossless.frames(), coded.frames(), strict=True)
        assert max(float(((a.astype(float) - b) ** 2).mean()) for a, b in pairs) < 40


def test_the_same_rollouts_come_out_of_mobile_aloha() -> None:
    folder = shared_data("aloha_act_hdf5/mobile_aloha")
    there = list(detect(folder).read_all(folder))
    for one, other in zip(there, read(shared_data("lerobot_v21"))[1], strict=False):
        assert np.array_equal(one.frames["action"][:, :14], other.frames["action"])
        assert np.array_equal(one.frames["observation.state"], other.frames["observation.state"])
    assert len(there) == 2
