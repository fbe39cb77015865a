"""Saving what can be saved of a damaged store, and saying what was lost.

First metadata (`mend`), in place. Then, where data, videos, labels or statistics are damaged, one more version of the
store without them, built beside it and swapped in; the one before is kept for `undo` as it was, damaged label files and
metadata are put aside under `.dataengine/history/damaged`. A foreign dataset is read only: its sound episodes go into a
new store. What is whole is left alone, so repairing twice changes nothing.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dataengine.errors import StoreError
from dataengine.guard import sha256_file
from dataengine.store import compact, files, history, labels, layout, recover, schema, stats, verify_files, versions
from dataengine.store import episodes as tables
from dataengine.store.change import Change
from dataengine.store.lock import WriterLock, label_lock
from dataengine.store.mend import Mend
from dataengine.store.problems import Problem, VerifyReport, names
from dataengine.store.rows import read_rows
from dataengine.store.salvage import salvage
from dataengine.store.store import Store
from dataengine.store.verify import verify
from dataengine.store.verify_files import UNREADABLE


@dataclass(frozen=True)
class Repair:
    """mended: what is as it should be again. lost: what could not be saved, and why. episodes, frames: what is left.

    done: False if there was nothing to do, or it was only asked what would be done.
    """

    mended: tuple[str, ...]
    lost: tuple[str, ...]
    episodes: int
    frames: int
    done: bool


def repair(root: str | Path, *, out: str | Path | None = None, dry_run: bool = False) -> Repair:
    """Repair a store of ours in place, or write the sound episodes of any dataset into a new store at `out`.

    dry_run: say what would be done; the store is not touched, a copy of hard links beside it is. Raises `StoreError`
    if nothing can be saved or what is gone cannot be derived, `StoreLocked` while somebody writes.
    """
    root = Path(root)
    if out is not None:
        found = salvage(root, Path(out), dry_run=dry_run)
        return Repair(found.mended, found.lost, found.episodes, found.frames, not dry_run)
    if not (root / layout.COMMIT).exists():
        Store.open(root)
        if (root / layout.OURS).is_dir():
            raise StoreError(f"{root / layout.COMMIT} is missing; --out FOLDER saves what LeRobot reads")
        raise StoreError(
            f"{root} was not made by this engine and is read only; --out FOLDER writes its sound episodes into a store"
        )
    if dry_run:
        with tempfile.TemporaryDirectory(prefix=f".{root.resolve().name}.repair-", dir=root.resolve().parent) as folder:
            copy = Path(folder) / root.resolve().name
            shutil.copytree(root, copy, copy_function=lambda source, target: files.share(Path(source), Path(target)))
            return replace(repair(copy), done=False)
    lock = WriterLock(root)
    lock.acquire()
    try:
        return _Repair(root).run()
    finally:
        lock.release()


class _Repair:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.mend = Mend(root)
        self.order: list[int] = []
        self.drop: set[str] = set()

    def run(self) -> Repair:
        before = verify(self.root)
        if before.ok:
            return Repair((), (), before.episodes, before.frames, False)
        self.mend.run()
        store = Store.open(self.root)
        assert store.commit is not None
        self.mend.put_back_all(verify_files.named_in(self.root, store.commit)[len(store.commit.sha256) :])
        report = verify(self.root)
        for problem in report.problems:
            if problem.kind == "stray":
                self.mend.put_aside(problem.place)
                self.mend.mended.append(f"{problem.place}: put aside, it belonged to no episode")
        self._kept(report)
        with label_lock(self.root):
            self._labels(report, store)
        self._version(verify(self.root), store)
        after = verify(self.root)
        if not after.ok:
            raise StoreError(f"{self.root}: repaired in part; left is: {after.problems[0]}")
        return Repair(tuple(self.mend.mended), tuple(self.mend.lost), after.episodes, after.frames, True)

    def _kept(self, report: VerifyReport) -> None:
        """Versions kept for `undo` that are damaged: put right from the others, or put aside."""
        prefix = f"{layout.HISTORY}/"
        broken = {p.place.removeprefix(prefix).split("/")[0] for p in report.problems if p.place.startswith(prefix)}
        for name in sorted(broken):
            kept = {f"the kept version {n}": p for n, p in versions.kept(self.root).items() if p.name != name}
            mend = Mend(self.root / prefix / name, {"the present version": self.root, **kept})
            try:
                commit = mend.record()
                mend.info(commit)
                mend.put_back_all(verify_files.named_in(mend.root, commit))
                self.mend.mended += [f"{prefix}{name}/{text}" for text in mend.mended]
            except UNREADABLE:
                pass
        left = verify(self.root).problems if broken else ()
        for name in sorted({p.place.removeprefix(prefix).split("/")[0] for p in left if p.place.startswith(prefix)}):
            self.mend.put_aside(f"{prefix}{name}")
            self.mend.lost.append(f"state {int(name)}, kept for undo: it is damaged and was put aside")

    def _labels(self, report: VerifyReport, store: Store) -> None:
        for place in dict.fromkeys(p.place for p in report.problems if p.place.startswith(f"{layout.LABELS}/")):
            path = self.root / place
            if self.mend.put_back(place, files.hash_in_name(path)):
                continue
            name, found, lost = path.parent.name, {}, "all that it says"
            try:
                entries = labels.index_file(path)
                lost = ""
            except UNREADABLE:
                entries = {}
            gone = []
            for identity, entry in entries.items():
                try:
                    label = labels.read(entry)
                    labels.check(identity, self._length(store, identity, label.table.num_rows), name, label)
                    ids = read_rows(path, entry.row, entry.rows, ["episode_id"])["episode_id"]
                    if set(ids.to_pylist()) - {identity}:
                        raise StoreError(f"{path} has rows of another episode")
                    found[identity] = label
                except UNREADABLE:
                    gone.append(identity)
            self.mend.put_aside(place)
            if found:
                labels.write(self.root, name, found)
                self.mend.mended.append(f"{place}: what it says of {names(set(found))} was saved")
            if gone or lost:
                self.mend.lost.append(f"{place}: {lost or f'what it says of {names(gone)}'} (the file was put aside)")

    @staticmethod
    def _length(store: Store, identity: str, rows: int) -> int:
        place = store.table_of_episodes.place.get(identity)
        return rows if place is None else int(store.table_of_episodes.length[place])

    # -- the next version -----------------------------------------------------------------------------------

    def _version(self, report: VerifyReport, store: Store) -> None:
        """One more version without what is damaged; none if the files of the present one are whole."""
        bad = {problem.place for problem in report.problems if not problem.place.startswith(f"{layout.HISTORY}/")}
        if not bad:
            return
        commit = store.commit
        assert commit is not None
        pictures = {place for place in bad if place.startswith(layout.CAMERAS)}
        for place in sorted(pictures):
            self.mend.put_aside(place)
            self.mend.mended.append(f"{place}: statistics of pictures were taken anew by decoding")
        anew = bool(pictures or bad & {layout.STATS, commit.sketch})
        if anew and not pictures:
            self.mend.mended.append(f"{layout.STATS} and its histograms: taken anew")
        if commit.sketch not in bad and layout.STATS not in bad:
            recover.recover(self.root)
        lost = self._lost(report, store, bad)
        order = [index for index in range(len(store)) if index not in lost]
        if not order:
            first = next(iter(lost.items()))
            raise StoreError(f"{self.root}: no episode can be saved; episode {first[0]}: {first[1]}")
        for index, reason in lost.items():
            self.mend.lost.append(f"episode {index} ({store.ids[index]}): {reason}")
        what = f"repair: {len(lost)} episodes left out" if lost else "repair"
        what += f", without {', '.join(sorted(self.drop))}" if self.drop else ""
        as_found = {place: _hash(self.root / place) for place in sorted(bad - pictures)}
        entry = history.entry(store, what, store.ids, damaged=as_found)
        spoiled, edits = frozenset(bad), (*commit.edits, entry)
        change = Change(order=order, drop=frozenset(self.drop), spoiled=spoiled, anew=anew, edits=edits)
        compact.replace(store, change, store)
        kept = Store.open(versions.kept(self.root)[commit.generation])
        named = {place for index in order for place in _files(kept, index, self.drop)}
        self.mend.mended += [f"{place}: its sound episodes were written anew" for place in sorted(bad & named)]

    def _lost(self, report: VerifyReport, store: Store, bad: set[str]) -> dict[int, str]:
        """Episodes that are not what was written, by index, and why. Cameras without any sound video go as a whole."""
        seen: dict[int, list[Problem]] = defaultdict(list)
        for problem in report.problems:
            if problem.episode is not None and not problem.whole:
                seen[problem.episode].append(problem)
        cameras = {key: set[int]() for key in tables.video_keys(store.features)}
        lost: dict[int, str] = {}
        for index in range(len(store)):
            data, _ = store.table_of_episodes.data(index)
            for problem in seen[index]:
                if problem.place == data:
                    lost.setdefault(index, f"{problem.place}: {problem.reason}")
            if data in bad and (why := _changed(store, index)):
                lost.setdefault(index, f"{data}: {why}")
            for key, found in cameras.items():
                video, _ = store.table_of_episodes.video(index, key)
                found |= {index for problem in seen[index] if problem.place == video}
        for key, found in cameras.items():
            if len(found) == len(store) and len(cameras) < len(store.features):
                self.drop.add(key)
                self.mend.lost.append(f"camera {key!r}: none of its videos is sound")
                continue
            for index in found:
                problem = next(p for p in seen[index] if p.place == store.table_of_episodes.video(index, key)[0])
                lost.setdefault(index, f"{problem.place}: {problem.reason}")
        return dict(sorted(lost.items()))


def _files(store: Store, index: int, drop: set[str]) -> list[str]:
    """Data file and videos of an episode."""
    table = store.table_of_episodes
    keys = [key for key in tables.video_keys(store.features) if key not in drop]
    return [table.data(index)[0], *(table.video(index, key)[0] for key in keys)]


def _hash(path: Path) -> str | None:
    return sha256_file(path) if path.is_file() else None


def _changed(store: Store, index: int) -> str:
    """Why the rows of an episode in a damaged file are not those that were written; empty if they are.

    Page checksums do not cover headers, so the numbers must also have the statistics they had.
    """
    assert store.commit is not None
    relative, row = store.table_of_episodes.data(index)
    try:
        wanted = schema.data_schema(store.features, store.languages)
        table = read_rows(store.root / relative, row, int(store.table_of_episodes.length[index]), wanted.names)
        table.replace_schema_metadata().cast(wanted.remove_metadata())
        said = _row(store, index)
        for key, feature in (*store.features.items(), *schema.POSITION.items()):
            if not tables.has_numbers(feature):
                continue
            column = schema.to_numpy(table.column(key), feature, key)
            for name, value in stats.shaped(stats.summarise_column(column, feature), feature).items():
                have = said.get(f"stats/{key}/{name}")
                if have is None or not np.allclose(value, have, rtol=1e-9, atol=1e-12):
                    return f"the values of {key!r} are not those that were written"
    except UNREADABLE as error:
        return str(error).removeprefix(f"{store.root / relative} ")
    return ""


def _row(store: Store, index: int) -> dict[str, Any]:
    assert store.commit is not None
    for path, rows in store.commit.episode_files:
        if index < rows:
            return dict(files.read_table(store.root / path).slice(index, 1).to_pylist()[0])
        index -= rows
    raise StoreError(f"{store.root}: the episodes table has no row for it")
