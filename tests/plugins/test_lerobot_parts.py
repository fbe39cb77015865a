"""What LeRobot asks of a plugin, fact by fact (LEROBOT.md), of ours."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lerobot.robots.config")

from lerobot.robots.config import RobotConfig
from lerobot.robots.robot import Robot
from lerobot.robots.utils import make_robot_from_config
from lerobot.teleoperators.config import TeleoperatorConfig
from lerobot.teleoperators.utils import make_teleoperator_from_config
from lerobot.utils.errors import DeviceAlreadyConnectedError, DeviceNotConnectedError
from lerobot.utils.feature_utils import hw_to_dataset_features
from lerobot.utils.utils import log_say
from lerobot_commands import quiet

import lerobot_robot_dataengine
from dataengine.errors import ConfigError
from lerobot_robot_dataengine import DataengineExpertConfig, DataengineTabletopConfig
from lerobot_robot_dataengine.pace import Pace

NAME = "lerobot_robot_dataengine"


def robot(tmp_path: Path, **choices: Any) -> Any:
    config = DataengineTabletopConfig(
        id=choices.pop("id", "one"), calibration_dir=tmp_path, **{"image_size": 32, "paced": False, **choices}
    )
    return make_robot_from_config(config)


def expert(tmp_path: Path, **choices: Any) -> Any:
    return make_teleoperator_from_config(DataengineExpertConfig(id="e", calibration_dir=tmp_path, **choices))


def test_the_distribution_is_found_by_its_name_with_underscores() -> None:
    names = {dist.metadata["Name"] for dist in importlib.metadata.distributions()}
    assert NAME in names
    assert "dataengine_tabletop" in RobotConfig.get_known_choices()
    assert "dataengine_expert" in TeleoperatorConfig.get_known_choices()


def test_what_every_command_imports_names_nothing_slow_at_its_top() -> None:
    package = Path(lerobot_robot_dataengine.__file__).parent
    allowed = ("__future__", "dataclasses", "typing", "lerobot.configs", "lerobot.envs.configs")
    allowed += ("lerobot.robots.config", "lerobot.teleoperators.config")
    opened, left = set(), ["__init__"]
    while left:
        opened.add(name := left.pop())
        for node in ast.parse((package / f"{name}.py").read_text()).body:
            assert not isinstance(node, ast.Import), ast.unparse(node)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{NAME}."):
                left += {(node.module or "").removeprefix(f"{NAME}.")} - opened
            elif isinstance(node, ast.ImportFrom):
                assert node.module in allowed, ast.unparse(node)
    assert opened == {"__init__", "config_tabletop", "config_expert", "env"}


@pytest.mark.slow  # importing LeRobot anew takes most of a minute on a busy machine
def test_importing_it_brings_neither_physics_nor_drawing() -> None:
    code = (
        "import json, sys, time\n"
        "import lerobot.robots.config, lerobot.teleoperators.config, lerobot.envs.configs\n"
        "before, began = set(sys.modules), time.process_time()\n"
        f"import {NAME}\n"
        "took = time.process_time() - began\n"
        "print(json.dumps([took, sorted(set(sys.modules) - before), 'mujoco' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    took, brought, physics = json.loads(done.stdout.splitlines()[-1])
    assert not physics and all(module.startswith(NAME) for module in brought)
    assert took < 0.5


def test_the_classes_are_found_by_dropping_config(tmp_path: Path) -> None:
    body, teacher = robot(tmp_path), expert(tmp_path)
    assert type(body).__name__ == "DataengineTabletop" and isinstance(body, Robot)
    assert type(teacher).__name__ == "DataengineExpert"
    for part, config in ((body, DataengineTabletopConfig), (teacher, DataengineExpertConfig)):
        assert part.config_class is config and part.name == config.get_choice_name(config)
        assert part.is_calibrated and not part.is_connected
        part.calibrate()
        part.configure()


def test_features_are_builtin_floats_and_pictures_with_names_that_lerobot_keeps(tmp_path: Path) -> None:
    body = robot(tmp_path)
    numbers = {k: v for k, v in body.observation_features.items() if not isinstance(v, tuple)}
    pictures = {k: v for k, v in body.observation_features.items() if isinstance(v, tuple)}
    assert all(kind is float for kind in (*numbers.values(), *body.action_features.values()))
    assert all(name.endswith((".pos", ".vel")) for name in (*numbers, *body.action_features))
    assert set(pictures.values()) == {(32, 32, 3)} and len(body.cameras) == len(pictures) == 2
    assert set(body.action_features) <= set(numbers)  # so that LeRobot can drive back to where it began
    state = hw_to_dataset_features(body.observation_features, "observation")["observation.state"]
    assert state["names"] == list(numbers) and state["dtype"] == "float32"


def test_lerobot_drops_other_kinds_of_numbers_without_a_word_and_refuses_rows() -> None:
    kept = hw_to_dataset_features({"a.pos": float, "b.pos": int, "c.pos": bool, "d.pos": np.float32}, "observation")
    assert kept["observation.state"]["names"] == ["a.pos"]
    with pytest.raises(ValueError, match="3-tuple"):
        hw_to_dataset_features({"row": (6,)}, "observation")


def test_observations_and_actions_have_the_keys_and_kinds_of_their_features(tmp_path: Path) -> None:
    body, teacher = robot(tmp_path), expert(tmp_path)
    teacher.connect()  # before the robot, as LeRobot does
    body.connect()
    seen, action = body.get_observation(), teacher.get_action()
    assert list(seen) == list(body.observation_features)
    assert list(action) == list(body.action_features) == list(teacher.action_features)
    assert all(type(value) is float for value in action.values())
    assert all(type(seen[k]) is float for k, kind in body.observation_features.items() if kind is float)
    assert seen["front"].dtype == np.uint8 and seen["front"].std() > 15
    sent = body.send_action({**dict.fromkeys(body.observation_features, 9.0), **action})
    assert sent == pytest.approx(action, abs=1e-6)
    assert teacher.feedback_features == {}
    teacher.send_feedback({})
    body.disconnect()
    teacher.disconnect()


def test_nothing_works_before_connecting_and_nobody_connects_twice(tmp_path: Path) -> None:
    body, teacher = robot(tmp_path), expert(tmp_path)
    for refused in (body.get_observation, lambda: body.send_action({}), body.disconnect, teacher.get_action):
        with pytest.raises(DeviceNotConnectedError):
            refused()
    body.connect()
    teacher.connect()
    for part in (body, teacher):
        with pytest.raises(DeviceAlreadyConnectedError):
            part.connect()
        part.disconnect()


def test_the_expert_solves_the_task_it_shares_with_the_robot(tmp_path: Path) -> None:
    body, teacher = robot(tmp_path, task="pick_blue", views=[]), expert(tmp_path)
    body.connect()
    teacher.connect()
    for _ in range(80):
        body.get_observation()
        body.send_action(teacher.get_action())
        if body._stage.success:
            break
    assert body._stage.success
    body.disconnect()


def test_the_expert_asks_which_of_two_robots_is_meant(tmp_path: Path) -> None:
    one, two = robot(tmp_path, id="left", views=[]), robot(tmp_path, id="right", views=[])
    one.connect()
    two.connect()
    lost, found, wrong = expert(tmp_path), expert(tmp_path, robot="right"), expert(tmp_path, robot="middle")
    for teacher in (lost, found, wrong):
        teacher.connect()
    with pytest.raises(ConfigError, match=r"left.*right"):
        lost.get_action()
    with pytest.raises(ConfigError, match="middle"):
        wrong.get_action()
    assert found._stage is two._stage and found.get_action()


def scenes(body: Any, steps: int) -> int:
    for _ in range(steps):
        seen = body.get_observation()
        body.send_action({key: seen[key] for key in body.action_features})
    return int(body._stage.scene)


def test_an_announced_episode_begins_in_its_own_scene_and_a_redo_in_the_same(tmp_path: Path) -> None:
    body = robot(tmp_path, views=[], first=5)
    with quiet():
        logging.getLogger().setLevel(logging.NOTSET)
        body.connect()
        assert scenes(body, 2) == 5
        log_say("Recording episode 2", play_sounds=False)
        start = body.get_observation()
        assert body._stage.scene == 7 and scenes(body, 3) == 7
        log_say("Reset the environment", play_sounds=False)
        assert scenes(body, 2) == 7
        log_say("Recording episode 2", play_sounds=False)
        assert body.get_observation() == start and body._stage.steps == 0
        assert scenes(body, 150) == 7  # however long it lasts, a recorded episode keeps its scene
        body.disconnect()
        log_say("Recording episode 3", play_sounds=False)
        assert body._hearing.announced() is None


def test_where_nobody_records_the_next_scene_comes_when_the_time_is_up(tmp_path: Path) -> None:
    body = robot(tmp_path, views=[])
    body.connect()
    while body._stage.ended is None:
        assert scenes(body, 1) == 0
    limit = body._stage.steps
    assert scenes(body, 10) == 0 and scenes(body, 1) == 1  # left alone for a second
    while body._stage.scene == 1:
        scenes(body, 1)
    assert limit == 80 and body._stage.scene == 2
    body.disconnect()


def test_a_wrong_choice_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pick_red"):
        robot(tmp_path, task="dance")
    with pytest.raises(ValueError, match="warp"):
        robot(tmp_path, world="warp")


@pytest.mark.parametrize(("rate", "seconds", "steps"), [(60, 2.0, 20), (10, 2.0, 20), (9.7, 2.0, 19), (4, 2.0, 8)])
def test_the_world_keeps_to_the_wall_clock_and_misses_no_slower_loop(rate: float, seconds: float, steps: int) -> None:
    pace, rng = Pace(10.0), np.random.default_rng(0)
    times = np.arange(0, seconds, 1 / rate)
    done = sum(pace.due(now + rng.uniform(-0.01, 0.01)) for now in times)
    assert abs(done - steps) <= 1


def test_a_plugin_that_breaks_is_only_logged_and_hyphens_are_not_found(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from lerobot.utils import import_utils

    class Fake:
        def __init__(self, name: str) -> None:
            self.metadata = {"Name": name}

    fakes = [Fake("lerobot_robot_broken"), Fake("lerobot-robot-hyphens")]
    monkeypatch.setattr(import_utils.importlib.metadata, "distributions", lambda: fakes)
    with caplog.at_level(logging.INFO):
        import_utils.register_third_party_plugins()
    assert "Could not import third-party plugin: lerobot_robot_broken" in caplog.text
    assert "hyphens" not in caplog.text
