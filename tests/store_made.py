"""Small made-up episodes that have a bit of everything a store can hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from dataengine.episode import ArrayClip, Episode, Feature, Label, Meta, Step
from dataengine.store import Store

FPS = 10.0
FRONT, DEPTH, PNG = "observation.images.front", "observation.images.front_depth", "observation.images.wrist"
FEATURES = {
    "observation.state": Feature("float32", (3,), ("x", "y", "z"), role="state", unit="m"),
    "action": Feature("float32", (2,), ("a", "b"), role="action"),
    "next.done": Feature("bool", (1,), role="done"),
    "collect.note": Feature("string", (1,)),
    "collect.grid": Feature("float32", (2, 3)),
    "collect.touch": Feature("uint8", (2, 1, 3, 2)),
    "collect.timestamp": Feature("float64", (1,), role="time", unit="s"),
    FRONT: Feature("video", (32, 48, 3), role="image"),
    DEPTH: Feature("video", (32, 48, 1), role="depth"),
    PNG: Feature("image", (8, 10, 3), role="image"),
}
SMALL = {key: FEATURES[key] for key in ("observation.state", "action", FRONT)}


def picture(height: int, width: int, frames: int, seed: int) -> np.ndarray:
    """`(T, H, W, 3)` uint8: a smooth slope that moves, so that a shift by one frame can be seen."""
    t, y, x = np.ogrid[:frames, :height, :width]
    grey = 40 + 10 * (seed % 8) + 6 * t + 60 * y / height + 30 * x / width
    return np.stack([grey, grey * 0.7, 255 - grey], -1).clip(0, 255).astype(np.uint8)


def episode(seed: int = 0, length: int = 7, features: dict[str, Feature] = FEATURES, **changes: object) -> Episode:
    random = np.random.default_rng(seed)
    frames: dict[str, np.ndarray] = {
        "observation.state": random.normal(size=(length, 3)).astype(np.float32),
        "action": random.normal(size=(length, 2)).astype(np.float32),
        "next.done": np.arange(length) == length - 1,
        "collect.note": np.array([f"frame {k} – ü" for k in range(length)]),
        "collect.grid": random.normal(size=(length, 2, 3)).astype(np.float32),
        "collect.touch": random.integers(0, 255, (length, 2, 1, 3, 2)).astype(np.uint8),
        "collect.timestamp": np.arange(length) / FPS + random.uniform(0, 0.01, length),
    }
    depth = (0.5 + picture(32, 48, length, seed)[..., :1] / 100).astype(np.float32)
    clips = {
        FRONT: ArrayClip(picture(32, 48, length, seed), FPS),
        DEPTH: ArrayClip(depth, FPS),
        PNG: ArrayClip(random.integers(0, 255, (length, 8, 10, 3)).astype(np.uint8), FPS),
    }
    half = length // 2
    spans = pa.table({"start": [0, half], "stop": [half, length], "text": ["reach", "grasp"], "phase": [1, 2]})
    labels = {
        "subtask": Label("span", spans.select(["start", "stop", "text"]), {"name": "by hand", "version": "1"}),
        "phase": Label("span", spans.select(["start", "stop", "phase"]), {"name": "by hand"}),
        "grade": Label("frame", pa.table({"value": random.normal(size=length).astype(np.float32)})),
        "contact": Label("event", pa.table({"frame": [half]})),
    }
    meta = Meta(
        tasks=("pick up the cube",) if seed % 2 else ("pick up the cube", f"put it in box {seed}"),
        success=bool(seed % 2),
        operator="somebody",
        quality=seed / 10,
        split="train",
        source={"format": "made", "sha256": f"{seed:064x}", "name": f"demo_{seed}"},
        lineage=(Step("made", "1", {"seed": seed}, ("nothing",)),),
    )
    made = Episode(
        f"episode{seed:04d}",
        FPS,
        dict(features),
        {key: value for key, value in frames.items() if key in features},
        {key: value for key, value in clips.items() if key in features},
        labels if len(features) == len(FEATURES) else {},
        meta,
        None if seed % 2 else (np.arange(length) >= half).astype(np.int64),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def store_of(root: Path, lengths: Iterable[int], features: dict[str, Feature] = SMALL) -> Store:
    """A new store of episodes `0, 1, …` with so many frames each."""
    store = Store.create(root, fps=FPS, features=features)
    with store.writer() as writer:
        for seed, length in enumerate(lengths):
            writer.append(episode(seed, length, features))
    return store


def write_scores(root: Path, part: int) -> None:
    """Label every second episode, one write each, and again: what a worker of several does."""
    store = Store.open(root)
    for turn in range(4):
        for index in range(part, len(store), 2):
            values = pa.table({"v": np.full(int(store.table_of_episodes.length[index]), 10 * turn + index)})
            store.write_labels("score", {store.ids[index]: Label("frame", values)})
