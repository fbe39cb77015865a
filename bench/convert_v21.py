"""What LeRobot v2.1 → v3.0 costs in CPU when videos are copied, against encoding the same frames anew.

The source is a v2.1 folder of many episodes: those of a real robot, each standing several times under new
numbers, so that starting Python does not hide the figure. Ours is everything: read, check, copy, take statistics,
commit. The other side is only the video: each decoded and encoded once, with LeRobot's own settings, which are
the source's too (AV1), and with this engine's (h264). Target, for either set: 1/20 of the same codec. The second
set has pictures of 96×128 and episodes of one second, where the 45 ms that an episode costs whatever it
holds are what one sees.
"""

from __future__ import annotations

import json
import resource
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.results import DATA, record
from converters.lerobot_v2 import LeRobotV2
from dataengine.store import Store
from dataengine.video import DEFAULT, Codec, VideoClip, encode

ROBOT = "lerobot_v21_g1"
EPISODES = 40
TARGET = 1 / 20
# LeRobot 0.6.1's default for colour video: libsvtav1, crf 30, preset 12, a keyframe every second frame.
LEROBOT = Codec("av1", crf=30, gop=2, preset="12")


def cpu_of(work: Callable[[], Any]) -> float:
    """CPU seconds of this process and of those it waited for."""

    def spent() -> float:
        usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(u.ru_utime + u.ru_stime for u in usage)

    begin = spent()
    work()
    return spent() - begin


def repeat(source: Path, target: Path, episodes: int) -> Path:
    """The source's episodes again and again under new numbers; videos are copies, tables are renumbered."""
    shutil.copytree(source / "meta", target / "meta")
    (target / "data/chunk-000").mkdir(parents=True)
    lines = [json.loads(line) for line in (source / "meta/episodes.jsonl").read_text().splitlines()]
    cameras = [path.name for path in (source / "videos/chunk-000").iterdir()]
    listed = []
    for index in range(episodes):
        line = lines[index % len(lines)]
        table = pq.read_table(source / f"data/chunk-000/episode_{line['episode_index']:06d}.parquet")
        place = table.column_names.index("episode_index")
        table = table.set_column(place, "episode_index", pa.array(np.full(table.num_rows, index)))
        pq.write_table(table, target / f"data/chunk-000/episode_{index:06d}.parquet")
        for camera in cameras:
            folder = target / "videos/chunk-000" / camera
            folder.mkdir(parents=True, exist_ok=True)
            video = source / f"videos/chunk-000/{camera}/episode_{line['episode_index']:06d}.mp4"
            shutil.copy(video, folder / f"episode_{index:06d}.mp4")
        listed.append({**line, "episode_index": index})
    (target / "meta/episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in listed))
    return target


def convert(source: Path, target: Path) -> None:
    converter = LeRobotV2()
    plan = converter.plan(source)
    store = Store.create(target, fps=plan.fps, features=plan.features)
    shards = [
        store.seal(converter.read(plan, ref), target.parent / "shards" / f"e{number}")
        for number, ref in enumerate(plan.episodes)
    ]
    with store.writer() as writer:
        writer.commit_all(shards)


def encode_again(source: Path, target: Path, codec: Codec, episodes: int) -> int:
    """Every video of the first episodes, decoded and encoded once; how many frames that were."""
    frames = 0
    for number, path in enumerate(sorted((source / "videos").rglob("episode_*.mp4"))):
        if int(path.stem.removeprefix("episode_")) < episodes:
            clip = VideoClip.from_file(path)
            encode(clip, target / f"{number}.mp4", codec)
            frames += clip.length
    return frames


def measure(name: str, folder: Path) -> dict[str, Any]:
    source = repeat(DATA / name, folder / "source", EPISODES)
    frames = sum(path.length for path in LeRobotV2().plan(source, hashed=False).episodes)
    frames *= len(list((source / "videos/chunk-000").iterdir()))
    figures: dict[str, Any] = {"episodes": EPISODES, "camera_frames": frames}
    figures["ours_cpu_ms_per_frame"] = round(1000 * cpu_of(lambda: convert(source, folder / "store")) / frames, 4)
    originals = len((DATA / name / "meta/episodes.jsonl").read_text().splitlines())
    for label, codec in (("lerobot_av1", LEROBOT), ("our_h264", DEFAULT)):
        done: list[int] = []
        (folder / label).mkdir()
        spent = cpu_of(lambda: done.append(encode_again(source, folder / label, codec, originals)))  # noqa: B023
        figures[f"{label}_cpu_ms_per_frame"] = round(1000 * spent / done[0], 4)
        figures[f"share_of_{label}"] = round(figures["ours_cpu_ms_per_frame"] * done[0] / (1000 * spent), 4)
    return figures


def main() -> None:
    found = {}
    for name in (ROBOT, "lerobot_v21"):
        if (DATA / name).exists():
            with tempfile.TemporaryDirectory() as folder:
                found[name] = measure(name, Path(folder))
    if not found:
        raise SystemExit("needs the real v2.1 files; set DATAENGINE_TEST_DATA to their folder")
    reached = {name: figures["share_of_lerobot_av1"] <= TARGET for name, figures in found.items()}
    record(
        "convert_v21",
        {**found, "target": TARGET, "reached": reached},
        met=all(reached.values()),
    )


if __name__ == "__main__":
    main()
