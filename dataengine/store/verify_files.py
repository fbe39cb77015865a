"""Is every file what was written? Hashes from the commit record down, strays, and the versions kept for `undo`.

The record seals itself and names the metadata files by sha256; the episodes table names data and videos; files of
labels and of camera statistics say their hash in their names. A foreign dataset has nothing of this.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataengine.errors import DataEngineError
from dataengine.guard import read_json, safe_join, sha256_file
from dataengine.store import camera_stats, files, layout, stats, versions
from dataengine.store import commit as commits
from dataengine.store import episodes as tables
from dataengine.store.commit import Commit
from dataengine.store.problems import Problem, names
from dataengine.store.recover import kept
from dataengine.store.schema import from_info

FAILS = "LeRobot cannot open the dataset"
SAME = "LeRobot reads what was written"
UNSEEN = "LeRobot does not read it"
# What reading damaged tables raises: footers that lie make columns of other names, types and lengths.
UNREADABLE = (
    DataEngineError,
    OSError,
    pa.ArrowException,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
)


class Files:
    """The files of one folder as they are looked at: each is hashed once, whatever names it has.

    seen: names. bad: names of those that are not what was written. size: bytes of what was hashed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.seen: set[str] = set()
        self.bad: set[str] = set()
        self._hashed: dict[tuple[int, int], str] = {}

    def check(
        self,
        relative: str,
        expected: str,
        read: Callable[[], str],
        below: str = "",
        known: Mapping[str, str | None] = MappingProxyType({}),
    ) -> Iterator[Problem]:
        """One file against the (beginning of the) hash it should have.

        below: the version it belongs to. known: hashes, or None for missing, of files that are known to be damaged.
        """
        name = f"{below}{relative}"
        self.seen.add(name)
        try:
            path = safe_join(self.root, name)
            status = path.stat()
            key = (status.st_dev, status.st_ino)
            linked = key in self._hashed  # its other name has been looked at, and named if it is damaged
            found = self._hashed[key] if linked else self._hashed.setdefault(key, sha256_file(path))
        except (DataEngineError, OSError) as error:
            if relative in known and known[relative] is None:
                return
            self.bad.add(name)
            yield Problem("missing", name, absent(self.root / name, error), read=read())
            return
        if not found.startswith(expected) and found != known.get(relative):
            self.bad.add(name)
            if not (linked and below):
                told = f"its sha256 is {found[:12]}…, {expected[:12]}… was written{pointer(path)}"
                yield Problem("checksum", name, told, read=read())


def absent(path: Path, error: Exception | None = None) -> str:
    """Why a file is not there to be read."""
    if path.is_symlink() and not path.exists():
        return "is a link to a file that is gone (an incomplete download?)"
    if not path.exists():
        return "is missing"
    return str(getattr(error, "reason", None) or error or "is no file")


def pointer(path: Path) -> str:
    """What a file is instead, where that is easily told."""
    with path.open("rb") as file:
        head = file.read(24)
    if not head:
        return "; it is empty"
    return "; it is a Git LFS pointer, fetch the file itself" if head.startswith(b"version https://git-lfs") else ""


def commit_record(root: Path) -> tuple[Commit | None, list[Problem]]:
    try:
        found = commits.read(root)
        gone = found is None and (root / layout.OURS).is_dir()
        read = "this engine takes the store for another's, and trusts its metadata"
        return found, [Problem("missing", layout.COMMIT, "is missing", read=read)] if gone else []
    except DataEngineError as error:
        reason = str(error).removeprefix(f"{root / layout.COMMIT} ").removeprefix(f"{root / layout.COMMIT}: ")
        return None, [Problem("damaged", layout.COMMIT, reason, read=f"this engine opens nothing, {UNSEEN}")]


def metadata(found: Files, commit: Commit) -> Iterator[Problem]:
    """Everything that the record names, and info.json, which repeats what it says."""
    root = found.root
    yield from _info(found, commit)
    for path, expected in commit.sha256.items():
        found.seen.add(path)
        if not under_way(root, path, expected):
            yield from found.check(path, expected, lambda path=path: _read_instead(root, path, commit))  # type: ignore[misc]
    for file in camera_stats.paths(root):
        path = file.relative_to(root).as_posix()
        yield from found.check(path, files.hash_in_name(file), lambda: f"{UNSEEN}; an edit would take it for true")


def under_way(root: Path, path: str, expected: str) -> bool:
    """Whether a commit, alive or killed, has replaced this file and keeps what it was."""
    old = kept(root, path)
    return old.exists() and sha256_file(old) == expected


def _info(found: Files, commit: Commit) -> Iterator[Problem]:
    path = found.root / layout.INFO
    found.seen.add(layout.INFO)
    try:
        given = read_json(path)
        raw, old = path.read_bytes(), kept(found.root, layout.INFO)
    except (DataEngineError, OSError) as error:
        kind = "damaged" if path.exists() else "missing"
        yield Problem(kind, layout.INFO, absent(path, error), read=f"{FAILS}, this engine follows the record")
        return
    if raw == files.json_bytes(commit.info, indent=2) or (old.exists() and raw == old.read_bytes()):
        return
    other = _differing(given, commit.info)
    read = f"LeRobot reads another {names(other)}, this engine follows the record" if other else SAME
    yield Problem("checksum", layout.INFO, "is not what the last commit wrote", read=read)


def _differing(given: Any, wanted: Mapping[str, Any]) -> set[str]:
    if not isinstance(given, dict):
        return {"content"}
    return {str(key) for key in given.keys() | wanted.keys() if given.get(key) != wanted.get(key)}


def _read_instead(root: Path, path: str, commit: Commit) -> str:
    if path == layout.STATS:
        return _stats_instead(root, commit)
    if path == layout.FEATURES:
        return f"{UNSEEN}; this engine takes units, roles, rates, licence and codec from it"
    if path == commit.sketch:
        return f"{UNSEEN}; the next commit would merge it into the statistics"
    return parquet_instead(root / path)[0]


def _stats_instead(root: Path, commit: Commit) -> str:
    try:
        given = read_json(root / layout.STATS, allow_nan=True)
        sketches = stats.load(root / commit.sketch) if commit.sketch else {}
    except UNREADABLE:
        return FAILS
    other = _differing(given, json.loads(json.dumps(stats.as_json(sketches, commit.info))))
    return f"training would normalise {names(other)} otherwise" if other else SAME


def parquet_instead(path: Path) -> tuple[str, dict[str, list[tuple[int, int]]]]:
    """What LeRobot, which verifies no page, makes of a damaged table; and by column the rows of damaged pages."""
    damaged: dict[str, list[tuple[int, int]]] = {}
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            start = 0
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                for name in file.schema_arrow.names:
                    try:
                        file.read_row_group(group, columns=[name], use_threads=False)
                    except UNREADABLE:
                        damaged.setdefault(name, []).append((start, start + rows))
                start += rows
        pq.read_table(path, partitioning=None, use_threads=False)
    except UNREADABLE:
        return FAILS, damaged
    if damaged:
        return f"LeRobot reads wrong values of {names(set(damaged))} without noticing", damaged
    return "no page of values is damaged, only what stands around them", damaged


def strays(root: Path, named: set[str], commit: Commit | None) -> Iterator[Problem]:
    """Tables that belong to nothing: LeRobot reads by position whatever lies in these folders."""
    for pattern, following in (
        ("data/*/*.parquet", commit.next_data if commit else 0),
        (f"{layout.EPISODES}/*/*.parquet", commit.next_episodes if commit else 0),
    ):
        for path in sorted(root.glob(pattern)):
            relative, number = path.relative_to(root).as_posix(), layout.number_of(path)
            coming = commit is not None and number is not None and number >= following  # of a commit not finished
            if relative not in named and not coming:
                read = "LeRobot reads its rows, and every later one at the wrong place"
                yield Problem("stray", relative, "belongs to no episode", read=read)


def coverage(root: Path, lengths: Mapping[str, int]) -> str | None:
    """What is missing of the statistics of pictures; None if nothing is, or there never were any. lengths: frames of
    every episode by id."""
    if not camera_stats.paths(root):
        return None
    try:
        known = {i for table in camera_stats.known(root, lengths) for i in table["episode_id"].to_pylist()}
    except UNREADABLE:
        return None  # damaged, and named already
    without = lengths.keys() - known
    return f"has nothing right about the pictures of {names(without)}" if without else None


def history(found: Files, edits: Sequence[Mapping[str, Any]], quick: bool) -> Iterator[Problem]:
    """Versions kept for `undo`, as far as they are not the same files as the present one's.

    A version that a repair has replaced is damaged, and has to be so as it was then.
    """
    root = found.root
    known = {name: digest for edit in edits for name, digest in edit.get("damaged", {}).items()}
    for generation, path in versions.kept(root).items():
        below = f"{path.relative_to(root).as_posix()}/"

        def read(generation: int = generation) -> str:
            return f"{UNSEEN}; going back to state {generation} would bring it"

        try:
            found.seen |= {f"{below}{layout.COMMIT}", f"{below}{layout.INFO}"}
            commit = commits.read(path)
        except DataEngineError as error:
            yield Problem(
                "damaged", f"{below}{layout.COMMIT}", str(error), read=f"state {generation} cannot be restored"
            )
            continue
        if commit is None:
            yield Problem("missing", f"{below}{layout.COMMIT}", "is missing", read=f"state {generation} is lost")
            continue
        info = path / layout.INFO
        if not info.exists() or info.read_bytes() != files.json_bytes(commit.info, indent=2):
            yield Problem("checksum", f"{below}{layout.INFO}", "is not what was written", read=read())
        for name, digest in named_in(path, commit, quick):
            if digest:
                yield from found.check(name, digest, read, below, known)


def named_in(path: Path, commit: Commit, quick: bool = False) -> list[tuple[str, str | None]]:
    """Every file of a version, and how its sha256 begins. quick: only metadata."""
    named: list[tuple[str, str | None]] = [*commit.sha256.items()]
    named += [(p.relative_to(path).as_posix(), files.hash_in_name(p)) for p in camera_stats.paths(path)]
    return named if quick else [*named, *_kept_bodies(path, commit)]


def _kept_bodies(path: Path, commit: Commit) -> list[tuple[str, str | None]]:
    try:
        table = tables.read(path, commit.info, [name for name, _ in commit.episode_files], commit.episodes)
    except UNREADABLE:
        return []  # named already
    features = {key: from_info(key, entry) for key, entry in commit.info["features"].items()}
    return list(bodies(table, tables.video_keys(features)).items())


def bodies(table: tables.Episodes, cameras: list[str]) -> dict[str, str | None]:
    """sha256 of every data file and video as the episodes table has it; None where it says nothing."""
    found: dict[str, str | None] = {}
    for index in range(len(table)):
        found.setdefault(table.data(index)[0], table.value("sha256/data", index))
        for key in cameras:
            found.setdefault(table.video(index, key)[0], table.value(f"sha256/{key}", index))
    return found
