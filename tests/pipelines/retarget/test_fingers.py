"""A hand in MuJoCo that is known exactly becomes one with four fingers, judged by MuJoCo's forward kinematics of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import mujoco
import numpy as np
import pytest
from robot_hand_made import RANGES, THUMB_RANGES, TIPS, hand_xml
from scipy.spatial.transform import Rotation

from dataengine import hands
from dataengine.episode import Episode, Meta
from dataengine.errors import ConfigError, EpisodeError
from dataengine.plugins import Drop, build
from dataengine.sim.arms import SIX
from dataengine.sim.human_hand import HumanHand, Motion, before
from dataengine.sim.model import model_xml
from dataengine.store import Store
from pipelines.retarget.actions import PALM_IN_BASE
from pipelines.retarget.hand import Poses
from pipelines.retarget.rotations import NAMES, decode
from pipelines.retarget.stage import Retarget

FPS, FRAMES, SCALE = 30.0, 60, 1.4
LIMITS = np.array([*THUMB_RANGES, *RANGES, *RANGES, *RANGES])
IN_HUMAN = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])  # axes of the model's palm: x out of it, z to the fingers
JOINTS = tuple(f"{tip[:-4]}_{n}" for tip in TIPS for n in range(4))
HAND = {"palm": "palm", "fingertips": list(TIPS), "fingers": [0, 0, 1], "out": [1, 0, 0], "scale": SCALE, "speed": 8}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("hands")
    for side in hands.SIDES:
        (folder / f"{side}.xml").write_text(hand_xml(side))
    return {side: folder / f"{side}.xml" for side in hands.SIDES}


@cache
def moved(side: str, kind: str = "pinch", seed: int = 3) -> tuple[HumanHand, Motion, np.ndarray]:
    """A person's hand, how it moves, and its landmarks in the world."""
    human = HumanHand(side, person=1)
    motion = human.move(kind, seed, FRAMES, FPS)
    return human, motion, human.pose(motion.angles, motion.place, motion.rotation)


def seen(*sides: str, tracked: np.ndarray | None = None, kind: str = "pinch") -> tuple[Episode, tuple[float, ...]]:
    """What the person's own camera sees, and where it is."""
    features, columns = {}, {}
    for side in sides:
        human, motion, points = moved(side, kind)
        camera = human.camera("ego")
        turn = Rotation.from_matrix(camera.rotation.T @ motion.rotation).as_quat()
        values = {
            "pixels": np.zeros((FRAMES, 21, 2)),
            "landmarks": before(camera, points),
            "wrist": np.concatenate([before(camera, points[:, 0]), turn], 1),
            "confidence": np.ones(FRAMES),
            "sigma": np.full((FRAMES, 2), 0.01),
            "tracked": np.full(FRAMES, hands.SEEN) if tracked is None else tracked,
        }
        features |= hands.features(side)
        columns |= {
            hands.column(side, part): np.ascontiguousarray(v, np.int64 if part == "tracked" else np.float32)
            for part, v in values.items()
        }
    episode = Episode("made", FPS, features, columns, meta=Meta(tasks=("pinch",))).check()
    return episode, (*camera.place.tolist(), *Rotation.from_matrix(camera.rotation).as_quat().tolist())


def stage(**params: Any) -> Retarget:
    return build(Retarget, {"space": "dexterous", **params}, "stage 'retarget'", "retarget")


def run(made_by: Retarget, episode: Episode) -> list[Episode]:
    found = list(made_by.run(iter([episode])))
    assert not any(isinstance(one, Drop) for one in found), found
    return [one.check() for one in found if isinstance(one, Episode)]


def tips_in_palm(file: Path, joints: np.ndarray) -> np.ndarray:
    """`(T, 4, 3)` by MuJoCo, along the axes of the body `palm`."""
    model = mujoco.MjModel.from_xml_path(str(file))
    data, found = mujoco.MjData(model), np.empty((len(joints), 4, 3))
    for frame, row in enumerate(joints):
        for name, angle in zip(JOINTS, row, strict=True):
            data.joint(name).qpos[0] = angle
        mujoco.mj_forward(model, data)
        away = np.array([data.site(tip).xpos for tip in TIPS]) - data.body("palm").xpos
        found[frame] = away @ data.body("palm").xmat.reshape(3, 3)
    return found


def scaled_tips(side: str, kind: str = "pinch") -> np.ndarray:
    """`(T, 4, 3)` in the world, where the person's fingertips are if all of the hand grows from the wrist."""
    points = moved(side, kind)[2]
    return points[:, :1] + SCALE * (points[:, list(hands.TIPS[:4])] - points[:, :1])


def grip_size(points: np.ndarray) -> np.ndarray:
    """`(T,)` from the wrist to the fingertips."""
    return np.linalg.norm(points[:, list(hands.TIPS[1:4])] - points[:, :1], axis=2).sum(1)


def errors(episode: Episode, what: str) -> np.ndarray:
    return episode.labels["retarget_error"].table.column(what).to_numpy()


# -- what it writes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rotation", sorted(NAMES))
@pytest.mark.parametrize("side", hands.SIDES)
def test_wrist_and_fingers_of_the_state_bring_the_tips_there(
    files: dict[str, Path], side: str, rotation: Any, tmp_path: Path
) -> None:
    """By MuJoCo: the robot's palm put where the state says, its joints as the state says, read back from a store."""
    episode, camera = seen(side)
    kept = stage(hand=side, model=str(files[side]), robot_hand=HAND, camera=camera, rotation=rotation)
    (made,) = run(kept, episode)
    store = Store.create(tmp_path / "store", fps=FPS, features=made.features)
    with store.writer() as writer:
        writer.append(made)
    (found,) = Store.open(tmp_path / "store").episodes()
    state = found.frames["observation.state"].astype(np.float64)
    feature = found.features["observation.state"]
    count = len(NAMES[rotation])
    assert feature.names == (
        *(f"wrist.{name}" for name in ("x", "y", "z", *NAMES[rotation])),
        *(f"{n}.pos" for n in JOINTS),
    )
    turn_unit = "rad" if rotation == "euler" else "1"
    assert feature.unit == (*["m"] * 3, *[turn_unit] * count, *["rad"] * 16) and feature.info["frame"] == "base"
    assert ("rotations" in feature.info) == (rotation != "euler")
    turn = decode(state[:, 3 : 3 + count], rotation, PALM_IN_BASE.reference @ IN_HUMAN)
    tips = state[:, None, :3] + tips_in_palm(files[side], state[:, 3 + count :]) @ turn.swapaxes(1, 2)
    off = np.linalg.norm(tips - scaled_tips(side), axis=2).mean(1)
    assert np.abs(off - errors(found, f"{side}_fingers_m")).max() < 1e-5
    assert off.mean() < 0.01 and len(state) == FRAMES
    assert (state[:, 3 + count :] > LIMITS[:, 0] - 1e-6).all() and (state[:, 3 + count :] < LIMITS[:, 1] + 1e-6).all()
    assert np.abs(np.diff(state[:, 3 + count :], axis=0)).max() * FPS <= 8 + 1e-4
    assert np.allclose(found.frames["action"][:-1, 3 + count :], state[1:, 3 + count :], atol=1e-6)
    (step,) = found.meta.lineage
    assert f"{side} fingers are 1.40 times as long as the person's" in step.assumed
    assert step.params["model"] == f"{side}.xml" and not any("gripper" in each for each in step.assumed)


def test_euler_angles_are_small_for_a_palm_that_looks_down(files: dict[str, Path]) -> None:
    episode, camera = seen("right")
    (found,) = run(stage(model=str(files["right"]), robot_hand=HAND, camera=camera, rotation="euler"), episode)
    _, motion, _ = moved("right")
    ahead = Rotation.from_matrix(motion.rotation @ PALM_IN_BASE.reference.T).as_euler("xyz")
    assert np.abs(found.frames["observation.state"][:, 3:5]).max() < 0.7
    assert np.allclose(found.frames["observation.state"][:, 3:5], ahead[:, :2], atol=1e-4)


def test_without_a_calibration_the_wrist_is_seen_from_the_camera(files: dict[str, Path]) -> None:
    episode, _ = seen("right")
    (found,) = run(stage(model=str(files["right"]), robot_hand=HAND, action="delta"), episode)
    state, action = found.frames["observation.state"], found.frames["action"]
    assert found.features["action"].info["frame"] == "camera" and found.features["action"].control == "delta"
    assert np.allclose(state[:, :3], episode.frames[hands.column("right", "wrist")][:, :3], atol=1e-6)
    assert np.allclose(state[:-1, 7:] + action[:-1, 7:], state[1:, 7:], atol=1e-5)


def test_both_hands_stand_side_by_side(files: dict[str, Path]) -> None:
    """Each from a file of its own; alone it does the same."""
    episode, camera = seen("left", "right")
    names = {f"{side}_model": str(file) for side, file in files.items()}
    (found,) = run(
        stage(hand="both", robot_hand={"left": HAND, "right": HAND}, camera=camera, **names),
        episode,
    )
    told = found.features["action"].names or ()
    assert len(set(told)) == len(told) == 2 * (7 + 16)
    assert told[0] == "left_wrist.x" and told[7] == "left_thumb_0.pos" and told[-1] == "right_ring_3.pos"
    state = found.frames["observation.state"]
    for place, side in enumerate(hands.SIDES):
        (alone,) = run(stage(hand=side, model=str(files[side]), robot_hand=HAND, camera=camera), seen(side)[0])
        assert np.allclose(state[:, 23 * place : 23 * (place + 1)], alone.frames["observation.state"], atol=1e-6)
    assert set(found.labels["retarget_error"].table.column_names) == {
        f"{side}_{what}_m" for side in hands.SIDES for what in ("fingers", "late")
    }


def test_joints_that_follow_others_are_left_out(files: dict[str, Path], tmp_path: Path) -> None:
    follow = '<equality><joint joint1="index_3" joint2="index_2" polycoef="0.05 0.7 0 0 0"/></equality>'
    (tmp_path / "coupled.xml").write_text(hand_xml("right", follow))
    episode, _ = seen("right")
    (found,) = run(stage(model=str(tmp_path / "coupled.xml"), robot_hand=HAND), episode)
    told = found.features["action"].names or ()
    assert "index_2.pos" in told and "index_3.pos" not in told and len(told) == 7 + 15


# -- what it cuts ------------------------------------------------------------------------------------------------


def test_what_the_fingers_are_too_slow_for_is_cut_and_the_rest_keeps_the_speed(files: dict[str, Path]) -> None:
    episode, _ = seen("right", kind="open_close")
    slow = {**HAND, "speed": 1.5}
    given = {"shortest": 0.0, "finger_tolerance": None, "finger_depth": None}
    pieces = run(stage(model=str(files["right"]), robot_hand=slow, **given), episode)
    cuts = pieces[0].labels["retarget_cuts"].table.to_pylist()
    lost = sum(cut["stop"] - cut["start"] for cut in cuts)
    assert {cut["reason"] for cut in cuts} == {"finger_speed"} and 5 < lost < 50
    assert "the fingers are not that fast: tips" in cuts[0]["text"] and min(cut["value"] for cut in cuts) > 0.005
    assert sum(len(piece) for piece in pieces) + lost == FRAMES
    (free,) = run(
        stage(model=str(files["right"]), robot_hand={**HAND, "speed": 1e3}, finger_tolerance=None),
        episode,
    )
    whole, start = errors(free, "right_fingers_m"), 0
    for piece in pieces:
        state = piece.frames["observation.state"][:, 7:].astype(np.float64)
        assert len(state) < 2 or np.abs(np.diff(state, axis=0)).max() * FPS <= 1.5 + 1e-4
        assert errors(piece, "right_late_m").max() <= 0.005
        start = next(t for t in range(start, FRAMES) if not any(c["start"] <= t < c["stop"] for c in cuts))
        ours = errors(piece, "right_fingers_m")
        assert (ours - whole[start : start + len(piece)]).max() < 0.006  # no more than what may be late
        start += len(piece)


def test_a_leap_of_the_fingers_costs_one_frame(files: dict[str, Path]) -> None:
    """Between two poses that are held: it is not followed late for as long as the joints would need."""
    episode, _ = seen("right", kind="open_close")
    parts = {part: hands.column("right", part) for part in ("landmarks", "wrist")}
    held = {name: episode.frames[name].copy() for name in parts.values()}
    opened, shut = (int(pick(grip_size(held[parts["landmarks"]]))) for pick in (np.argmax, np.argmin))
    for column in held.values():
        column[:] = np.where(
            (np.arange(FRAMES) < 30).reshape(-1, *[1] * (column.ndim - 1)), column[opened], column[shut]
        )
    leap = Episode("leap", FPS, episode.features, {**episode.frames, **held}, meta=episode.meta)
    given = {"model": str(files["right"]), "robot_hand": {**HAND, "speed": 2}, "jump": None}
    pieces = run(stage(**given, finger_tolerance=None), leap)
    (cut,) = pieces[0].labels["retarget_cuts"].table.to_pylist()
    assert (cut["start"], cut["stop"], cut["reason"]) == (30, 31, "finger_speed") and cut["value"] > 0.02
    assert [len(piece) for piece in pieces] == [30, 29]
    assert np.ptp(pieces[1].frames["observation.state"][5:, 7:], axis=0).max() < 0.05


def test_fingertips_out_of_reach_are_told_and_cut_there(files: dict[str, Path]) -> None:
    """A person's thumb that grows out of the robot's reach for some frames."""
    episode, _ = seen("right")
    column = hands.column("right", "landmarks")
    longer = episode.frames[column].copy()
    tip = list(hands.TIPS[:4])
    longer[20:30, tip] += 0.4 * (longer[20:30, tip] - longer[20:30, :1])
    grown = Episode("grown", FPS, episode.features, {**episode.frames, column: longer}, meta=episode.meta)
    given = {"model": str(files["right"]), "robot_hand": {**HAND, "objective": "position"}, "shortest": 0.0}
    told = errors(run(stage(**given, finger_tolerance=None, finger_lag=1.0), grown)[0], "right_fingers_m")
    assert len(told) == FRAMES and told[20:30].min() > 0.03 > told[:20].max()  # any is allowed: nothing is cut
    most = round(0.9 * float(told[20:30].min()), 4)
    pieces = run(stage(**given, finger_tolerance=most), grown)
    reach = [c for c in pieces[0].labels["retarget_cuts"].table.to_pylist() if c["reason"] == "finger_reach"]
    assert [(c["start"], c["stop"]) for c in reach] == [(20, 30)]
    assert reach[0]["value"] == pytest.approx(told[20:30].max(), rel=0.05)
    assert f"allowed are {1e3 * most:g} mm" in reach[0]["text"]
    assert all(errors(piece, "right_fingers_m").max() < most for piece in pieces)


@pytest.mark.parametrize("objective", ["vector", "dexpilot"])
def test_after_a_gap_it_starts_as_an_episode_does(files: dict[str, Path], objective: str) -> None:
    tracked = np.full(FRAMES, hands.SEEN)
    tracked[24:30] = hands.ABSENT
    episode, _ = seen("right", tracked=tracked)
    made_by = stage(model=str(files["right"]), robot_hand={**HAND, "objective": objective}, shortest=0.2)
    first, second = run(made_by, episode)
    (alone,) = run(made_by, episode.slice(30, FRAMES))
    assert (len(first), len(second)) == (24, 30)
    assert np.array_equal(second.frames["observation.state"], alone.frames["observation.state"])
    steps = np.abs(np.diff(second.frames["observation.state"][:, 7:], axis=0)).max(1)
    assert steps[0] <= 1.5 * steps[1:6].max() + 0.01  # it does not hurry to where it should have begun


# -- with an arm -------------------------------------------------------------------------------------------------


def test_a_hand_on_an_arm_is_carried_by_it(files: dict[str, Path], made: SimpleNamespace, tmp_path: Path) -> None:
    """Arm and hand in one file: the joints alone bring the fingertips where the scaled hand has them."""
    robot, palm = (ElementTree.fromstring(xml) for xml in (model_xml("six", "cubes", 10.0), hand_xml()))
    palm = next(palm.iter("body"))
    palm.attrib |= {"pos": "0.13 0.02 0.01", "euler": "0.2 -0.6 0.4"}
    next(body for body in robot.iter("body") if body.get("name") == "hand").append(palm)
    file = tmp_path / "mounted.xml"
    file.write_text(ElementTree.tostring(robot, "unicode"))
    model = mujoco.MjModel.from_xml_path(str(file))
    data = mujoco.MjData(model)
    low, high = np.array(SIX.joint_range).T
    ends = np.array([0.3, 0.2, 0.1, -0.2, 0.1, 0.2]) * [[-0.2], [0.6]] + np.clip((low + high) / 2, -1, 1)
    path = ends[0] + made.minimum_jerk(FRAMES)[:, None] * (ends[1] - ends[0])
    places, turns = [], []
    for row in path:
        for name, angle in zip(SIX.joints, row, strict=True):
            data.joint(name).qpos[0] = angle
        mujoco.mj_forward(model, data)
        places.append(data.body("palm").xpos.copy())
        turns.append(data.body("palm").xmat.reshape(3, 3).copy())
    palms = Poses(np.array(places), np.array(turns))
    human, motion, _ = moved("right")
    wrist = Poses(palms.point, palms.turn @ IN_HUMAN.T)
    points = human.pose(motion.angles, wrist.point, wrist.turn)
    episode, _ = seen("right")
    column = {part: hands.column("right", part) for part in ("landmarks", "wrist")}
    quaternion = Rotation.from_matrix(wrist.turn).as_quat()
    frames = {
        **episode.frames,
        column["landmarks"]: points.astype(np.float32),
        column["wrist"]: np.concatenate([wrist.point, quaternion], 1).astype(np.float32),
    }
    episode = Episode("carried", FPS, episode.features, frames, meta=episode.meta)
    arm = {"tool": "palm", "joints": list(SIX.joints), "speed": 3.0, "collisions": False}
    made_by = stage(model=str(file), arm=arm, robot_hand=HAND, camera=(0, 0, 0, 0, 0, 0, 1))
    (found,) = run(made_by, episode)
    assert found.features["action"].names == (*(f"{n}.pos" for n in SIX.joints), *(f"{n}.pos" for n in JOINTS))
    assert "frame" not in found.features["action"].info
    wanted = points[:, :1] + SCALE * (points[:, list(hands.TIPS[:4])] - points[:, :1])
    told = errors(found, "right_fingers_m")
    for frame, row in enumerate(found.frames["observation.state"].astype(np.float64)):
        for name, angle in zip((*SIX.joints, *JOINTS), row, strict=True):
            data.joint(name).qpos[0] = angle
        mujoco.mj_forward(model, data)
        tips = np.array([data.site(tip).xpos for tip in TIPS])
        assert np.linalg.norm(tips - wanted[frame], axis=1).mean() == pytest.approx(told[frame], abs=3e-4)
    assert told.mean() < 0.01 and errors(found, "right_m").max() < 1e-4
    state = found.frames["observation.state"].astype(np.float64)

    def stand(model: mujoco.MjModel, data: mujoco.MjData, row: np.ndarray) -> None:
        for name, angle in zip((*SIX.joints, *JOINTS), row, strict=True):
            data.joint(name).qpos[0] = angle
        mujoco.mj_forward(model, data)

    stand(model, data, state[-1])
    bead = '<geom size=".01" contype="2" conaffinity="2"/>'  # where only bent fingers come to
    bead = f'<body name="bead" pos="{" ".join(map(str, data.site("index_tip").xpos))}">{bead}</body>'
    thick = file.read_text().replace('size="0.012"', 'size="0.012" contype="2" conaffinity="2"')
    (tmp_path / "bead.xml").write_text(thick.replace("<worldbody>", f"<worldbody>{bead}", 1))
    beaded = mujoco.MjModel.from_xml_path(str(tmp_path / "bead.xml"))
    hit, data, number = np.zeros(FRAMES, bool), mujoco.MjData(beaded), beaded.body("bead").id
    for frame, row in enumerate(state):
        stand(beaded, data, row)
        touching = [c for c in data.contact if number in beaded.geom_bodyid[c.geom] and c.dist < -0.002]
        hit[frame] = bool(touching)
    both = {"model": str(tmp_path / "bead.xml"), "robot_hand": HAND, "camera": (0, 0, 0, 0, 0, 0, 1)}
    pieces = run(stage(**both, arm={**arm, "collisions": True}, shortest=0.0, finger_depth=None), episode)
    cuts = [c for c in pieces[0].labels["retarget_cuts"].table.to_pylist() if c["reason"] == "collision"]
    lost = np.zeros(FRAMES, bool)
    for cut in cuts:
        lost[cut["start"] : cut["stop"]] = True
    assert (lost == hit).all() and 3 < hit.sum() < 57 and "bead" in cuts[0]["text"]
    with pytest.raises(ConfigError, match="thumb_0 is one of the arm and one of the fingers"):
        stage(
            model=str(file), robot_hand=HAND, camera=(0, 0, 0, 0, 0, 0, 1), arm={**arm, "joints": ["joint1", "thumb_0"]}
        )


# -- what it refuses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "robot_hand and space 'dexterous' belong together"),
        ({"space": "gripper", "robot_hand": HAND}, "belong together"),
        ({"robot_hand": HAND}, "the file of the right hand is not given; it is right_model, or model"),
        ({"robot_hand": HAND, "left_model": "x.xml"}, "the file of the right hand is not given"),
        ({"space": "hand", "left_model": "x.xml"}, "files of a robot_hand"),
        ({"robot_hand": HAND, "model": "nowhere.xml"}, "there is no file nowhere.xml"),
        ({"robot_hand": {**HAND, "model": "a.xml"}, "model": "FILE"}, "model does not belong there"),
        ({"robot_hand": {**HAND, "side": "left"}, "model": "FILE"}, "side does not belong there"),
        ({"robot_hand": {**HAND, "nose": 1}, "model": "FILE"}, "there is no nose. Known"),
        ({"robot_hand": {**HAND, "palm": "hip"}, "model": "FILE"}, "no body or site 'hip'"),
        ({"robot_hand": HAND, "model": "FILE", "hand": "both"}, "both hands need 'left' and 'right'"),
        ({"robot_hand": {"left": HAND, "right": 3}, "model": "FILE", "hand": "both"}, "each with its palm"),
        ({"robot_hand": HAND, "model": "FILE", "arm": {"tool": "palm", "joints": ["a"]}}, "needs camera or world"),
        ({"robot_hand": HAND, "model": "FILE", "finger_lag": 0.0}, "retarget.finger_lag: 0.0 is not above 0"),
        ({"robot_hand": HAND, "model": "FILE", "finger_tolerance": -1.0}, "retarget.finger_tolerance: -1.0"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(files: dict[str, Path], params: dict, message: str) -> None:
    given = {key: str(files["right"]) if value == "FILE" else value for key, value in params.items()}
    with pytest.raises(ConfigError, match=message):
        stage(**given)


def test_a_hand_without_size_is_said(files: dict[str, Path]) -> None:
    episode, _ = seen("right")
    column = hands.column("right", "landmarks")
    point = Episode("p", FPS, episode.features, {**episode.frames, column: np.zeros_like(episode.frames[column])})
    made_by = stage(model=str(files["right"]), robot_hand={**HAND, "scale": "auto"})
    with pytest.raises(EpisodeError, match="how long the fingers are") as told:
        list(made_by.run(iter([point])))
    assert told.value.feature == column
