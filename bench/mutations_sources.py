"""Tiny sources of every format that is read, made by the tests' own writers, to be damaged afterwards."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from lerobot_folders import TOP, Folder, write_v2, write_v3
from source_layouts import aloha, libero, pictures, replay, robomimic, umi
from store_made import FEATURES, FPS, episode

from bench import mutations_hands
from dataengine.store import Store

WRIST = "observation.images.wrist"
_CAMERAS = {TOP: "video", WRIST: "image"}
_LENGTHS = (5, 6, 4)


def _told_apart(frames: np.ndarray, episode: int) -> np.ndarray:
    """Pictures of which each is brighter than the last, so that another one in its place shows."""
    brighter = 12 * np.arange(len(frames)) + 60 * episode
    return (frames // 3 + brighter[:, None, None, None]).astype(frames.dtype)


def _robomimic(folder: Path) -> Path:
    path = robomimic(
        folder / "demo.hdf5", {"demo_0": 5, "demo_1": 4}, images=True, depth=True, masks={"train": ["demo_0"]}
    )
    with h5py.File(path, "r+") as file:
        for n, demo in enumerate(file["data"].values()):
            demo["obs/agentview_image"][...] = _told_apart(demo["obs/agentview_image"][...], n)
    return path


def _libero(folder: Path) -> Path:
    return libero(folder / "kitchen.hdf5", "put the bowl on the plate", length=4)


def _aloha(folder: Path, *, jpeg: bool) -> Path:
    source = folder / ("mobile" if jpeg else "act")
    source.mkdir()
    for seed in range(2):
        cameras = ("cam_high", "cam_left_wrist") if jpeg else ("top",)
        path = aloha(source / f"episode_{seed}.hdf5", 4 + seed, cameras, jpeg=jpeg, base=jpeg, seed=seed)
        if not jpeg:
            with h5py.File(path, "r+") as file:
                images = file["observations/images/top"]
                images[...] = _told_apart(images[...], seed)
    return source


def _pusht(folder: Path, name: str, *, version: int = 2) -> Path:
    rng = np.random.default_rng(3)
    arrays = {
        "img": _told_apart(pictures(2, 11, 16, 16), 0).astype(np.float32),
        "state": rng.normal(size=(11, 5)).astype(np.float32),
        "action": rng.normal(size=(11, 2)).astype(np.float32),
        "n_contacts": rng.integers(0, 3, (11, 1)).astype(np.float32),
    }
    return replay(folder / name, arrays, [5, 11], version=version)


def _umi(folder: Path) -> Path:
    from imagecodecs.numcodecs import Jpegxl, register_codecs

    register_codecs(verbose=False)
    arrays = umi(9)
    arrays["camera0_rgb"] = _told_apart(arrays["camera0_rgb"], 0)
    return replay(folder / "umi.zarr.zip", arrays, [4, 9], codec=Jpegxl(lossless=True))


def _lerobot(folder: Path, name: str, version: str) -> Path:
    made = Folder(lengths=_LENGTHS, cameras=_CAMERAS, version=version, licence="mit")
    (write_v3 if version == "v3.0" else write_v2)(folder / name, made)
    return folder / name


def _store(folder: Path) -> Path:
    store = Store.create(folder / "own", fps=FPS, features=FEATURES)
    with store.writer() as writer:
        for seed in range(3):
            writer.append(episode(seed, 4 + seed))
    return folder / "own"


SOURCES: dict[str, Callable[[Path], Path]] = {
    "robomimic": _robomimic,
    "libero": _libero,
    "aloha_raw": lambda folder: _aloha(folder, jpeg=False),
    "aloha_jpeg": lambda folder: _aloha(folder, jpeg=True),
    "zarr_folder": lambda folder: _pusht(folder, "pusht.zarr"),
    "zarr_v3": lambda folder: _pusht(folder, "pusht3.zarr", version=3),
    "zarr_zip": _umi,
    "lerobot_v20": lambda folder: _lerobot(folder, "two0", "v2.0"),
    "lerobot_v21": lambda folder: _lerobot(folder, "two1", "v2.1"),
    "lerobot_v30": lambda folder: _lerobot(folder, "three", "v3.0"),
    "store": _store,
    "ego": mutations_hands.ego,
    "egodex": mutations_hands.egodex,
}
