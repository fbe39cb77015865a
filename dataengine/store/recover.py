"""Putting a store back to its commit record after a writer died, whatever it was doing.

The record says what belongs; everything else under `data/`, `videos/`, `meta/` is the beginning of a commit that
nobody acknowledged. A commit replaces four metadata files; what they were before is kept beside until it is
through (`keep`), and goes back bit for bit. LeRobot may read all the while: first the tables it addresses by
position are right again, then files that nothing points to go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from dataengine.errors import DataEngineError, StoreError
from dataengine.guard import read_json, safe_join, sha256_file
from dataengine.store import camera_stats, files, layout, stats, versions
from dataengine.store import commit as commits
from dataengine.store.lock import label_lock

_NOTED = f"{layout.UNDO}/labels.json"


def keep(root: Path, relative: Iterable[str]) -> None:
    """Hold on to metadata files that are about to be replaced, by hard link."""
    folder = root / layout.UNDO
    files.remove(folder)
    for name in relative:
        target = folder / name.replace("/", "|")
        target.parent.mkdir(parents=True, exist_ok=True)
        files.share(root / name, target)
    files.sync_folder(folder)


def note_labels(root: Path, generation: int, places: Iterable[Path]) -> None:
    """Label files that belong to the commit to come, and go if it does not."""
    listed = [path.relative_to(root).as_posix() for path in places]
    files.write_json(root / _NOTED, {"generation": generation, "labels": listed})


def kept(root: Path, relative: str) -> Path:
    """Where `keep` has put a file."""
    return root / layout.UNDO / relative.replace("/", "|")


def recover(root: Path) -> list[str]:
    """Undo what is not in the commit record; what was done, a line each. Called with the writer's lock held.

    Idempotent. Raises `StoreError` if a metadata file is neither what was committed nor to be restored.
    """
    commit = commits.read(root)
    if commit is None:
        raise StoreError(f"{root / layout.COMMIT} is missing")
    done: list[str] = []
    # Episodes first: LeRobot addresses their rows by position.
    for name in sorted(commit.sha256, key=lambda name: not name.startswith(layout.EPISODES)):
        expected = commit.sha256[name]
        if (root / name).exists() and sha256_file(root / name) == expected:
            continue
        old = kept(root, name)
        if old.exists() and sha256_file(old) == expected:
            old.rename(root / name)
            files.sync_folder((root / name).parent)
            done.append(f"{name}: put back, the commit that replaced it was not finished")
        elif name == layout.STATS:
            sketches = stats.load(root / commit.sketch) if commit.sketch else {}
            files.write_json(root / name, stats.as_json(sketches, commit.info))
            done.append(f"{name}: written anew")
        else:
            raise StoreError(f"{root / name} was changed or removed from outside; restore it (verify says what else)")
    if _info(root) != commit.info:
        files.write_json(root / layout.INFO, commit.info, indent=2)
        done.append(f"{layout.INFO}: brought to {commit.episodes} episodes")
    for beside in _versions(root):
        versions.rescue(beside, root.resolve())
    with label_lock(root):  # labels have writers of their own: what they have in hand is no leftover
        for stray in sorted(_leftovers(root, commit)):
            files.remove(stray)
            place = stray.relative_to(root) if stray.is_relative_to(root) else stray.name
            done.append(f"{place}: removed")
    return done


def _leftovers(root: Path, commit: commits.Commit) -> set[Path]:
    listed = {path for path, _ in commit.episode_files} | {commit.sketch}

    def beyond(path: Path, limit: int, otherwise: bool) -> bool:
        number = layout.number_of(path)
        return otherwise if number is None else number >= limit

    def unlisted(path: Path) -> bool:
        return path.relative_to(root).as_posix() not in listed

    strays: dict[str, Callable[[Path], bool]] = {
        "data/*/*.parquet": lambda path: beyond(path, commit.next_data, True),
        "videos/*/*/*.mp4": lambda path: beyond(path, commit.next_video, False),
        f"{layout.EPISODES}/*/*.parquet": unlisted,
        f"{layout.OURS}/sketch-*": unlisted,
        f"{layout.CAMERAS}/*": lambda path: (camera_stats.generation_of(path) or 0) > commit.generation,
    }
    found = {path for pattern, stray in strays.items() for path in root.glob(pattern) if stray(path)}
    for folder in ("data", "videos", "meta", layout.LABELS):
        found |= set((root / folder).rglob("*.tmp"))
    if (root / _NOTED).exists() and (noted := read_json(root / _NOTED))["generation"] > commit.generation:
        found |= {path for path in (safe_join(root, name) for name in noted["labels"]) if path.exists()}
    staging = root / layout.STAGING
    found |= set(staging.iterdir()) if staging.is_dir() else set()
    found |= {root / layout.UNDO} if (root / layout.UNDO).exists() else set()
    return found | _versions(root)


def _versions(root: Path) -> set[Path]:
    """Versions that were being built, or had just been replaced."""
    real = root.resolve()
    return set(real.parent.glob(f".{real.name}.version-*"))


def _info(root: Path) -> object:
    try:
        return read_json(root / layout.INFO)
    except DataEngineError:
        return None
