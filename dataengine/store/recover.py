"""Putting a store back to its commit record after a writer died, whatever it was doing.

The record says what belongs; everything else under `data/`, `videos/`, `meta/` is the beginning of a commit that
nobody acknowledged. LeRobot may read all the while: first the tables it addresses by position are right again,
then files that nothing points to go. Idempotent. Called with the writer's lock held.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from dataengine.errors import StoreError
from dataengine.guard import read_json, sha256_file
from dataengine.store import commit as commits
from dataengine.store import files, layout, stats, tasks


def recover(root: Path) -> list[str]:
    """Undo what is not in the commit record; what was done, a line each."""
    commit = commits.read(root)
    if commit is None:
        raise StoreError(f"{root / layout.COMMIT} is missing")
    done: list[str] = []
    for path, rows in commit.episode_files[-1:]:
        table = pq.read_table(root / path, partitioning=None)
        if table.num_rows > rows:
            files.write_table(root / path, table.slice(0, rows))
            done.append(f"{path}: {table.num_rows - rows} unacknowledged episodes taken out")
    if len(found := _tasks(root)) > (count := int(commit.info["total_tasks"])):
        tasks.write(root, found[:count])
        done.append(f"{layout.TASKS}: {len(found) - count} unacknowledged tasks taken out")
    expected = commit.sha256.get(layout.STATS)
    if expected and sha256_file(root / layout.STATS) != expected and commit.sketch:
        sketches = stats.from_table(pq.read_table(root / commit.sketch))
        files.write_json(root / layout.STATS, stats.as_json(sketches, commit.info))
        done.append(f"{layout.STATS}: written anew")
    if _info(root) != commit.info:
        files.write_json(root / layout.INFO, commit.info)
        done.append(f"{layout.INFO}: brought to {commit.episodes} episodes")
    for stray in sorted(_leftovers(root, commit)):
        files.remove(stray)
        done.append(f"{stray.relative_to(root.parent)}: removed")
    return done


def _leftovers(root: Path, commit: commits.Commit) -> set[Path]:
    listed = {path for path, _ in commit.episode_files} | {commit.sketch}
    found = set()
    for pattern in (
        "data/*/*.parquet",
        f"{layout.EPISODES}/*/*.parquet",
        "videos/*/*/*.mp4",
        f"{layout.OURS}/sketch-*",
    ):
        for path in root.glob(pattern):
            relative = path.relative_to(root).as_posix()
            number = layout.number_of(relative)
            if relative.startswith("data/"):
                stray = number is None or number >= commit.next_data
            elif relative.startswith("videos/"):
                stray = number is not None and number >= commit.next_video
            else:
                stray = relative not in listed
            if stray:
                found.add(path)
    for folder in ("data", "videos", "meta", layout.LABELS):
        found |= set((root / folder).rglob("*.tmp"))
    staging = root / layout.STAGING
    found |= set(staging.iterdir()) if staging.is_dir() else set()
    return found | set(root.parent.glob(f".{root.name}.version-*"))


def _tasks(root: Path) -> tuple[str, ...]:
    try:
        return tasks.read(root)
    except StoreError as error:
        raise StoreError(f"{error}; the store was damaged from outside, restore this file") from error


def _info(root: Path) -> object:
    try:
        return read_json(root / layout.INFO)
    except Exception:
        return None
