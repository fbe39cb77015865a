"""Folders as headsets and their services leave them: which files belong together, whose clock counts, and how the
pictures were turned since the calibration."""

from __future__ import annotations

import json
import os
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
    aria_rows,
    column,
    only,
    pictures,
    spoken,
    write_aria,
    write_scene,
    write_way,
)
from scipy.spatial.transform import Rotation
from video_foreign import moving, write_video

from converters.hand_tracks import HandTracks
from dataengine import hands
from dataengine.detect import find_converter
from dataengine.errors import EpisodeError, SourceError, UnsafeSource

ARIA = Path("mps/hand_tracking/hand_tracking_results.csv")


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
def test_pictures_that_were_turned_since_the_calibration(tmp_path: Path, turned: int) -> None:
    """`vrs_to_mp4` puts Aria's pictures upright by `numpy.rot90(picture, -1)`; the calibration knows nothing of it."""
    scene, quarters = Scene(), turned // 90
    write_scene(tmp_path, scene)
    write_video(tmp_path, np.rot90(moving(COUNT), -quarters, axes=(1, 2)).copy(), name="recording.mp4", rate=FPS)
    write_aria(tmp_path / "hand_tracking_results.csv", aria_rows(scene, pictures()))
    said = {**LENS, "T_device_camera": list(ON_DEVICE), "turned": turned}
    (tmp_path / "camera.json").write_text(json.dumps(said))
    episode = only(tmp_path)
    # Where numpy puts the pixels of the untouched picture.
    rows, columns = (np.rot90(each, -quarters) for each in np.mgrid[:48, :64])
    height, width = rows.shape
    assert (episode.meta.extra["camera"]["width"], episode.meta.extra["camera"]["height"]) == (width, height)
    for side in hands.SIDES:
        truth = scene.in_camera(side, pictures())
        before, _ = cv2.projectPoints(truth[5], np.zeros(3), np.zeros(3), MATRIX, None)
        pixels = column(episode, side, "pixels")[5]
        within = [m for m in KNOWN if 0 <= pixels[m, 0] <= width - 1 and 0 <= pixels[m, 1] <= height - 1]
        assert len(within) > 5
        for mark in within:
            x, y = np.round(pixels[mark]).astype(int)
            np.testing.assert_allclose([columns[y, x], rows[y, x]], before[mark, 0], atol=0.51)
        # The frame of the camera turns with the picture, depth stays, and so does where the camera is in the world.
        landmarks = column(episode, side, "landmarks")
        np.testing.assert_allclose(landmarks[:, KNOWN, 2], truth[:, KNOWN, 2], atol=1e-5)
        pose = episode.frames[hands.CAMERA_POSE]
        back = Rotation.from_quat(pose[5, 3:]).apply(landmarks[5]) + pose[5, :3]
        np.testing.assert_allclose(back[KNOWN], scene.world(side, pictures())[5][KNOWN], atol=1e-4)


def write_vrs_clock(path: Path, seconds: np.ndarray) -> None:
    """As `vrs_to_mp4` does, with the columns that nobody needs."""
    rows = [f"{at * 1e9},{round(at * 1e9)},{round(START + at * 1e9)}" for at in seconds]
    head = "mp4_time_ns,relative_vrs_device_time_ns,vrs_device_time_ns"
    path.write_text("\r\n".join([head, *rows]) + "\r\n")


def test_a_video_of_vrs_to_mp4_says_when_and_has_to_say_how_it_was_turned(tmp_path: Path) -> None:
    scene = Scene()
    write_scene(tmp_path, scene, clock=False)
    write_vrs_clock(tmp_path / "recording_mp4_to_vrs_time_ns.csv", pictures())
    write_aria(tmp_path / "hand_tracking_results.csv", aria_rows(scene, pictures()[6:]))
    with pytest.raises(SourceError, match=r"camera\.json: recording_mp4_to.*add `turned: 90`.*`turned: 0`"):
        HandTracks().plan(tmp_path)
    said = {**LENS, "T_device_camera": list(ON_DEVICE), "turned": 0}
    (tmp_path / "camera.json").write_text(json.dumps(said))
    plan = HandTracks().plan(tmp_path)
    assert not any(a.key == "start_ns" for a in plan.assumptions)
    episode = HandTracks().read(plan, plan.episodes[0])
    np.testing.assert_array_equal(column(episode, "right", "tracked"), np.where(np.arange(COUNT) < 6, 0, 1))
    (tmp_path / "hand_tracking_results.csv").unlink()
    (tmp_path / "hands.jsonl").write_text(spoken(scene))
    assert HandTracks().plan(tmp_path).episodes[0].problem is None
    with pytest.raises(SourceError, match="turned: 180 is not for tracks in the camera's frame"):
        HandTracks().plan(tmp_path, {"camera": {**said, "turned": 180}})


def test_the_trajectory_on_the_clock_of_the_tracks_is_taken(tmp_path: Path) -> None:
    """A folder of HOT3D has the headset's way in time code, and SLAM's in the time of the device."""
    scene = Scene()
    write_scene(tmp_path, scene)
    write_aria(tmp_path / ARIA, aria_rows(scene, pictures()))
    alone = only(tmp_path)
    (tmp_path / "headset_trajectory.csv").write_text("never,read\n")
    both = only(tmp_path)
    np.testing.assert_array_equal(both.frames[hands.CAMERA_POSE], alone.frames[hands.CAMERA_POSE])
    (tmp_path / ARIA).unlink()
    (tmp_path / "hands.jsonl").write_text(spoken(scene, space="world"))
    with pytest.raises(SourceError, match="has 2 trajectories"):
        HandTracks().plan(tmp_path)


@pytest.mark.parametrize("way", [True, False])
def test_tracks_on_another_clock_than_pictures_and_trajectory_are_told(tmp_path: Path, way: bool) -> None:
    scene = Scene()
    write_scene(tmp_path, scene, way=way)
    rows = [[str(int(row[0]) + 10**10), *row[1:]] for row in aria_rows(scene, pictures())]
    write_aria(tmp_path / "hand_tracking_results.csv", rows)
    with pytest.raises(EpisodeError, match=r"no picture shows.*rows go from 10000\.000 to 10000\.767 s"):
        only(tmp_path)


def test_a_link_out_of_the_folder_and_a_pipe_are_named(tmp_path: Path) -> None:
    scene = Scene()
    for name in ("link", "pipe"):
        write_scene(tmp_path / name, scene)
        write_aria(tmp_path / name / "hand_tracking_results.csv", aria_rows(scene, pictures()))
    (tmp_path / "camera.json").write_text(json.dumps(LENS))
    (tmp_path / "link" / "camera.json").unlink()
    (tmp_path / "link" / "camera.json").symlink_to(tmp_path / "camera.json")
    with pytest.raises(UnsafeSource, match=r"camera\.json: is a link that leaves"):
        find_converter(tmp_path / "link")
    os.mkfifo(tmp_path / "pipe" / "queue")
    with pytest.raises(SourceError, match="queue: is no file but a pipe"):
        find_converter(tmp_path / "pipe")


def test_tracks_find_their_video_by_a_name_with_points(tmp_path: Path) -> None:
    scene = Scene()
    write_scene(tmp_path, scene, name="2025.03.27.mp4", way=False)
    write_video(tmp_path, moving(3), name="2025.mp4")
    (tmp_path / "2025.03.27.hands.jsonl").write_text(spoken(scene, picture=True))
    assert HandTracks().plan(tmp_path).episodes[0].extra["video"] == "2025.03.27.mp4"


def test_a_camera_of_pictures_of_another_size_is_told(tmp_path: Path) -> None:
    scene = Scene()
    write_scene(tmp_path, scene, way=False)
    (tmp_path / "hands.jsonl").write_text(spoken(scene, picture=True))
    small = {"fx": 220.0, "fy": 224.0, "cx": 127.5, "cy": 95.5}
    with pytest.raises(
        EpisodeError, match=r"127\.5, 95\.5 is not near the middle of pictures of 64×48.*width and height"
    ):
        only(tmp_path, {"camera": small})
    episode = only(tmp_path, {"camera": {**small, "width": 256, "height": 192}})
    assert episode.meta.extra["camera"]["fx"] == 55.0 and episode.meta.extra["camera"]["cy"] == 23.5


def test_recordings_beside_what_the_services_made_of_them(tmp_path: Path) -> None:
    scenes = {"cup": Scene(1), "pan": Scene(2)}
    for name, scene in scenes.items():
        write_scene(tmp_path, scene, name=f"{name}.mp4", way=False, clock=False)
        mps = tmp_path / f"mps_{name}_vrs"
        write_aria(mps / "hand_tracking" / "hand_tracking_results.csv", aria_rows(scene, pictures()))
        seconds = np.arange(-0.1, 0.9, 0.005)
        write_way(mps / "slam" / "closed_loop_trajectory.csv", scene.device(seconds), seconds)
    plan = HandTracks().plan(tmp_path)
    assert [ref.problem for ref in plan.episodes] == [None, None]
    for ref, (name, scene) in zip(plan.episodes, scenes.items(), strict=True):
        assert ref.extra["video"] == f"{name}.mp4" and ref.extra["way"].startswith(f"mps_{name}_vrs/")
        episode, truth = HandTracks().read(plan, ref), scene.in_camera("right", pictures())
        assert np.abs(column(episode, "right", "landmarks")[:, KNOWN] - truth[:, KNOWN]).max() < 1e-4
