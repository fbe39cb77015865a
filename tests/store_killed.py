"""Commits that are killed (SIGKILL) before the n-th rename, link or removal, for every n: run as a program.

    python store_killed.py FOLDER

makes FOLDER/<n>/ for n = 0, 1, … until a commit survives, and prints a JSON line {"n": …, "acknowledged": […]}
for each.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import pyarrow as pa  # noqa: E402
from killing import DISK, die_before  # noqa: E402
from store_made import FPS, SMALL, episode  # noqa: E402

from dataengine.episode import Episode, Label  # noqa: E402
from dataengine.store import Store  # noqa: E402


def labelled(seed: int) -> Episode:
    """What the killed commit would have added."""
    return episode(seed, 4 + seed, SMALL).with_label("contact", Label("event", pa.table({"frame": [1]})))


def killed_at(root: Path, n: int, log: int) -> None:
    """Commit one more episode to the store; die before step n. An acknowledged id goes to the descriptor `log`."""
    store = Store.open(root)
    shard = store.seal(labelled(2), root.with_name(f"shard{n}"))
    with store.writer() as writer:
        die_before(n, *DISK)
        writer.commit(shard)
        os.write(log, shard.episode_id.encode() + b"\n")
    os._exit(0)


def main(folder: Path) -> None:
    base = folder / "base"
    os.environ["OMP_NUM_THREADS"] = "1"
    if (child := os.fork()) == 0:
        store = Store.create(base, fps=FPS, features=SMALL)
        with store.writer() as writer:
            for seed in (0, 1):
                writer.append(episode(seed, 4 + seed, SMALL))
        os._exit(0)
    os.waitpid(child, 0)
    for n in range(1000):
        shutil.copytree(base, folder / str(n))
        read, write = os.pipe()
        if (child := os.fork()) == 0:
            killed_at(folder / str(n), n, write)
        os.close(write)
        _, status = os.waitpid(child, 0)
        with os.fdopen(read) as pipe:
            print(json.dumps({"n": n, "acknowledged": pipe.read().split()}), flush=True)
        if os.WIFEXITED(status):
            break


if __name__ == "__main__":
    main(Path(sys.argv[1]))
