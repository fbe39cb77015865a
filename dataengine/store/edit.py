"""Changing what a store holds: episodes left out, cut, split, put in order, said otherwise; features renamed, dropped.

    edit = Edit(store)
    edit.delete(["3", "7-9"])
    edit.trim("4", 10, 180)
    edit.commit()

Everything gathered becomes one commit, in one step, with an entry in the log, and can be undone. No video is decoded
that does not change: files are shared, and a cut off a keyframe encodes the frames of one group of pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from dataengine.episode import POSITION_COLUMNS, Feature
from dataengine.errors import ConfigError, StoreError
from dataengine.store import camera_stats, compact, files, history, labels, layout, schema, versions
from dataengine.store.change import Change
from dataengine.store.lock import label_lock
from dataengine.store.store import Store

# What may be said of an episode after the fact, and of what type it is.
FACTS: Mapping[str, type] = {"success": bool, "operator": str, "quality": float, "split": str, "licence": str}


@dataclass(frozen=True)
class _Piece:
    """An episode of the version to come: one of the store by position, or frames `span` of it."""

    index: int
    span: tuple[int, int] | None = None


class Edit:
    """A change that is gathered call by call and made by `commit`.

    Episodes are named by id, by position, or by a range of positions ("3", "7-9"), as they stand in `store` when the
    edit begins. `what` says in words what is gathered so far. Raises `ConfigError` for what cannot be meant.
    """

    def __init__(self, store: Store) -> None:
        self.store, self._began = store, versions.own_commit(store).generation
        self.what: list[str] = []
        self._lengths = store.table_of_episodes.length.tolist()
        self._pieces = [_Piece(index) for index in range(len(store))]
        self._facts: dict[int, dict[str, Any]] = {}
        self._texts: dict[int, dict[str, str]] = {}
        self._rename: dict[str, str] = {}
        self._drop: set[str] = set()
        self._features: dict[str, Feature] = {}
        self._columns: dict[str, Callable[[int], np.ndarray]] = {}
        self._purged: set[str] = set()
        self._recount = False

    # -- episodes -------------------------------------------------------------------------------------------

    def delete(self, episodes: Sequence[str | int]) -> Edit:
        gone = set(self.select(episodes))
        self._pieces = [piece for piece in self._pieces if piece.index not in gone]
        return self._said(f"delete {_counted(gone)}")

    def keep(self, episodes: Sequence[str | int]) -> Edit:
        kept = set(self.select(episodes))
        self._pieces = [piece for piece in self._pieces if piece.index in kept]
        return self._said(f"keep {_counted(kept)}")

    def trim(self, episode: str | int, start: int, stop: int) -> Edit:
        """Keep frames `start` to `stop` (exclusive; a negative one counts from the end)."""
        return self._cut(episode, [(start, stop)], "trim")

    def split(self, episode: str | int, at: Iterable[int]) -> Edit:
        """Several episodes of one, the second beginning with the first frame of `at`."""
        (index,) = self.select([episode])
        bounds = [0, *sorted(set(at)), self._lengths[index]]
        return self._cut(episode, list(pairwise(bounds)), "split")

    def reorder(self, episodes: Sequence[str | int]) -> Edit:
        """These first, in this order; the others follow as they stood."""
        first = {index: number for number, index in enumerate(self.select(episodes))}
        self._pieces.sort(key=lambda piece: first.get(piece.index, len(first)))
        return self._said(f"put {_counted(first)} first")

    def set(self, episodes: Sequence[str | int], **facts: Any) -> Edit:
        """Say something of episodes: success, operator, quality, split, licence; None takes it back."""
        for name, value in facts.items():
            kind = FACTS.get(name)
            if kind is None:
                raise ConfigError(f"{name!r} is nothing that is said of an episode; known: {', '.join(FACTS)}")
            fits = isinstance(value, bool) if kind is bool else isinstance(value, kind) and not isinstance(value, bool)
            if value is not None and not (fits or (kind is float and type(value) is int)):
                raise ConfigError(f"{name} is {value!r}; it is a {kind.__name__}")
        chosen = self.select(episodes)
        for index in chosen:
            self._facts.setdefault(index, {}).update(facts)
        return self._said(f"set {', '.join(f'{k}={v}' for k, v in facts.items())} of {_counted(chosen)}")

    def task(self, new: str, *, old: str | None = None, episodes: Sequence[str | int] | None = None) -> Edit:
        """Another instruction, for all frames or those that had `old`."""
        chosen = list(range(len(self.store))) if episodes is None else self.select(episodes)
        found = 0
        for index in chosen:
            spoken = self.store.table_of_episodes.value("tasks", index) or []
            changes = {text: new for text in spoken if old is None or text == old}
            self._texts.setdefault(index, {}).update(changes)
            found += bool(changes)
        if not found:
            raise ConfigError(f"no episode has the instruction {old!r}; there are: {list(self.store.tasks)[:5]}")
        return self._said(f"say {new!r} to {_counted(range(found))}")

    def purge(self, episodes: Sequence[str | int]) -> Edit:
        """Erase episodes for good, in an edit of its own: from labels, statistics and every kept version too.

        Episodes made from them, by trimming or splitting, go as well. What was copied elsewhere (snapshots, a
        published dataset, the working folder of a flow) is out of reach.
        """
        gone, parents = set(self.select(episodes)), self.store.table_of_episodes.table.column("parent").to_pylist()
        place = self.store.table_of_episodes.place
        while more := {n for n, parent in enumerate(parents) if parent and place.get(parent) in gone} - gone:
            gone |= more
        self._pieces = [piece for piece in self._pieces if piece.index not in gone]
        self._purged = {self.store.ids[index] for index in gone}
        return self._said(f"purge {_counted(gone)}")

    # -- features -------------------------------------------------------------------------------------------

    def rename(self, old: str, new: str) -> Edit:
        feature = self._known(old)
        if new in self.store.features or new in self._rename.values() or new in POSITION_COLUMNS:
            raise ConfigError(f"{self.store.root} has {new!r} already")
        schema.check_feature(new, feature)
        if feature.is_camera and self.store.languages:
            raise ConfigError(f"{old!r} is named in the language columns; a camera cannot be renamed there")
        self._rename[old] = new
        return self._said(f"rename {old} to {new}")

    def drop(self, keys: Sequence[str]) -> Edit:
        for key in keys:
            self._known(key)
        self._drop |= set(keys)
        if self._drop >= set(self.store.features):
            raise ConfigError("no feature would be left")
        return self._said(f"drop {', '.join(keys)}")

    def add(self, key: str, feature: Feature, column: Callable[[int], np.ndarray]) -> Edit:
        """A new column of numbers, or other values for one that is there. column: `(T, *shape)` by position."""
        if feature.is_camera or feature.dtype == "string" or key in POSITION_COLUMNS:
            raise ConfigError(f"{key!r}: columns of numbers can be added")
        schema.check_feature(key, feature)
        self._features[key] = feature
        self._columns[key] = column
        return self._said(f"add {key}")

    def recount(self) -> Edit:
        """Statistics of cameras from every picture: copied videos, of which a sample was looked at, are decoded."""
        if not camera_stats.sampled(self.store):
            raise ConfigError(f"nothing to count: every picture of {self.store.root} was looked at")
        self._recount = True
        return self._said("count every picture")

    # -- making it so ---------------------------------------------------------------------------------------

    def outcome(self) -> tuple[int, int]:
        """Episodes and frames that the store would have."""
        frames = [p.span[1] - p.span[0] if p.span else self._lengths[p.index] for p in self._pieces]
        return len(frames), sum(frames)

    def commit(self, *, empty: bool = False) -> history.Entry:
        """Make the next version and swap it in; gives its entry in the log. empty: no episode need be left.

        Raises `StoreError` when nothing was asked for, nothing would be left, or the store has changed meanwhile.
        """
        if self._purged and len(self.what) > 1:
            raise ConfigError("purge is an edit of its own")
        if not self.what:
            raise StoreError("nothing to do: the edit is empty")
        if not self._pieces and not empty:
            raise StoreError(f"no episode would be left in {self.store.root}; remove the folder instead")
        with compact.changing(self.store):
            if versions.own_commit(self.store).generation != self._began:
                raise StoreError(f"{self.store.root} has changed since the edit began; look again and repeat it")
            if self._purged:
                with label_lock(self.store.root):
                    for name in labels.names(self.store.root):
                        labels.forget(self.store.root, name, self._purged)
                for journal in (self.store.root / layout.JOURNAL).rglob("*.mcap"):
                    if journal.stem in self._purged:
                        files.remove(journal)
            edits = self._log()
            parts = [piece for piece in self._pieces if piece.span is not None]
            if not parts:
                compact.replace(self.store, self._change([p.index for p in self._pieces], edits), self.store)
            else:
                self._with_parts(parts, edits)
            if self._purged:
                versions.forget(self.store.root)
        return history.log(self.store)[-1]

    def _log(self) -> tuple[Mapping[str, Any], ...]:
        """Of the version to come. A purge leaves of older entries the marks of what went, not their words."""
        before = versions.own_commit(self.store).edits
        left = {self.store.ids[piece.index] for piece in self._pieces if piece.span is None}
        entry = history.entry(self.store, "; ".join(self.what), left)
        if not self._purged:
            return (*before, entry)
        return ({**entry, "gone": [*(mark for edit in before for mark in edit.get("gone", ())), *entry["gone"]]},)

    def select(self, episodes: Sequence[str | int]) -> list[int]:
        """Positions of episodes named by id, position or range, each once, in the order given."""
        found: list[int] = []
        for name in episodes:
            found += self._positions(name)
        if not found:
            raise ConfigError("no episodes are named")
        return list(dict.fromkeys(found))

    def _positions(self, name: str | int) -> list[int]:
        place, count = self.store.table_of_episodes.place, len(self.store)
        if name in place:
            return [place[str(name)]]
        low, dash, high = str(name).partition("-")
        if not (low.isdigit() and (high.isdigit() or not dash)):
            raise ConfigError(f"{self.store.root} has no episode {name!r}; give an id, a position or a range like 7-9")
        first, last = int(low), int(high) if dash else int(low)
        if not first <= last < count:
            raise ConfigError(f"episodes {name} are not among the {count} (0 to {count - 1}) of {self.store.root}")
        return list(range(first, last + 1))

    def _known(self, key: str) -> Feature:
        if key not in self.store.features:
            raise ConfigError(f"{self.store.root} has no feature {key!r}; it has {', '.join(self.store.features)}")
        return self.store.features[key]

    def _said(self, what: str) -> Edit:
        self.what.append(what)
        return self

    def _cut(self, episode: str | int, spans: Sequence[tuple[int, int]], what: str) -> Edit:
        (index,) = self.select([episode])
        length = self._lengths[index]
        spans = [(a + length if a < 0 else a, b + length if b < 0 else b) for a, b in spans]
        if bad := [(a, b) for a, b in spans if not 0 <= a < b <= length]:
            raise ConfigError(f"episode {episode} has {length} frames; {bad[0][0]} to {bad[0][1]} are none of it")
        if any(piece.index == index and piece.span for piece in self._pieces):
            raise ConfigError(f"episode {episode} is cut already in this edit")
        pieces = [_Piece(index, None if span == (0, length) else span) for span in spans]
        self._pieces = [new for p in self._pieces for new in (pieces if p.index == index else [p])]
        return self._said(f"{what} episode {index} to frames {', '.join(f'{a}:{b}' for a, b in spans)}")

    def _change(self, order: Sequence[int], edits: tuple[Mapping[str, Any], ...], origin: Sequence[int] = ()) -> Change:
        """origin: of episodes that come after those of the store, what they are parts of."""
        sources = {index: index for index in range(len(self.store))}
        sources |= {len(self.store) + n: index for n, index in enumerate(origin)}

        def columns(position: int) -> dict[str, np.ndarray]:
            return {key: column(position) for key, column in self._columns.items()}

        return Change(
            order=order,
            episodes={n: self._facts[index] for n, index in sources.items() if index in self._facts},
            texts={n: self._texts[index] for n, index in sources.items() if index in self._texts},
            rename=self._rename,
            drop=frozenset(self._drop),
            features=self._features,
            columns=columns if self._columns else None,
            recount=self._recount,
            edits=edits,
        )

    def _with_parts(self, parts: Sequence[_Piece], edits: tuple[Mapping[str, Any], ...]) -> None:
        """Cut episodes are appended to a copy of hard links, from which the version is made."""
        if self._columns:
            raise ConfigError("columns are added in an edit of their own, after episodes are cut")
        root = self.store.root.resolve()
        beside, sealed = (root.with_name(f".{root.name}.version-{name}") for name in ("parts", "shards"))
        try:
            copy = self.store.snapshot(beside)
            made = [copy[part.index].slice(*part.span) for part in parts if part.span]
            if known := [one.id for one in made if one.id in copy.table_of_episodes.place]:
                raise StoreError(f"{root} has the episode {known[0]} already, cut just so")
            shards = [copy.seal(one, sealed / one.id) for one in made]
            with copy.writer() as writer:
                places = dict(zip(parts, writer.commit_all(shards), strict=True))
            order = [piece.index if piece.span is None else places[piece] for piece in self._pieces]
            compact.replace(self.store, self._change(order, edits, [part.index for part in parts]), copy)
        finally:
            files.remove(beside)
            files.remove(sealed)


def _counted(episodes: Iterable[Any]) -> str:
    count = len(list(episodes))
    return f"{count} episode{'' if count == 1 else 's'}"
