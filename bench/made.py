"""Sources of any size for measurements: ALOHA HDF5 files of smooth moving content."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np


def write_aloha(folder: Path, *, episodes: int, frames: int, height: int = 240, width: int = 320) -> Path:
    """`episodes` files of `frames` steps with two cameras, written a frame at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:height, :width]
    for number in range(episodes):
        time = np.arange(frames)[:, None] / 50
        joints = np.sin(time * np.linspace(0.3, 1.2, 14) + number).astype(np.float32)
        with h5py.File(folder / f"episode_{number}.hdf5", "w") as file:
            file.attrs["sim"] = True
            file["action"] = np.roll(joints, -2, axis=0)
            file["observations/qpos"] = joints
            file["observations/qvel"] = np.gradient(joints, axis=0).astype(np.float32)
            for camera in ("top", "angle"):
                images = file.create_dataset(
                    f"observations/images/{camera}", (frames, height, width, 3), "u1", chunks=(1, height, width, 3)
                )
                wave = 127 + 120 * np.sin((x + 40 * number) / 37) * np.cos(y / 29)
                picture = np.stack([wave, wave[::-1], 255 - wave], axis=2).astype(np.uint8)
                for t in range(frames):
                    images[t] = np.roll(picture, (2 * t, 3 * t), axis=(0, 1))
    return folder
