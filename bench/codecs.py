"""Which settings a picture should be encoded with: bytes, quality, and CPU to write, to stream and to fetch one frame.

Three kinds of content: pictures of 256×256 that move smoothly (those of the writing and reading benchmarks), a person's
hands at 256×256, and at 640×480, both from videos of 720 lines scaled down, so that traces of their own codec are gone.
Every setting encodes the same frames in one thread; figures are medians over three turns, CPU of the whole process, so
that encoders with threads of their own are counted in full. A frame at random is fetched as a reader does: seek to the
keyframe before, decode up to the frame.

The default of the engine is chosen from this table: no larger and no worse than LeRobot's default on every content,
and then the least CPU in the life of a frame, which is written once, streamed fifty times and fetched
at random five times.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from bench.results import DATA, record
from dataengine.episode import ArrayClip
from dataengine.video import DEFAULT, Codec, encode

FPS, FRAMES, TURNS, FETCHED = 30, 200, 3, 40


@dataclass(frozen=True)
class Stock(Codec):
    """An encoder as it comes, and x264 with `extra` parameters, instead of the engine's settings."""

    extra: str = ""

    def options(self) -> dict[str, str]:
        chosen = {"crf": str(self.quality), "g": str(self.gop), "preset": self.preset or "superfast"}
        params = f"keyint={self.gop}:min-keyint={self.gop}:scenecut=0:open-gop=0:{self.extra}"
        return {**chosen, "x264-params": params} if self.name == "h264" else chosen


LEROBOT = "LeRobot's default: AV1, preset 12, crf 30, keyframe every 2"
OURS = f"the default here: h264 {DEFAULT.options()['preset']}, crf {DEFAULT.quality}, {DEFAULT.gop}"
SETTINGS = {
    LEROBOT: Stock("av1", crf=30, gop=2, preset="12"),
    OURS: DEFAULT,
    "LeRobot's fastest: x264 ultrafast, crf 30, 2": Stock(crf=30, gop=2, preset="ultrafast", extra="bframes=0"),
    "the default with arithmetic coding and loop filter": Stock(extra="bframes=0:mbtree=0:aq-mode=0"),
    "the default with adaptive quantisation": Stock(extra="bframes=0:mbtree=0:cabac=0:no-deblock=1"),
    "the default with two B-frames": Stock(extra="bframes=2:mbtree=0:cabac=0:no-deblock=1:aq-mode=0"),
    **{
        f"h264 {preset}, crf {crf}, {gop}": Codec("h264", crf=crf, gop=gop, preset=preset)
        for preset in ("ultrafast", "superfast", "veryfast")
        for crf, gop in ((20, 24), (23, 6), (23, 12), (23, 24), (23, 48), (26, 24))
        if (preset, crf, gop) != ("superfast", DEFAULT.quality, DEFAULT.gop)
    },
    "h264 medium, crf 23, 24": Codec("h264", crf=23, gop=24, preset="medium"),
    **{f"AV1 preset 10, crf 30, {gop}": Codec("av1", crf=30, gop=gop, preset="10") for gop in (12, 24)},
    "HEVC ultrafast, crf 22, 24": Codec("hevc", crf=22, gop=24, preset="ultrafast"),
    "h264 lossless, 10": Codec("h264", lossless=True, gop=10),
}


def contents() -> dict[str, np.ndarray]:
    """`(T, H, W, 3)` uint8 by name; what lies in the test data is left out where there is none."""
    from bench.reading import CAMERAS, episode

    clip = episode(0).clips[CAMERAS[0]]
    found = {"smooth 256×256": np.stack(list(clip.frames()))}
    for name, file, height, width in (
        ("hands 256×256", "handpose3d_cam0.mp4", 256, 256),
        ("hands 640×480", "dexretargeting_human_hand.mp4", 480, 640),
    ):
        path = DATA / "hands" / file
        if path.exists():
            found[name] = np.stack([_scaled(frame, height, width) for frame in _first(path, FRAMES)])
    return found


def _first(path: Path, count: int) -> Iterable[np.ndarray]:
    with av.open(str(path)) as container:
        for _, frame in zip(range(count), container.decode(video=0), strict=False):
            yield frame.to_ndarray(format="rgb24")


def _scaled(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """The middle of the picture in the wanted shape, scaled down by areas."""
    high, wide = picture.shape[:2]
    across = min(wide, high * width // height)
    left = (wide - across) // 2
    return cv2.resize(picture[:, left : left + across], (width, height), interpolation=cv2.INTER_AREA)


def decoded(path: Path) -> Iterable[np.ndarray]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def psnr(frames: np.ndarray, path: Path) -> float:
    """Of all pixels of all frames in RGB [dB], 99 for none that differs."""
    error = [np.mean((a.astype(np.float32) - b) ** 2) for a, b in zip(frames, decoded(path), strict=True)]
    return min(99.0, float(10 * np.log10(255**2 / max(np.mean(error), 1e-9))))


def fetch(path: Path, numbers: np.ndarray) -> None:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        ticks = round(1 / (FPS * stream.time_base))
        for number in numbers:
            container.seek(int(number) * ticks, stream=stream)
            next(f for f in container.decode(stream) if f.pts >= number * ticks).to_ndarray(format="rgb24")


def measured(frames: np.ndarray, codec: Codec, path: Path) -> dict[str, float]:
    """Bytes and CPU milliseconds a frame: written, streamed (decoded in order to RGB), fetched at random."""
    numbers = np.random.default_rng(0).integers(0, len(frames), FETCHED)
    spent: dict[str, list[float]] = {"write_ms": [], "stream_ms": [], "fetch_ms": []}
    for _ in range(TURNS):
        for name, count, work in (
            ("write_ms", len(frames), lambda: encode(ArrayClip(frames, FPS), path, codec)),
            ("stream_ms", len(frames), lambda: sum(1 for _ in decoded(path))),
            ("fetch_ms", FETCHED, lambda: fetch(path, numbers)),
        ):
            begin = time.process_time()
            work()
            spent[name].append((time.process_time() - begin) * 1000 / count)
    figures = {name: round(statistics.median(values), 3) for name, values in spent.items()}
    return {"bytes": round(path.stat().st_size / len(frames)), "psnr": round(psnr(frames, path), 2), **figures}


def life(found: dict[str, dict[str, float]], lerobot: dict[str, dict[str, float]]) -> float | None:
    """CPU milliseconds of a frame's life, summed over the contents; None where it is larger or worse than LeRobot's."""
    for content, figures in found.items():
        if figures["bytes"] > lerobot[content]["bytes"] or figures["psnr"] < lerobot[content]["psnr"]:
            return None
    return round(sum(f["write_ms"] + 50 * f["stream_ms"] + 5 * f["fetch_ms"] for f in found.values()), 1)


def main() -> None:
    table: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for content, frames in contents().items():
            for name, codec in SETTINGS.items():
                table.setdefault(name, {})[content] = found = measured(frames, codec, Path(folder) / "video.mp4")
                print(f"{content:16} {name:62} {found}", flush=True)
    fit = {name: lived for name, found in table.items() if (lived := life(found, table[LEROBOT])) is not None}
    figures = {
        "content": list(table[OURS]),
        "cpu_ms_of_a_frames_life": fit,
        "default_against_lerobots": {
            content: {name: round(value / theirs[name], 3) for name, value in ours.items() if name != "psnr"}
            | {"psnr_gained_db": round(ours["psnr"] - theirs["psnr"], 2)}
            for content, ours in table[OURS].items()
            for theirs in (table[LEROBOT][content],)
        },
        "per_frame": table,
    }
    record("codecs", figures, met=OURS in fit and fit[OURS] <= 1.1 * min(fit.values()))


if __name__ == "__main__":
    main()
