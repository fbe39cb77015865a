"""Sources of any size for measurements: ALOHA HDF5 files of smooth moving content."""

from __future__ import annotations

from pathlib import Path

import cv2
import h5py
import numpy as np

# A JPEG of these pictures at 640×480 takes 60 kB; ALOHA pads all to the longest.
_PADDED = 1 << 16


def write_aloha(
    folder: Path, *, episodes: int, frames: int, height: int = 240, width: int = 320, compressed: bool = False
) -> Path:
    """`episodes` files of `frames` steps with two cameras, written a frame at a time.

    compressed: pictures as JPEG, as Mobile ALOHA's datasets are published; else as they are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:height, :width]
    for number in range(episodes):
        time = np.arange(frames)[:, None] / 50
        joints = np.sin(time * np.linspace(0.3, 1.2, 14) + number).astype(np.float32)
        with h5py.File(folder / f"episode_{number}.hdf5", "w") as file:
            file.attrs["sim"] = True
            file.attrs["compress"] = compressed
            file["action"] = np.roll(joints, -2, axis=0)
            file["observations/qpos"] = joints
            file["observations/qvel"] = np.gradient(joints, axis=0).astype(np.float32)
            row = (_PADDED,) if compressed else (height, width, 3)
            wave = 127 + 120 * np.sin((x + 40 * number) / 37) * np.cos(y / 29)
            picture = np.stack([wave, wave[::-1], 255 - wave], axis=2).astype(np.uint8)
            for camera in ("top", "angle"):
                images = file.create_dataset(f"observations/images/{camera}", (frames, *row), "u1", chunks=(1, *row))
                for t in range(frames):
                    shown = np.roll(picture, (2 * t, 3 * t), axis=(0, 1))
                    images[t] = _padded(shown) if compressed else shown
    return folder


def _padded(picture: np.ndarray) -> np.ndarray:
    """JPEG bytes of an RGB array, encoded as ALOHA's recorders do (as if it were BGR), zeros behind."""
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 50])
    assert done
    return np.pad(data.ravel(), (0, _PADDED - data.size))
