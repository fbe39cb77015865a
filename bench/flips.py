"""Two thousand bytes changed, one at a time, all over a store: does `verify` name the file each time?

A store with two cameras, a column of pictures, labels, edits and the versions kept for `undo`. Every file that is not
empty gets its turn, the private ones included; odd turns replace the file, even ones write into it in place, where its
hard links change too. What counts is that a problem stands under one of the names that the changed bytes have.
Target: 2000 of 2000.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench.results import record
from dataengine.episode import ArrayClip, Episode, Feature, Label, Meta
from dataengine.errors import DataEngineError
from dataengine.store import Edit, Store
from dataengine.store.verify import verify

FLIPS = 2000
CAMERAS = ("observation.images.front", "observation.images.side")
FEATURES = {
    "observation.state": Feature("float32", (6,), role="state"),
    "action": Feature("float32", (6,), role="action"),
    **{key: Feature("video", (32, 48, 3), role="image") for key in CAMERAS},
    "observation.images.wrist": Feature("image", (8, 12, 3), role="image"),
}


def episode(seed: int, length: int) -> Episode:
    random = np.random.default_rng(seed)
    t, y, x = np.ogrid[:length, :32, :48]
    shown = ((6 * t + 4 * y + 3 * x + 20 * seed) % 256).astype(np.uint8)[..., None].repeat(3, -1)
    clips = {key: ArrayClip(np.roll(shown, 5 * n, 2), 10.0) for n, key in enumerate(CAMERAS)}
    frames = {key: random.normal(size=(length, 6)).astype(np.float32) for key in ("observation.state", "action")}
    wrist = ArrayClip(random.integers(0, 255, (length, 8, 12, 3)).astype(np.uint8), 10.0)
    meta = Meta(tasks=("pick",) if seed % 2 else ("pick", f"place {seed}"), success=bool(seed % 2), source={"n": seed})
    tasks = None if seed % 2 else (np.arange(length) > length // 2).astype(np.int64)
    made = Episode(f"made{seed:03d}", 10.0, FEATURES, frames, clips, meta=meta, frame_tasks=tasks)
    return replace(made, clips={**made.clips, "observation.images.wrist": wrist})


def finished(root: Path, episodes: int = 5) -> Store:
    """A small store as it is after some weeks of use."""
    store = Store.create(root, fps=10, features=FEATURES, embodiment="arm", licence="mit")
    with store.writer() as writer:
        for seed in range(episodes):
            writer.append(episode(seed, 6 + seed))
    score = {i: Label("frame", pa.table({"v": np.arange(6 + n)})) for n, i in enumerate(store.ids)}
    store.write_labels("score", score)
    store.write_labels(
        "subtask", {store.ids[1]: Label("span", pa.table({"start": [0], "stop": [4], "text": ["reach"]}))}
    )
    Edit(store).delete([episodes - 1]).commit()
    Edit(store).trim(episodes // 2, 1, 6).set([0], quality=0.5).commit()
    with store.writer() as writer:
        writer.append(episode(9, 7))
    return store


def flip(path: Path, place: int, mask: int, in_place: bool) -> bytes:
    """Change a byte; gives what the file was."""
    before = path.read_bytes()
    after = bytearray(before)
    after[place] ^= mask
    write(path, bytes(after), in_place)
    return before


def write(path: Path, data: bytes, in_place: bool) -> None:
    if in_place:
        with path.open("r+b") as file:
            file.write(data)
    else:
        temporary = path.with_name("flipped.tmp")
        temporary.write_bytes(data)
        temporary.replace(path)


def content(root: Path) -> dict[Path, list[str]]:
    """Every file that holds a byte, and all names that it has."""
    names: dict[int, list[str]] = defaultdict(list)
    found = sorted(path for path in root.rglob("*") if path.is_file() and path.stat().st_size)
    for path in found:
        names[path.stat().st_ino].append(path.relative_to(root).as_posix())
    return {path: names[path.stat().st_ino] for path in found}


def flips(root: Path, count: int, seed: int = 0) -> tuple[Counter[str], list[str], list[float]]:
    """By folder how often a file there was named, what was not, and the seconds of each look."""
    random, all_files = np.random.default_rng(seed), content(root)
    paths = list(all_files)
    named: Counter[str] = Counter()
    missed, seconds = [], []
    for turn in range(count):
        path = paths[turn % len(paths)]
        relative, in_place = path.relative_to(root).as_posix(), turn // len(paths) % 2 == 1
        place, mask = int(random.integers(path.stat().st_size)), int(random.integers(1, 256))
        wanted = set(all_files[path]) if in_place else {relative}
        linked = None if in_place else path.with_name("kept.tmp")
        if linked:
            os.link(path, linked)  # so that the file, with its links, comes back
        before = flip(path, place, mask, in_place)
        begin = time.perf_counter()
        try:
            told = {problem.place for problem in verify(root).problems}
        except DataEngineError as error:
            told = {f"{type(error).__name__}: {error}"}
        seconds.append(time.perf_counter() - begin)
        if linked:
            linked.replace(path)
        else:
            write(path, before, True)
        if wanted & told:
            named["/".join(relative.split("/")[:2])] += 1
        else:
            missed.append(f"{relative} byte {place} ^ {mask}: {sorted(told)[:3]}")
    return named, missed, seconds


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = finished(Path(folder) / "store")
        whole = store.verify(deep=True)
        assert whole.ok, str(whole)
        named, missed, seconds = flips(store.root, FLIPS)
        after = store.verify()
        figures = {
            "flips": FLIPS,
            "named": sum(named.values()),
            "files": len(content(store.root)),
            "by_folder": dict(sorted(named.items())),
            "missed": missed[:10],
            "seconds_per_verify": {"median": round(float(np.median(seconds)), 3), "max": round(max(seconds), 3)},
            "whole_again": after.ok,
        }
        record("flips", figures, met=not missed and after.ok and after.digest == whole.digest)


if __name__ == "__main__":
    main()
