"""Editing a thousand episodes: this engine against LeRobot's own tools on a dataset of the same rows.

Two numeric columns of 14, 100 frames an episode, no video, packed data files, as both sides write them at best.
Deleting one episode is compared with `lerobot.datasets.dataset_tools.delete_episodes`; adding a column, and merging
with a store of a thousand others, with a bare rewrite of the Parquet files that must change (read, change, write with
page checksums, fsync); a label through its side table with LeRobot's `add_features`. Targets: 50 ×, at most 1.5 ×
both, 50 ×. Median of three, but for LeRobot's deletion, which takes minutes.

Stores that are merged have two cameras too: with packed videos, which is what is judged, and with a file per episode
and camera, where a hard link for each is the larger part. No byte of video may be copied.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.results import record
from dataengine.episode import ArrayClip, Episode, Feature, Label, Meta
from dataengine.store import Edit, FrameReader, Store, history, merging

EPISODES, FRAMES, TIMES = 1000, 100, 3
FEATURES = {
    "observation.state": Feature("float32", (14,), role="state"),
    "action": Feature("float32", (14,), role="action"),
}
REWARD = Feature("float32", (1,), role="reward")


def episodes() -> list[Episode]:
    random = np.random.default_rng(0)
    shape = (FRAMES, 14)
    return [
        Episode(
            f"episode{n:05d}",
            30.0,
            FEATURES,
            {key: random.normal(size=shape).astype(np.float32).cumsum(0) for key in FEATURES},
            meta=Meta(tasks=("do it",)),
        )
        for n in range(EPISODES)
    ]


def our_store(root: Path, made: list[Episode]) -> Store:
    store = Store.create(root, fps=30, features=FEATURES)
    with store.writer() as writer:
        shards = [store.seal(one, root.parent / "shards" / one.id) for one in made]
        writer.commit_all(shards)
    store.compact()
    return store


def lerobot_dataset(root: Path, made: list[Episode]) -> Any:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    features = {key: {"dtype": f.dtype, "shape": f.shape, "names": None} for key, f in FEATURES.items()}
    dataset = LeRobotDataset.create("bench/edit", fps=30, features=features, root=root, use_videos=False)
    for one in made:
        for row in range(FRAMES):
            dataset.add_frame({**{key: column[row] for key, column in one.frames.items()}, "task": "do it"})
        dataset.save_episode()
    dataset.finalize()
    return LeRobotDataset("bench/edit", root=root)


def median_of(work: Callable[[], Any], after: Callable[[], Any] = lambda: None, times: int = TIMES) -> float:
    spent = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        spent.append(time.perf_counter() - begin)
        after()
    return statistics.median(spent)


def bare_rewrite(store: Store, target: Path) -> None:
    """What adding a column cannot do without: every data file read, a column added, written and synced."""
    shutil.rmtree(target, ignore_errors=True)
    for path in sorted((store.root / "data").rglob("*.parquet")):
        table = pq.read_table(path, partitioning=None)
        table = table.append_column("next.reward", pa.array(np.zeros(table.num_rows, np.float32)))
        write_bare(table, target / path.relative_to(store.root), FRAMES)


def write_bare(table: pa.Table, to: Path, row_group: int) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        table, to, compression="zstd", use_dictionary=False, write_page_checksum=True, row_group_size=row_group
    )
    with to.open("rb") as file:
        os.fsync(file.fileno())


def filmed(root: Path, mark: str, packed: bool) -> Store:
    """A thousand episodes with cameras, sealed once: all but their ids is alike."""
    cameras = {f"observation.images.{name}": Feature("video", (32, 32, 3)) for name in ("top", "wrist")}
    random = np.random.default_rng(len(mark))
    numbers = {key: random.normal(size=(FRAMES, 14)).astype(np.float32).cumsum(0) for key in FEATURES}
    clips = {key: ArrayClip(np.zeros((FRAMES, 32, 32, 3), np.uint8), 30) for key in cameras}
    one = Episode("e", 30.0, FEATURES | cameras, numbers, clips, meta=Meta(tasks=("do it",)))
    store = Store.create(root, fps=30, features=FEATURES | cameras)
    shard = store.seal(one, root.with_name(f"{root.name}-shard"))
    with store.writer() as writer:
        ids = [f"{mark}{n:05d}" for n in range(EPISODES)]
        writer.commit_all([replace(shard, manifest={**shard.manifest, "episode_id": name}) for name in ids])
    store.compact(join_videos=packed)
    return store


def bare_merge(other: Store, target: Path) -> None:
    """What merging cannot do without: the other's rows and episodes read, numbered anew, written and synced."""
    shutil.rmtree(target, ignore_errors=True)
    for part in ("data", "meta/episodes"):
        for path in sorted((other.root / part).rglob("*.parquet")):
            table = pq.read_table(path, partitioning=None)
            for name in ("episode_index", "index", "dataset_from_index", "dataset_to_index"):
                if name in table.column_names:
                    moved = pc.add(table.column(name), EPISODES)
                    table = table.set_column(table.column_names.index(name), name, moved)
            write_bare(table, target / path.relative_to(other.root), FRAMES if part == "data" else EPISODES)


def merging_times(folder: Path, packed: bool) -> tuple[float, float]:
    """Seconds of a merge and of the bare rewrite. Raises where a video was copied or the result is not whole."""
    one, other = filmed(folder / "one", "a", packed), filmed(folder / "other", "b", packed)
    copied = []

    def look_and_undo() -> None:
        shared = {path.stat().st_ino for path in other.root.rglob("*.mp4")}
        copied.append(not shared <= {path.stat().st_ino for path in (one.root / "videos").rglob("*.mp4")})
        history.undo(one)

    merged = median_of(lambda: merging.merge(one, other), look_and_undo)
    bare = median_of(lambda: bare_merge(other, folder / "bare"))
    merging.merge(one, other)
    if any(copied) or len(one) != 2 * EPISODES or not one.verify().ok:
        raise SystemExit("the merged store is not what it should be")
    return merged, bare


def main() -> None:
    from lerobot.datasets import dataset_tools

    with tempfile.TemporaryDirectory() as name:
        folder, made = Path(name), episodes()
        store = our_store(folder / "store", made)
        dataset = lerobot_dataset(folder / "lerobot", made)
        values = np.zeros((EPISODES * FRAMES, 1), np.float32)

        def back() -> None:
            history.undo(store)

        def copy_of(work: Callable[[Path], Any]) -> None:
            shutil.rmtree(folder / "copy", ignore_errors=True)
            work(folder / "copy")

        reward = {"next.reward": (values, {"dtype": "float32", "shape": (1,), "names": None})}
        seconds = {
            "delete": median_of(lambda: Edit(store).delete([EPISODES // 2]).commit(), back),
            "add_column": median_of(
                lambda: Edit(store).add("next.reward", REWARD, lambda _: np.zeros(FRAMES, np.float32)).commit(), back
            ),
            "bare_rewrite": median_of(lambda: bare_rewrite(store, folder / "bare")),
            "add_label": median_of(
                lambda: store.write_labels(
                    "reward", {i: Label("frame", pa.table({"value": np.zeros(FRAMES, np.float32)})) for i in store.ids}
                )
            ),
            "add_feature_lerobot": median_of(
                lambda: copy_of(lambda to: dataset_tools.add_features(dataset, reward, output_dir=to))
            ),
        }
        Edit(store).delete([EPISODES // 2]).commit()
        seconds["delete_lerobot"] = median_of(
            lambda: copy_of(lambda to: dataset_tools.delete_episodes(dataset, [EPISODES // 2], output_dir=to)), times=1
        )
        same = same_rows(store, folder / "copy")
        seconds["merge"], seconds["bare_merge"] = merging_times(folder / "packed", packed=True)
        seconds["merge_files"], seconds["bare_merge_files"] = merging_times(folder / "files", packed=False)
    ratios = {
        "delete": seconds["delete_lerobot"] / seconds["delete"],
        "add_column": seconds["add_column"] / seconds["bare_rewrite"],
        "merge": seconds["merge"] / seconds["bare_merge"],
        "add_label": seconds["add_feature_lerobot"] / seconds["add_label"],
    }
    figures = {
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "delete_times_faster": round(ratios["delete"], 1),
        "add_column_of_bare_rewrite": round(ratios["add_column"], 2),
        "merge_of_bare_rewrite": round(ratios["merge"], 2),
        "merge_of_bare_rewrite_with_a_file_per_video": round(seconds["merge_files"] / seconds["bare_merge_files"], 2),
        "add_label_times_faster": round(ratios["add_label"], 1),
        "same_rows": same,
    }
    met = (
        same and min(ratios["delete"], ratios["add_label"]) >= 50 and max(ratios["add_column"], ratios["merge"]) <= 1.5
    )
    record("editing", figures, met=met)


def same_rows(store: Store, theirs: Path) -> bool:
    """Whether stock LeRobot reads the same from what either side has made."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    one, other = LeRobotDataset("bench/a", root=store.root), LeRobotDataset("bench/b", root=theirs)
    places = np.linspace(0, len(one) - 1, 200).astype(int).tolist()
    same = len(one) == len(other) == len(FrameReader(store))
    return same and all(
        np.array_equal(np.asarray(value), np.asarray(other[place][key]))
        for place in places
        for key, value in one[place].items()
        if key != "task"
    )


if __name__ == "__main__":
    main()
