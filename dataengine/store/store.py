"""`Store`: a LeRobotDataset v3.0 directory, ours or a foreign one, as a sequence of episodes.

Opening reads metadata only; frames, pictures and labels are read when asked for. A store follows its commit
record (see `commit`); a foreign dataset has none and is read as LeRobot reads it, but checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dataengine.episode import POSITION_COLUMNS, Clip, Episode, Feature, Label
from dataengine.errors import SourceError, StoreError
from dataengine.guard import read_json, safe_join
from dataengine.store import commit as commits
from dataengine.store import episodes as tables
from dataengine.store import files, labels, language, layout, schema, tasks
from dataengine.store.commit import Commit
from dataengine.store.episodes import Episodes
from dataengine.store.lock import label_lock
from dataengine.store.pictures import PictureClip
from dataengine.store.rows import columns_of, read_rows
from dataengine.video import DEFAULT, Codec, DepthCoding, VideoClip

if TYPE_CHECKING:
    from dataengine.store.shard import Shard
    from dataengine.store.verify import VerifyReport
    from dataengine.store.writer import Writer


class Store:
    """Episodes in order of their index, by position (`store[3]`) or by id (`store.get("…")`).

    fps: frames per second. features: by key, LeRobot's position and language columns left out. tasks: all
    instructions. embodiment, licence, codec: what new episodes are expected to have, and are encoded with.
    Picklable: only the folder travels.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._read_metadata()

    @classmethod
    def open(cls, root: str | Path) -> Store:
        """Open for reading. Raises `StoreError` naming what is missing or damaged."""
        return cls(root)

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
        root = Path(root)
        if root.exists() and (not root.is_dir() or any(p.name != layout.PRIVATE for p in root.iterdir())):
            raise StoreError(f"{root} is not empty; a new store needs a folder of its own")
        if not (np.isfinite(fps) and fps > 0):
            raise StoreError(f"fps is {fps}; it must be a positive number")
        features = {key: schema.as_stored(feature) for key, feature in features.items()}
        for key, feature in features.items():
            schema.check_feature(key, feature)
        if not features:
            raise StoreError("a store needs at least one feature")
        described = {key: schema.to_info(f) for key, f in (*features.items(), *schema.POSITION.items())}
        root.mkdir(parents=True, exist_ok=True)
        files.write_json(
            root / layout.FEATURES,
            {
                "features": {k: {"role": f.role, "unit": f.unit, "rate": f.rate} for k, f in features.items()},
                "licence": licence,
                "codec": asdict(codec),
            },
        )
        tasks.write(root, [])
        files.write_json(root / layout.STATS, {})
        commits.empty(fps, described, embodiment, bool(tables.video_keys(features))).write(root)
        return cls(root)

    def __reduce__(self) -> tuple:
        return (Store, (self.root,))

    # -- metadata ---------------------------------------------------------------------------------------

    def _read_metadata(self) -> None:
        """Load everything but frames. A version that is swapped in meanwhile is loaded anew."""
        for attempt in range(3):
            try:
                self._load()
                return
            except StoreError:
                if attempt == 2 or not self._changed():
                    raise

    def _load(self) -> None:
        self.commit: Commit | None = commits.read(self.root)
        self.info: Mapping[str, Any] = self.commit.info if self.commit else _foreign_info(self.root)
        ours = read_json(self.root / layout.FEATURES) if self.commit else {}
        details = ours.get("features", {})
        self.features: dict[str, Feature] = {
            key: schema.from_info(key, entry, details.get(key))
            for key, entry in self.info["features"].items()
            if key not in POSITION_COLUMNS and key not in language.LANGUAGE_COLUMNS
        }
        self.languages = [key for key in language.LANGUAGE_COLUMNS if key in self.info["features"]]
        self.fps = float(self.info["fps"])
        self.embodiment: str | None = self.info.get("robot_type")
        self.licence: str | None = ours.get("licence")
        self.codec = Codec(**ours["codec"]) if "codec" in ours else DEFAULT
        self.tasks: tuple[str, ...] = tasks.read(self.root)[: self.info.get("total_tasks")]
        recorded = [path for path, _ in self.commit.episode_files] if self.commit else None
        self.table_of_episodes: Episodes = tables.read(self.root, self.info, recorded, int(self.info["total_episodes"]))
        self.__dict__.pop("_label_entries", None)

    def _changed(self) -> bool:
        now = commits.read(self.root)
        return now is not None and (self.commit is None or now.generation != self.commit.generation)

    def reload(self) -> Store:
        """See what was committed since; gives the store back."""
        self._read_metadata()
        return self

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
        columns = [key for key, feature in self.features.items() if not feature.is_camera]
        path, row = self._data(index)
        rows = int(self.table_of_episodes.length[index])
        table = read_rows(path, row, rows, [*columns, "episode_index", "task_index", *self._language_columns(path)])
        where = f"episode {index} ({self.ids[index]})"
        if (table.column("episode_index").to_numpy() != index).any():
            raise StoreError(
                f"{path}: rows {row} to {row + rows} do not belong to {where}; the episodes table is wrong"
            )
        meta, frame_tasks = self._tasks_of(index, table.column("task_index").to_numpy())
        return Episode(
            self.ids[index],
            self.fps,
            dict(self.features),
            {key: schema.to_numpy(table.column(key), self.features[key], f"{where}, {key!r}") for key in columns},
            {key: self.clip(index, key) for key in self.cameras},
            self._labels_of(index, table, where),
            meta,
            frame_tasks,
        )

    def _tasks_of(self, index: int, task_index: np.ndarray) -> tuple[Any, np.ndarray | None]:
        """Meta with the episode's tasks, and which of them holds at each frame if it changes."""
        meta = self.table_of_episodes.meta(index)
        if len(task_index) and not 0 <= task_index.min() <= task_index.max() < len(self.tasks):
            raise StoreError(f"episode {index}: task_index points outside the {len(self.tasks)} tasks")
        used = list(dict.fromkeys(task_index.tolist()))
        names = [self.tasks[i] for i in used]
        known = (
            meta.tasks if set(names) <= set(meta.tasks) else (*meta.tasks, *[n for n in names if n not in meta.tasks])
        )
        meta = replace(meta, tasks=tuple(known), embodiment=meta.embodiment or self.embodiment)
        if len(used) < 2 and (not names or known[0] == names[0]):
            return meta, None
        local = {i: known.index(self.tasks[i]) for i in used}
        return meta, np.array([local[i] for i in task_index.tolist()], np.int64)

    def clip(self, index: int, key: str) -> Clip:
        """One camera of one episode, nothing decoded. Raises `StoreError` naming a missing video."""
        feature, rows = self.features[key], int(self.table_of_episodes.length[index])
        if feature.dtype == "image":
            path, row = self._data(index)
            kind, unit = ("depth" if schema.is_depth(feature) else "rgb"), str(feature.info.get("depth_unit", "mm"))
            return PictureClip(path, key, row, rows, self.fps, *feature.shape[:2], kind, unit)  # type: ignore[arg-type]
        relative, begin = self.table_of_episodes.video(index, key)
        path = safe_join(self.root, relative)
        if not path.exists():
            raise StoreError(
                f"{path} is missing: the video of camera {key!r} of episode {index} (an incomplete download?)"
            )
        depth = DepthCoding.from_info(feature.info)
        if self.commit is None:  # somebody else's timing: look where in the file that is
            return replace(VideoClip.from_file(path, length=rows, fps=self.fps, from_timestamp=begin), depth=depth)
        height, width = feature.shape[:2]
        kind = "depth" if depth else "rgb"
        return VideoClip(path, round(begin * self.fps), rows, self.fps, height, width, kind, depth)

    def _data(self, index: int) -> tuple[Path, int]:
        relative, row = self.table_of_episodes.data(index)
        return safe_join(self.root, relative), row

    def _language_columns(self, path: Path) -> list[str]:
        """Language columns to read as labels: those that were not made from side tables of ours."""
        if not self.languages or (self.commit and any("language" in v for v in self.commit.materialized.values())):
            return []
        present = columns_of(path)
        return [key for key in self.languages if key in present]

    def table(self, columns: Sequence[str] | None = None, episodes: Sequence[int] | None = None) -> pa.Table:
        """Frames of these episodes in order, position columns included; no video is opened."""
        parts: list[tuple[Path, int, int]] = []
        for index in range(len(self)) if episodes is None else episodes:
            path, row = self._data(index)
            rows = int(self.table_of_episodes.length[index])
            if parts and parts[-1][0] == path and parts[-1][1] + parts[-1][2] == row:
                parts[-1] = (path, parts[-1][1], parts[-1][2] + rows)
            else:
                parts.append((path, row, rows))
        if not parts:
            whole = schema.data_schema(self.features, self.languages).empty_table()
            return whole if columns is None else whole.select(list(columns))
        tables_ = [read_rows(path, row, rows, columns).replace_schema_metadata() for path, row, rows in parts]
        return pa.concat_tables(tables_, promote_options="permissive")

    # -- labels -----------------------------------------------------------------------------------------

    @cached_property
    def _label_entries(self) -> dict[str, dict[str, labels.Entry]]:
        return {name: labels.index(self.root, name) for name in labels.names(self.root)}

    def label_names(self) -> list[str]:
        return list(self._label_entries)

    def labels(self, name: str) -> dict[str, Label]:
        """One label of all episodes that have it, by episode id. Raises `StoreError` for an unknown name."""
        self.__dict__.pop("_label_entries", None)
        if name not in self._label_entries:
            raise StoreError(f"{self.root} has no label {name!r}; it has {', '.join(self._label_entries) or 'none'}")
        return {i: labels.read(e) for i, e in self._label_entries[name].items() if i in self.table_of_episodes.place}

    def write_labels(self, name: str, given: Mapping[str, Label]) -> None:
        """Add or replace one label of these episodes, touching nothing else; several processes may at a time.

        Raises `StoreError` for unknown episodes and foreign datasets, `EpisodeError` for one that does not fit.
        """
        if self.commit is None:
            raise StoreError(f"{self.root} was not made by this engine and is read only; convert it into a store first")
        for identity, label in given.items():
            labels.check(identity, int(self.table_of_episodes.length[self.index(identity)]), name, label)
        if given:
            with label_lock(self.root, exclusive=False):
                labels.write(self.root, name, given)
                labels.prune(self.root, name)
        self.__dict__.pop("_label_entries", None)

    def _labels_of(self, index: int, table: pa.Table, where: str) -> dict[str, Label]:
        found: dict[str, Label] = {}
        for key in language.LANGUAGE_COLUMNS:
            if key in table.column_names:
                label = language.read(table.column(key), key, self.fps, f"{where}, {key}")
                found |= {key: label} if label else {}
        for name, entries in self._label_entries.items():
            if self.ids[index] in entries:
                found[name] = labels.read(entries[self.ids[index]])
        return found

    # -- changing: each in its own file -------------------------------------------------------------------

    def writer(self) -> Writer:
        """The one writer: `with store.writer() as writer: writer.append(episode)`."""
        from dataengine.store.writer import Writer

        return Writer(self)

    def seal(self, episode: Episode, folder: str | Path) -> Shard:
        """`shard.seal` with this store's features and codec; runs on any worker, needs no lock."""
        from dataengine.store.shard import seal

        return seal(episode, Path(folder), features=self.features, codec=self.codec)

    def materialize(self, *names: str) -> None:
        """Labels as columns of the table, for readers that know no side tables; none named: all that can be."""
        from dataengine.store.materialize import materialize

        materialize(self, names)

    def snapshot(self, path: str | Path) -> Store:
        """The whole present state under another path, unchanging, in the time it takes to make hard links."""
        from dataengine.store.versions import snapshot

        return snapshot(self, Path(path))

    def compact(self, *, join_videos: bool = False) -> None:
        """Pack small files: data by the hundred episodes, one episodes file, one file per label."""
        from dataengine.store.versions import compact

        compact(self, join_videos=join_videos)

    def verify(self, *, deep: bool = False) -> VerifyReport:
        """Check everything that can be wrong; `deep` decodes every picture too."""
        from dataengine.store.verify import verify

        return verify(self, deep=deep)

    def digest(self) -> str:
        """A hash of the content, the same for equal stores whatever the layout of their files."""
        from dataengine.store.verify import digest

        return digest(self)


def _foreign_info(root: Path) -> Mapping[str, Any]:
    """info.json of a dataset that is not ours. Raises `StoreError` saying what the folder is instead."""
    path = root / layout.INFO
    if not path.exists():
        what = "is not there" if not root.exists() else f"is not a LeRobotDataset: {layout.INFO} is missing"
        raise StoreError(f"{root} {what}")
    try:
        info = read_json(path)
    except SourceError as error:
        raise StoreError(str(error)) from error
    if not isinstance(info, dict) or not isinstance(info.get("features"), dict) or "fps" not in info:
        raise StoreError(f"{path} lacks fps and features")
    version = str(info.get("codebase_version"))
    if not version.startswith("v3."):
        raise StoreError(
            f"{root} is a LeRobotDataset {version}, stores are v3.0; convert it: dataengine convert {root} STORE"
        )
    fps, counts = info["fps"], [info.get(n) for n in ("total_episodes", "total_frames")]
    if (
        not isinstance(fps, int | float)
        or isinstance(fps, bool)
        or not fps > 0
        or not all(isinstance(n, int) and n >= 0 for n in counts)
    ):
        raise StoreError(
            f"{path}: fps {fps!r}, total_episodes {counts[0]!r} and total_frames {counts[1]!r} must be numbers"
        )
    return info
