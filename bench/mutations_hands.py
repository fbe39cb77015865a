"""Tiny videos of hands to be damaged, and what an independent reader finds in them against what a store holds.

Of videos without tracks (`ego`) every picture of the store must be one of its file's, in order; of EgoDex the pictures
and, where a hand is there, its landmarks in the camera's frame. Every video that lies there must be in the store, by
its content, or in quarantine, by its name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from hands_made import person
from lerobot_folders import write_mp4
from scipy.spatial.transform import Rotation

from bench.mutations_oracle import COPIED, Different, Made, decoded
from dataengine import hands
from dataengine.plugins import Sighting

CAMERA, FPS, LENGTHS = "observation.images.ego", 20, (8, 11, 6)
VIDEOS = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi")
FINGERS = {"index": "IndexFinger", "middle": "MiddleFinger", "ring": "RingFinger", "little": "LittleFinger"}
PARTS = ("Knuckle", "IntermediateBase", "IntermediateTip", "Tip")
# In the order in which hands are numbered everywhere: wrist, thumb, four fingers, from the palm outwards.
JOINTS = ("Hand", *(f"Thumb{p}" for p in PARTS), *(f"{f}{p}" for f in FINGERS.values() for p in PARTS))
LENS = np.array([[55.0, 0, 31.5], [0, 56.0, 23.5], [0, 0, 1]])


class Blind:
    """A tracker that looks at every picture and sees no hand."""

    version = "blind 1"

    def track(self, pictures: Iterable[np.ndarray], fps: float) -> Iterator[list[Sighting]]:
        for _ in pictures:
            yield []


def ego(folder: Path) -> Path:
    source = folder / "videos"
    source.mkdir()
    for number, length in enumerate(LENGTHS):
        write_mp4(source / f"take {number}.mp4", _pictures(length, number), FPS)
    (source / "take 0.txt").write_text("pour the tea\n")
    return source


def egodex(folder: Path) -> Path:
    source = folder / "part" / "pour"
    source.mkdir(parents=True)
    for number, length in enumerate(LENGTHS):
        write_mp4(source / f"{number}.mp4", _pictures(length, number), FPS)
        time = np.arange(length) / FPS
        camera = np.tile(np.eye(4), (length, 1, 1))
        camera[:, :3, :3] = Rotation.from_euler("xyz", 0.3 * np.sin(np.outer(time, [1, 0.7, 0.4]) + number)).as_matrix()
        camera[:, :3, 3] = 0.1 * np.sin(time)[:, None]
        with h5py.File(source / f"{number}.hdf5", "w") as file:
            file["camera/intrinsic"], file["transforms/camera"] = LENS, camera
            file.attrs["llm_description"] = "pour the tea"
            for place, side in enumerate(hands.SIDES):
                hand = person(number, right=side == "right") * [1, -1, -1] + [0.2 * place - 0.1, 0, 0.5]
                for joint, point in zip(JOINTS, hand, strict=True):
                    poses = np.tile(np.eye(4), (length, 1, 1))
                    poses[:, :3, 3] = camera[:, :3, :3] @ point + camera[:, :3, 3]
                    file[f"transforms/{side}{joint}"] = poses
                file[f"confidences/{side}Hand"] = np.linspace(0.5, 1, length)
    return folder / "part"


def _pictures(length: int, number: int) -> list[np.ndarray]:
    """Each brighter than the last, and every video of a colour of its own."""
    y, x = np.mgrid[:48, :64]
    waves = 40 + 20 * np.stack([np.sin((x + 9 * number) / 9), np.sin(y / 7), np.cos((x + y) / 8)], -1)
    waves[..., number % 3] += 45
    return [(waves + 14 * n).astype(np.uint8) for n in range(length)]


def compare(root: Path, store: Path) -> int:
    """How many episodes a store holds, each of them what its source says. Raises `Different`."""
    made = Made(store)
    known: set[str] = set()
    for row in made.rows:
        source = json.loads(row["source"])
        file = root / source["file"] if root.is_dir() else root
        if hashlib.sha256(file.read_bytes()).hexdigest() != source["sha256"]:
            raise Different(f"{file.name} is not what the store says it was")
        known.add(source["sha256"])
        table = made.table(row)
        _shown(made.pictures(row, CAMERA, table), decoded(file.with_suffix(_suffix(file)))[0], file.name)
        if file.suffix == ".hdf5":
            _landmarks(file, table)
    held = _held(Path(f"{store}.flow") / "quarantine.jsonl")
    for file in sorted(path for path in root.rglob("*") if path.is_file()) if root.is_dir() else [root]:
        if file.suffix.lower() not in ((".hdf5",) if source["format"] == "egodex" else VIDEOS) or file.name[0] == ".":
            continue
        name = file.relative_to(root).as_posix()
        if hashlib.sha256(file.read_bytes()).hexdigest() not in known and name not in held:
            raise Different(f"{name} is neither in the store nor in quarantine")
    return len(made.rows)


def _suffix(file: Path) -> str:
    return ".mp4" if file.suffix == ".hdf5" else file.suffix


def _held(path: Path) -> set[str]:
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {line["episode"].partition(":")[2] for line in lines}


def _shown(stored: list[np.ndarray], there: list[np.ndarray], name: str) -> None:
    """Every stored picture is one of those there, as it is or turned as its header may say, never an earlier one."""
    ways = [(turns, mirrored) for mirrored in (1, -1) for turns in range(4)]
    for turns, mirrored in ways:
        wanted = [np.rot90(picture[:, ::mirrored], turns) for picture in there]
        at = 0
        for picture in stored:
            off = [_off(picture, other) for other in wanted[at:]]
            if not off or min(off) > 2 * COPIED:
                break
            at += int(np.argmin(off))
        else:
            return
    raise Different(f"{name}: a picture of the store is not in the video, or out of order")


def _off(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other).mean()) if one.shape == other.shape else np.inf


def _landmarks(file: Path, table: Any) -> None:
    with h5py.File(file, "r") as source:
        camera = source["transforms/camera"][()].astype(np.float64)
        for side in hands.SIDES:
            seen = np.array(table.column(hands.column(side, "tracked")).to_pylist()) == hands.SEEN
            stored = np.array(table.column(hands.column(side, "landmarks")).to_pylist())[seen]
            if not len(stored):
                continue
            world = np.stack([source[f"transforms/{side}{joint}"][()][:, :3, 3] for joint in JOINTS], 1)
            found = ((world - camera[:, None, :3, 3]) @ camera[:, :3, :3])[seen]
            turned = found * [1, -1, -1]  # a camera that looks along -z
            if min(np.abs(stored - one).max() for one in (found, turned)) > 1e-3 * max(1.0, np.abs(found).max()):
                raise Different(f"{file.name}: landmarks of the {side} hand differ")
