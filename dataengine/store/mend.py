"""Metadata of a store made whole: put back where what was written can be had, else derived from what is left.

What can be proven by its sha256 comes from a kept version, or is found by search where one byte has changed. The rest
is derived: instructions from the episodes table and the rows, features from info.json, columns of the episodes table
from data, videos and the statistics of pictures. Nothing is guessed: what follows from nothing is said to be lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from dataengine.errors import DataEngineError, StoreError
from dataengine.guard import read_json, sha256_file
from dataengine.store import commit as commits
from dataengine.store import files, layout, one_byte, recover, schema, stats, tasks, versions
from dataengine.store.commit import Commit
from dataengine.store.mend_episodes import mended_rows
from dataengine.store.verify_files import UNREADABLE
from dataengine.video import DEFAULT

ASIDE = f"{layout.HISTORY}/damaged"
UNDO = Path(layout.UNDO).name
SEARCHES = 8  # in vain: then the damage is of another kind, and ten seconds a file are too many


class Mend:
    """Works on `root` in place, with the writer's lock held. mended, lost: what was done and could not be, in words.

    others: folders of other versions by what they are called, that may have files of this one; the kept ones.
    """

    def __init__(self, root: Path, others: Mapping[str, Path] | None = None) -> None:
        self.root = root
        self.others = others
        self._searches = SEARCHES
        self.mended: list[str] = []
        self.lost: list[str] = []

    def run(self) -> Commit:
        """Make the record and all metadata whole but for statistics, which the next version takes anew.

        Raises `StoreError` saying what is gone and cannot be derived.
        """
        commit = self.record()
        rest = []
        for name, expected in commit.sha256.items():
            exact = name not in (layout.STATS, commit.sketch)  # what they say can be counted again
            if not self._is(name, expected) and not self.put_back(name, expected, search=exact):
                rest.append(name)
        self.info(commit)
        derived = [name for name in rest if name not in (layout.STATS, commit.sketch)]
        for name in sorted(derived, key=lambda name: name.startswith(layout.EPISODES)):
            self._derive(name, commit)
        if derived:
            hashes = {**commit.sha256, **{name: sha256_file(self.root / name) for name in derived}}
            commit = replace(commit, sha256=hashes)
            commit.write(self.root)
        if layout.STATS in rest and commit.sketch not in rest:
            self._stats(commit)
        return commit

    def put_aside(self, name: str) -> None:
        """Keep a damaged file with the versions kept for `undo`, until `compact` or `purge`."""
        source, target = self.root / name, self.root / ASIDE / name
        while target.exists():
            target = target.with_name(f"{target.name}~")
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)

    def put_back_all(self, named: Iterable[tuple[str, str | None]]) -> None:
        """Files that another version has whole. named: with the sha256 that they should have."""
        for name, expected in named:
            if expected and not self._is(name, expected):
                self.put_back(name, expected)

    # -- what was written -----------------------------------------------------------------------------------

    def _is(self, name: str, expected: str) -> bool:
        try:
            return sha256_file(self.root / name).startswith(expected)
        except DataEngineError:
            return False

    def put_back(self, name: str, expected: str, *, search: bool = True) -> bool:
        """Make a file what was written, by a copy of another version or by search. expected: how its sha256 begins."""
        for called, folder in self._versions():
            other = folder / name if folder.name != UNDO else recover.kept(self.root, name)
            if other.is_file() and sha256_file(other).startswith(expected):
                self._replace(name, other)
                self.mended.append(f"{name}: put back from {called}")
                return True
        path = self.root / name
        if search and self._searches and path.is_file():
            if (data := one_byte.restore(path.read_bytes(), expected)) is not None:
                files.write_bytes(path, data)
                self.mended.append(f"{name}: one byte had changed and was put right")
                return True
            self._searches -= 1
        return False

    def _versions(self) -> Iterator[tuple[str, Path]]:
        if self.others is not None:
            yield from self.others.items()
            return
        yield "the commit before", self.root / layout.UNDO
        for generation, path in reversed(versions.kept(self.root).items()):
            yield f"the kept version {generation}", path

    def _replace(self, name: str, source: Path) -> None:
        target = self.root / name
        beside = target.with_name(f"{target.name}.tmp")
        files.remove(beside)
        target.parent.mkdir(parents=True, exist_ok=True)
        files.share(source, beside)
        beside.replace(target)
        files.sync_folder(target.parent)

    def record(self) -> Commit:
        path = self.root / layout.COMMIT
        try:
            found = commits.read(self.root)
        except StoreError:
            raw = _unsealed(path.read_bytes())
            if raw is None:
                raise StoreError(
                    f"{path} is damaged, and nothing else says what belongs to the store; "
                    "--out FOLDER saves what LeRobot reads"
                ) from None
            files.write_bytes(path, raw)
            self.mended.append(f"{layout.COMMIT}: one byte had changed and was put right")
            found = commits.read(self.root)
        assert found is not None
        return found

    # -- what follows from the rest -------------------------------------------------------------------------

    def info(self, commit: Commit) -> None:
        path, wanted = self.root / layout.INFO, files.json_bytes(commit.info, indent=2)
        old = recover.kept(self.root, layout.INFO)
        if not path.is_file() or path.read_bytes() not in (wanted, old.read_bytes() if old.exists() else wanted):
            files.write_bytes(path, wanted)
            self.mended.append(f"{layout.INFO}: written anew from the commit record")

    def _stats(self, commit: Commit) -> None:
        sketches = stats.load(self.root / commit.sketch) if commit.sketch else {}
        files.write_json(self.root / layout.STATS, stats.as_json(sketches, commit.info))
        if not self._is(layout.STATS, commit.sha256[layout.STATS]):
            hashes = {**commit.sha256, layout.STATS: sha256_file(self.root / layout.STATS)}
            replace(commit, sha256=hashes).write(self.root)
        self.mended.append(f"{layout.STATS}: written anew from the histograms")

    def _derive(self, name: str, commit: Commit) -> None:
        if name == layout.TASKS:
            found = self._instructions(commit)
            self.put_aside(name)
            tasks.write(self.root, found)
            self.mended.append(f"{name}: written anew from the episodes table and the rows")
        elif name == layout.FEATURES:
            self._features(commit)
        else:
            table, lost = mended_rows(self.root, commit, name)
            self.put_aside(name)
            files.write_table(self.root / name, table)
            self.mended.append(f"{name}: its damaged columns were derived")
            self.lost += [f"{name}: {text}" for text in lost]

    def _features(self, commit: Commit) -> None:
        ours: dict[str, Any] = {"features": {}, "licence": None, "codec": asdict(DEFAULT)}
        source = "info.json; units, rates, licence and the codec for new episodes are lost"
        for generation, path in reversed(versions.kept(self.root).items()):
            old = commits.read(path)
            if old and sha256_file(path / layout.FEATURES) == old.sha256[layout.FEATURES]:
                ours, source = read_json(path / layout.FEATURES), f"the kept version {generation}"
                break
        described = {k: e for k, e in commit.info["features"].items() if k not in schema.POSITION}
        found = {
            key: schema.to_details(schema.from_info(key, entry, ours["features"].get(key)))
            for key, entry in described.items()
            if entry["dtype"] != "language"
        }
        self.put_aside(layout.FEATURES)
        files.write_json(self.root / layout.FEATURES, {**ours, "features": found})
        said = f"{layout.FEATURES}: written anew from {source}"
        (self.lost if "lost" in source else self.mended).append(said)

    def _instructions(self, commit: Commit) -> list[str]:
        """By number: each text that can only have this one, since the rows of its episodes have no other."""
        spoken, used = [], []
        for path, rows in commit.episode_files:
            columns = ["tasks", "episode_index", "data/chunk_index", "data/file_index"]
            for row in files.read_table(self.root / path, columns=columns, checked=False).slice(0, rows).to_pylist():
                data = layout.expand(layout.DATA_TEMPLATE, row["data/chunk_index"], row["data/file_index"])
                try:
                    table = files.read_table(self.root / data, columns=["episode_index", "task_index"], checked=False)
                except UNREADABLE:
                    continue
                mine = table.filter(pc.equal(table["episode_index"], row["episode_index"]))
                spoken.append(set(row["tasks"]))
                used.append(set(mine["task_index"].to_pylist()))
        texts = list(dict.fromkeys(text for one in spoken for text in sorted(one)))
        count = int(commit.info["total_tasks"])
        possible = {n: set(texts) for n in range(count)}
        for said, numbers_ in zip(spoken, used, strict=True):
            for number in numbers_ & possible.keys():
                possible[number] &= said
        found: dict[int, str] = {}
        while single := {n: next(iter(p)) for n, p in possible.items() if len(p) == 1 and n not in found}:
            found |= single
            possible = {n: p if n in found else p - set(found.values()) for n, p in possible.items()}
        if len(found) != count or len(set(found.values())) != count:
            raise StoreError(
                f"{self.root / layout.TASKS} is damaged, and which instruction has which number does not follow "
                "from what is left; put it back from a copy"
            )
        return [found[n] for n in range(count)]


def _unsealed(raw: bytes) -> bytes | None:
    """A commit record of which one byte has changed, as it was."""
    tail = len(commits.sealed(b"{}")) - 1
    body = raw[:-tail] + b"}"
    again = commits.sealed(body)
    if len(again) == len(raw) and sum(a != b for a, b in zip(again, raw, strict=True)) <= 1 and _is_record(body):
        return again  # it was in the seal itself
    seal = raw[-67:-3].decode("ascii", "replace")
    found = one_byte.restore(body, seal) if len(seal) == 64 else None
    return commits.sealed(found) if found is not None else None


def _is_record(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except ValueError:
        return False
