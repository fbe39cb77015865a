"""Sequences as headsets write them: a person's hands in a world, seen by a device that turns its head."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from hands_made import person
from scipy.spatial.transform import Rotation
from video_foreign import moving, write_video

from converters.hand_tracks import HandTracks
from dataengine import hands
from dataengine.episode import Episode

COUNT, FPS = 24, 30
LENS = {"fx": 55.0, "fy": 56.0, "cx": 31.5, "cy": 23.5, "width": 64, "height": 48}
MATRIX = np.array([[55.0, 0, 31.5], [0, 56.0, 23.5], [0, 0, 1]])
ON_DEVICE = (0.02, -0.05, 0.01, *Rotation.from_euler("xyz", [0.3, -0.2, 1.4]).as_quat())
START = 1_762_609_162_000  # [ns] on the headset's clock, at the first picture
KNOWN = [mark for mark in range(21) if mark != 1]  # Aria has no root of the thumb
# Of each of Aria's landmarks ours, written down from its table by hand; the palm's middle is none of ours.
ARIA = (4, 8, 12, 16, 20, 0, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 19, None)


@dataclass(frozen=True)
class Scene:
    """A head that turns by up to half a radian in half a second, hands that move slowly in the world."""

    seed: int = 0

    def device(self, seconds: np.ndarray) -> np.ndarray:
        """`(T, 4, 4)` in the world."""
        pose = np.tile(np.eye(4), (len(seconds), 1, 1))
        swing = np.outer(seconds, [1.0, 0.4, 0.2])
        pose[:, :3, :3] = (Rotation.from_euler("xyz", [0.5, 0.1, -0.7]) * Rotation.from_rotvec(swing)).as_matrix()
        pose[:, :3, 3] = np.array([1.0, 2.0, 1.6]) + np.outer(seconds, [0.1, 0.0, 0.2])
        return pose

    @property
    def on_device(self) -> np.ndarray:
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = Rotation.from_quat(ON_DEVICE[3:]).as_matrix(), ON_DEVICE[:3]
        return pose

    def camera(self, seconds: np.ndarray) -> np.ndarray:
        return self.device(seconds) @ self.on_device

    def world(self, side: str, seconds: np.ndarray) -> np.ndarray:
        """`(T, 21, 3)`: half a metre before the camera of 0.4 s, moving in a straight line."""
        hand = person(self.seed, right=side == "right") * [1.0, -1.0, -1.0]
        seen = hand + np.array([0.08 if side == "right" else -0.08, 0.02, 0.5])
        camera = self.camera(np.array([0.4]))[0]
        return seen @ camera[:3, :3].T + camera[:3, 3] + np.outer(seconds, [0.05, -0.03, 0.02])[:, None]

    def in_camera(self, side: str, seconds: np.ndarray) -> np.ndarray:
        camera = self.camera(seconds)
        return (self.world(side, seconds) - camera[:, None, :3, 3]) @ camera[:, :3, :3]

    def in_device(self, side: str, seconds: np.ndarray) -> np.ndarray:
        device = self.device(seconds)
        return (self.world(side, seconds) - device[:, None, :3, 3]) @ device[:, :3, :3]


def pictures() -> np.ndarray:
    """When they are taken [s]."""
    return np.arange(COUNT) / FPS


def write_scene(
    folder: Path, scene: Scene, *, name: str = "recording.mp4", lens: bool = True, way: bool = True, clock: bool = True
) -> None:
    """The video and what stands beside it, without tracks."""
    folder.mkdir(parents=True, exist_ok=True)
    write_video(folder, moving(COUNT), name=name, rate=FPS)
    if lens:
        (folder / "camera.json").write_text(json.dumps({**LENS, "T_device_camera": list(ON_DEVICE)}))
    if clock:
        rows = np.round(START + pictures() * 1e9).astype(np.int64)
        (folder / "frame_times.csv").write_text("timestamp_ns\n" + "\n".join(map(str, rows)) + "\n")
    if way:
        seconds = np.arange(-0.1, COUNT / FPS + 0.1, 0.005)
        write_way(folder / "mps" / "slam" / "closed_loop_trajectory.csv", scene.device(seconds), seconds)


def write_way(path: Path, poses: np.ndarray, seconds: np.ndarray) -> None:
    """As Project Aria's SLAM does, other columns among them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ["graph_uid,tracking_timestamp_us,utc_timestamp_ns," + ",".join(
        f"{part}_world_device" for part in ("tx", "ty", "tz", "qx", "qy", "qz", "qw")) + ",quality_score"]  # fmt: skip
    quaternions = Rotation.from_matrix(poses[:, :3, :3]).as_quat()
    for at, place, turn in zip(seconds, poses[:, :3, 3], quaternions, strict=True):
        us = round(START / 1000 + at * 1e6)
        rows.append(f"a-b,{us},0,{','.join(f'{v:.9f}' for v in (*place, *turn))},0.5")
    path.write_text("\n".join(rows) + "\n")


def aria_header() -> list[str]:
    names = ["tracking_timestamp_us"]
    for side in hands.SIDES:
        names.append(f"{side}_tracking_confidence")
        names += [f"t{axis}_{side}_landmark_{n}_device" for n in range(21) for axis in "xyz"]
    return [*names, "tx_left_device_wrist", "nx_left_palm_device"]


def aria_rows(scene: Scene, seconds: np.ndarray, gone: dict[str, np.ndarray] | None = None) -> list[list[str]]:
    """Text of every field. gone: by side `(N,)` where there is no hand: confidence -1 and zeros."""
    found = [[str(round(START / 1000 + at * 1e6))] for at in seconds]
    for side in hands.SIDES:
        ours = scene.in_device(side, seconds)
        for n, row in enumerate(found):
            points = np.stack([ours[n, hands.PALM].mean(0) if mark is None else ours[n, mark] for mark in ARIA])
            lost = gone is not None and side in gone and gone[side][n]
            row.append("-1" if lost else "0.9")
            row += ["0" if lost else f"{value:.7f}" for value in points.ravel()]
    return [[*row, "0", "0"] for row in found]


def write_odd(file: h5py.File, name: str, shape: tuple[int, ...]) -> None:
    """A dataset of floating point numbers for which numpy has no type."""
    odd = h5py.h5t.IEEE_F64LE.copy()
    odd.set_fields(63, 52, 11, 0, 50)
    odd.set_ebias(1 << 20)
    h5py.h5d.create(file.id, name.encode(), odd, h5py.h5s.create_simple(shape))


def write_aria(path: Path, rows: list[list[str]], header: list[str] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(",".join(row) for row in [header or aria_header(), *rows]) + "\n")


def only(path: Path, mapping: dict | None = None) -> Episode:
    plan = HandTracks().plan(path, mapping)
    return HandTracks().read(plan, plan.episodes[0])


def column(episode: Episode, side: str, what: str) -> np.ndarray:
    return episode.frames[hands.column(side, what)]


def lines(head: dict, rows: list[dict]) -> str:
    return "\n".join(json.dumps(line) for line in [head, *rows]) + "\n"


def spoken(scene: Scene, *, space: str = "camera", picture: bool = False) -> str:
    """The right hand of every picture, and of the left one the first."""
    places = {"camera": scene.in_camera, "device": scene.in_device, "world": scene.world}[space]
    right, left = places("right", pictures()), places("left", pictures())
    when = [{"picture": n} if picture else {"timestamp_ns": START + round(n / FPS * 1e9)} for n in range(COUNT)]
    rows = [
        {**at, "left": {"landmarks": left[n].tolist()} if n == 0 else None,
         "right": {"landmarks": right[n].tolist(), "confidence": 0.2 if n == 5 else 0.8, "wrist": [0] * 7}}
        for n, at in enumerate(when)
    ]  # fmt: skip
    return lines({"space": space, "order": "mediapipe"}, rows)
