"""`Store`: a LeRobotDataset v3.0 directory, ours or a foreign one, as a sequence of episodes.

Opening reads metadata only; frames, pictures and labels are read when asked for. A store follows its commit
record (see `commit`); a foreign dataset has none and is read as LeRobot reads it, but checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dataengine.episode import Clip, Episode, Feature, Label
from dataengine.errors import StoreError
from dataengine.guard import read_json
from dataengine.remote import is_remote, mount_of
from dataengine.store import commit as commits
from dataengine.store import frames, labels, layout, metadata
from dataengine.store.commit import Commit
from dataengine.store.episodes import Episodes
from dataengine.store.lock import label_lock
from dataengine.video import DEFAULT, Codec

if TYPE_CHECKING:
    from dataengine.store.problems import VerifyReport
    from dataengine.store.shard import Shard
    from dataengine.store.writer import Writer


class Store:
    """Episodes in order of their index, by position (`store[3]`) or by id (`store.get("…")`).

    fps: frames per second. features: by key, LeRobot's position and language columns left out. tasks: all
    instructions. embodiment, licence, codec: what new episodes are expected to have, and are encoded with.
    Picklable: only the folder travels, or the address of a remote store. root: its folder, which for a remote store
    holds metadata only.
    """

    def __init__(self, root: str | Path, known: metadata.Metadata | None = None) -> None:
        self.root = Path(root)
        self._metadata = known or metadata.read(self.root)

    @classmethod
    def open(cls, root: str | Path, *, cache_bytes: int | None = None) -> Store:
        """Open for reading: a folder, `hf://owner/name@revision`, or `https://host/path/of/dataset`.

        What lies behind an address is read only. Metadata are fetched now; data and videos by range, when they are
        read, into a cache of at most `cache_bytes` (default 10 GB) under `DATAENGINE_CACHE`. A revision (default
        main) is pinned to the commit it names now. Raises `StoreError` naming what is missing or damaged, or the
        address and why it cannot be read; `ConfigError` for what is no address; `MissingDependency`.
        """
        from dataengine.store import remote

        address = remote.address_of(root)
        return cls(root if address is None else remote.mount(address, cache_bytes))

    @classmethod
    def create(
        cls,
        root: str | Path,
        *,
        fps: float,
        features: Mapping[str, Feature],
        embodiment: str | None = None,
        licence: str | None = None,
        codec: Codec = DEFAULT,
    ) -> Store:
        """A new store without episodes in a folder that is empty or not there.

        Raises `StoreError` if something is there, `ConfigError` for features the format cannot hold.
        """
        metadata.create(Path(root), fps, features, embodiment, licence, codec)
        return cls(root)

    def __reduce__(self) -> tuple:
        if not is_remote(self.root):
            return (Store, (self.root,))
        from dataengine.store import remote

        mount = mount_of(str(self.root.parent))
        return (remote.again, (self.root, mount.address, mount.cache_bytes))

    def reload(self) -> Store:
        """See what was committed since; gives the store back."""
        self._metadata = metadata.read(self.root)
        self._forget_labels()
        return self

    # -- what it says about itself ----------------------------------------------------------------------

    @property
    def address(self) -> str:
        """Where it was opened: its folder, or the address of a remote store with its revision pinned."""
        return mount_of(str(self.root.parent)).address if is_remote(self.root) else str(self.root)

    @property
    def commit(self) -> Commit | None:
        """The commit record this reader follows; None for a foreign dataset."""
        return self._metadata.commit

    @property
    def info(self) -> Mapping[str, Any]:
        return self._metadata.info

    @property
    def fps(self) -> float:
        return self._metadata.fps

    @property
    def features(self) -> dict[str, Feature]:
        return self._metadata.features

    @property
    def languages(self) -> tuple[str, ...]:
        """The language columns its table has."""
        return self._metadata.languages

    @property
    def embodiment(self) -> str | None:
        return self.info.get("robot_type")

    @property
    def licence(self) -> str | None:
        return self._metadata.licence

    @property
    def codec(self) -> Codec:
        return self._metadata.codec

    @property
    def tasks(self) -> tuple[str, ...]:
        return self._metadata.tasks

    @property
    def table_of_episodes(self) -> Episodes:
        return self._metadata.episodes

    def __len__(self) -> int:
        return len(self.table_of_episodes)

    @property
    def frames(self) -> int:
        return int(self.table_of_episodes.length.sum()) if len(self) else 0

    @property
    def ids(self) -> tuple[str, ...]:
        return self.table_of_episodes.ids

    @property
    def cameras(self) -> list[str]:
        return [key for key, feature in self.features.items() if feature.is_camera]

    def index(self, identity: str) -> int:
        """The position of an episode. Raises `StoreError` for an unknown id."""
        try:
            return self.table_of_episodes.place[identity]
        except KeyError:
            raise StoreError(f"{self.root} has no episode {identity!r}; it has {len(self)} others") from None

    def stats(self) -> dict[str, dict[str, np.ndarray]]:
        """Statistics of all frames by feature: min, max, mean, std, count, q01, q10, q50, q90, q99."""
        path = self.root / layout.STATS
        data = read_json(path, allow_nan=True) if path.exists() else {}
        return {key: {n: np.atleast_1d(np.array(v)) for n, v in entry.items()} for key, entry in data.items()}

    # -- reading ----------------------------------------------------------------------------------------

    def __getitem__(self, index: int) -> Episode:
        if not -len(self) <= index < len(self):
            raise IndexError(f"episode {index} of {len(self)}")
        return self._episode(index % len(self))

    def get(self, identity: str) -> Episode:
        return self._episode(self.index(identity))

    def __iter__(self) -> Iterator[Episode]:
        return self.episodes()

    def episodes(self, indices: Iterable[int] | None = None) -> Iterator[Episode]:
        """Episodes one by one; only the one in hand is in memory."""
        for index in range(len(self)) if indices is None else indices:
            yield self[index]

    def _episode(self, index: int) -> Episode:
        said = self.labels_of(self.ids[index], self.label_names())
        return frames.read_episode(self.root, self._metadata, index, said)

    def _read_labels(self, pick: Callable[[dict[str, dict[str, labels.Entry]]], dict[str, labels.Entry]]) -> dict:
        """Labels by whatever `pick` names them; looked up anew when another process has replaced one meanwhile."""
        for attempt in range(5):
            entries = pick(self._label_entries)
            try:
                return {key: labels.read(entry) for key, entry in entries.items()}
            except StoreError:
                if attempt == 4 or all(entry.path.exists() for entry in entries.values()):
                    raise
                self._forget_labels()
        raise AssertionError("not reached")

    def clip(self, index: int, key: str) -> Clip:
        """One camera of one episode, nothing decoded. Raises `StoreError` naming a missing video."""
        return frames.read_clip(self.root, self._metadata, index, key)

    def table(self, columns: Sequence[str] | None = None, episodes: Sequence[int] | None = None) -> pa.Table:
        """Frames of these episodes in order, position columns included; no video is opened."""
        return frames.read_table(self.root, self._metadata, columns, range(len(self)) if episodes is None else episodes)

    # -- labels -----------------------------------------------------------------------------------------

    @cached_property
    def _label_entries(self) -> dict[str, dict[str, labels.Entry]]:
        return {name: labels.index(self.root, name) for name in labels.names(self.root)}

    def label_names(self) -> list[str]:
        return list(self._label_entries)

    def labels(self, name: str) -> dict[str, Label]:
        """One label of all episodes that have it, by episode id. Raises `StoreError` for an unknown name."""
        self._forget_labels()
        if name not in self._label_entries:
            raise StoreError(f"{self.root} has no label {name!r}; it has {', '.join(self._label_entries) or 'none'}")
        own = self.table_of_episodes.place
        return self._read_labels(lambda known: {i: entry for i, entry in known.get(name, {}).items() if i in own})

    def labels_of(self, identity: str, names: Sequence[str]) -> dict[str, Label]:
        """Those of these labels that an episode has, by name, as they were known when labels were last looked up."""
        return self._read_labels(lambda known: {n: known[n][identity] for n in names if identity in known.get(n, ())})

    def write_labels(self, name: str, given: Mapping[str, Label]) -> None:
        """Add or replace one label of these episodes, touching nothing else; several processes may at a time.

        Raises `StoreError` for unknown episodes and foreign datasets, `EpisodeError` for one that does not fit.
        """
        if self.commit is None:
            raise StoreError(f"{self.root} was not made by this engine and is read only; convert it into a store first")
        if given:
            with label_lock(self.root):
                record = commits.read(self.root)
                now = self if record and record.generation == self.commit.generation else Store.open(self.root)
                for identity, label in given.items():
                    labels.check(identity, int(now.table_of_episodes.length[now.index(identity)]), name, label)
                labels.write(self.root, name, given)
                labels.prune(self.root, name)
        self._forget_labels()

    def _forget_labels(self) -> None:
        self.__dict__.pop("_label_entries", None)

    # -- changing: each in its own file -------------------------------------------------------------------

    def writer(self) -> Writer:
        """The one writer: `with store.writer() as writer: writer.append(episode)`."""
        from dataengine.store.writer import Writer

        return Writer(self)

    def seal(self, episode: Episode, folder: str | Path) -> Shard:
        """`shard.seal` with this store's features and codec; runs on any worker, needs no lock."""
        from dataengine.store.shard import seal

        return seal(episode, Path(folder), features=self.features, codec=self.codec)

    def materialize(self, *names: str) -> list[str]:
        """Labels as columns of the table, for readers that know no side tables; none named: all that can be.

        Gives the columns' names.
        """
        from dataengine.store.materialize import materialize

        return materialize(self, names)

    def snapshot(self, path: str | Path) -> Store:
        """The whole present state under another path, unchanging, in the time it takes to make hard links."""
        from dataengine.store.versions import snapshot

        return snapshot(self, Path(path))

    def compact(self, *, join_videos: bool = False) -> None:
        """Pack small files: data by the hundred episodes, one episodes file, one file per label."""
        from dataengine.store.compact import compact

        compact(self, join_videos=join_videos)

    def verify(self, *, deep: bool = False, quick: bool = False) -> VerifyReport:
        """Check everything that can be wrong. deep: decode every picture too; quick: read no bodies of files.

        Not for a remote store.
        """
        if is_remote(self.root):
            raise StoreError(f"{self.address} is remote: what its server sends is checked as it is read; download it")
        from dataengine.store.verify import verify

        return verify(self.root, deep=deep, quick=quick)

    def digest(self) -> str:
        """A hash of the content, the same for equal stores whatever the layout of their files."""
        from dataengine.store.digest import digest

        return digest(self)
