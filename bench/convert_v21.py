"""What LeRobot v2.1 → v3.0 costs in CPU when videos are copied, against the same conversion by encoding anew.

The source is a v2.1 folder of many episodes: those of a real robot (640×480), and rollouts in pictures of 96×128
that last one second, each standing several times under new numbers. Ours is everything: read, check, copy, take
statistics, commit. The other side is everything too, done by LeRobot's own writer as it comes: frames decoded,
`add_frame`, `save_episode`, `finalize`. Importing Python modules is in neither. Target, for either set: 1/20.

Beside it stands where the figure comes from: the share of the video work alone (decoded and encoded once with
LeRobot's settings; no files of pictures, no statistics, no tables), and of LeRobot's own script for this conversion,
which copies videos too and neither looks at pictures nor checks or hashes anything.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
import statistics
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from bench.results import DATA, record
from converters.lerobot_v2 import LeRobotV2
from dataengine.store import Store
from dataengine.video import DEFAULT, Codec, VideoClip, encode

ROBOT = "lerobot_v21_g1"
EPISODES, TURNS = 40, 5
POSITION = ("timestamp", "frame_index", "episode_index", "index", "task_index")  # LeRobot writes them itself
TARGET = 1 / 20
# LeRobot 0.6.1's default for colour video: libsvtav1, crf 30, preset 12, a keyframe every second frame.
LEROBOT = Codec("av1", crf=30, gop=2, preset="12")


def cpu_of(work: Callable[..., Any], warm: tuple[Any, ...], *turns: tuple[Any, ...]) -> float:
    """CPU seconds of `work(*turn)`, the median over the turns, in a new process after `work(*warm)`.

    Each side has a process of its own, so that neither pays for what the other has imported (the garbage collector
    looks at all of it); forked, so that those which it starts itself start as ever. They count, the guarded one too.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        pool.submit(work, *warm).result()
        return statistics.median(pool.submit(_cpu, work, turn).result() for turn in turns)


def _cpu(work: Callable[..., Any], arguments: tuple[Any, ...]) -> float:
    def spent() -> float:
        me = psutil.Process()
        times = [process.cpu_times() for process in (me, *me.children(recursive=True))]
        ended = times[0].children_user + times[0].children_system
        return float(sum(t.user + t.system for t in times) + ended)

    begin = spent()
    work(*arguments)
    return spent() - begin


def repeat(source: Path, target: Path, episodes: int) -> Path:
    """The source's episodes again and again under new numbers; videos are copies, tables are renumbered."""
    shutil.copytree(source / "meta", target / "meta")
    (target / "data/chunk-000").mkdir(parents=True)
    lines = lines_of(source / "meta/episodes.jsonl")
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
    known = lines_of(source / "meta/episodes_stats.jsonl")
    stats = [{**known[index % len(known)], "episode_index": index} for index in range(episodes)]
    for name, content in (("episodes", listed), ("episodes_stats", stats)):
        (target / f"meta/{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in content))
    info = json.loads((source / "meta/info.json").read_text())
    info |= {"total_episodes": episodes, "splits": {"train": f"0:{episodes}"}}
    info["total_frames"] = sum(line["length"] for line in listed)
    (target / "meta/info.json").write_text(json.dumps(info))
    return target


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


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


def encode_again(source: Path, target: Path, codec: Codec, episodes: int) -> None:
    """Every video of the first episodes, decoded and encoded once."""
    target.mkdir(parents=True)
    for number, path in enumerate(sorted((source / "videos").rglob("episode_*.mp4"))):
        if int(path.stem.removeprefix("episode_")) < episodes:
            encode(VideoClip.from_file(path), target / f"{number}.mp4", codec)


def write_again(source: Path, target: Path, episodes: int) -> None:
    """The first episodes through LeRobot's own writer with its default settings."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    info = json.loads((source / "meta/info.json").read_text())
    features = {
        key: {"dtype": feature["dtype"], "shape": tuple(feature["shape"]), "names": feature["names"]}
        for key, feature in info["features"].items()
        if key not in POSITION
    }
    tasks = {line["task_index"]: line["task"] for line in lines_of(source / "meta/tasks.jsonl")}
    dataset = LeRobotDataset.create("bench/again", fps=info["fps"], features=features, root=target, use_videos=True)
    for index in range(episodes):
        table = pq.read_table(source / f"data/chunk-000/episode_{index:06d}.parquet")
        videos = {
            key: VideoClip.from_file(source / f"videos/chunk-000/{key}/episode_{index:06d}.mp4").frames()
            for key, feature in features.items()
            if feature["dtype"] == "video"
        }
        columns = {
            key: np.array(table.column(key).to_pylist(), feature["dtype"]).reshape(-1, *feature["shape"])
            for key, feature in features.items()
            if key not in videos
        }
        for row, task in enumerate(table.column("task_index").to_pylist()):
            frame = {key: column[row] for key, column in columns.items()}
            dataset.add_frame(frame | {key: next(video) for key, video in videos.items()} | {"task": tasks[task]})
        dataset.save_episode()
    dataset.finalize()


def lerobot_script(source: Path, target: Path) -> None:
    """The steps of LeRobot 0.6.1's own conversion, which copies videos as well."""
    from lerobot.scripts import convert_dataset_v21_to_v30 as script

    target.mkdir(parents=True)
    script.convert_info(source, target, 100, 200)
    script.convert_tasks(source, target)
    data = script.convert_data(source, target, 100)
    videos = script.convert_videos(source, target, 200)
    script.convert_episodes_metadata(source, target, data, videos)


def measure(name: str, folder: Path) -> dict[str, Any]:
    source, few = repeat(DATA / name, folder / "source", EPISODES), repeat(DATA / name, folder / "few", 2)
    warm = folder / "warm"
    originals = len(lines_of(DATA / name / "meta/episodes.jsonl"))
    frames = sum(ref.length for ref in LeRobotV2().plan(source, hashed=False).episodes)
    ours = cpu_of(
        convert, (few, warm / "ours/store"), *((source, folder / f"ours{turn}/store") for turn in range(TURNS))
    )
    again = cpu_of(write_again, (few, warm / "again", 1), (source, folder / "again", originals))
    script = cpu_of(lerobot_script, (few, warm / "script"), (source, folder / "script"))
    spent = {"ours": ours / EPISODES, "lerobot_writer": again / originals, "lerobot_script": script / EPISODES}
    for label, codec in (("video_av1_as_lerobot", LEROBOT), ("video_h264_as_ours", DEFAULT)):
        turn = (source, folder / label, codec, originals)
        spent[label] = cpu_of(encode_again, (few, warm / label, codec, 1), turn) / originals
    return {
        "episodes": EPISODES,
        "frames_per_episode": round(frames / EPISODES, 1),
        "cpu_ms_per_episode": {label: round(1000 * seconds, 1) for label, seconds in spent.items()},
        "share_of_lerobot_writer": round(spent["ours"] / spent["lerobot_writer"], 4),
        "share_of_video_av1_as_lerobot": round(spent["ours"] / spent["video_av1_as_lerobot"], 4),
        "times_lerobot_script": round(spent["ours"] / spent["lerobot_script"], 2),
    }


def main() -> None:
    found = {}
    for name in (ROBOT, "lerobot_v21"):
        if (DATA / name).exists():
            with tempfile.TemporaryDirectory() as folder:
                found[name] = measure(name, Path(folder))
    if not found:
        raise SystemExit("needs the real v2.1 files; set DATAENGINE_TEST_DATA to their folder")
    reached = {name: figures["share_of_lerobot_writer"] <= TARGET for name, figures in found.items()}
    record(
        "convert_v21",
        {**found, "target": TARGET, "reached": reached},
        met=all(reached.values()),
    )


if __name__ == "__main__":
    main()
