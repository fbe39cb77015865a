"""Motion language against motions that are known: made ones, the embedded world's, and other people's."""

from __future__ import annotations

import importlib.util
import itertools
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotators.motion.body import DIRECTIONS, Arm, read_body, words_of
from annotators.motion.primitives import merge, motion_segments, speed
from annotators.motion.subtasks import PHRASES, subtask_segments
from annotators.motion_language import MotionLanguage
from conftest import shared_data
from converters.base import detect
from dataengine import plugins
from dataengine.episode import Episode, Feature, Label, Meta
from dataengine.errors import ConfigError
from dataengine.plugins import Annotator
from dataengine.store import language

FPS = 20.0
NAMES = ("ee.x", "ee.y", "ee.z", "gripper.pos")
UNITS = ("m", "m", "m", "1")


def made(
    columns: np.ndarray,
    names: tuple[str, ...] | None = NAMES,
    units: tuple[str, ...] | str | None = UNITS,
    frame: str | None = "base",
    fps: float = FPS,
) -> Episode:
    info = {"frame": frame} if frame else {}
    feature = Feature("float64", columns.shape[1:], names, "state", units, info=info)
    return Episode("made", fps, {"observation.state": feature}, {"observation.state": columns}, meta=Meta(tasks=("t",)))


def said(episode: Episode, label: str = "motion", **params: Any) -> list[tuple[int, int, str]]:
    rows = MotionLanguage(**params).annotate(episode)[label].table.to_pylist()
    return [(r["start"], r["stop"], r["text"]) for r in rows]


def straight(direction: np.ndarray, frames: int = 40, speed: float = 0.2) -> np.ndarray:
    """`(T, 4)`: a tool going one way at `speed` [m/s], its gripper open."""
    at = np.arange(frames)[:, None] / FPS * speed * direction / np.linalg.norm(direction)
    return np.concatenate([at, np.ones((frames, 1))], axis=1)


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.sampled_from((-1, 0, 1))] * 3).filter(any), st.floats(0.05, 1.0))
def test_straight_motions_are_named_after_their_axes(signs: tuple[int, int, int], pace: float):
    episode = made(straight(np.array(signs, float), speed=pace))
    words = [DIRECTIONS["base"][axis][0 if sign > 0 else 1] for axis, sign in enumerate(signs) if sign]
    assert said(episode) == [(0, 40, f"move {' and '.join(words)}")]


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 2 * np.pi))
def test_eight_directions_share_the_compass(angle: float):
    sector = (angle + np.pi / 8) % (np.pi / 4)
    if min(sector, np.pi / 4 - sector) < 0.02:
        return  # on the border of two
    episode = made(straight(np.array([np.cos(angle), np.sin(angle), 0])))
    names = ("forward", "forward and left", "left", "backward and left", "backward", "backward and right", "right")
    names = (*names, "forward and right")
    assert said(episode) == [(0, 40, f"move {names[int((angle + np.pi / 8) // (np.pi / 4)) % 8]}")]


def test_turns_of_the_path_are_found_within_half_the_horizon():
    path = np.cumsum(np.repeat([[0.01, 0, 0], [0, 0, 0.01], [0, 0, 0], [0, -0.01, 0]], 20, axis=0), axis=0)
    found = said(made(np.concatenate([path, np.ones((80, 1))], axis=1)))
    assert [text for _, _, text in found] == ["move forward", "move up", "hold still", "move right"]
    assert np.abs(np.array([a for a, _, _ in found]) - [0, 20, 40, 60]).max() <= 0.2 * FPS
    assert [a for a, _, _ in found[1:]] == [b for _, b, _ in found[:-1]]


def test_rest_and_tremor_hold_still():
    trembling = np.random.default_rng(0).normal((0.2, 0, 0.1, 1), 2e-4, (60, 4))
    assert said(made(trembling)) == [(0, 60, "hold still")]


def pick(frames: int = 100) -> np.ndarray:
    """Down for 30 frames, close for 10, up for 20, across for 20, open for 10, up again."""
    parts = [(30, (0, 0, -0.005, 0)), (10, (0, 0, 0, -0.08)), (20, (0, 0, 0.005, 0)), (20, (0.01, 0, 0, 0))]
    parts += [(10, (0, 0, 0, 0.08)), (10, (0, 0, 0.005, 0))]
    moves = np.concatenate([np.tile(move, (count, 1)) for count, move in parts])
    return np.cumsum(moves, axis=0)[:frames] + np.array([0.2, 0, 0.3, 1])


def test_subtasks_are_cut_at_gripper_events():
    found = said(made(pick()), "subtask")
    assert [text for _, _, text in found] == [
        PHRASES[name] for name in ("reach", "grasp", "lift", "transport", "release", "retreat")
    ]
    assert np.abs(np.array([a for a, _, _ in found]) - [0, 30, 40, 60, 80, 90]).max() <= 3
    assert found[0][0] == 0 and found[-1][1] == 100


def test_the_gripper_is_part_of_the_motion():
    texts = [text for _, _, text in said(made(pick()))]
    assert texts[0] == "move down" and any("close the gripper" in t for t in texts)
    assert any("open the gripper" in t for t in texts) and texts[-1] == "move up"


def test_lifting_is_only_said_where_up_is_known():
    episode = made(pick(), frame=None)
    assert PHRASES["lift"] not in [text for _, _, text in said(episode, "subtask")]
    assert PHRASES["lift"] in [text for _, _, text in said(episode, "subtask", frame="world")]
    assert said(episode)[0][2] == "move along -z"


def test_two_arms_are_named_by_their_sides():
    names = tuple(f"{side}_{n}" for side in ("left", "right") for n in ("ee.x", "ee.y", "ee.z", "gripper"))
    both = np.concatenate([straight(np.array([0.0, 1, 0])), straight(np.array([0.0, 0, -1]))], axis=1)
    found = said(made(both, names, UNITS * 2))
    assert found == [(0, 40, "left arm: move left"), (0, 40, "right arm: move down")]


def test_joints_are_named_where_there_is_no_tool_position():
    t = np.arange(60)[:, None] / FPS
    joints = np.concatenate([0.5 * t, 0 * t, -0.5 * t], axis=1)
    found = said(made(joints, ("shoulder_pan.pos", "elbow_flex.pos", "wrist_roll.pos"), "rad"))
    assert found == [(0, 60, "turn shoulder pan + and wrist roll -")]


def test_what_columns_do_not_say_is_unknown():
    unnamed = MotionLanguage().annotate(made(pick(), None))
    assert unnamed["motion"].table.num_rows == 0
    assert unnamed["motion"].source["unknown"] == ["the state's dimensions have no names"]
    no_gripper = MotionLanguage().annotate(made(pick()[:, :3], NAMES[:3], "m"))
    assert (
        no_gripper["subtask"].table.num_rows == 0 and "no gripper is named" in no_gripper["subtask"].source["unknown"]
    )
    assert no_gripper["motion"].table.num_rows > 0
    still = MotionLanguage().annotate(made(straight(np.array([1.0, 0, 0]))))
    assert still["subtask"].source["unknown"] == ["the gripper neither opens nor closes"]


def test_objects_velocities_and_fingers_are_no_arm():
    names = ("cube.x", "cube.y", "cube.z", "robot0_joint_vel.joint1", "kLeftHandPinky", "left_leg.0")
    assert read_body(made(np.zeros((30, 6)), names, None)).arms == ()
    assert words_of("kLeftShoulderPitch") == ["left", "shoulder", "pitch"]


def test_labels_become_language_columns_of_their_styles():
    episode = made(pick())
    spoken = language.columns("made", episode.length, FPS, MotionLanguage().annotate(episode), [])
    rows = spoken[language.PERSISTENT].to_pylist()[-1]
    assert {row["style"] for row in rows} == {"motion", "subtask"} and {row["role"] for row in rows} == {"assistant"}
    subtasks = [(row["timestamp"], row["content"]) for row in rows if row["style"] == "subtask"]
    assert subtasks[0] == (0.0, PHRASES["reach"]) and [t for t, _ in subtasks] == sorted(t for t, _ in subtasks)


def test_what_others_have_said_stays():
    said_by_hand = Label("span", pa.table({"start": [0], "stop": [100], "text": ["tidy up"]}), {"name": "Ada"})
    labels = MotionLanguage().annotate(made(pick()).with_label("subtask", said_by_hand))
    assert set(labels) == {"motion"}


def test_long_recordings_take_no_time():
    noisy = np.cumsum(np.random.default_rng(0).normal(0, 0.01, (40_000, 4)), axis=0)
    begin = time.perf_counter()
    MotionLanguage().annotate(made(noisy))
    assert time.perf_counter() - begin < 10


def test_frame_direction_and_unit_stand_in_the_source():
    source = MotionLanguage().annotate(made(pick()))["motion"].source
    assert source["frame"] == "base" and source["unit"] == ["m"] and source["directions"]["y"] == ["left", "right"]


@given(st.lists(st.sampled_from("ab "), min_size=1, max_size=60), st.integers(1, 8))
def test_merged_segments_cover_everything_and_are_long(texts: list[str], shortest: int):
    found = merge(list(texts), shortest)
    assert found[0].start == 0 and found[-1].stop == len(texts)
    assert all(a.stop == b.start and a.text != b.text for a, b in itertools.pairwise(found))
    assert len(found) == 1 or all(s.stop - s.start >= shortest for s in found)


@given(st.integers(3, 40), st.integers(1, 6), st.floats(-5, 5))
def test_speed_of_a_line_is_its_slope(frames: int, reach: int, slope: float):
    assert speed(slope * np.arange(frames) / FPS, FPS, reach) == pytest.approx(np.full(frames, slope), abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 60), st.integers(0, 2**32))
def test_any_motion_gives_spans_inside_the_episode(frames: int, seed: int):
    rng = np.random.default_rng(seed)
    arm = Arm("", np.cumsum(rng.normal(0, 0.01, (frames, 3)), axis=0), "m", opening=rng.uniform(0, 1, frames))
    for segments in (motion_segments(arm, "base", FPS, 0.4, 0.3), subtask_segments(arm, FPS, 0.4, True)):
        if isinstance(segments, str):
            continue
        assert segments[0].start == 0 and segments[-1].stop == frames
        assert all(a.stop == b.start for a, b in itertools.pairwise(segments))
        assert all(s.stop > s.start for s in segments)


def test_parameters_are_checked_and_the_annotator_is_found_by_name():
    assert isinstance(plugins.make("annotators", "motion_language"), Annotator)
    with pytest.raises(ConfigError, match="frame"):
        plugins.make("annotators", "motion_language", {"frame": "camera"})
    with pytest.raises(ConfigError, match="horizon"):
        MotionLanguage(horizon=0)


def test_the_embedded_world_is_described_as_it_happened():
    """Scripted picking, whose truth the simulator knows: the cube rises while the label says lift."""
    if importlib.util.find_spec("mujoco") is None:
        pytest.skip("needs mujoco")
    from collectors.expert import ExpertCollector

    for episode in ExpertCollector(episodes=6, image_size=32, noise=0.0, recovery=0.0).collect():
        names = list(episode.features["observation.state"].names or ())
        state = episode.frames["observation.state"]
        tool = state[:, [names.index(f"ee.{a}") for a in "xyz"]]
        opening = state[:, names.index("gripper.pos")]
        subtasks = {text: (a, b) for a, b, text in said(episode, "subtask")}
        assert list(subtasks) == [PHRASES["reach"], PHRASES["grasp"], PHRASES["lift"]]
        start, stop = subtasks[PHRASES["grasp"]]
        assert opening[start] > 0.8 and opening[stop - 1 : stop + 2].min() < 0.6
        # The tool is lowest while it grasps, and the lift brings it up.
        assert start - 2 <= int(np.argmin(tool[:, 2])) <= stop + 2
        lift = subtasks[PHRASES["lift"]]
        assert tool[lift[1] - 1, 2] - tool[lift[0], 2] > 0.03
        for a, b, text in said(episode):
            gone = tool[min(b, len(tool) - 1)] - tool[a]
            for axis, (positive, negative) in enumerate(DIRECTIONS["base"]):
                words = text.replace("close the gripper", "").split()
                if b - a >= 4 and positive in words:
                    assert gone[axis] > 0, (text, gone)
                if b - a >= 4 and negative in words:
                    assert gone[axis] < 0, (text, gone)


@pytest.mark.parametrize(
    ("name", "some", "subtask"),
    [
        ("robomimic_hdf5/low_dim.hdf5", "move along -z", "grasp the object"),
        ("aloha_act_hdf5/mobile_aloha", "left arm: turn", "left arm: grasp the object"),
        ("umi_zarr/pusht_replay.zarr", "move left", None),
        ("lerobot_v21_g1", "right arm: turn", None),
    ],
)
def test_other_peoples_robots_are_described(name: str, some: str, subtask: str | None):
    path = shared_data(name)
    converter = detect(path)
    plan = converter.plan(path)
    episode = converter.read(plan, plan.episodes[0])
    labels = MotionLanguage().annotate(episode)
    texts = labels["motion"].table.column("text").to_pylist()
    assert any(text.startswith(some) for text in texts)
    subtasks = labels["subtask"].table.column("text").to_pylist()
    assert (subtask in subtasks) if subtask else (not subtasks and labels["subtask"].source["unknown"])
    for label in labels.values():
        spans = np.array([[r["start"], r["stop"]] for r in label.table.to_pylist()]).reshape(-1, 2)
        assert (spans[:, 0] < spans[:, 1]).all() and spans.max(initial=0) <= episode.length
