"""Read a dataset with stock LeRobot and compare it, frame by frame, with what our own reader gives.

Run as a process of its own (`python -m dataengine.hub.stock`): LeRobot reads its environment at import, and
importing it takes long.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from dataengine.store import FrameReader, Store

# Pixels may differ by this many of 255 steps between decoders' colour conversions.
PIXEL_STEPS = 2


def compare(
    store: Path, repo_id: str, root: Path | None, revision: str | None, samples: int, seed: int
) -> dict[str, Any]:
    """Random indices with a window on every numeric feature and camera, read both ways.

    Raises `SystemExit` with the first difference. Timestamps, indices and tasks are compared as well.
    """
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    ours = Store.open(store)
    windows = _windows(ours)
    stock = LeRobotDataset(
        repo_id, root=root, revision=revision, delta_timestamps=windows or None, video_backend="pyav"
    )
    reader = FrameReader(ours, windows or None)
    if len(stock) != len(reader) or stock.num_episodes != len(ours):
        raise SystemExit(
            f"stock LeRobot sees {len(stock)} frames, {stock.num_episodes} episodes; ours {len(reader)}, {len(ours)}"
        )
    rng = np.random.default_rng(seed)
    indices = rng.integers(0, len(reader), samples).tolist() if samples < len(reader) else list(range(len(reader)))
    worst = 0.0
    compared = 0
    for index in [0, len(reader) - 1, *indices]:
        theirs, mine = stock[index], reader[index]
        for key, value in mine.items():
            if key not in theirs or isinstance(value, str):
                continue
            got = np.asarray(theirs[key])
            if key in ours.features and ours.features[key].is_camera:
                step = _pixels(got, value, ours.features[key].shape)
                worst = max(worst, step)
                if step > PIXEL_STEPS:
                    raise SystemExit(f"{key} of frame {index}: pixels differ by up to {step:.1f} of 255")
            elif not _same(got, np.asarray(value)):
                raise SystemExit(f"{key} of frame {index} differs: {_brief(got)}, ours {_brief(value)}")
            compared += 1
        if theirs.get("task") != mine.get("task"):
            raise SystemExit(f"task of frame {index}: {theirs.get('task')!r}, ours {mine.get('task')!r}")
    return {
        "frames": len(reader),
        "episodes": len(ours),
        "compared": compared,
        "indices": len(indices) + 2,
        "worst_pixel_difference": worst,
    }


def _windows(store: Store) -> dict[str, list[float]]:
    step = 1 / store.fps
    windows: dict[str, list[float]] = {}
    for key, feature in store.features.items():
        if feature.is_camera:
            windows[key] = [-step, 0.0]
        elif key.startswith("action"):
            windows[key] = [i * step for i in range(8)]
        elif key == "observation.state":
            windows[key] = [-2 * step, 0.0]
    return windows


def _same(theirs: np.ndarray, mine: np.ndarray) -> bool:
    """Equal values in order; LeRobot hands float64 columns out as float32 and keeps a scalar's axis in windows."""
    return theirs.size == mine.size and np.array_equal(theirs.reshape(-1), mine.reshape(-1).astype(theirs.dtype))


def _brief(value: object) -> str:
    return " ".join(str(np.asarray(value).reshape(-1)[:6]).split())


def _pixels(theirs: np.ndarray, mine: np.ndarray, shape: tuple[int, ...]) -> float:
    """Largest difference in 255ths; LeRobot gives channels first, in 0..1 (depth in millimetres)."""
    moved = np.moveaxis(np.asarray(theirs, np.float64), -3, -1)
    if shape[2] == 1:
        depth = np.asarray(mine, np.float64)
        scale = 1000.0 if np.nanmax(moved) > 20 * np.nanmax(depth) else 1.0
        return float(np.abs(moved / scale - depth).max()) / 0.004
    return float(np.abs(moved * (255.0 if moved.max() <= 1.0 else 1.0) - np.asarray(mine, np.float64)).max())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("store", type=Path)
    parser.add_argument("--repo-id", required=True)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--revision")
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    json.dump(compare(args.store, args.repo_id, args.root, args.revision, args.samples, args.seed), sys.stdout)


if __name__ == "__main__":
    main()
