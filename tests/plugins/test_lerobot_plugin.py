"""`lerobot_robot_dataengine` in stock LeRobot: what its own commands record with our world, and play back in it."""

from __future__ import annotations

import inspect
import stat
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

pytest.importorskip("lerobot.scripts.lerobot_record")

from lerobot_commands import EXPERT, ROBOT, command, record

from dataengine import plugins
from dataengine.sim.seeds import training_scene
from dataengine.sim.world import Tabletop
from dataengine.store import FrameReader, Store
from dataengine.store.gather import append_all
from lerobot_robot_dataengine.tabletop import DataengineTabletop

VIEWS = ("front", "wrist")
MEAN_ERROR = 8.0  # of 255: what AV1 at LeRobot's quality does to pictures of this size


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, float]]]:
    """Two episodes of two seconds by `lerobot-record`, and the actions its teleoperator gave. What `send_action`
    returns is falsified: LeRobot records the teleoperator's action."""
    root = tmp_path_factory.mktemp("recorded") / "set"
    given: list[dict[str, float]] = []
    send = DataengineTabletop.send_action

    def lying(robot: DataengineTabletop, action: dict[str, Any]) -> dict[str, Any]:
        given.append(dict(action))
        return dict.fromkeys(send(robot, action), -7.0)

    with mock.patch.object(DataengineTabletop, "send_action", lying):
        record(root, *EXPERT, "--robot.paced=false", calibration=root.parent)
    return root, given


@pytest.fixture(scope="module")
def root(made: tuple[Path, list[dict[str, float]]]) -> Path:
    return made[0]


def relived(store: Store, index: int) -> list[dict[str, np.ndarray]]:
    """What our world shows when the recorded actions of an episode are done again in its scene."""
    world = Tabletop(image_size=64)
    observation, _ = world.reset(seed=training_scene(3, index), options={"task": "pick_red"})
    seen = []
    for action in store[index].frames["action"]:
        seen.append(observation)
        observation, *_ = world.step(action)
    return seen


def test_stock_lerobot_opens_what_it_recorded(root: Path) -> None:
    from lerobot.datasets import LeRobotDataset

    dataset = LeRobotDataset("me/demo", root=root, video_backend="pyav")
    assert dataset.num_episodes == 2 and dataset.fps == 10
    assert 34 <= dataset.num_frames <= 40  # LeRobot's own timer ends each after two seconds
    world = Tabletop(image_size=64).features
    for key in ("observation.state", "action"):
        kept = [n if n.endswith(".pos") else f"{n}.pos" for n in world[key].names or ()]
        assert dataset.features[key]["names"] == kept and dataset.features[key]["dtype"] == "float32"
    assert set(dataset.meta.camera_keys) == {f"observation.images.{view}" for view in VIEWS}
    item = dataset[0]
    assert item["task"] == "pick up the red cube" and item["observation.images.front"].shape == (3, 64, 64)


def test_every_episode_has_a_scene_of_its_own_and_the_pictures_and_states_are_its(root: Path) -> None:
    store = Store.open(root)
    reader = FrameReader(store)
    row = 0
    for index in range(2):
        for frame, seen in enumerate(relived(store, index)):
            got = reader[row + frame]
            np.testing.assert_array_equal(got["observation.state"], seen["observation.state"])
            for view in VIEWS:
                want = seen[f"observation.images.{view}"].astype(float)
                picture = np.asarray(got[f"observation.images.{view}"], float)
                assert want.mean() > 40 and want.std() > 15
                assert np.abs(picture - want).mean() < MEAN_ERROR
        row += len(store[index])
    first, second = (store[i].frames["observation.state"][0] for i in range(2))
    assert np.abs(first - second).max() > 0.01


def test_what_is_recorded_is_what_the_teleoperator_gave(made: tuple[Path, list[dict[str, float]]]) -> None:
    root, given = made
    store = Store.open(root)
    actions = np.concatenate([store[i].frames["action"] for i in range(2)])
    np.testing.assert_array_equal(actions, np.array([list(a.values()) for a in given], np.float32))
    assert np.ptp(actions, axis=0)[:3].max() > 0.05  # the expert goes somewhere


def test_our_converter_takes_it_in(root: Path, tmp_path: Path) -> None:
    converter = plugins.load("converters", "lerobot_v3")()
    assert converter.sniff(root)
    plan = converter.plan(root)
    assert append_all((converter.read(plan, ref) for ref in plan.episodes), tmp_path / "store") == 2
    ours, theirs = Store.open(tmp_path / "store"), Store.open(root)
    for index in range(2):
        for key in ("observation.state", "action"):
            np.testing.assert_array_equal(ours[index].frames[key], theirs[index].frames[key])
    assert ours[0].meta.tasks == ("pick up the red cube",)


def test_lerobot_replay_does_the_episode_again_in_its_scene(root: Path, tmp_path: Path) -> None:
    states = []
    get = DataengineTabletop.get_observation

    def noted(robot: DataengineTabletop) -> dict[str, Any]:
        seen = get(robot)
        states.append([value for value in seen.values() if isinstance(value, float)])
        return seen

    with mock.patch.object(DataengineTabletop, "get_observation", noted):
        command(
            "replay",
            *ROBOT,
            *("--robot.first=1", "--robot.paced=false", "--play_sounds=false"),
            *("--dataset.repo_id=me/demo", f"--dataset.root={root}", "--dataset.episode=1"),
            calibration=tmp_path,
        )
    np.testing.assert_array_equal(np.array(states, np.float32), Store.open(root)[1].frames["observation.state"])


def test_recording_goes_on_with_the_next_scene_and_never_over_what_is_there(root: Path, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        record(root, *EXPERT, calibration=tmp_path)
    record(root, *EXPERT, "--robot.paced=false", "--resume=true", calibration=tmp_path, episodes=1, seconds=0.6)
    store = Store.open(root)
    assert len(store) == 3
    for got, want in zip(store[2].frames["observation.state"], relived(store, 2), strict=True):
        np.testing.assert_array_equal(got, want["observation.state"])


def test_lerobot_wants_a_teleoperator_and_keeps_its_videos_to_itself(root: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="RecordConfig") as refused:
        record(tmp_path / "none", calibration=tmp_path)
    assert "teleoperator is required" in str(refused.value.__cause__)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*.mp4")}
    assert 0o600 in modes  # what a resumed recording joined has the usual mode


def test_lerobot_teleoperate_at_sixty_a_second_does_not_hurry_the_world(tmp_path: Path) -> None:
    from lerobot_robot_dataengine.stage import Stage

    steps, sent = [], []
    step, send = Stage.step, DataengineTabletop.send_action
    with (
        mock.patch.object(Stage, "step", lambda stage, action: (steps.append(1), step(stage, action))[1]),
        mock.patch.object(
            DataengineTabletop, "send_action", lambda robot, action: (sent.append(1), send(robot, action))[1]
        ),
    ):
        command("teleoperate", *ROBOT, *EXPERT, "--fps=60", "--teleop_time_s=1.2", calibration=tmp_path)
    assert 6 <= len(steps) <= 14 and len(sent) >= len(steps)


def test_lerobot_still_says_the_words_that_begin_an_episode() -> None:
    from lerobot.rollout.strategies import episodic
    from lerobot.scripts import lerobot_record

    for module in (lerobot_record, episodic):
        assert 'log_say(f"Recording episode {dataset.num_episodes}"' in inspect.getsource(module)
