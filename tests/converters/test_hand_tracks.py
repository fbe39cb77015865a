"""Somebody else's landmarks beside a video: places, clocks and orders are right, and damage names its file."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hand_tracks_made import (
    COUNT,
    FPS,
    KNOWN,
    LENS,
    MATRIX,
    ON_DEVICE,
    START,
    Scene,
    aria_header,
    aria_rows,
    column,
    lines,
    only,
    pictures,
    spoken,
    write_aria,
    write_scene,
    write_way,
)
from hands_made import person
from hypothesis import given
from hypothesis import strategies as st
from mano_made import FROM_OURS
from scipy.spatial.transform import Rotation
from video_foreign import moving, write_video

from converters import report
from converters.hand_camera import lens_of
from converters.hand_clock import size_fault
from converters.hand_tracks import HandTracks, ordered, with_thumb_root
from dataengine import hands
from dataengine.detect import find_converter
from dataengine.errors import ConfigError, EpisodeError, SourceError, UnsafeSource
from dataengine.store import Store

ARIA = Path("mps/hand_tracking/hand_tracking_results.csv")


def test_aria_at_ten_hertz_on_a_turning_head(tmp_path: Path) -> None:
    scene, seconds = Scene(), np.arange(0, 0.75, 0.1)
    write_scene(tmp_path / "a", scene)
    (tmp_path / "a" / "recording.txt").write_text("pour the tea\n")
    write_aria(tmp_path / "a" / ARIA, aria_rows(scene, seconds, {"left": (seconds > 0.15) & (seconds < 0.45)}))
    source = find_converter(tmp_path)
    plan = source.plan(tmp_path)
    assert source.name == "hand_tracks" and plan.fps == FPS and plan.episodes[0].tasks == ("pour the tea",)
    episode = source.read(plan, plan.episodes[0])
    at = np.arange(COUNT)
    # A sample falls on every third picture; the last is at 0.7 s, after it nothing is known.
    seen, beyond = at % 3 == 0, at > 21
    expected = np.where(seen, hands.SEEN, np.where(beyond, hands.ABSENT, hands.FILLED))
    np.testing.assert_array_equal(column(episode, "right", "tracked"), expected)
    lost = (at > 3) & (at < 15)
    np.testing.assert_array_equal(column(episode, "left", "tracked"), np.where(lost, hands.ABSENT, expected))
    for side in hands.SIDES:
        truth, there = scene.in_camera(side, pictures()), column(episode, side, "tracked") != hands.ABSENT
        landmarks = column(episode, side, "landmarks")
        assert np.abs(landmarks[there][:, KNOWN] - truth[there][:, KNOWN]).max() < 1e-4
        assert np.linalg.norm(landmarks[there, 1] - truth[there, 1], axis=1).max() < 0.02
        projected, _ = cv2.projectPoints(landmarks[0].astype(np.float64), np.zeros(3), np.zeros(3), MATRIX, None)
        np.testing.assert_allclose(column(episode, side, "pixels")[0], projected[:, 0], atol=1e-3)
    sigma = column(episode, "right", "sigma")
    assert sigma[0, 0] == np.float32(0.01) and sigma[1, 0] > 0.01 and (sigma[beyond] == 0).all()
    pose, camera = episode.frames[hands.CAMERA_POSE], scene.camera(pictures())
    np.testing.assert_allclose(pose[:, :3], camera[:, :3, 3], atol=1e-5)
    apart = Rotation.from_quat(pose[:, 3:]).inv() * Rotation.from_matrix(camera[:, :3, :3])
    assert apart.magnitude().max() < 1e-4
    assert episode.meta.extra["camera"]["fx"] == 55.0 and any("thumb_cmc" in a for a in episode.meta.lineage[0].assumed)


def test_without_a_trajectory_hands_stay_with_the_head_and_no_pose_is_made_up(tmp_path: Path) -> None:
    scene = Scene()
    write_scene(tmp_path, scene, way=False)
    write_aria(tmp_path / "hand_tracking_results.csv", aria_rows(scene, pictures()))
    episode = only(tmp_path)
    assert hands.CAMERA_POSE not in episode.features and (column(episode, "left", "tracked") == hands.SEEN).all()
    truth = scene.in_camera("left", pictures())
    assert np.abs(column(episode, "left", "landmarks")[:, KNOWN] - truth[:, KNOWN]).max() < 1e-5


def test_the_root_of_the_thumb_is_where_a_hand_has_it_whatever_its_size_and_pose() -> None:
    rng = np.random.default_rng(0)
    for right in (True, False):
        average = hands.palm(right=right)
        for scale, turn in zip(rng.uniform(0.7, 1.3, 20), Rotation.random(20, random_state=1), strict=True):
            hand = np.zeros((1, 21, 3))
            hand[0, list(hands.PALM)] = scale * turn.apply(average) + [1.0, 2.0, 3.0]
            wanted = hand[0, 1].copy()
            hand[0, 1] = 9.0
            np.testing.assert_allclose(with_thumb_root(hand, right=right)[0, 1], wanted, atol=1e-9)
    theirs = person(3)[None]
    mano = theirs[:, [0, 5, 6, 7, 9, 10, 11, 17, 18, 19, 13, 14, 15, 1, 2, 3, 4, 8, 12, 16, 20]]
    np.testing.assert_array_equal(ordered(mano, "mano", right=True), theirs)


@pytest.mark.parametrize(
    ("space", "picture"), [("camera", True), ("camera", False), ("device", False), ("world", False)]
)
def test_lines_in_every_space(tmp_path: Path, space: str, picture: bool) -> None:
    scene = Scene(1)
    folder = tmp_path / "in"
    write_scene(folder, scene, name="7.mp4", way=space != "camera")
    write_video(folder, moving(3), name="8.mp4")
    (folder / "7.hands.jsonl").write_text(spoken(scene, space=space, picture=picture))
    assert find_converter(folder).name == "hand_tracks"
    episode = only(folder)
    right, left = column(episode, "right", "tracked"), column(episode, "left", "tracked")
    assert right[5] == hands.FILLED and (np.delete(right, 5) == hands.SEEN).all()
    assert left[0] == hands.SEEN and (left[1:] == hands.ABSENT).all()
    truth = scene.in_camera("right", pictures())
    steady = np.delete(np.arange(COUNT), 5)
    assert np.abs(column(episode, "right", "landmarks") - truth)[steady].max() < 1e-4
    assert np.allclose(column(episode, "right", "confidence")[steady], 0.8)


def test_rows_in_disorder_and_twice_give_the_same_and_are_told(tmp_path: Path) -> None:
    scene = Scene()
    write_scene(tmp_path, scene)
    rows = aria_rows(scene, pictures())
    write_aria(tmp_path / "hand_tracking_results.csv", rows)
    straight = only(tmp_path)
    again = [*rows[::-1], [*rows[3][:2], *["0.5"] * (len(rows[3]) - 2)]]
    write_aria(tmp_path / "hand_tracking_results.csv", again)
    mixed = only(tmp_path)
    for key, values in straight.frames.items():
        np.testing.assert_array_equal(mixed.frames[key], values)
    told = " ".join(mixed.meta.lineage[0].assumed)
    assert "were sorted" in told and "1 rows repeat a time" in told


def test_the_clock_of_the_first_picture_is_said_or_assumed(tmp_path: Path) -> None:
    scene, seconds = Scene(), pictures()
    write_scene(tmp_path, scene, clock=False)
    write_aria(tmp_path / "hand_tracking_results.csv", aria_rows(scene, seconds[6:]))
    assumed = HandTracks().plan(tmp_path)
    assert any(a.key == "start_ns" for a in assumed.assumptions)
    shifted = HandTracks().read(assumed, assumed.episodes[0])
    assert column(shifted, "right", "tracked")[0] == hands.SEEN
    plan = HandTracks().plan(tmp_path, {"start_ns": START})
    assert not any(a.key == "start_ns" for a in plan.assumptions)
    assert HandTracks().plan(tmp_path, plan.mapping).mapping == plan.mapping
    episode = HandTracks().read(plan, plan.episodes[0])
    np.testing.assert_array_equal(column(episode, "right", "tracked"), np.where(np.arange(COUNT) < 6, 0, 1))
    with pytest.raises(EpisodeError, match="no pose within") as told:
        only(tmp_path, {"start_ns": START - 10**12})
    assert told.value.frame == 0
    (tmp_path / "mps" / "slam" / "closed_loop_trajectory.csv").unlink()
    with pytest.raises(EpisodeError, match=r"no picture shows what its tracks say.*1000\.200 to 1000\.767 s"):
        only(tmp_path, {"start_ns": START - 10**12})


def test_it_goes_into_a_store_and_its_report_says_what_was_assumed(tmp_path: Path) -> None:
    for name in ("10", "2"):
        scene = Scene(int(name))
        write_scene(tmp_path / "in" / name, scene)
        write_aria(tmp_path / "in" / name / ARIA, aria_rows(scene, pictures()))
    source = HandTracks()
    plan = source.plan(tmp_path / "in", {"licence": "other", "bridge": 0.1})
    assert [ref.name.split("/")[0] for ref in plan.episodes] == ["2", "10"]
    text = report.render(plan, copied=source.copied(plan))
    assert "sigma" in text and str(tmp_path) not in text and str(tmp_path) not in report.mapping_yaml(plan)
    report.write_mapping(plan, tmp_path / "mapping.yaml")
    again = source.plan(tmp_path / "in", report.read_mapping(tmp_path / "mapping.yaml"))
    assert (again.mapping, again.features, again.assumptions) == (plan.mapping, plan.features, plan.assumptions)
    store = Store.create(tmp_path / "store", fps=plan.fps, features=plan.features)
    with store.writer() as writer:
        for ref in plan.episodes:
            writer.append(source.read(plan, ref))
    assert len(Store.open(tmp_path / "store")) == 2
    write_aria(tmp_path / "in" / "2" / ARIA, aria_rows(scene, pictures()[1:]))
    with pytest.raises(EpisodeError, match="have changed"):
        source.read(plan, plan.episodes[0])


def test_wrists_without_fingers_and_foreign_hand_models_are_refused(tmp_path: Path) -> None:
    write_video(tmp_path, moving(4), name="a.mp4")
    wrists = tmp_path / "wrist_and_palm_poses.csv"
    wrists.write_text("tracking_timestamp_us,left_tracking_confidence,tx_left_wrist_device\n1,1,0\n")
    with pytest.raises(SourceError, match=r"wrist_and_palm_poses\.csv.*without fingers.*collect ego"):
        find_converter(tmp_path)
    wrists.rename(tmp_path / "umetrack_hand_pose_trajectory.jsonl")
    with pytest.raises(SourceError, match="UmeTrack's hand model"):
        find_converter(tmp_path)


def broken(folder: Path, what: str) -> None:
    """A sequence of Aria's with one thing wrong."""
    scene = Scene()
    write_scene(folder, scene)
    rows, header, path = aria_rows(scene, pictures()), aria_header(), folder / "hand_tracking_results.csv"
    if what == "column":
        header[header.index("ty_right_landmark_7_device")] = "else"
    elif what == "twice":
        header[-1] = header[-2]
    elif what == "rows":
        rows = []
    elif what == "text":
        rows[4][9] = "metres"
    elif what == "long":
        rows[4][-1] = "9" * (3 << 20)
    elif what == "quoted":
        rows[4][-1] = '"' + "9\n" * (3 << 19) + '"'
    elif what == "ragged":
        rows[4] = rows[4][:9]
    elif what == "time":
        rows[4][0] = ""
    elif what == "far":
        rows[4][0] = str(1 << 62)
    elif what == "millimetres":
        rows = [[*row[:2], *(str(float(v) * 1000) for v in row[2:])] for row in rows]
    write_aria(path, rows, header)
    if what == "line":
        path.write_bytes(path.read_bytes() + b"1," * (3 << 20))
    elif what == "header":
        path.write_bytes(b"a," * (1 << 20))
    elif what == "bytes":
        path.write_bytes(b"\xff\xfe" + path.read_bytes())
    elif what == "pictures":
        (folder / "frame_times.csv").write_text("timestamp_ns\n1\n2\n")
    elif what == "backwards":
        clock = (folder / "frame_times.csv").read_text().split()
        (folder / "frame_times.csv").write_text("\n".join([*clock[:3], clock[1], *clock[4:]]) + "\n")
    elif what == "way":
        write_way(folder / "mps/slam/closed_loop_trajectory.csv", scene.device(pictures()[:9]), pictures()[:9])
    elif what == "worlds":
        way = folder / "mps/slam/closed_loop_trajectory.csv"
        head, *poses = way.read_text().split("\n")
        way.write_text("\n".join([head, *poses[:40], *(pose.replace("a-b", "c-d") for pose in poses[40:])]))
    elif what == "turns":
        way = folder / "mps/slam/closed_loop_trajectory.csv"
        way.write_text("\n".join([*way.read_text().split("\n")[:3], "a-b,9,0,0,0,0,0,0,0,0,1"]))


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("rows", "has no row below its header"),
        ("text", "no table of numbers"),
        ("long", "no table of numbers: a row is longer than a MiB"),
        ("quoted", "no table of numbers: a field goes over several lines"),
        ("ragged", "no table of numbers"),
        ("worlds", r"graph_uid is not the same in every row \(a-b, c-d\)"),
        ("time", "rows without tracking_timestamp_us"),
        ("far", "beyond any clock"),
        ("millimetres", "wrist to middle knuckle is"),
        ("line", "no table of numbers"),
        ("pictures", "has 2 rows, the video 24"),
        ("backwards", "before that of the row above"),
        ("way", "no pose within"),
        ("turns", "row 3 holds no pose"),
    ],
)
def test_what_is_wrong_in_an_episode_is_told(tmp_path: Path, what: str, why: str) -> None:
    broken(tmp_path, what)
    with pytest.raises(EpisodeError, match=why):
        only(tmp_path)


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("column", "has no column ty_right_landmark_7_device"),
        ("twice", "is given twice"),
        ("header", "first line is longer"),
        ("bytes", "no names of columns"),
    ],
)
def test_what_a_header_shows_is_told_before_anything_is_read(tmp_path: Path, what: str, why: str) -> None:
    broken(tmp_path, what)
    with pytest.raises(SourceError, match=why):
        HandTracks().plan(tmp_path)


def test_a_hand_that_is_nan_or_behind_the_camera_is_absent(tmp_path: Path) -> None:
    scene = Scene()
    write_scene(tmp_path, scene, way=False)
    rows = aria_rows(scene, pictures())
    rows[3][5] = "nan"
    rows[8][5] = ""
    write_aria(tmp_path / "hand_tracking_results.csv", rows)
    tracked = column(only(tmp_path, {"bridge": 0.0}), "left", "tracked")
    np.testing.assert_array_equal(np.flatnonzero(tracked == hands.ABSENT), [3, 8])
    around = Rotation.from_quat(ON_DEVICE[3:]) * Rotation.from_euler("x", np.pi)
    turned = {**LENS, "T_device_camera": [*ON_DEVICE[:3], *around.as_quat()]}
    with pytest.raises(EpisodeError, match="T_device_camera"):
        only(tmp_path, {"camera": turned})


HEAD = '{"space": "camera"}\n'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (spoken(Scene())[:-40], r"line 25, column \d+: not valid JSON"),
        (HEAD + '{"timestamp_ns": 1, "left": {"landmarks": [[1, 2]]}}\n', "line 2: left: expected numbers of shape"),
        (
            HEAD + '{"timestamp_ns": 1, "left": {"landmarks": [' + ("[1, 2, 3]," * 20) + "[1, {}, 3]]}}\n",
            "line 2: left",
        ),
        (HEAD + '{"timestamp_ns": 1.5}\n', "line 2: timestamp_ns is a whole number"),
        (HEAD + '{"timestamp_ns": ' + "9" * 30 + "}\n", "line 2: timestamp_ns is a whole number"),
        (HEAD + '{"timestamp_ns": 1}\n{"picture": 1}\n', "line 3: timestamp_ns is a whole number"),
        (HEAD + '{"picture": 24, "left": null}\n', "speak of picture 24; the video has 24"),
        (HEAD + '{"timestamp_ns": 1, "left": [1]}\n', "line 2: left is null or has landmarks"),
        (HEAD + "[]\n", "line 2: expected an object, not list"),
        (HEAD, "no line below its first"),
    ],
)
def test_what_is_wrong_in_lines_is_told(tmp_path: Path, text: str, why: str) -> None:
    write_scene(tmp_path, Scene(), way=False)
    (tmp_path / "hands.jsonl").write_text(text)
    with pytest.raises((EpisodeError, SourceError), match=why):
        only(tmp_path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has no line"),
        ('{"space": "moon"}\n', "space is one of camera, device, world"),
        ('{"space": "camera", "order": ["mano"]}\n', "order one of mediapipe, aria, mano"),
        (HEAD[:-1] + " " * (2 << 20) + "\n", "line 1 is longer than 1 MiB"),
        ("[" * 100_000, "nested too deeply"),
        ("\x00\xff", "line 1"),
    ],
)
def test_a_first_line_that_says_nothing_is_told(tmp_path: Path, text: str, why: str) -> None:
    write_scene(tmp_path, Scene(), way=False)
    (tmp_path / "hands.jsonl").write_bytes(text.encode("latin1"))
    with pytest.raises((SourceError, UnsafeSource), match=why):
        HandTracks().plan(tmp_path)


def test_what_a_sequence_lacks_is_told(tmp_path: Path) -> None:
    scene = Scene()
    for name, lens, way, space in [
        ("1", False, True, "camera"),
        ("2", True, False, "world"),
        ("3", True, True, "camera"),
    ]:
        write_scene(tmp_path / name, scene, lens=lens, way=way)
        (tmp_path / name / "hands.jsonl").write_text(spoken(scene, space=space))
    (tmp_path / "4").mkdir()
    (tmp_path / "4" / "hands.jsonl").write_text(HEAD)
    write_scene(tmp_path / "5", scene)
    write_video(tmp_path / "5", moving(4), name="other.mp4")
    (tmp_path / "5" / "hands.jsonl").write_text(spoken(scene))
    write_scene(tmp_path / "6", scene)
    (tmp_path / "6" / "hands.jsonl").write_text(spoken(scene, space="device"))
    (tmp_path / "6" / "camera.json").write_text(json.dumps(LENS))
    plan = HandTracks().plan(tmp_path)
    problems = [ref.problem for ref in plan.episodes]
    wanted = ["camera.yaml", "no trajectory", None, "no video", "2 videos", "no T_device_camera"]
    for problem, why in zip(problems, wanted, strict=True):
        assert (problem is None) if why is None else why in problem, problem
    with pytest.raises(SourceError, match=r"no camera\.yaml beside the video: write one that says fx, fy"):
        HandTracks().plan(tmp_path / "1")
    with pytest.raises(ConfigError, match="no parameter 'fsp'"):
        HandTracks().plan(tmp_path, {"fsp": 3})


def test_a_video_of_another_rate_or_size_is_left_out_and_a_rate_that_is_said_holds(tmp_path: Path) -> None:
    scene = Scene()
    for name in "123":
        write_scene(tmp_path / name, scene, way=False, clock=False)
        (tmp_path / name / "hands.jsonl").write_text(spoken(scene, picture=True))
    write_video(tmp_path / "2", moving(COUNT), name="recording.mp4", rate=10)
    write_video(tmp_path / "3", moving(COUNT, 64, 64), name="recording.mp4", rate=FPS)
    plan = HandTracks().plan(tmp_path)
    told = [str(ref.problem) for ref in plan.episodes]
    assert told[0] == "None" and "come at 10 Hz, those of the first at 30" in told[1] and "are 64×64" in told[2]
    assert HandTracks().plan(tmp_path, plan.mapping).episodes == plan.episodes
    slower = HandTracks().plan(tmp_path / "1", {"fps": 15.0})
    assert HandTracks().read(slower, slower.episodes[0]).fps == 15.0


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"fx": -1.0}, "positive"),
        ({"fx": "wide"}, "expected float"),
        ({"fx": float("nan")}, "finite"),
        ({"distortion": [0.1, 0, 0, 0]}, "undistort"),
        ({"T_device_camera": [0, 0, 0, 0, 0, 0, 0]}, "quaternion of length one"),
        ({"T_device_camera": np.diag([1.0, 1, -1, 1]).tolist()}, "no rotation"),
        ({"T_device_camera": [[1, 2], [3]]}, "7 finite numbers"),
        ({"T_device_camera": {"Translation": [0, 0, 0]}}, "7 finite numbers"),
        ({"T_device_camera": {"translation_xyz": [0, 0, 0], "quaternion_wxyz": 1}}, "7 finite numbers"),
        ({"turned": 45}, "turned"),
    ],
)
def test_a_camera_that_cannot_be_is_told(change: dict, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        lens_of({**LENS, **change})
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_quat(ON_DEVICE[3:]).as_matrix()
    turned[:3, 3] = ON_DEVICE[:3]
    first = lens_of({**LENS, "T_device_camera": turned.tolist()}).on_device
    np.testing.assert_allclose(first, lens_of({**LENS, "T_device_camera": list(ON_DEVICE)}).on_device, atol=1e-12)
    x, y, z, qx, qy, qz, qw = ON_DEVICE  # in the words of HOT3D's camera_models.json and of online_calibration.jsonl
    for said in (
        {"translation_xyz": [x, y, z], "quaternion_wxyz": [qw, qx, qy, qz]},
        {"Translation": [x, y, z], "UnitQuaternion": [qw, [qx, qy, qz]]},
    ):
        np.testing.assert_allclose(first, lens_of({**LENS, "T_device_camera": said}).on_device, atol=1e-12)
    larger = lens_of(LENS).matrix(128, 96)
    assert larger[0, 0] == 110.0 and larger[0, 2] == 63.5


def test_hands_that_were_not_found_may_be_zeros_and_a_confidence_may_be_unknown(tmp_path: Path) -> None:
    scene = Scene()
    write_scene(tmp_path, scene, way=False)
    places = scene.in_camera("right", pictures())
    rows = []
    for n in range(COUNT):
        found = n % 3 == 0
        hand = {"landmarks": (places[n] * found).tolist(), "confidence": None if found else 0}
        rows.append({"picture": n, "right": hand})
    (tmp_path / "hands.jsonl").write_text(lines({"space": "camera"}, rows))
    episode = only(tmp_path, {"bridge": 0.0})
    found = np.arange(COUNT) % 3 == 0
    np.testing.assert_array_equal(column(episode, "right", "tracked"), np.where(found, hands.SEEN, hands.ABSENT))
    np.testing.assert_array_equal(column(episode, "right", "confidence").ravel(), found)


@given(seed=st.integers(0, 10_000), bent=st.floats(0, 1.0), size=st.floats(0.6, 1.3), right=st.booleans())
def test_landmarks_in_the_other_order_are_told_whatever_the_hand(
    seed: int, bent: float, size: float, right: bool
) -> None:
    hand = size * person(seed, right=right)
    for knuckle in (5, 9, 13, 17):  # every joint of the four fingers bends, almost to a fist
        for joint in range(knuckle, knuckle + 3):
            turn = Rotation.from_rotvec([bent, 0, 0])
            hand[joint + 1 : knuckle + 4] = turn.apply(hand[joint + 1 : knuckle + 4] - hand[joint]) + hand[joint]
    there = np.tile(hand, (3, 1, 1))
    assert size_fault(there) is None
    mano = there[:, FROM_OURS]
    for wrong in (mano, ordered(there, "mano", right=right)):
        assert "another order" in str(size_fault(wrong))
