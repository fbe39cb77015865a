"""One take: what a session fills row by row, and then keeps or discards."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from collectors.recording import finish, messages
from collectors.recording.camera import Camera
from collectors.recording.finish import Head, Judgement, Series
from collectors.recording.health import Health, Watch
from collectors.recording.journal import KEPT, LABEL, Journal
from collectors.recording.rows import Row, Rows
from collectors.recording.tick import Tick, row_features
from collectors.recording.topics import MARKS, TIME, Topic, all_of, cameras_of, columns_of, sensors_of
from dataengine.episode import Episode, Label
from dataengine.errors import DataEngineError, EpisodeError, MachineError
from dataengine.guard import safe_name
from dataengine.robot import Sample
from dataengine.store import files
from dataengine.store.labels import check as check_label
from dataengine.store.shard import Written
from dataengine.video import VideoClip, nal


class Keeper(Protocol):
    """What a take asks of the recorder it belongs to."""

    def commit(self, take: Take, episode: Episode, written: Mapping[str, Written]) -> int: ...
    def salvage(self, take: Take) -> int: ...
    def over(self, take: Take) -> None: ...
    def shortage(self, take: Take) -> str: ...


class Take:
    """A take in progress; `Recorder.start` makes it. rows: so far. stopped: why there are no more rows, None before."""

    def __init__(self, keeper: Keeper, head: Head, folder: Path, path: Path, room: int) -> None:
        self.head, self.folder = head, folder
        self.stopped: str | None = None
        self._keeper, self._setup = keeper, head.setup
        self._features = row_features(head.setup)
        self._rows = Rows(head.identity, head.setup)
        self._columns: dict[str, list[np.ndarray]] = {key: [] for key in self._features}
        self._at: list[float] = []
        self._captured: dict[str, list[float]] = {key: [] for key in self._setup.cameras}
        self._series = {name: Series(feature) for name, feature in self._setup.sensors.items()}
        self._sensing, self._over = threading.Lock(), False
        self._watch = Watch(head.setup)
        self._finished = False
        self._topics, self._pictures = columns_of(head.setup), cameras_of(head.setup)
        self._sensors = sensors_of(head.setup)
        self.journal = Journal(path, head.to_json(), _plain(head), all_of(head.setup))
        self._cameras: dict[str, Camera] = {}
        try:
            for key in self._setup.cameras:
                feature, share = self._setup.features[key], room // len(self._setup.cameras)
                target = folder / f"{key}.mp4"
                self._cameras[key] = Camera(target, feature, self._setup.fps, self._setup.codec, share, self._tap(key))
        except BaseException:
            self.discard()
            raise

    @property
    def rows(self) -> int:
        return self._rows.count

    def add(self, tick: Tick) -> None:
        """One tick. Copies, and waits for nothing.

        Raises `EpisodeError` naming the feature that does not fit, with nothing of the tick taken, or when the take is
        over; `MachineError` when disk or encoder have ended it: what came before is safe.
        """
        if self.stopped is None:
            self._look_after()
        if self.stopped is not None:
            words = f"the take has stopped: {self.stopped or 'it was told to'}"
            if self._broken() or self._keeper.shortage(self):
                raise MachineError(words)
            raise EpisodeError(self.head.identity, words)
        for row in self._rows.of(tick, lambda key: self._cameras[key].full):
            self._put(row)

    def sensor(self, name: str, sample: Sample) -> None:
        """A sample of a sensor of its own rate, from any thread; after the end of the take it is none of its.

        Raises `EpisodeError` for one that does not fit.
        """
        series = self._series.get(name)
        if series is None:
            known = ", ".join(self._series) or "none"
            raise EpisodeError(self.head.identity, f"there is no sensor {name!r}; known: {known}")
        feature = series.feature
        value = self._rows._value(sample.value, f"collect.sensor.{name}", feature)
        if not np.isfinite(sample.time):
            raise EpisodeError(self.head.identity, f"sensor {name!r} was read at {sample.time}")
        with self._sensing:
            if self.stopped is None:
                topic, said = self._sensors[name], {name: value, TIME: np.asarray(sample.time, np.float64)}
                at = sample.time, sample.time
                self.journal.put(topic, len(series), at, _packing(topic, said), value.nbytes + 64)
                series.add(sample.time, value)

    def health(self) -> Health:
        return self._watch.health(self._cameras, self.journal, self.stopped, self._keeper.shortage(self))

    def stop(self, why: str = "") -> None:
        """No more rows. why: what ended it before its time; the episode is marked incomplete then."""
        with self._sensing:
            if self.stopped is not None:
                self.stopped = self.stopped or why
                return
            self.stopped = why
        for camera in self._cameras.values():
            camera.end()

    def episode(self) -> Episode:
        """What it would become, for checks; its pictures can be read until the next take begins. Stops the take.

        Raises `EpisodeError` without rows, `VideoError` when an encoder has failed.
        """
        self.stop()
        self._finish()
        made = self._made(Judgement(incomplete=self.stopped or ""))
        return replace(made, clips={key: _linked(clip, self.folder / "review") for key, clip in self._clips().items()})

    def keep(
        self,
        *,
        success: bool | None,
        note: str = "",
        flagged: bool = False,
        task: str | None = None,
        labels: Mapping[str, Label] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> int:
        """Commit it; its index. Durable when this returns.

        Raises `EpisodeError` without rows. Whatever else goes wrong, the take with what is said here stays in its
        journal and is committed when the next recorder starts.
        """
        self.stop()
        self._check()
        judged = Judgement(success, note, flagged, task, self.stopped or "", dict(extra or {}), dict(labels or {}))
        for name, label in judged.labels.items():
            check_label(self.head.identity, self.rows, safe_name(name), label)
        for name, label in judged.labels.items():
            self.journal.attach(LABEL + name, "application/vnd.apache.arrow.stream", messages.pack_label(label))
        self.journal.attach(KEPT, "application/json", _json(judged.to_json()))
        try:
            if self.journal.failure is None:
                self.journal.flush()
            self._finish()
            written = {key: camera.finish() for key, camera in self._cameras.items()}
            index = self._keeper.commit(self, self._made(judged), written)
        except BaseException as error:
            if any(camera.failure is not None for camera in self._cameras.values()):
                return self._keeper.salvage(self)
            self._end(remove=False)
            if not isinstance(error, OSError | DataEngineError):
                raise
            words = "it stays in its journal and is committed when the next recorder starts"
            raise MachineError(f"the take could not be committed: {error}; {words}") from error
        self._end()
        return index

    def discard(self) -> None:
        """Nothing of it stays."""
        self.stop()
        self._end()

    def leave(self) -> None:
        """Let go of it; its journal stays."""
        self.stop()
        self._end(remove=False)

    # -- inside ---------------------------------------------------------------------------------------------

    def _put(self, row: Row) -> None:
        number = len(self._at)
        self._at.append(row.at)
        for key, column in self._columns.items():
            column.append(row.values[key])
        for key, camera in self._cameras.items():
            self._captured[key].append(row.captured[key])
            camera.add(row.pictures[key])
        said = {**row.values, TIME: np.asarray(row.at, np.float64)}
        for key, topic in self._topics.items():
            size = 1024 if key == MARKS else row.values[key].nbytes
            at = row.at, row.captured.get(key, row.at)
            self.journal.put(topic, number, at, _packing(topic, said), size)
        self._watch.see(row)

    def _tap(self, key: str) -> Callable[[int, bytes, bool], None]:
        sets: list[bytes] | None = None

        def tap(row: int, data: bytes, keyframe: bool) -> None:
            nonlocal sets
            camera = self._cameras[key]
            if keyframe and nal.has_units(camera.codec):
                if sets is None:
                    sets = nal.header_sets(camera.codec, camera.extradata)
                data = nal.join(sets, None) + data
            at, captured = self._at[row], self._captured[key][row]
            stamp = round(max(captured, 0) * 1e9)
            codec, name = camera.codec, self._setup.short[key]
            packed = partial(messages.pack_video, data, codec, name, stamp)
            self.journal.put(self._pictures[key], row, (at, captured), packed, len(data))

        return tap

    def _look_after(self) -> None:
        """Stop when the machine cannot go on: what is there is kept."""
        for key, camera in self._cameras.items():
            if camera.failure is not None:
                self.stop(f"the encoder of {self._setup.short[key]} failed: {camera.failure}")
        if self.journal.failure is not None:
            self.stop(f"the journal cannot be written: {self.journal.failure}")
        if short := self._keeper.shortage(self):
            self.stop(short)

    def _broken(self) -> bool:
        """Whether an encoder or the journal has ended by itself."""
        return any(c.failure is not None for c in self._cameras.values()) or self.journal.failure is not None

    def _check(self) -> None:
        if self._over:
            raise EpisodeError(self.head.identity, "was kept or discarded already")
        if not self.rows:
            raise EpisodeError(self.head.identity, "it has no rows; discard it")

    def _finish(self) -> None:
        self._check()
        if not self._finished:
            for camera in self._cameras.values():
                camera.finish()
            self._finished = True

    def _made(self, judged: Judgement) -> Episode:
        columns = {key: np.array(values) for key, values in self._columns.items()}
        return finish.made(self.head, np.array(self._at), columns, self._clips(), self._series, judged)

    def _clips(self) -> dict[str, VideoClip]:
        return {key: camera.clip() for key, camera in self._cameras.items()}

    def _end(self, *, remove: bool = True) -> None:
        if not self._over:
            self._over = True
            for camera in self._cameras.values():
                camera.abort()
            if remove:
                self.journal.remove()
            else:
                self.journal.close()
            self._keeper.over(self)


def _linked(clip: VideoClip, folder: Path) -> VideoClip:
    """The same pictures under a name that stays when the take is kept or discarded."""
    path = folder / clip.path.name
    if not path.exists():
        files.make_folder(folder)
        files.share(clip.path, path)
    return replace(clip, path=path)


def _packing(topic: Topic, values: Mapping[str, np.ndarray]) -> Callable[[], bytes]:
    return partial(messages.pack, topic.features, values)


def _plain(head: Head) -> dict[str, str]:
    said = {"task": head.task, "began": head.began, "operator": head.setup.operator or ""}
    return {**said, "embodiment": head.setup.embodiment or "", "robot": _json(dict(head.setup.robot)).decode()}


def _json(value: Any) -> bytes:
    return json.dumps(value, default=str, ensure_ascii=False).encode()
