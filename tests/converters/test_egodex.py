"""EgoDex-like pairs of HDF5 and mp4: places and pictures are those of the files, and damage names its file."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hand_tracks_made import write_odd
from hands_made import person
from scipy.spatial.transform import Rotation
from video_foreign import moving, write_video

from converters.egodex import JOINTS, EgoDex
from dataengine import hands
from dataengine.detect import find_converter
from dataengine.episode import Episode
from dataengine.errors import ConfigError, EpisodeError, SourceError, UnsafeSource
from dataengine.store import Store

COUNT = 24
LENS = np.array([[55.0, 0, 31.5], [0, 56.0, 23.5], [0, 0, 1]])
FAR = np.zeros((4, 4))
FAR[0, 3] = 1.0


def write(folder: Path, number: int, *, arkit: bool = False, sides: tuple[str, ...] = hands.SIDES) -> dict:
    """One pair; the truth: landmarks in the camera's frame by side, and the camera's poses."""
    rng = np.random.default_rng(number)
    folder.mkdir(parents=True, exist_ok=True)
    time = np.arange(COUNT) / 30
    turn = Rotation.from_euler("xyz", 0.3 * np.sin(np.outer(time, [1.0, 0.7, 0.4])) + rng.uniform(-1, 1, 3))
    camera = np.tile(np.eye(4), (COUNT, 1, 1))
    camera[:, :3, :3] = turn.as_matrix()
    camera[:, :3, 3] = rng.uniform(-1, 1, 3) + 0.1 * np.sin(time)[:, None]
    truth: dict = {"camera": camera}
    with h5py.File(folder / f"{number}.hdf5", "w") as file:
        file["camera/intrinsic"] = LENS
        stored = camera @ np.diag([1.0, -1, -1, 1]) if arkit else camera
        file["transforms/camera"] = stored
        file.attrs["llm_description"] = "fold the towel"
        file.attrs["llm_description2"] = "unfold the towel"
        file.attrs["which_llm_description"] = "1" if number % 2 else "2"
        for side in sides:
            hand = person(number, right=side == "right") * [1.0, -1.0, -1.0]
            points = hand + np.array([0.1 if side == "right" else -0.1, 0.02, 0.5]) + 0.05 * np.sin(time)[:, None, None]
            truth[side] = points
            world = points @ camera[:, :3, :3].swapaxes(1, 2) + camera[:, None, :3, 3]
            for joint, place in zip(JOINTS, world.swapaxes(0, 1), strict=True):
                pose = np.tile(np.eye(4), (COUNT, 1, 1))
                pose[:, :3, 3] = place
                file[f"transforms/{side}{joint}"] = pose
            file[f"confidences/{side}Hand"] = np.where(np.arange(COUNT) < 20, 0.9, 0.1)
    write_video(folder, moving(COUNT), name=f"{number}.mp4")
    return truth


@pytest.mark.parametrize("arkit", [False, True])
def test_hands_are_where_the_file_says(tmp_path: Path, arkit: bool) -> None:
    truth = write(tmp_path / "fold", 1, arkit=arkit)
    source = find_converter(tmp_path)
    plan = source.plan(tmp_path)
    assert source.name == "egodex" and plan.fps == 30 and plan.episodes[0].tasks == ("fold the towel",)
    episode = source.read(plan, plan.episodes[0])
    for side in hands.SIDES:
        points = truth[side]
        got = {what: episode.frames[hands.column(side, what)] for what in ("landmarks", "pixels", "wrist", "tracked")}
        np.testing.assert_array_equal(got["tracked"], np.where(np.arange(COUNT) < 20, hands.SEEN, hands.ABSENT))
        np.testing.assert_allclose(got["landmarks"][:20], points[:20], atol=1e-5)
        np.testing.assert_array_equal(got["landmarks"][20:], np.repeat(got["landmarks"][19:20], 4, 0))
        seen = points @ LENS.T
        np.testing.assert_allclose(got["pixels"][:20], (seen[..., :2] / seen[..., 2:])[:20], atol=1e-3)
        fingers = points[:20, hands.MIDDLE_KNUCKLE] - points[:20, 0]
        upright = Rotation.from_quat(got["wrist"][:20, 3:]).as_matrix()[:, :, 1]
        assert ((upright * fingers).sum(1) > 0.95 * np.linalg.norm(fingers, axis=1)).all()
    pose = episode.frames[hands.CAMERA_POSE]
    np.testing.assert_allclose(pose[:, :3], truth["camera"][:, :3, 3], atol=1e-6)
    apart = Rotation.from_quat(pose[:, 3:]).inv() * Rotation.from_matrix(truth["camera"][:, :3, :3])
    assert apart.magnitude().max() < 1e-5


def test_it_goes_into_a_store_with_its_video_copied(tmp_path: Path) -> None:
    for number in (2, 10):
        write(tmp_path / "in" / "fold", number)
    write(tmp_path / "in" / "pour", 3, sides=("right",))
    plan = EgoDex().plan(tmp_path / "in", {"licence": "cc-by-nc-nd-4.0"})
    assert [ref.name for ref in plan.episodes] == ["fold/2.hdf5", "fold/10.hdf5", "pour/3.hdf5"]
    assert plan.episodes[0].tasks == ("unfold the towel",)
    store = Store.create(tmp_path / "store", fps=plan.fps, features=plan.features)
    with store.writer() as writer:
        for ref in plan.episodes:
            writer.append(EgoDex().read(plan, ref))
    stored = Store.open(tmp_path / "store")
    assert len(stored) == 3 and stored[2].meta.source["file"] == "pour/3.hdf5"
    assert (stored[2].frames[hands.column("left", "tracked")] == hands.ABSENT).all()
    assert stored.features["observation.images.ego"].info["video.codec"] == "h264"
    assert EgoDex().plan(tmp_path / "in", plan.mapping).mapping == plan.mapping


def spoil(path: Path, key: str, value: np.ndarray | None) -> None:
    with h5py.File(path, "a") as file:
        del file[key]
        if value is not None:
            file[key] = value


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("transforms/leftThumbTip", None, "has no transforms/leftThumbTip"),
        ("transforms/rightHand", np.zeros((COUNT, 3, 4)), "has shape"),
        ("transforms/rightHand", np.tile(np.eye(4), (COUNT + 1, 1, 1)), "has shape"),
        ("transforms/rightHand", np.full((COUNT, 4, 4), np.nan), "NaN"),
        ("transforms/camera", np.zeros((COUNT, 4, 4)), "no rotation"),
        ("camera/intrinsic", np.zeros((3, 3)), "no matrix of a camera"),
        ("camera/intrinsic", LENS.T, "no matrix of a camera"),
        ("camera/intrinsic", LENS * [[2], [2], [1]], "63, 47 is not near the middle of pictures of 64×48"),
        ("camera/intrinsic", LENS * [[1.5], [1.5], [1]], "47.25, 35.25 is not near the middle of pictures of 64×48"),
        ("confidences/leftHand", np.zeros(3), "confidences/leftHand has shape"),
        (
            "transforms/leftHand",
            np.tile(np.eye(4), (COUNT, 1, 1)) + 1e300 * FAR,
            r"leftHand holds 1e\+300: places are metres",
        ),
        ("transforms/leftHand", np.tile(np.eye(4) + 0.2 * FAR.T, (COUNT, 1, 1)), "leftHand holds no poses in a world"),
    ],
)
def test_what_is_wrong_in_a_file_is_told(tmp_path: Path, key: str, value: np.ndarray | None, why: str) -> None:
    write(tmp_path, 1)
    spoil(tmp_path / "1.hdf5", key, value)
    plan = EgoDex().plan(tmp_path)
    with pytest.raises(EpisodeError, match=why):
        EgoDex().read(plan, plan.episodes[0])


def test_pairs_that_are_none_are_told_before_anything_is_read(tmp_path: Path) -> None:
    write(tmp_path, 1)
    write(tmp_path, 2)
    (tmp_path / "2.mp4").unlink()
    write(tmp_path, 3)
    spoil(tmp_path / "3.hdf5", "transforms/camera", None)
    plan = EgoDex().plan(tmp_path)
    problems = [ref.problem for ref in plan.episodes]
    assert problems[0] is None and "2.mp4" in problems[1] and "3.hdf5" in problems[2]
    (tmp_path / "1.mp4").unlink()
    with pytest.raises(SourceError, match="no episode that can be used"):
        EgoDex().plan(tmp_path)
    with pytest.raises(ConfigError, match="no 'fsp' in its mapping"):
        EgoDex().plan(tmp_path, {"fsp": 3})
    short = tmp_path / "short"
    write(short, 1)
    write_video(short, moving(9), name="1.mp4")
    plan = EgoDex().plan(short)
    with pytest.raises(EpisodeError, match="has 9 pictures"):
        EgoDex().read(plan, plan.episodes[0])


def column(episode: Episode, side: str, what: str) -> np.ndarray:
    return episode.frames[hands.column(side, what)]


def only(path: Path, mapping: dict | None = None) -> Episode:
    plan = EgoDex().plan(path, mapping)
    return EgoDex().read(plan, plan.episodes[0])


def test_a_file_as_the_headset_wrote_it(tmp_path: Path) -> None:
    """float32, a whole upper body, metacarpals, a confidence of every joint, and attributes of every kind."""
    truth = write(tmp_path, 1)
    with h5py.File(tmp_path / "1.hdf5", "a") as file:
        ours = {name: file[f"transforms/{name}"][()] for name in file["transforms"]}
        body = ["hip", *(f"spine{n}" for n in range(1, 8)), *(f"neck{n}" for n in range(1, 5))]
        body += [f"{side}{what}" for side in hands.SIDES for what in ("Shoulder", "Arm", "Forearm")]
        body += [f"{side}{f}FingerMetacarpal" for side in hands.SIDES for f in ("Index", "Middle", "Ring", "Little")]
        sure = file["confidences/leftHand"][()]
        del file["transforms"], file["confidences"], file["camera"]
        for name in [*ours, *body]:
            file[f"transforms/{name}"] = ours.get(name, ours["camera"]).astype(np.float32)
            if name != "camera":
                file[f"confidences/{name}"] = sure.astype(np.float32)
        file["camera/intrinsic"] = LENS.astype(np.float32)
        assert len(file["transforms"]) == 69 and len(file["confidences"]) == 68
        file.attrs["annotated"] = True
        file.attrs["llm_type"], file.attrs["llm_description2"] = "reset", "None"
        file.attrs["llm_verbs"] = np.array(["pick", "place"], dtype=h5py.string_dtype())
    episode = only(tmp_path)
    assert episode.meta.tasks == ("fold the towel",)
    for side in hands.SIDES:
        np.testing.assert_allclose(column(episode, side, "landmarks")[:20], truth[side][:20], atol=1e-5)


@pytest.mark.parametrize(
    ("attributes", "task"),
    [
        ({"llm_description": "fold", "description": "f"}, "fold"),
        ({"description": "pick up a stapler"}, "pick up a stapler"),
        ({"llm_description": np.bytes_(b"fold")}, "fold"),
        (
            {"llm_description": "a", "llm_description2": "b", "which_llm_description": "2", "llm_type": "reversible"},
            "b",
        ),
        ({"llm_description": "a", "llm_description2": "None", "which_llm_description": "2", "llm_type": "reset"}, "a"),
        ({"llm_description": "None"}, ""),
        ({"llm_description": np.arange(3)}, ""),
        ({}, ""),
    ],
)
def test_the_task_is_what_the_file_says_somewhere(tmp_path: Path, attributes: dict, task: str) -> None:
    write(tmp_path, 1)
    with h5py.File(tmp_path / "1.hdf5", "a") as file:
        for name in list(file.attrs):
            del file.attrs[name]
        file.attrs.update(attributes)
    assert EgoDex().plan(tmp_path).episodes[0].tasks == (task,)


def test_a_hand_that_was_not_found_does_not_turn_the_camera_round(tmp_path: Path) -> None:
    truth = write(tmp_path, 1)
    behind = truth["camera"][:, :3, 3] - 3 * truth["camera"][:, :3, 2]
    with h5py.File(tmp_path / "1.hdf5", "a") as file:
        file["confidences/leftHand"][...] = 0.003
        for joint in JOINTS:
            pose = file[f"transforms/left{joint}"][()]
            pose[:, :3, 3] = behind
            file[f"transforms/left{joint}"][...] = pose
    episode = only(tmp_path)
    assert (column(episode, "left", "tracked") == hands.ABSENT).all()
    np.testing.assert_allclose(column(episode, "right", "landmarks")[:20], truth["right"][:20], atol=1e-5)
    apart = Rotation.from_quat(episode.frames[hands.CAMERA_POSE][:, 3:]).inv() * Rotation.from_matrix(
        truth["camera"][:, :3, :3]
    )
    assert apart.magnitude().max() < 1e-5


def test_pictures_that_were_made_smaller_need_the_size_that_the_intrinsics_are_of(tmp_path: Path) -> None:
    truth = write(tmp_path, 1)
    twice = np.array([[110.0, 0, 63.5], [0, 112.0, 47.5], [0, 0, 1]])
    spoil(tmp_path / "1.hdf5", "camera/intrinsic", twice)
    with pytest.raises(EpisodeError, match=r"1\.hdf5: camera: 63\.5, 47\.5 is not near the middle.*width and height"):
        only(tmp_path)
    episode = only(tmp_path, {"width": 128, "height": 96})
    seen = truth["right"] @ LENS.T
    np.testing.assert_allclose(column(episode, "right", "pixels")[:20], (seen[..., :2] / seen[..., 2:])[:20], atol=1e-3)
    assert episode.meta.extra["camera"]["fx"] == 55.0
    with pytest.raises(ConfigError, match="whole pixels"):
        EgoDex().plan(tmp_path, {"width": "wide", "height": 96})


def test_millimetres_and_matrices_of_rows_are_told(tmp_path: Path) -> None:
    for number, change in ((1, 1000.0), (2, None)):
        write(tmp_path, number)
        with h5py.File(tmp_path / f"{number}.hdf5", "a") as file:
            for name, poses in file["transforms"].items():
                if change is None:
                    poses[...] = poses[()].swapaxes(1, 2)
                elif name != "camera":
                    poses[:, :3, 3] = poses[:, :3, 3] * change
    plan = EgoDex().plan(tmp_path)
    with pytest.raises(EpisodeError, match="left hand is none: wrist to middle knuckle is 90 m"):
        EgoDex().read(plan, plan.episodes[0])
    with pytest.raises(EpisodeError, match="camera holds no poses in a world: their last row is 0 0 0 1"):
        EgoDex().read(plan, plan.episodes[1])


def test_one_broken_file_before_the_others_is_one_broken_episode(tmp_path: Path) -> None:
    for number in (1, 2):
        write(tmp_path, number)
    whole = (tmp_path / "1.hdf5").read_bytes()
    (tmp_path / "1.hdf5").write_bytes(whole[:5000])
    source = find_converter(tmp_path)
    problems = [ref.problem for ref in source.plan(tmp_path).episodes]
    assert source.name == "egodex" and "1.hdf5: is not a readable HDF5 file" in problems[0] and problems[1] is None


def test_a_link_out_of_the_folder_is_named(tmp_path: Path) -> None:
    write(tmp_path / "in", 1)
    write_video(tmp_path, moving(COUNT), name="elsewhere.mp4")
    (tmp_path / "in" / "1.mp4").unlink()
    (tmp_path / "in" / "1.mp4").symlink_to(tmp_path / "elsewhere.mp4")
    with pytest.raises(UnsafeSource, match=r"1\.mp4: is a link that leaves"):
        find_converter(tmp_path / "in")


def test_a_number_that_numpy_does_not_have_is_told(tmp_path: Path) -> None:
    write(tmp_path, 1)
    with h5py.File(tmp_path / "1.hdf5", "a") as file:
        del file["transforms/leftHand"]
        write_odd(file, "transforms/leftHand", (COUNT, 4, 4))
    with pytest.raises(EpisodeError, match="transforms/leftHand holds no numbers"):
        only(tmp_path)


def test_poses_that_no_picture_has_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 1)
    write_video(tmp_path, moving(9), name="1.mp4")
    plan = EgoDex().plan(tmp_path)
    monkeypatch.setattr("converters.egodex.open_hdf5", pytest.fail)
    with pytest.raises(EpisodeError, match=r"1\.mp4 has 9 pictures, 1\.hdf5 24 poses"):
        EgoDex().read(plan, plan.episodes[0])
