"""500 × SIGKILL at random instants of a store's life: appends, recordings, edits, undo, compaction, labels, snapshots.

A process works on one store without pause and says before each operation what will be true after it, and after it that
it is done; it is killed at a random instant. Then the store is opened: what was acknowledged must be there, or what was
under way in full; `verify` finds nothing, and stock LeRobot reads every frame. The next process goes on with the same
store. Publishing is killed at every request by `bench/publish_killed.py`; every write, rename and fsync fails once in
`tests/dataengine/test_store_faults.py`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench.results import record
from dataengine.episode import ArrayClip, Episode, Feature, Label, Meta
from dataengine.errors import StoreError
from dataengine.progress import track
from dataengine.store import Edit, Store, history

KILLS, LONGEST, FPS = 500, 0.6, 10
CAMERA = "observation.images.top"
Content = list[tuple[str, int, float]]  # id, length and the sum of the actions
FEATURES = {"action": Feature("float32", (3,)), CAMERA: Feature("video", (32, 48, 3))}


def episode(seed: int) -> Episode:
    rng = np.random.default_rng(seed)
    length = int(rng.integers(3, 30))
    clip = ArrayClip(rng.integers(0, 255, (length, 32, 48, 3)).astype(np.uint8), FPS)
    columns = {"action": rng.normal(size=(length, 3)).astype(np.float32)}
    return Episode(f"e{seed}", FPS, dict(FEATURES), columns, {CAMERA: clip}, meta=Meta(tasks=(f"task {seed % 4}",)))


def content(store: Store) -> Content:
    """What the store holds, short enough to be said through a pipe."""
    return [(identity, int(store.table_of_episodes.length[i]), _sum(store, i)) for i, identity in enumerate(store.ids)]


def _sum(store: Store, index: int, begin: int = 0, end: int | None = None) -> float:
    rows = store.table(["action"], [index]).slice(begin, None if end is None else end - begin)
    return round(float(rows.column("action").combine_chunks().flatten().to_numpy().sum(dtype=np.float64)), 3)


def work(root: Path, seed: int, say: Connection) -> None:
    """Operate on the store for ever."""
    rng = random.Random(seed)
    for number in range(seed * 1000, (seed + 1) * 1000):
        store = Store.open(root)
        what = rng.choice(["edit", "purge"] if len(store) > 7 else OPERATIONS if len(store) > 2 else OPERATIONS[:5])
        if what == "undo" and not history.log(store):
            what = "compact"
        expected, operation = PREPARED[what](store, rng, number)
        say.send((what, expected, False))
        try:
            operation()
        except StoreError:  # an undo of what is not kept any more, or behind an append
            if what != "undo":
                raise
            expected = content(Store.open(root))
        say.send((what, expected, True))


Prepared = tuple[Content, Callable[[], object]]


def append(store: Store, rng: random.Random, number: int) -> Prepared:
    one = episode(number)

    def operation() -> None:
        with store.writer() as writer:
            writer.append(one)

    return [*content(store), _entry(one)], operation


def recorded(store: Store, rng: random.Random, number: int) -> Prepared:
    one = episode(number)

    def operation() -> None:
        with store.writer() as writer, writer.record(one.id) as recording:
            for t, picture in enumerate(one.clips[CAMERA].frames()):
                recording.add({"action": one.frames["action"][t], CAMERA: picture})
            recording.save(one.meta)

    return [*content(store), _entry(one)], operation


def _entry(one: Episode) -> tuple[str, int, float]:
    return one.id, one.length, round(float(one.frames["action"].sum(dtype=np.float64)), 3)


def label(store: Store, rng: random.Random, number: int) -> Prepared:
    score = Label("episode", pa.table({"v": [float(number)]}))
    return content(store), lambda: store.write_labels("score", dict.fromkeys(store.ids, score))


def snapshot(store: Store, rng: random.Random, number: int) -> Prepared:
    target = store.root.with_name("snapshot")
    shutil.rmtree(target, ignore_errors=True)
    return content(store), lambda: store.snapshot(target)


def edit(store: Store, rng: random.Random, number: int) -> Prepared:
    chosen, held = rng.randrange(len(store)), content(store)
    length = held[chosen][1]
    if length > 4 and rng.random() < 0.5:
        part = ("", length - 2, _sum(store, chosen, 1, length - 1))
        return [*held[:chosen], part, *held[chosen + 1 :]], Edit(store).trim(chosen, 1, length - 1).commit
    return held[:chosen] + held[chosen + 1 :], Edit(store).delete([chosen]).commit


def purge(store: Store, rng: random.Random, number: int) -> Prepared:
    chosen, held = rng.randrange(len(store)), content(store)
    return held[:chosen] + held[chosen + 1 :], Edit(store).purge([chosen]).commit


def undo(store: Store, rng: random.Random, number: int) -> Prepared:
    try:
        expected = content(history.state(store, history.log(store)[-1].before))
    except StoreError:
        expected = content(store)
    return expected, lambda: history.undo(store)


def pack(store: Store, rng: random.Random, number: int) -> Prepared:
    join = rng.random() < 0.5
    return content(store), lambda: store.compact(join_videos=join)


PREPARED = {
    "append": append,
    "record": recorded,
    "label": label,
    "snapshot": snapshot,
    "edit": edit,
    "purge": purge,
    "undo": undo,
    "compact": pack,
}
OPERATIONS = ["append", "append", "record", "label", "snapshot", "edit", "edit", "undo", "compact"]


def same(found: Content, allowed: Content) -> bool:
    """Equal but for ids that did not exist yet."""
    return len(found) == len(allowed) and all(
        (one[0] == other[0] or not other[0]) and one[1] == other[1] and abs(one[2] - other[2]) < 0.01
        for one, other in zip(found, allowed, strict=True)
    )


def read_by_lerobot(root: Path, cache: Path) -> int:
    """Every frame; how many."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset("killed/store", root=root, video_backend="pyav")
    for index in range(len(dataset)):
        assert int(dataset[index]["index"]) == index
    shutil.rmtree(cache, ignore_errors=True)
    return len(dataset)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kills", nargs="?", type=int, default=KILLS)
    kills = parser.parse_args().kills
    context = multiprocessing.get_context("forkserver")
    wait = random.Random(0)
    during: Counter[str] = Counter()
    wrong: list[str] = []
    frames = operations = 0
    with tempfile.TemporaryDirectory() as name:
        root, cache = Path(name) / "store", Path(name) / "cache"
        os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(cache)}
        import datasets

        datasets.config.HF_DATASETS_CACHE = cache
        datasets.disable_progress_bars()
        acknowledged: Content = []
        Store.create(root, fps=FPS, features=FEATURES)
        for kill in track(range(kills), total=kills, what="kills"):
            heard, say = context.Pipe(duplex=False)
            process = context.Process(target=work, args=(root, kill, say))
            process.start()
            say.close()
            said: list[tuple[str, Content, bool]] = [heard.recv()]
            time.sleep(wait.uniform(0, LONGEST))
            process.kill()
            process.join()
            while True:
                try:
                    said.append(heard.recv())
                except (EOFError, OSError):
                    break
            for _, expected, done in said:
                acknowledged = expected if done else acknowledged
                operations += done
            what, expected, done = said[-1]
            during["between two" if done else what] += 1
            with Store.open(root).writer() as writer:
                recovered = writer.recovered
            store = Store.open(root)
            found = content(store)
            report = store.verify()
            if not (same(found, acknowledged) or (not done and same(found, expected))) or not report.ok:
                wrong.append(f"kill {kill} in {what}: {found} / {acknowledged} / {expected}; {report}; {recovered}")
                break
            if process.exitcode != -9:
                wrong.append(f"kill {kill}: ended by itself in {what} with {process.exitcode}")
                break
            if found:
                frames += read_by_lerobot(root, cache)
            acknowledged = found
            if stray := [p.name for p in root.parent.glob(f".{root.name}.*")]:
                wrong.append(f"kill {kill} in {what}: {stray} stay")
                break
    figures = {
        "kills": kill + 1,
        "wrong": wrong,
        "operations_acknowledged": operations,
        "killed_during": dict(during.most_common()),
        "frames_read_by_lerobot": frames,
    }
    if kills >= KILLS:
        record("killed", figures, met=not wrong)
    else:
        print(figures)


if __name__ == "__main__":
    main()
