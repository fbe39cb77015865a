"""MANO: forward kinematics against MuJoCo's, files of joints and parameters, and what is wrong with them."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path

import cv2
import h5py
import mujoco
import numpy as np
import pytest
from hand_tracks_made import (
    COUNT,
    FPS,
    LENS,
    MATRIX,
    ON_DEVICE,
    START,
    Scene,
    pictures,
    write_odd,
    write_scene,
    write_way,
)
from mano_made import FROM_OURS, PARENTS, TIP_JOINTS, model, write_model
from scipy.spatial.transform import Rotation
from video_foreign import moving, write_video

from converters.mano import ManoHands
from converters.mano_files import HOT3D
from converters.mano_files import arrays as arrays_of
from converters.mano_model import Mano, mirrored, read_model
from dataengine import hands
from dataengine.detect import find_converter
from dataengine.episode import Episode
from dataengine.errors import EpisodeError, SourceError, UnsafeSource


def only(path: Path, mapping: dict | None = None) -> Episode:
    plan = ManoHands().plan(path, mapping)
    return ManoHands().read(plan, plan.episodes[0])


def landmarks(episode: Episode, side: str) -> np.ndarray:
    return episode.frames[hands.column(side, "landmarks")]


def posed_by_mujoco(given: dict[str, np.ndarray], pose: np.ndarray) -> np.ndarray:
    """`(21, 3)` of the model with rigid fingertips: a tree of ball joints."""
    rest = given["v_template"]

    def body(joint: int) -> str:
        parent = PARENTS[joint]
        at = rest[joint] - (rest[parent] if parent >= 0 else 0)
        inside = "".join(body(child) for child in range(16) if PARENTS[child] == joint)
        tips = [16 + n for n, last in enumerate(TIP_JOINTS) if last == joint]
        for tip in tips:
            inside += f'<site name="s{tip}" pos="{" ".join(map(repr, (rest[tip] - rest[joint]).tolist()))}"/>'
        place = " ".join(map(repr, at.tolist()))
        return f'<body name="j{joint}" pos="{place}"><joint type="ball"/><geom size=".001"/>{inside}</body>'

    tree = mujoco.MjModel.from_xml_string(f"<mujoco><worldbody>{body(0)}</worldbody></mujoco>")
    data = mujoco.MjData(tree)
    for joint in range(16):
        at = tree.jnt_qposadr[tree.body(f"j{joint}").jntadr[0]]
        data.qpos[at : at + 4] = Rotation.from_rotvec(pose[joint]).as_quat()[[3, 0, 1, 2]]
    mujoco.mj_kinematics(tree, data)
    return np.array([*(data.body(f"j{j}").xpos for j in range(16)), *(data.site(f"s{t}").xpos for t in range(16, 21))])


def loaded(folder: Path, given: dict[str, np.ndarray]) -> Mano:
    np.savez(folder / "m.npz", **given)
    return read_model(folder / "m.npz")


def test_joints_and_rigid_fingertips_are_where_mujoco_has_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    given = model(blend=False)
    pose, place = rng.normal(0, 0.6, (5, 16, 3)), rng.normal(0, 1, (5, 3))
    found = loaded(tmp_path, given).pose(np.zeros((5, 10)), pose, place)
    for n in range(5):
        np.testing.assert_allclose(found[n], posed_by_mujoco(given, pose[n]) + place[n], atol=1e-9)


def test_shape_pose_and_blending_of_the_fingertips(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    given = model()
    mano = loaded(tmp_path, given)
    rest, shape = given["v_template"], rng.normal(0, 1, (1, 10))
    none = np.zeros((1, 16, 3))
    np.testing.assert_allclose(mano.pose(np.zeros((1, 10)), none, np.zeros((1, 3)))[0], rest, atol=1e-12)
    shaped = rest + given["shapedirs"] @ shape[0]
    np.testing.assert_allclose(mano.pose(shape, none, np.zeros((1, 3)))[0], shaped, atol=1e-12)
    # Only the last joint of the index finger turns: its tip hangs on it by three quarters, by one on the joint before.
    turn = Rotation.from_rotvec([0.3, -0.5, 0.9])
    pose = none.copy()
    pose[0, 3] = turn.as_rotvec()
    bent = np.zeros((15, 3, 3))
    bent[2] = turn.as_matrix() - np.eye(3)
    tip = shaped[17] + given["posedirs"][17] @ bent.ravel()
    wanted = 0.75 * (shaped[3] + turn.apply(tip - shaped[3])) + 0.25 * tip
    np.testing.assert_allclose(mano.pose(shape, pose, np.zeros((1, 3)))[0, 17], wanted, atol=1e-12)
    # Turning the wrist turns everything about it, and nothing else changes.
    whole = Rotation.from_rotvec([1.0, 0.4, -2.0])
    pose = rng.normal(0, 0.4, (1, 16, 3))
    pose[0, 0] = 0
    before = mano.pose(shape, pose, np.zeros((1, 3)))[0]
    pose[0, 0] = whole.as_rotvec()
    after = mano.pose(shape, pose, np.ones((1, 3)))[0]
    np.testing.assert_allclose(after, whole.apply(before - before[0]) + before[0] + 1, atol=1e-12)


def write_joints(folder: Path, scene: Scene, **more: np.ndarray) -> Path:
    given = {f"{side}_joints": scene.in_camera(side, pictures())[:, list(FROM_OURS)] for side in hands.SIDES}
    np.savez_compressed(folder / "recording.mano.npz", **{**given, "space": np.array("camera"), **more})
    return folder / "recording.mano.npz"


@pytest.mark.parametrize("hdf5", [False, True])
def test_joints_a_row_a_picture(tmp_path: Path, hdf5: bool) -> None:
    scene = Scene(2)
    folder = tmp_path / "in"
    write_scene(folder, scene, lens=False, way=False, clock=False)
    sure = np.ones(COUNT)
    sure[7:9], camera = 0.1, scene.camera(pictures())
    more = {"left_confidence": sure, "intrinsics": MATRIX, "camera_pose": camera}
    file = write_joints(folder, scene, **more)
    if hdf5:
        with h5py.File(file.with_suffix(".h5"), "w") as target, np.load(file) as source:
            for name in set(source.files) - {"space"}:
                target[name] = source[name]
            target.attrs["space"] = "camera"
        file.unlink()
    assert find_converter(tmp_path).name == "mano" == find_converter(folder).name
    episode = only(folder)
    for side in hands.SIDES:
        known = np.delete(np.arange(COUNT), [7, 8])
        truth = scene.in_camera(side, pictures())
        np.testing.assert_allclose(landmarks(episode, side)[known], truth[known], atol=1e-5)
    tracked = episode.frames[hands.column("left", "tracked")]
    np.testing.assert_array_equal(np.flatnonzero(tracked == hands.FILLED), [7, 8])
    np.testing.assert_allclose(episode.frames[hands.CAMERA_POSE][:, :3], camera[:, :3, 3], atol=1e-6)
    assert (
        ManoHands().plan(folder).assumptions == ManoHands().plan(folder, ManoHands().plan(folder).mapping).assumptions
    )


def test_parameters_give_the_joints_of_the_model(tmp_path: Path) -> None:
    """Angles with and without the mean pose, coefficients, and a model that must be found."""
    rng = np.random.default_rng(3)
    write_scene(tmp_path, Scene(), way=False, clock=False)
    path = write_model(tmp_path / "models" / "MANO_RIGHT.npz") if (tmp_path / "models").mkdir() is None else Path()
    given, mano = model(), read_model(path)
    root, place, betas = rng.normal(0, 0.3, (COUNT, 3)), np.tile([0.0, 0.0, 0.6], (COUNT, 1)), rng.normal(0, 1, 10)
    fingers, few = rng.normal(0, 0.3, (COUNT, 45)), rng.normal(0, 0.3, (COUNT, 15))

    def truth(angles: np.ndarray) -> np.ndarray:
        pose = np.concatenate([root[:, None], angles.reshape(-1, 15, 3)], 1)
        return mano.pose(np.tile(betas, (COUNT, 1)), pose, place)[:, np.argsort(FROM_OURS)]

    common = {"right_betas": betas, "right_trans": place, "space": np.array("camera")}
    whole = {"right_pose": np.concatenate([root, fingers], 1)}
    parts = {"right_global_orient": root, "right_hand_pose": fingers}
    coefficients = {"right_global_orient": root, "right_hand_pca": few}
    said = {"model_right": str(path)}
    for arrays, mapping, angles in [
        (whole, said, fingers + given["hands_mean"]),
        (parts, {**said, "mean": False}, fingers),
        (coefficients, said, few @ given["hands_components"][:15] + given["hands_mean"]),
    ]:
        np.savez(tmp_path / "mano.npz", **common, **arrays)
        episode = only(tmp_path, mapping)
        np.testing.assert_allclose(landmarks(episode, "right"), truth(angles), atol=1e-5)
        assert (episode.frames[hands.column("left", "tracked")] == hands.ABSENT).all()
        assert "right hand posed with MANO_RIGHT.npz, sha256" in " ".join(episode.meta.lineage[0].assumed)
        assert str(tmp_path) not in str(episode.meta.lineage)


def hot3d(scene: Scene, seconds: np.ndarray) -> str:
    """Lines as HOT3D writes them: hands that are open stand in the world."""
    rows = []
    for n, at in enumerate(seconds):
        poses = {}
        for index, side in enumerate(hands.SIDES):
            points = scene.world(side, seconds)[n]
            turn = Rotation.from_matrix(hands.palm_rotation(points[None], right=side == "right")[0]).as_quat()
            wrist = {"t_xyz": points[0].tolist(), "q_wxyz": turn[[3, 0, 1, 2]].tolist()}
            if not (side == "left" and n == 2):
                poses[str(index)] = {"pose": [0.0] * 15, "wrist_xform": wrist, "betas": [1.0, *[0.0] * 9]}
        rows.append({"timestamp_ns": START + round(at * 1e9), "hand_poses": poses})
    return "\n".join(map(json.dumps, rows)) + "\n"


def test_hot3d_goes_through_world_and_headset_to_the_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    folder = tmp_path / "P0003"
    write_scene(folder, scene, way=False)
    # HOT3D's own table of the headset's way.
    seconds = np.arange(-0.1, 0.9, 0.01)
    poses = scene.device(seconds)
    turns = Rotation.from_matrix(poses[:, :3, :3]).as_quat()
    rows = [
        ",".join(map(str, ["1", START + round(s * 1e9), *p[:3, 3], q[3], *q[:3]]))
        for s, p, q in zip(seconds, poses, turns, strict=True)
    ]
    head = "object_uid,timestamp[ns],t_wo_x[m],t_wo_y[m],t_wo_z[m],q_wo_w,q_wo_x,q_wo_y,q_wo_z"
    (folder / "headset_trajectory.csv").write_text("\n".join([head, *rows]))
    (folder / "mano_hand_pose_trajectory.jsonl").write_text(hot3d(scene, pictures()))
    (folder / "umetrack_hand_pose_trajectory.jsonl").write_text("{}\n")
    with pytest.raises(SourceError, match="nobody says where the model"):
        ManoHands().plan(tmp_path)
    models = tmp_path / "models"
    models.mkdir()
    right = model()
    write_model(models / "MANO_RIGHT.npz", hands_mean=np.zeros(45))
    write_model(models / "MANO_LEFT.npz", hands_mean=np.zeros(45), shapedirs=right["shapedirs"])
    monkeypatch.setenv("DATAENGINE_MANO", str(models))
    assert find_converter(folder).name == "mano"
    episode = only(folder)
    assert "were mirrored" in " ".join(episode.meta.lineage[0].assumed)
    camera = scene.camera(pictures())
    for side in hands.SIDES:
        given = model(right=side == "right")
        shaped = (given["v_template"] + given["shapedirs"][..., 0])[np.argsort(FROM_OURS)]
        turn = hands.palm_rotation(scene.world(side, pictures()), right=side == "right")
        wrist = scene.world(side, pictures())[:, :1]
        world = (shaped - shaped[0]) @ turn.swapaxes(1, 2) + shaped[0] + wrist  # turns about the wrist, then is moved
        truth = (world - camera[:, None, :3, 3]) @ camera[:, :3, :3]
        steady = np.delete(np.arange(COUNT), 2)
        np.testing.assert_allclose(landmarks(episode, side)[steady], truth[steady], atol=1e-4)
    assert episode.frames[hands.column("left", "tracked")][2] == hands.FILLED
    as_is = only(folder, {"left_shapes": "as_is"})
    assert np.abs(landmarks(as_is, "left") - landmarks(episode, "left")).max() > 1e-3
    assert np.abs(landmarks(as_is, "right") - landmarks(episode, "right")).max() == 0


def hot3d_line() -> dict:
    """Two hands of one instant in HOT3D's form: 15 coefficients, and one shape for both."""
    rng = np.random.default_rng(11)
    turns, betas = Rotation.random(2, random_state=5).as_quat(), rng.normal(0, 1.5, 10).tolist()
    return {
        str(index): {
            "pose": rng.normal(0, 0.8, 15).tolist(),
            "wrist_xform": {"t_xyz": place, "q_wxyz": (-turns[index][[3, 0, 1, 2]]).tolist()},
            "betas": betas,
        }
        for index, place in enumerate(([0.07, -0.19, -0.29], [-0.14, 0.13, -0.39]))
    }


def test_a_folder_of_hot3d_as_it_is_handed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows of every instant, 0.09 ms apart; the headset's way in time code and, below, SLAM's in device time."""
    folder, models, line = tmp_path / "P0003_c701bd11", tmp_path / "models", hot3d_line()
    models.mkdir()
    write_scene(folder, Scene(), way=False)
    times = [START + round(s * 1e9) + late for s in pictures() for late in (0, 90_813)]
    (folder / HOT3D).write_text("".join(json.dumps({"timestamp_ns": t, "hand_poses": line}) + "\n" for t in times))
    (folder / "umetrack_hand_pose_trajectory.jsonl").write_text("{}\n")
    place = np.array([0.0, 0.02, 0.25])
    # The camera looks at the middle of both hands.
    middle = np.mean([line[side]["wrist_xform"]["t_xyz"] for side in "01"], axis=0)
    ahead = (middle - place) / np.linalg.norm(middle - place)
    right = np.cross([0.0, 1, 0], ahead) / np.linalg.norm(np.cross([0.0, 1, 0], ahead))
    camera = np.eye(4)
    camera[:3, :3], camera[:3, 3] = np.stack([right, np.cross(ahead, right), ahead], 1), place
    device = camera @ np.linalg.inv(Scene().on_device)
    x, y, z, w = Rotation.from_matrix(device[:3, :3]).as_quat()
    head = "object_uid,timestamp[ns],t_wo_x[m],t_wo_y[m],t_wo_z[m],q_wo_w,q_wo_x,q_wo_y,q_wo_z"
    rows = [",".join(map(str, ["5411364721403", t, *device[:3, 3], w, x, y, z])) for t in times]
    (folder / "headset_trajectory.csv").write_text("\n".join([head, *rows]) + "\n")
    elsewhere = np.tile(np.eye(4), (40, 1, 1))
    write_way(folder / "mps/slam/closed_loop_trajectory.csv", elsewhere, 1e4 + np.arange(40) / 1000)
    given = {side: model(3, right=side == "right", blend=False) for side in hands.SIDES}
    for side, name in (("left", "MANO_LEFT.npz"), ("right", "MANO_RIGHT.npz")):
        np.savez(models / name, **given[side])
    monkeypatch.setenv("DATAENGINE_MANO", str(models))
    assert find_converter(folder).name == "mano"
    episode = only(folder)
    np.testing.assert_allclose(episode.frames[hands.CAMERA_POSE][7, :3], place, atol=1e-6)
    for index, side in enumerate(hands.SIDES):
        said, theirs = line[str(index)], given[side]
        angles = np.array(said["pose"]) @ theirs["hands_components"][:15] + theirs["hands_mean"]
        w, *xyz = said["wrist_xform"]["q_wxyz"]
        pose = np.concatenate([Rotation.from_quat([*xyz, w]).as_rotvec()[None], angles.reshape(15, 3)])
        shaped = {**theirs, "v_template": theirs["v_template"] + theirs["shapedirs"] @ said["betas"]}
        world = posed_by_mujoco(shaped, pose) + said["wrist_xform"]["t_xyz"]
        truth = ((world - place) @ camera[:3, :3])[np.argsort(FROM_OURS)]
        assert (episode.frames[hands.column(side, "tracked")] == hands.SEEN).all()
        np.testing.assert_allclose(landmarks(episode, side), np.tile(truth, (COUNT, 1, 1)), atol=1e-5)
        projected, _ = cv2.projectPoints(truth, np.zeros(3), np.zeros(3), MATRIX, None)
        np.testing.assert_allclose(episode.frames[hands.column(side, "pixels")][3], projected[:, 0], atol=1e-3)


def test_a_model_that_is_right_is_not_mended(tmp_path: Path) -> None:
    left, right = (read_model(write_model(tmp_path / f"MANO_{side}.npz")) for side in ("LEFT", "RIGHT"))
    assert mirrored(left, right) is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"v_template": None}, "has no v_template"),
        ({"posedirs": None}, "has no posedirs"),
        ({"weights": np.ones((20, 16))}, "weights has shape"),
        ({"J_regressor": np.full((16, 21), np.nan)}, "J_regressor has shape"),
        ({"tips": np.arange(17, 22)}, "fingertips are"),
        ({"tips": None}, "fingertips are"),
        ({"parents": np.array([-1, 2, 1, *PARENTS[3:]])}, "do not hang on one another"),
        ({"hands_components": np.array([["a"]])}, "hands_components has shape"),
        ({"v_template": np.zeros((0, 3))}, "has no v_template"),
    ],
)
def test_a_model_that_is_none_is_told(tmp_path: Path, change: dict, why: str) -> None:
    with pytest.raises(SourceError, match=why):
        read_model(write_model(tmp_path / "MANO_RIGHT.npz", **change))


def test_a_pickle_is_not_opened_and_how_to_make_an_npz_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scene(tmp_path, Scene(), way=False, clock=False)
    np.savez(tmp_path / "mano.npz", right_pose=np.zeros((COUNT, 48)), space="camera")
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(pickle.dumps(pytest.fail))
    for where in ({"model_right": str(tmp_path / "MANO_RIGHT.pkl")}, None):
        if where is None:
            monkeypatch.setenv("DATAENGINE_MANO", str(tmp_path))
        with pytest.raises(SourceError, match=r"MANO_RIGHT\.pkl: is a pickle.*numpy\.savez"):
            ManoHands().plan(tmp_path, where)
    with pytest.raises(SourceError, match=r"is a pickle.*numpy\.savez\('MANO_RIGHT\.npz'"):
        read_model(tmp_path / "MANO_RIGHT.pkl")
    np.savez(tmp_path / "evil.npz", v_template=np.array([print], object))
    with pytest.raises(UnsafeSource, match="pickled Python objects"):
        read_model(tmp_path / "evil.npz")


def bomb(folder: Path) -> dict[str, np.ndarray]:
    """An archive whose header declares a petabyte; the array behind it is not there."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40, 21, 3)})
    with zipfile.ZipFile(folder / "recording.mano.npz", "w") as archive:
        archive.writestr("left_joints.npy", head.getvalue())
    return {}


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"left_joints": np.zeros((COUNT, 16, 3))}, "left_joints has shape"),
        ({"left_joints": np.zeros((COUNT - 1, 21, 3))}, "right_joints has shape"),
        ({"left_joints": np.array("none")}, "left_joints has 0 rows"),
        ({"left_joints": np.full((COUNT, 21, 3), 1e300)}, "left hand is none: it is 1e"),
        ({"left_joints": Scene().in_camera("left", pictures())}, "left hand is none: .*in another order"),
        ({"intrinsics": MATRIX.T}, "no matrix of a camera"),
        ({"intrinsics": MATRIX * [[2], [2], [1]]}, "63, 47 is not near the middle of pictures of 64×48"),
        ({"left_joints": np.random.default_rng(0).normal(0, 9, (COUNT, 21, 3))}, "left hand is none"),
        ({"left_confidence": np.zeros(3)}, "left_confidence has shape"),
        ({"timestamps_ns": np.zeros(COUNT)}, "timestamps_ns is no 24 whole numbers"),
        ({"timestamps_ns": np.full(COUNT, 1 << 62)}, "timestamps_ns is no 24 whole numbers"),
        ({"camera_pose": np.zeros((COUNT, 4, 4))}, "camera_pose holds what is no rotation"),
        ({"left_joints": np.array([None] * COUNT)}, "pickled Python objects"),
        (bomb, "is not a readable npz file"),
    ],
)
def test_what_is_wrong_in_arrays_is_told(tmp_path: Path, more: dict, why: str) -> None:
    write_scene(tmp_path, Scene(), way=False, clock=False)
    write_joints(tmp_path, Scene(), **(more(tmp_path) if callable(more) else more))
    if isinstance(more, dict) and "intrinsics" in more:
        (tmp_path / "camera.json").unlink()
    if callable(more):
        more(tmp_path)
    with pytest.raises((EpisodeError, UnsafeSource), match=why):
        only(tmp_path)


def test_rows_and_pictures_must_agree_and_a_zip_bomb_is_not_opened(tmp_path: Path) -> None:
    scene = Scene()
    write_scene(tmp_path, scene, way=False, clock=False)
    write_joints(tmp_path, scene)
    write_video(tmp_path, moving(9), name="recording.mp4", rate=FPS)
    with pytest.raises(EpisodeError, match="have 24 rows, the video 9 pictures"):
        only(tmp_path)
    write_joints(tmp_path, scene, intrinsics=np.zeros((3, 3)))
    (tmp_path / "camera.json").unlink()
    with pytest.raises(EpisodeError, match="no matrix of a camera"):
        only(tmp_path)
    write_joints(tmp_path, scene, space=np.array("moon"))
    with pytest.raises(SourceError, match="space is 'moon'"):
        only(tmp_path)
    (tmp_path / "camera.json").write_text(json.dumps({**LENS, "T_device_camera": list(ON_DEVICE)}))
    np.savez_compressed(tmp_path / "recording.mano.npz", left_joints=np.zeros((200_000, 21, 3)))
    with pytest.raises(SourceError, match="declares 100,800,128 bytes"):
        only(tmp_path)
    (tmp_path / "recording.mano.npz").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(SourceError, match="not a readable zip"):
        only(tmp_path)
    np.savez(tmp_path / "recording.mano.npz", something=np.zeros(3))
    with pytest.raises(SourceError, match="holds no hand"):
        only(tmp_path)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ({"timestamp_ns": 1}, "expected timestamp_ns, a whole number, and hand_poses"),
        ({"timestamp_ns": "1", "hand_poses": {}}, "expected timestamp_ns, a whole number, and hand_poses"),
        ({"timestamp_ns": 1, "hand_poses": {"1": 3}}, "hand 1: expected wrist_xform and pose"),
        ({"timestamp_ns": 1, "hand_poses": {"1": {"pose": [0] * 46, "wrist_xform": {}}}}, "1 to 45 numbers"),
        (
            {"timestamp_ns": 1, "hand_poses": {"1": {"pose": [0], "wrist_xform": {"q_wxyz": [1, 2, 3, 4]}}}},
            "no quaternion of length one",
        ),
    ],
)
def test_what_is_wrong_in_lines_is_told(tmp_path: Path, line: dict, why: str) -> None:
    scene = Scene()
    write_scene(tmp_path, scene)
    text = hot3d(scene, pictures()[:2]) + json.dumps(line) + "\n"
    (tmp_path / "mano_hand_pose_trajectory.jsonl").write_text(text)
    said = {f"model_{side}": str(write_model(tmp_path / f"MANO_{side.upper()}.npz")) for side in hands.SIDES}
    with pytest.raises(EpisodeError, match=f"line 3: .*{why}"):
        only(tmp_path, said)


def test_arrays_of_hdf5_together_are_bounded_before_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scene(tmp_path, Scene(), way=False, clock=False)
    with h5py.File(tmp_path / "mano.h5", "w") as file:
        for side in hands.SIDES:
            file[f"{side}_joints"] = np.zeros((COUNT, 21, 3))
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        write_odd(file, "left_joints", (COUNT, 21, 3))
    with pytest.raises(SourceError, match="left_joints holds what numpy has no type for"):
        arrays_of(tmp_path / "odd.h5")
    monkeypatch.setattr("converters.mano_files.MOST_BYTES", 20_000)  # one of them has 12096 bytes
    with pytest.raises(UnsafeSource, match="'right_joints' declares 24,192 bytes, more than 20,000"):
        only(tmp_path)
