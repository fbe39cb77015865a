"""Writing an episode dataset from arrays, against stock LeRobot 0.6.1: rows per second, bytes, quality, CPU, memory.

The same frames for all: 10 × 200 rows, two cameras of 256×256 that move smoothly, 14 numbers of state and action. Each
contender runs in a process of its own, twice with others in between; an episode's frames are made before the clock
starts for it, imports are not counted. LeRobot: `create()` as it comes, `streaming_encoding` as it comes, and its
fastest mode (streaming, h264 ultrafast). Ours: `writer.append`, durable episode by episode. `bare` is what cannot be
left out: RGB arrays in, packets out, with our codec's settings and as many threads as ours takes cameras at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

from bench.reading import CAMERAS, EPISODES, FEATURES, FPS, FRAMES, SIDE, episode
from bench.results import record
from dataengine.episode import Episode

TURNS = 2
TARGETS = {"over_create": 10.0, "over_fastest": 4.0, "cpu_of_bare": 1.5, "peak_rss_mib": 400.0}
Append = Callable[[Episode], None]


def ours(root: Path) -> tuple[Append, Append, Callable[[], None]]:
    from dataengine.store import Store

    writer = Store.create(root, fps=FPS, features=FEATURES).writer().__enter__()
    return lambda one: None, lambda one: void(writer.append(one)), writer.close


def lerobot(root: Path, **options: Any) -> tuple[Append, Append, Callable[[], None]]:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    names = {"video": ["height", "width", "channels"], "float32": None}
    features = {k: {"dtype": f.dtype, "shape": f.shape, "names": names[f.dtype]} for k, f in FEATURES.items()}
    dataset = LeRobotDataset.create("bench/w", fps=FPS, features=features, root=root, use_videos=True, **options)
    pictures: dict[str, Any] = {}

    def prepare(one: Episode) -> None:
        pictures.update({camera: list(clip.frames()) for camera, clip in one.clips.items()})

    def append(one: Episode) -> None:
        for t in range(FRAMES):
            columns = {key: column[t] for key, column in (*one.frames.items(), *pictures.items())}
            dataset.add_frame({**columns, "task": "move"})
        dataset.save_episode()
        pictures.clear()

    return prepare, append, dataset.finalize


def create(root: Path) -> tuple[Append, Append, Callable[[], None]]:
    return lerobot(root)


def streaming(root: Path) -> tuple[Append, Append, Callable[[], None]]:
    return lerobot(root, streaming_encoding=True)


def fastest(root: Path) -> tuple[Append, Append, Callable[[], None]]:
    from lerobot.configs.video import RGBEncoderConfig

    return lerobot(root, streaming_encoding=True, rgb_encoder=RGBEncoderConfig(vcodec="h264", preset="ultrafast"))


def bare(root: Path) -> tuple[Append, Append, Callable[[], None]]:
    from dataengine.video import DEFAULT

    pool = ThreadPoolExecutor(len(CAMERAS))

    def encode(frames: np.ndarray) -> int:
        context = cast(VideoCodecContext, av.CodecContext.create(DEFAULT.encoder, "w"))
        context.options = DEFAULT.options()
        context.width = context.height = SIDE
        context.pix_fmt, context.time_base, context.thread_count = "yuv420p", Fraction(1, FPS), 1
        packets = 0
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, "rgb24")
            picture.pts, picture.time_base = number, context.time_base
            packets += len(context.encode(picture))
        return packets + len(context.encode(None))

    def append(one: Episode) -> None:
        counts = list(pool.map(encode, [np.stack(list(clip.frames())) for clip in one.clips.values()]))
        assert counts == [FRAMES] * len(CAMERAS)

    return lambda one: None, append, pool.shutdown


CONTENDERS = {"create": create, "streaming": streaming, "fastest": fastest, "ours": ours, "bare": bare}


def void(_: object) -> None:
    return None


def cpu() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usage)


def measure(name: str, root: Path) -> dict[str, float]:
    """One contender writes all episodes."""
    prepare, append, finish = CONTENDERS[name](root)
    wall = spent = 0.0
    for number in range(EPISODES):
        one = episode(number)
        prepare(one)
        began, used = time.perf_counter(), cpu()
        append(one)
        if number == EPISODES - 1:
            finish()
        wall, spent = wall + time.perf_counter() - began, spent + cpu() - used
        del one  # or two episodes are in memory while the next is made
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    pictures = EPISODES * FRAMES * len(CAMERAS)
    return {
        "rows_per_second": round(EPISODES * FRAMES / wall, 1),
        "cpu_ms_per_picture": round(spent * 1000 / pictures, 3),
        "peak_rss_mib": round(peak / 1024, 1),
        "torch_imported": "torch" in sys.modules,
        **(quality(root) if name != "bare" else {}),
    }


def quality(root: Path) -> dict[str, float]:
    """Video bytes a picture, and PSNR [dB] over all pictures of the first three episodes, read by PyAV."""
    videos = sorted(root.rglob("*.mp4"))
    error: list[float] = []
    for camera in CAMERAS:
        frames = (
            frame.to_ndarray(format="rgb24")
            for path in videos
            if camera in str(path)
            for frame in av.open(str(path)).decode(video=0)
        )
        for number in range(3):
            for want, frame in zip(episode(number).clips[camera].frames(), frames, strict=False):
                error.append(float(np.mean((want.astype(np.float32) - frame) ** 2)))
    assert len(error) == 3 * FRAMES * len(CAMERAS)
    total = sum(path.stat().st_size for path in videos)
    return {
        "bytes_per_picture": round(total / (EPISODES * FRAMES * len(CAMERAS)), 1),
        "psnr_db": round(float(10 * np.log10(255**2 / np.mean(error))), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--contender", choices=CONTENDERS)
    parser.add_argument("--root", type=Path)
    args = parser.parse_args()
    if args.contender:
        print(json.dumps(measure(args.contender, args.root)))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    for turn in range(TURNS):
        for name in CONTENDERS:
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, "-W", "ignore", "-m", "bench.writing", "--contender", name]
                done = subprocess.run(
                    [*command, "--root", f"{folder}/data"],
                    env={**os.environ, "HF_HOME": folder, "HF_HUB_OFFLINE": "1"},
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                )
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
            print(turn, name, found[name][-1], flush=True)

    def of(name: str, key: str) -> float:
        return statistics.median(turn[key] for turn in found[name])

    figures: dict[str, Any] = {
        "over_create": round(of("ours", "rows_per_second") / of("create", "rows_per_second"), 2),
        "over_streaming": round(of("ours", "rows_per_second") / of("streaming", "rows_per_second"), 2),
        "over_fastest": round(of("ours", "rows_per_second") / of("fastest", "rows_per_second"), 2),
        "cpu_of_bare": round(of("ours", "cpu_ms_per_picture") / of("bare", "cpu_ms_per_picture"), 3),
        "peak_rss_mib": of("ours", "peak_rss_mib"),
    }
    reached = {name: figures[name] >= target for name, target in TARGETS.items() if name.startswith("over")}
    reached |= {name: figures[name] <= target for name, target in TARGETS.items() if not name.startswith("over")}
    for other in ("create", "streaming", "fastest"):
        reached[f"no_larger_than_{other}"] = of("ours", "bytes_per_picture") <= of(other, "bytes_per_picture")
        reached[f"no_worse_than_{other}"] = of("ours", "psnr_db") >= of(other, "psnr_db")
    reached["without_torch"] = not any(turn["torch_imported"] for turn in found["ours"])
    record("writing", {**figures, "targets": TARGETS, "reached": reached, "turns": found}, met=all(reached.values()))


if __name__ == "__main__":
    main()
