"""Columns of the episodes table, read as far as their pages are whole, the others from what is on the disk.

Files are found by their sha256, ranges follow from lengths, hashes and statistics are taken anew. Facts about episodes
(who, whence, success) follow from nothing but a kept version.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataengine.errors import StoreError
from dataengine.guard import sha256_file
from dataengine.store import camera_stats, files, layout, schema, stats, versions
from dataengine.store import commit as commits
from dataengine.store import episodes as tables
from dataengine.store.commit import Commit
from dataengine.store.packets import packet_digest
from dataengine.store.problems import names
from dataengine.store.rows import read_rows
from dataengine.store.verify_files import UNREADABLE

_VITAL = ("tasks", "length")


def mended_rows(root: Path, commit: Commit, name: str) -> tuple[pa.Table, list[str]]:
    """The table of one episodes file, and what of it is lost, in words.

    Raises `StoreError` if it cannot be read at all, or lacks what everything else hangs on.
    """
    features = {
        key: schema.from_info(key, entry)
        for key, entry in commit.info["features"].items()
        if key not in schema.POSITION and entry["dtype"] != "language"
    }
    wanted = tables.schema(features)
    path = root / name
    place = [file for file, _ in commit.episode_files].index(name)
    first, rows = sum(count for _, count in commit.episode_files[:place]), commit.episode_files[place][1]
    columns: dict[str, list[Any]] = {}
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for column in file.schema_arrow.names:
                try:
                    columns[column] = file.read(columns=[column], use_threads=False)[column].to_pylist()[:rows]
                except UNREADABLE:
                    continue
    except UNREADABLE as error:
        raise StoreError(
            f"{path} cannot be read at all ({error}), and no kept version has it: ids, files and facts of its "
            "episodes are in no other place; put it back from a copy"
        ) from None
    gone = [column for column in wanted.names if len(columns.get(column, ())) != rows]
    if vital := [column for column in _VITAL if column in gone]:
        raise StoreError(f"{path}: the columns {names(vital)} are damaged and follow from nothing; put it back")
    mend = _Rows(root, commit, features, columns, first, rows)
    lost = [text for column in gone if (text := mend.column(column))]
    return pa.table([pa.array(columns[field.name], field.type) for field in wanted], schema=wanted), lost


class _Rows:
    def __init__(
        self, root: Path, commit: Commit, features: dict, columns: dict[str, list[Any]], first: int, rows: int
    ) -> None:
        self.root, self.commit, self.features = root, commit, features
        self.columns, self.first, self.rows = columns, first, rows
        self._hashes: dict[str, str] = {}
        self._older: dict[str, dict[str, Any]] | None = None

    def column(self, name: str) -> str:
        """Fill in one column; gives what is lost with it, if anything."""
        prefix, key, _ = tables.split(name)
        lost = ""
        if name == "episode_index":
            made: list[Any] = list(range(self.first, self.first + self.rows))
        elif name in ("dataset_from_index", "dataset_to_index"):
            made = self._range(name)
        elif name == "episode_id":
            made, lost = self._ids()
        elif name.endswith(("/chunk_index", "/file_index")):
            made = self._numbers(name, key)
        elif name.endswith("_timestamp"):
            made = self._times(name, key)
        elif prefix == "stats/":
            made = self._stats(name, key)
        elif prefix == "packets/":
            made = [self._packets(row, key) for row in range(self.rows)]
        elif name.startswith("sha256/"):
            made, lost = self._sums(name, key)
        else:
            made, lost = self._facts(name)
        self.columns[name] = made
        return lost

    def _need(self, *names_: str) -> None:
        if missing := [name for name in names_ if name not in self.columns]:
            raise StoreError(f"{layout.EPISODES}: {names(missing)} and what they follow from are damaged; put it back")

    def _range(self, name: str) -> list[int]:
        other = "dataset_to_index" if name == "dataset_from_index" else "dataset_from_index"
        self._need(other)
        sign = 1 if name == "dataset_to_index" else -1
        return [at + sign * length for at, length in zip(self.columns[other], self.columns["length"], strict=True)]

    def _times(self, name: str, key: str) -> list[float]:
        first = name.endswith("from_timestamp")
        other = f"videos/{key}/{'to' if first else 'from'}_timestamp"
        self._need(other)
        sign, fps = -1 if first else 1, float(self.commit.info["fps"])
        spans = zip(self.columns[other], self.columns["length"], strict=True)
        return [round((at * fps) + sign * length) / fps for at, length in spans]

    def _numbers(self, name: str, key: str) -> list[int]:
        """Which file holds an episode, by its sha256."""
        if name.startswith("meta/"):
            return [0] * self.rows  # what reads it follows positions
        column = f"sha256/{key or 'data'}"
        self._need(column)
        folder = self.root / (f"videos/{key}" if key else "data")
        by_hash = {sha256_file(path): layout.number_of(path) for path in folder.glob("*/*.*")}
        place = 0 if name.endswith("chunk_index") else 1
        numbers = [by_hash.get(digest) for digest in self.columns[column]]
        if None in numbers:
            raise StoreError(f"{layout.EPISODES}: {name!r} is damaged, and a file it names is not there either")
        return [layout.chunk_and_file(number)[place] for number in numbers if number is not None]

    def _file(self, row: int, key: str) -> str:
        prefix = f"videos/{key}" if key else "data"
        self._need(f"{prefix}/chunk_index", f"{prefix}/file_index")
        chunk, file = (int(self.columns[f"{prefix}/{n}"][row]) for n in ("chunk_index", "file_index"))
        return layout.expand(layout.VIDEO_TEMPLATE if key else layout.DATA_TEMPLATE, chunk, file, key)

    def _sums(self, name: str, key: str) -> tuple[list[str], str]:
        made = []
        for row in range(self.rows):
            path = self._file(row, key)
            self._hashes[path] = self._hashes.get(path) or sha256_file(self.root / path)
            made.append(self._hashes[path])
        return made, f"{name!r} was taken anew, so that these files can no longer be checked against what was written"

    def _packets(self, row: int, key: str) -> str:
        self._need(f"videos/{key}/from_timestamp")
        begin, length = self.columns[f"videos/{key}/from_timestamp"][row], self.columns["length"][row]
        return packet_digest(self.root / self._file(row, key), begin, length, float(self.commit.info["fps"]))[0]

    def _stats(self, name: str, key: str) -> list[Any]:
        statistic = name.rpartition("/")[2]
        if (feature := self.features.get(key)) is not None and feature.is_camera:
            return [self._picture(identity, key, statistic) for identity in self.columns["episode_id"]]
        feature = feature or schema.POSITION[key]
        made = []
        for row in range(self.rows):
            self._need("dataset_from_index")
            path, start = self._file(row, ""), self.columns["dataset_from_index"]
            begin = min(at for other, at in enumerate(start) if self._file(other, "") == path)
            try:
                table = read_rows(self.root / path, start[row] - begin, self.columns["length"][row], [key])
                summary = stats.summarise_column(schema.to_numpy(table[key], feature, key), feature)
                made.append(stats.shaped(summary, feature)[statistic])
            except UNREADABLE:
                made.append(None)  # the episode is lost for other reasons
        return made

    def _picture(self, identity: str, key: str, statistic: str) -> Any:
        """From the statistics of pictures that the episode's own commit left."""
        for path in reversed(camera_stats.paths(self.root)):
            try:
                table = camera_stats.load(path)
                table = table.filter(pa.compute.equal(table["episode_id"], identity))
                if key in (sketches := stats.from_table(table)):
                    return stats.shaped(sketches[key].summary(), self.features[key])[statistic]
            except UNREADABLE:
                continue
        return None

    def _ids(self) -> tuple[list[str], str]:
        raise StoreError(
            f"{layout.EPISODES}: the ids of the episodes are damaged, labels and edits go by them; put it back, or "
            "save the episodes under new ids with --out FOLDER"
        )

    def _facts(self, name: str) -> tuple[list[Any], str]:
        if self._older is None:
            self._older = {}
            for path in versions.kept(self.root).values():
                commit = commits.read(path)
                for file, count in commit.episode_files if commit else ():
                    try:
                        rows = files.read_table(path / file).slice(0, count).select(["episode_id", *tables.OURS])
                    except UNREADABLE:
                        continue
                    self._older |= {row["episode_id"]: row for row in rows.to_pylist()}
        older = self._older
        made = [older.get(identity, {}).get(name) for identity in self.columns["episode_id"]]
        without = {i for i in self.columns["episode_id"] if i not in older}
        return made, f"{name!r} of {names(without)} is lost" if without else ""
