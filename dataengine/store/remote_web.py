"""`https://host/path/of/dataset`: there is no listing, so paths follow from the metadata, and labels from the server's
index pages, where it has some.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import uuid
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from dataengine.errors import ConfigError, StoreError
from dataengine.guard import read_json
from dataengine.remote import Missing, Origin
from dataengine.store import commit as commits
from dataengine.store import layout, metadata
from dataengine.store.episodes import video_keys
from dataengine.store.remote_folder import Making, is_name, key_of, save, stand_in


class WebStore(Making):
    def mounted(self) -> Path:
        parts = urlsplit(self.address)
        if not parts.hostname or parts.query or parts.fragment or parts.username or parts.password:
            raise ConfigError(f"{self.address!r} is not an address like https://host/path/of/dataset")
        base = self.address.rstrip("/")
        # The user's address may have quoted characters; below it, names are quoted by us.
        name = unquote(parts.path.rstrip("/").rpartition("/")[2])
        self.name = name if is_name(name) else self.name
        origin = Origin(base)
        for attempt in range(4):
            begun, opened, labels = self._state(origin), uuid.uuid4().hex, self._below(origin, layout.LABELS)
            known = all(mark for _, mark in begun.values())
            self.said = {"address": base, "base": base, "scope": base, "hub": False, "opened": opened}
            if layout.COMMIT not in begun:  # in a store of ours a path means one content forever
                self.said["begun"] = begun
            try:
                key = key_of(base, json.dumps([begun, labels]), "" if known else opened)
                root = self.made(key, partial(self._fetch, origin, begun, labels))
            except StoreError:
                if attempt == 3 or self._state(origin) == begun:
                    raise
                continue
            shutil.rmtree(root.parent / "pins", ignore_errors=True)  # who opens a store, opens it as it is now
            return self.opened(root)
        raise AssertionError("not reached")

    def _state(self, origin: Origin) -> dict[str, tuple[int, str]]:
        """What tells one state of the store from another."""
        found: dict[str, tuple[int, str]] = {}
        for path in (layout.COMMIT, layout.INFO):
            try:
                version = origin.version(path)
                found[path] = (version.size, version.mark)
            except Missing as error:
                if path == layout.INFO:
                    raise StoreError(f"{self.address} is not a LeRobotDataset that can be read: {error}") from error
        return found

    def _fetch(self, origin: Origin, begun: Mapping[str, Any], labels: list[str], root: Path) -> None:
        left = self.limit
        for path in (layout.INFO, layout.COMMIT, layout.FEATURES, layout.TASKS, layout.STATS):
            with contextlib.suppress(Missing):
                left -= save(origin, root, path, left)
        commit = commits.read(root)
        if commit:
            for path, _ in commit.episode_files:
                left -= save(origin, root, path, left)
        else:
            self._episodes(origin, root, left)
        if self._state(origin) != begun:
            raise StoreError(f"{self.address} changes while its metadata are read; try again")
        meta = metadata.read(root)
        table = meta.episodes
        stand_ins = {table.data(index)[0] for index in range(len(table))}
        stand_ins |= {table.video(index, key)[0] for key in video_keys(meta.features) for index in range(len(table))}
        stand_in(root, [*stand_ins, *labels])

    def _episodes(self, origin: Origin, root: Path, left: int) -> None:
        """The files of a foreign episodes table, which nothing names: those of the index page, or one number after the
        other until all rows are there.
        """
        listed = self._below(origin, layout.EPISODES)
        for path in listed:
            left -= save(origin, root, path, left)
        info = read_json(root / layout.INFO)
        rows, chunk, file = 0, 0, 0
        while not listed and rows < int(info["total_episodes"]):
            path = layout.expand(layout.EPISODES_TEMPLATE, chunk, file)
            try:
                left -= save(origin, root, path, left)
            except Missing:
                if file == 0:
                    break  # what is missing is said when the table is read
                chunk, file = chunk + 1, 0
                continue
            try:
                rows += pq.read_metadata(root / path).num_rows
            except (OSError, pa.ArrowException) as error:
                raise StoreError(f"{origin.url(path)} is damaged: {error}") from error
            file += 1

    def _below(self, origin: Origin, folder: str) -> list[str]:
        """Parquet files one folder down, as far as index pages name them."""
        folders = [f"{folder}/{name}/" for name in self._indexed(origin, f"{folder}/", "/")]
        return sorted(f"{below}{name}" for below in folders for name in self._indexed(origin, below, ".parquet"))

    def _indexed(self, origin: Origin, folder: str, ending: str) -> list[str]:
        """Names in a server's index page that end so; none where it has no such page."""
        try:
            page = origin.text(folder)
        except Missing:
            return []
        found = (unquote(name) for name in re.findall(r"href=[\"']?([^\"'>?#]+)", page))
        names = (name.removesuffix("/") if ending == "/" else name for name in found if name.endswith(ending))
        return [name for name in dict.fromkeys(names) if is_name(name)]
