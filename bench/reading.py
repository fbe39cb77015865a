"""Reading for training: shuffled batches, windows of pictures, random access and tables, against stock LeRobot 0.6.1.

The same frames twice: in a store of ours, and in a dataset of LeRobot's own writer (AV1, a keyframe every second
frame). Ten episodes of 200 frames, two cameras of 256×256 that move smoothly, 14 numbers of state and action; batch
32, chunks of 16 actions, pictures as uint8 RGB, as LeRobot's training loop asks for them. LeRobot reads through its
`DataLoader` with two workers, ours decodes in two threads, or in its workers too (`loader_…`). Every rate is taken
from the first batch on; contenders take turns, ratios are medians over the turns. torchcodec finds
the FFmpeg that PyAV brings along.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np

from bench.results import record
from dataengine.episode import ArrayClip, Episode, Feature, Meta
from dataengine.store import FrameReader, Store
from dataengine.store.stream import FrameStream

EPISODES, FRAMES, SIDE, FPS, BATCH, THREADS, TURNS = 10, 200, 256, 30, 32, 2, 3
CAMERAS = ("observation.images.top", "observation.images.wrist")
NUMBERS = {"observation.state": Feature("float32", (14,)), "action": Feature("float32", (14,))}
FEATURES = {**NUMBERS, **{camera: Feature("video", (SIDE, SIDE, 3)) for camera in CAMERAS}}
CHUNK = {"action": [k / FPS for k in range(16)]}
WINDOWS = {**CHUNK, **{camera: [k / FPS for k in range(-7, 1)] for camera in CAMERAS}}
TARGETS = {
    "stream_over_pyav": 20.0,
    "stream_over_torchcodec": 10.0,
    "stream_over_pyav_lerobot_files": 8.0,
    "stream_over_bare_decoder": 0.5,
    "windows_over_pyav": 6.0,
    "random_access_over_pyav": 5.0,
    "table_over_lerobot": 50.0,
}
COMPARED = {
    "stream_over_pyav": ("stream", "pyav"),
    "stream_over_torchcodec": ("stream", "torchcodec"),
    "stream_over_pyav_lerobot_files": ("stream_lerobot_files", "pyav_lerobot_files"),
    "stream_over_torchcodec_lerobot_files": ("stream_lerobot_files", "torchcodec_lerobot_files"),
    "stream_over_bare_decoder": ("stream", "bare_decoder"),
    "stream_over_bare_decoder_lerobot_files": ("stream_lerobot_files", "bare_decoder_lerobot_files"),
    "windows_over_pyav": ("windows", "windows_pyav"),
    "random_access_over_pyav": ("random_access", "random_access_pyav"),
    "table_over_lerobot": ("table", "table_lerobot"),
    "table_random_access_over_lerobot": ("table_random_access", "table_random_access_lerobot"),
    "loader_uint8_over_pyav": ("loader_uint8", "pyav"),
}


def episode(number: int, cameras: bool = True) -> Episode:
    y, x = np.mgrid[:SIDE, :SIDE]
    columns = {key: np.random.default_rng(number).normal(size=(FRAMES, 14)).astype(np.float32) for key in NUMBERS}
    clips = {}
    for shift, camera in enumerate(CAMERAS if cameras else ()):
        wave = 127 + 120 * np.sin((x + 40 * number + 20 * shift) / 37) * np.cos(y / 29)
        picture = np.stack([wave, wave[::-1], 255 - wave], axis=2).astype(np.uint8)
        frames = np.empty((FRAMES, SIDE, SIDE, 3), np.uint8)
        for t in range(FRAMES):
            frames[t] = np.roll(picture, (2 * t, 3 * t), (0, 1))
        clips[camera] = ArrayClip(frames, FPS)
    features = FEATURES if cameras else NUMBERS
    return Episode(f"e{number}", float(FPS), dict(features), columns, clips, meta=Meta(tasks=("move",)))


def make(root: Path) -> None:
    """The three datasets, unless they are there: `ours`, `theirs`, and `table` without cameras."""
    for name, cameras in (("ours", True), ("table", False)):
        if not (root / name).exists():
            store = Store.create(root / name, fps=FPS, features=FEATURES if cameras else NUMBERS)
            with store.writer() as writer:
                for number in range(EPISODES):
                    writer.append(episode(number, cameras))
    if (root / "theirs").exists():
        return
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    names = {"video": ["height", "width", "channels"], "float32": None}
    features = {k: {"dtype": f.dtype, "shape": f.shape, "names": names[f.dtype]} for k, f in FEATURES.items()}
    dataset = LeRobotDataset.create("bench/theirs", fps=FPS, features=features, root=root / "theirs", use_videos=True)
    for number in range(EPISODES):
        one = episode(number)
        pictures = {camera: list(clip.frames()) for camera, clip in one.clips.items()}
        for t in range(FRAMES):
            columns = {key: column[t] for key, column in (*one.frames.items(), *pictures.items())}
            dataset.add_frame({**columns, "task": "move"})
        dataset.save_episode()
    dataset.finalize()


def lerobot(root: Path, windows: Mapping[str, list[float]], backend: str) -> Any:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    return LeRobotDataset(
        "bench/any", root=root, delta_timestamps=dict(windows), video_backend=backend, return_uint8=True
    )


def loader(dataset: Any, **options: Any) -> Iterable[Any]:
    import torch

    return torch.utils.data.DataLoader(dataset, num_workers=2, persistent_workers=True, **options)


def rate(batches: Iterable[Any], seconds: float = 5) -> float:
    """Samples per second from the first batch on, one epoch after the other."""
    running = itertools.chain.from_iterable(itertools.repeat(batches))
    next(running)
    begin, given = time.perf_counter(), 0
    for batch in running:
        given += len(batch["index"])
        if time.perf_counter() - begin > seconds:
            break
    return given / (time.perf_counter() - begin)


def decoder_rate(root: Path, passes: int = 4) -> float:
    """Samples per second if reading were nothing but decoding every picture to RGB, with as many threads."""

    def decode(path: Path) -> int:
        with av.open(str(path)) as container:
            return sum(len(frame.to_ndarray(format="rgb24")) > 0 for frame in container.decode(video=0))

    begin = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        decoded = sum(pool.map(decode, sorted(root.rglob("*.mp4")) * passes))
    assert decoded == EPISODES * FRAMES * len(CAMERAS) * passes
    return decoded / len(CAMERAS) / (time.perf_counter() - begin)


def access_rate(dataset: Any, count: int) -> float:
    """Items per second, one at a time, anywhere."""
    numbers = np.random.default_rng(0).integers(0, len(dataset), count).tolist()
    begin = time.perf_counter()
    for number in numbers:
        dataset[number]
    return count / (time.perf_counter() - begin)


def measure(root: Path) -> dict[str, dict[str, list[float]]]:
    """All rates [samples/s], in turns."""
    from dataengine.store.torch import StreamDataset

    make(root)
    ours, theirs, table = (Store.open(root / name) for name in ("ours", "theirs", "table"))
    streams = {
        "stream": FrameStream(ours, CHUNK, BATCH, threads=THREADS),
        "stream_lerobot_files": FrameStream(theirs, CHUNK, BATCH, threads=THREADS),
        "windows": FrameStream(ours, WINDOWS, BATCH, threads=THREADS),
        "table": FrameStream(table, CHUNK, BATCH, threads=THREADS),
    }
    stock = {
        "pyav": lerobot(ours.root, CHUNK, "pyav"),
        "torchcodec": lerobot(ours.root, CHUNK, "torchcodec"),
        "pyav_lerobot_files": lerobot(theirs.root, CHUNK, "pyav"),
        "torchcodec_lerobot_files": lerobot(theirs.root, CHUNK, "torchcodec"),
        "windows_pyav": lerobot(ours.root, WINDOWS, "pyav"),
        "table_lerobot": lerobot(table.root, CHUNK, "pyav"),
    }
    shuffled = {"batch_size": BATCH, "shuffle": True}
    reader, rows = FrameReader(ours, CHUNK), FrameReader(table, CHUNK)
    contenders: dict[str, Callable[[], float]] = {
        "pyav": lambda: rate(loader(stock["pyav"], **shuffled)),
        "stream": lambda: rate(streams["stream"]),
        "bare_decoder": lambda: decoder_rate(ours.root),
        "torchcodec": lambda: rate(loader(stock["torchcodec"], **shuffled)),
        "loader_uint8": lambda: rate(loader(StreamDataset(ours, CHUNK, BATCH, return_uint8=True), batch_size=None)),
        "loader_float32": lambda: rate(loader(StreamDataset(ours, CHUNK, BATCH), batch_size=None)),
        "pyav_lerobot_files": lambda: rate(loader(stock["pyav_lerobot_files"], **shuffled)),
        "stream_lerobot_files": lambda: rate(streams["stream_lerobot_files"]),
        "bare_decoder_lerobot_files": lambda: decoder_rate(theirs.root),
        "torchcodec_lerobot_files": lambda: rate(loader(stock["torchcodec_lerobot_files"], **shuffled)),
        "windows": lambda: rate(streams["windows"]),
        "windows_pyav": lambda: rate(loader(stock["windows_pyav"], **shuffled)),
        "random_access": lambda: access_rate(reader, 500),
        "random_access_pyav": lambda: access_rate(stock["pyav"], 100),
        "table": lambda: rate(streams["table"], 2),
        "table_lerobot": lambda: rate(loader(stock["table_lerobot"], **shuffled), 2),
        "table_random_access": lambda: access_rate(rows, 20000),
        "table_random_access_lerobot": lambda: access_rate(stock["table_lerobot"], 500),
    }
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(TURNS):
        for name, contender in contenders.items():
            found[name].append(round(contender(), 1))
    return found


def mixing(store: Store) -> dict[str, float]:
    """How well an epoch is shuffled, what it takes, and how soon it begins; in a process of its own."""
    begin = time.perf_counter()
    first, numbers, episodes = 0.0, [], []
    for batch in FrameStream(store, CHUNK, BATCH, threads=THREADS):
        first = first or time.perf_counter() - begin
        numbers.append(batch["index"])
        episodes.append(len(np.unique(batch["episode_index"])))
    order = np.concatenate(numbers)
    assert np.array_equal(np.sort(order), np.arange(len(order)))
    return {
        "rank_correlation": round(float(np.corrcoef(np.arange(len(order)), order)[0, 1]), 4),
        "episodes_per_batch": round(float(np.mean(episodes)), 2),
        "seconds_to_first_batch": round(first, 3),
        "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def with_ffmpeg(folder: Path) -> dict[str, str]:
    """Environment in which torchcodec finds PyAV's FFmpeg under the names it looks for."""
    libraries = Path(av.__file__).parents[1] / "av.libs"
    for path in (*libraries.glob("libav*.so.*"), *libraries.glob("libsw*.so.*")):
        name, version = path.name.split("-")[0], path.name.split(".so.")[1].split(".")[0]
        (folder / f"{name}.so.{version}").symlink_to(path)
    return {**os.environ, "LD_LIBRARY_PATH": f"{folder}:{libraries}", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, help="keep the datasets here")
    parser.add_argument("--part", choices=("measure", "mixing"), help="one part, as JSON")
    args = parser.parse_args()
    if args.part:
        print(json.dumps(measure(args.work) if args.part == "measure" else mixing(Store.open(args.work / "ours"))))
        return
    with tempfile.TemporaryDirectory() as folder:
        work = args.work or Path(folder) / "data"
        work.mkdir(exist_ok=True, parents=True)
        (Path(folder) / "lib").mkdir()
        environment = {**with_ffmpeg(Path(folder) / "lib"), "HF_HOME": folder}

        def part(name: str) -> Any:
            command = [sys.executable, "-W", "ignore", "-m", "bench.reading", "--work", str(work), "--part", name]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            return json.loads(done.stdout.splitlines()[-1])

        turns, mixed = part("measure"), part("mixing")
    ratios = {name: float(np.median(np.divide(turns[one], turns[other]))) for name, (one, other) in COMPARED.items()}
    for name, ratio in ratios.items():
        print(f"{ratio:9.2f}  {name}" + (f" (target {TARGETS[name]:g})" if name in TARGETS else ""))
    reached = {name: ratios[name] >= target for name, target in TARGETS.items()}
    reached["rank_correlation"] = abs(mixed["rank_correlation"]) <= 0.05
    figures = {
        "ratios": {name: round(ratio, 2) for name, ratio in ratios.items()},
        "samples_per_second": turns,
        **mixed,
        "targets": TARGETS,
        "reached": reached,
    }
    record("reading", figures, met=all(reached.values()))


if __name__ == "__main__":
    main()
