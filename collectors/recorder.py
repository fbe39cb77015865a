"""The recorder: live episodes into a store, none of which is lost.

    with Recorder("out/store", setup) as recorder:
        take = recorder.start("pick up the red cube")
        take.add(tick)                       # at the rate of the dataset
        take.keep(success=True)              # durable when it returns

Pictures are encoded as they come, and everything is written into a journal on the way (`collectors.recording`), so that
keeping takes milliseconds and what a killed process leaves is salvaged when the next recorder starts.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from collectors.recording import salvage
from collectors.recording.finish import Head
from collectors.recording.health import CameraHealth, Health
from collectors.recording.journal import BEGUN
from collectors.recording.take import Take
from collectors.recording.tick import Setup, Tick, dataset_features
from dataengine.episode import Episode
from dataengine.errors import ConfigError, DataEngineError, MachineError
from dataengine.store import Edit, Store, files, layout, schema
from dataengine.store.commit import mark_of
from dataengine.store.shard import Written, seal

__all__ = ["CameraHealth", "Health", "Recorder", "Recovered", "Setup", "Take", "Tick"]

DAMAGED = "damaged"
ENDED = "the recorder was ended before the take was"
UNJUDGED = "the session ended before anybody kept or discarded it"


@dataclass(frozen=True)
class Recovered:
    """A take that an earlier recorder left. index: of its episode, None where none could be made. rows: that were
    saved. words: what was there and what became of it."""

    identity: str
    index: int | None
    rows: int
    words: str


class Recorder:
    """Holds the store's writer from here to `close`. Makes the store where there is none.

    recovered: what an earlier recorder left, which is salvaged first. kept, successes, seconds_kept: of the store so
    far. room_bytes: what pictures that wait to be encoded may take. reserve: bytes of disk that a take leaves free.
    Raises `ConfigError` naming everything in which the store differs from the setup, `StoreLocked` naming who records.
    """

    def __init__(
        self, store: str | Path, setup: Setup, *, room_bytes: int = 128 << 20, reserve: int = 256 << 20
    ) -> None:
        root = Path(store)
        self.store = self._opened(root, setup)
        self.setup = replace(setup, actors=_actors(self.store, setup))
        self._room_bytes, self._reserve = room_bytes, reserve
        self._journals, self._rate = root / layout.JOURNAL, 0.0
        self._take: Take | None = None
        self._folder: Path | None = None
        self._writer = self.store.writer().__enter__()
        try:
            self._count()
            self.recovered = tuple(self._recover())
        except BaseException:
            self._writer.close()
            raise

    # -- what a session asks --------------------------------------------------------------------------------

    def start(self, task: str, extra: Mapping[str, Any] | None = None) -> Take:
        """A new take. extra: facts about it, as JSON holds them. Raises `MachineError` when the disk is nearly full."""
        if self._take is not None:
            raise ConfigError("a take is in progress; keep or discard it first")
        self.room()
        self._forget()
        identity, began = uuid.uuid4().hex, datetime.now(UTC).isoformat(timespec="seconds")
        head = Head(identity, task, began, self.setup, dict(extra or {}))
        self._folder = self.store.root / layout.STAGING / f"take-{identity[:8]}"
        self._take = Take(self, head, self._folder, self._journals / f"{identity}.mcap", self._room_bytes)
        return self._take

    def minutes_left(self) -> float | None:
        """How long can be recorded at the rate of the last take; None before the first."""
        if not self._rate:
            return None
        return max(self._free() - self._reserve, 0) / self._rate / 60

    def room(self) -> None:
        """Raises `MachineError` when there is no room for a minute more, and says how much is needed."""
        needed = self._reserve + int(self._rate * 60)
        if (free := self._free()) < needed:
            raise MachineError(f"the disk is nearly full: {_size(free)} are free, a take needs {_size(needed)}")

    def undo(self) -> str | None:
        """Take the last recorded episode out of the dataset, by an edit that can be undone; what was done, in words."""
        if self._take is not None:
            raise ConfigError("a take is in progress; keep or discard it first")
        self._writer.close()
        try:
            self.store.reload()
            table = self.store.table_of_episodes
            last = len(self.store) - 1
            if last < 0 or table.meta(last).source.get("format") != "recording":
                return None
            seconds = int(table.length[last]) / self.store.fps
            Edit(self.store).delete([self.store.ids[last]]).commit(empty=True)
            return f"episode {last} ({seconds:.1f} s) is out of the dataset; dataengine edit undo brings it back"
        finally:
            self._writer = self.store.reload().writer().__enter__()
            self._count()

    def close(self) -> None:
        """Let go of the store. A take that nobody judged is committed, marked incomplete. May be called twice."""
        take, self._take = self._take, None
        try:
            if take is not None and take.rows:
                take.stop(UNJUDGED)
                take.keep(success=None)
            elif take is not None:
                take.discard()
        finally:
            self._forget()
            self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # -- what a take asks -----------------------------------------------------------------------------------

    def commit(self, take: Take, episode: Episode, written: Mapping[str, Written]) -> int:
        assert self._folder is not None
        shard = self._folder / "sealed"
        made = seal(episode, shard, features=self.store.features, codec=self.store.codec, written=written, hold=True)
        index = self._writer.commit(made)
        files.remove(shard)
        self._rate = take.health().bytes_per_second or self._rate
        self._kept(episode)
        return index

    def salvage(self, take: Take) -> int:
        """Of a take whose encoder has failed: what its journal holds."""
        take.leave()
        found = self._salvaged(take.journal.path)
        if found.index is None:
            raise MachineError(found.words)
        return found.index

    def over(self, take: Take) -> None:
        self._take = None

    def shortage(self, take: Take) -> str:
        free, needed = take.journal.free, self._reserve + 2 * take.journal.written
        if free >= needed:
            return ""
        return f"the disk is nearly full: {_size(free)} are free, {_size(needed)} are needed to finish the take safely"

    # -- inside ---------------------------------------------------------------------------------------------

    def _opened(self, root: Path, setup: Setup) -> Store:
        wanted = dataset_features(setup)
        if not root.exists() or not any(root.iterdir()):
            about = {"embodiment": setup.embodiment, "licence": setup.licence, "codec": setup.codec}
            return Store.create(root, fps=setup.fps, features=wanted, **about)  # type: ignore[arg-type]
        store = Store.open(root)
        have = {key: feature for key, feature in store.features.items() if not key.startswith("label.")}
        wrong = [line.replace("the episode", "the robot") for line in schema.differences(have, wanted)]
        if abs(store.fps - setup.fps) > 1e-6 * setup.fps:
            wrong.append(f"fps: the store has {store.fps:g}, the robot {setup.fps:g}")
        if None not in (store.embodiment, setup.embodiment) and store.embodiment != setup.embodiment:
            wrong.append(f"embodiment: the store has {store.embodiment}, the robot {setup.embodiment}")
        if not wrong and (strange := set(setup.actors) - set(_known_actors(store))):
            wrong.append(f"actors: the store knows {', '.join(_known_actors(store))}, not {', '.join(sorted(strange))}")
        if wrong:
            raise ConfigError(
                f"{root} cannot be recorded into any further: {'; '.join(wrong)}; record into a new folder"
            )
        return store

    def _recover(self) -> list[Recovered]:
        if not self._journals.is_dir():
            return []
        for begun in self._journals.glob(f"*{BEGUN}"):
            begun.unlink()
        return [found for path in sorted(self._journals.glob("*.mcap")) if (found := self._left(path)) is not None]

    def _left(self, path: Path) -> Recovered | None:
        """One journal that was left; None where its take is in the store, or was taken out of it."""
        assert self.store.commit is not None
        if path.stem in self.store.table_of_episodes.place or mark_of(path.stem) in self.store.commit.gone:
            path.unlink()
            return None
        return self._salvaged(path)

    def _salvaged(self, path: Path) -> Recovered:
        folder = self.store.root / layout.STAGING / f"salvage-{uuid.uuid4().hex[:8]}"
        try:
            found = salvage.read(path, folder)
            if not found.rows and not found.damage:
                path.unlink()
                return Recovered(
                    path.stem, None, 0, f"a take ({found.head.task!r}) ended before its first row was whole"
                )
            episode = salvage.episode(found, folder, ENDED)
            index = self._writer.append(episode)
            self._kept(episode)
            seconds = episode.length / self.store.fps
            words = f"{seconds:.1f} s of a take ({found.head.task!r}, begun {found.head.began}) became episode {index}"
            words += ", marked incomplete" if episode.meta.extra.get("incomplete") else ""
            if found.damage:
                self._set_aside(path)
                return Recovered(path.stem, index, episode.length, f"{words}; the rest is damaged: {found.damage}")
            path.unlink()
            return Recovered(path.stem, index, episode.length, words)
        except OSError as error:
            raise MachineError(f"{path} cannot be salvaged now and stays where it is: {error}") from error
        except MachineError:
            raise
        except DataEngineError as error:
            self._set_aside(path)
            where = f"{layout.JOURNAL}/{DAMAGED}/{path.name}"
            return Recovered(path.stem, None, 0, f"a take could not be salvaged and lies in {where}: {error}")
        finally:
            files.remove(folder)

    def _set_aside(self, path: Path) -> None:
        files.make_folder(path.parent / DAMAGED)
        path.rename(path.parent / DAMAGED / path.name)

    def _count(self) -> None:
        table = self.store.table_of_episodes
        said = table.table.column("success").to_pylist() if len(self.store) else []
        self.kept, self.successes = len(self.store), sum(value is True for value in said)
        self.seconds_kept = self.store.frames / self.store.fps

    def _kept(self, episode: Episode) -> None:
        self.kept += 1
        self.successes += episode.meta.success is True
        self.seconds_kept += episode.length / self.store.fps

    def _forget(self) -> None:
        """Pictures of the last take, which were kept for its review."""
        if self._folder is not None:
            files.remove(self._folder)
            self._folder = None

    def _free(self) -> int:
        return shutil.disk_usage(self.store.root).free


def _known_actors(store: Store) -> tuple[str, ...]:
    return tuple(map(str, store.features["collect.actor"].info.get("actors", ())))


def _actors(store: Store, setup: Setup) -> tuple[str, ...]:
    """In the store's order, which numbers them."""
    return _known_actors(store) or setup.actors


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
