"""Versions of a store: folders that share unchanged files by hard link, swapped in one step.

A snapshot is a version under another path. An edit that would renumber anything builds a version beside the
store and exchanges the two folders by one `renameat2`; a reader has the old one or the new one, never a mixture.
No file name is used for two contents, so a reader that opened the old version either still finds the same bytes
or gets an error, and opens again.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from dataengine.errors import StoreError
from dataengine.guard import safe_join, sha256_file
from dataengine.store import camera_stats, files, labels, layout
from dataengine.store import commit as commits
from dataengine.store.commit import Commit
from dataengine.store.episodes import video_keys
from dataengine.store.lock import SHARED, label_lock
from dataengine.store.store import Store


def snapshot(store: Store, path: Path) -> Store:
    """The whole state of now under `path`, by hard links where the file system allows.

    For others: no log of edits, no labels of episodes that are gone. Works beside a running writer.
    Raises `StoreError` if `path` holds something, or the store is foreign.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise StoreError(f"{path} is not empty; a snapshot needs a folder of its own")
    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    why = ""
    try:
        for _ in range(20):
            files.remove(work)
            work.mkdir()
            store.reload()
            commit = own_commit(store)
            try:
                listed = [path.relative_to(store.root).as_posix() for path in camera_stats.paths(store.root)]
                share(store, work, [*commit.sha256, *data_files(store), *video_files(store), *listed])
                with label_lock(store.root):
                    share_labels(store, work)
                for name in labels.names(work):
                    labels.forget(work, name, labels.index(work, name).keys() - set(store.ids))
                # A writer may have replaced metadata between the record and the links.
                other = [name for name, digest in commit.sha256.items() if sha256_file(work / name) != digest]
                why = f"{', '.join(other)} is not what the commit record says"
                if not other:
                    replace(commit, edits=()).write(work)
                    files.remove(path)
                    work.rename(path)
                    files.sync_folder(path.parent)
                    return Store.open(path)
            except FileNotFoundError as error:
                why = f"{error.filename} is missing"
        raise StoreError(f"no whole state of {store.root}: {why}. It is being changed too fast, or damaged: verify it")
    finally:
        files.remove(work)


@contextlib.contextmanager
def next_version(store: Store, *, keep: bool) -> Iterator[Path]:
    """A folder beside the store to build its next version in; swapped in when the block ends without error.

    The caller holds the writer's lock. Labels written meanwhile come along. keep: the old one can be restored.
    """
    root = store.root.resolve()
    work = root.with_name(f".{root.name}.version-{uuid.uuid4().hex[:8]}")
    work.mkdir()
    try:
        yield work
        with label_lock(root):
            share_labels(store, work)
            (work / layout.PRIVATE).mkdir(exist_ok=True)
            for name in SHARED:
                os.link(root / name, work / name)
            if (root / layout.RECORDER).exists():
                files.share(root / layout.RECORDER, work / layout.RECORDER)
            for name in (layout.HISTORY, layout.JOURNAL):
                if (root / name).exists():
                    (root / name).rename(work / name)
            files.exchange(root, work)
            if keep:
                _keep(work, root)
    finally:
        rescue(work, root)
        files.remove(work)
    store.reload()


def kept(root: Path) -> dict[int, Path]:
    """Versions that can be restored, by generation."""
    folder = root / layout.HISTORY
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return {int(path.name): path for path in found if path.name.isdigit()}


def forget(root: Path) -> None:
    """Give up all versions but the present one: out of reach in one step, then removed."""
    folder = root / layout.HISTORY
    if folder.exists():
        gone = root / layout.STAGING / f"history-{uuid.uuid4().hex[:8]}"
        gone.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(gone)
        files.remove(gone)


def rescue(work: Path, root: Path) -> None:
    """Save from a folder that an edit left beside the store what can be restored.

    The kept versions and a recorder's journals move along with the store, before the swap; and the store that the swap
    replaced is one more.
    """
    for path in sorted((work / layout.JOURNAL).rglob("*")):
        target = root / path.relative_to(work)
        if path.is_file() and not target.exists():
            files.make_folder(target.parent)
            path.rename(target)
    for generation, path in kept(work).items():
        if generation not in kept(root):
            (root / layout.HISTORY).mkdir(parents=True, exist_ok=True)
            path.rename(root / layout.HISTORY / path.name)
    old, new = commits.read(work) if work.exists() else None, commits.read(root)
    if old is not None and new is not None and new.edits and old.generation not in kept(root):
        last = new.edits[-1]
        if (last["before"], last["generation"]) == (old.generation, new.generation):
            _keep(work, root)


def _keep(old: Path, root: Path) -> None:
    """Labels are not versioned: they go by episode id and stay with the store."""
    commit = commits.read(old)
    assert commit is not None
    for name in (layout.LABELS, layout.PRIVATE):
        files.remove(old / name)
    folder = root / layout.HISTORY
    folder.mkdir(parents=True, exist_ok=True)
    old.rename(folder / f"{commit.generation:08d}")
    files.sync_folder(folder)


def own_commit(store: Store) -> Commit:
    if store.commit is None:
        raise StoreError(f"{store.root} was not made by this engine and is read only; convert it into a store first")
    return store.commit


def share(store: Store, folder: Path, relative: list[str]) -> None:
    """Give files of a store the same names in another folder."""
    made: set[Path] = set()
    for name in relative:
        source, target = safe_join(store.root, name), folder / name
        if target.parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(target.parent)
        files.share(source, target)
    for parent in made:
        files.sync_folder(parent)


def share_labels(store: Store, folder: Path) -> None:
    """All label files that the other folder does not have yet."""
    root = store.root.resolve() / layout.LABELS
    found = sorted(root.glob("*/*.parquet")) if root.is_dir() else []
    share(store, folder, [f"{layout.LABELS}/{path.relative_to(root).as_posix()}" for path in found])


def data_files(store: Store) -> list[str]:
    return list(dict.fromkeys(store.table_of_episodes.data(index)[0] for index in range(len(store))))


def video_files(store: Store) -> list[str]:
    table, keys = store.table_of_episodes, video_keys(store.features)
    return list(dict.fromkeys(table.video(index, key)[0] for key in keys for index in range(len(store))))
