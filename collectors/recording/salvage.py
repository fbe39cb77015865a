"""A take out of its journal, as far as it is whole: for what a killed process, a full disk or a power failure left.

A journal is read as something from outside: records by their checksums, names and numbers as what they must be. It
gives the longest beginning of the take of which every column and every picture is there. Packets are put into mp4 files
by the guarded process; nothing is encoded again.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
from mcap.exceptions import McapError
from mcap.records import Attachment, Channel, Message

from collectors.recording import finish, messages
from collectors.recording.finish import Head, Judgement, Series
from collectors.recording.journal import HEAD, KEPT, LABEL
from collectors.recording.records import records
from collectors.recording.tick import Setup, row_features
from collectors.recording.topics import SENSOR, TIME, Topic, all_of
from dataengine.episode import Episode, Label
from dataengine.errors import ConfigError, SourceError, StoreError
from dataengine.guard import run_guarded, safe_name
from dataengine.store.schema import as_stored, is_depth
from dataengine.video import DepthCoding, VideoClip, nal
from dataengine.video.encode import depth_codec, frame_rate
from dataengine.video.mux import Copier

_RAW = {"h264": "h264", "hevc": "hevc", "av1": "obu"}  # FFmpeg's names of streams without a container
_WRONG: tuple[type[Exception], ...] = (  # what parsing of nonsense raises
    *(McapError, ConfigError, StoreError, SourceError, pa.ArrowException, struct.error),
    *(ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError, AttributeError),
)  # fmt: skip  what parsing of nonsense raises


@dataclass
class Found:
    """What a journal holds. columns: by key, a value per row. packets: by camera, the sizes of those in its file.
    judged: what was said of the take when it was kept. damage: why reading ended before the end of the file, where
    that is more than a torn last record."""

    path: Path
    head: Head
    columns: dict[str, list[np.ndarray]]
    at: list[float]
    series: dict[str, Series]
    packets: dict[str, list[tuple[int, bool]]]
    judged: Judgement | None = None
    labels: dict[str, Label] = field(default_factory=dict)
    damage: str = ""

    @property
    def rows(self) -> int:
        """Of which everything is there."""
        counts = [len(self.at), *(len(column) for column in self.columns.values())]
        return min(*counts, *(len(packets) for packets in self.packets.values()))


def read(path: Path, folder: Path) -> Found:
    """The journal `path`, with the packets of its cameras in files in `folder`. Raises `SourceError` without a head."""
    found: Found | None = None
    reader: _Reader | None = None
    try:
        for record in records(path):
            if isinstance(record, Attachment) and record.name == HEAD and found is None:
                found = _begun(path, record.data)
                reader = _Reader(found, folder)
            elif reader is not None:
                reader.take(record)
    except _WRONG as error:
        if found is None:
            raise SourceError(path, f"is no journal of a take: {_said(error)}") from error
        found.damage = _said(error)
    finally:
        if reader is not None:
            reader.close()
    if found is None:
        raise SourceError(path, "holds no take: its head is missing")
    return found


def episode(found: Found, folder: Path, why: str) -> Episode:
    """The episode of what a journal holds. why: it is incomplete, where nobody has kept it. Raises `SourceError`."""
    rows, setup = found.rows, found.head.setup
    if not rows:
        raise SourceError(found.path, "holds no whole row")
    judged = replace(found.judged or Judgement(incomplete=why), labels=found.labels)
    if rows < len(found.at) or found.damage:
        judged = replace(judged, incomplete=judged.incomplete or why)
    features = row_features(setup)
    columns = {
        key: np.array(values[:rows]) if features[key].dtype == "string" else np.stack(values[:rows])
        for key, values in found.columns.items()
    }
    clips = {}
    for number, key in enumerate(setup.cameras):
        feature = as_stored(setup.features[key])
        depth = DepthCoding.from_info(feature.info)
        target = folder / f"{key}.mp4"
        height, width, _ = feature.shape
        sizes = found.packets[key][:rows]
        run_guarded(
            _film, _spool(folder, number), target, sizes, setup.fps, _codec(setup, key), seconds=60 + rows / 100
        )
        clips[key] = VideoClip(target, 0, rows, setup.fps, height, width, "rgb" if depth is None else "depth", depth)
    return finish.made(found.head, np.array(found.at[:rows]), columns, clips, found.series, judged)


def _begun(path: Path, data: bytes) -> Found:
    head = Head.from_json(json.loads(data))
    if head.identity != path.stem or not head.identity.isalnum():
        raise ValueError(f"it is the take {head.identity[:40]!r}, its name is another")
    series = {name: Series(feature) for name, feature in head.setup.sensors.items()}
    columns: dict[str, list[np.ndarray]] = {key: [] for key in row_features(head.setup)}
    return Found(path, head, columns, [], series, {key: [] for key in head.setup.cameras})


class _Reader:
    """Sorts records into what was found; every channel counts on its own, without gaps."""

    def __init__(self, found: Found, folder: Path) -> None:
        self.found, setup = found, found.head.setup
        folder.mkdir(parents=True, exist_ok=True)
        self._topics = {topic.name: topic for topic in all_of(setup)}
        self._channels: dict[int, Topic | None] = {}
        self._spools = {key: _spool(folder, n).open("wb") for n, key in enumerate(setup.cameras)}

    def take(self, record: Any) -> None:
        if isinstance(record, Channel):
            self._channels[record.id] = self._topics.get(record.topic)
        elif isinstance(record, Message):
            if record.channel_id not in self._channels:
                raise ValueError(f"a message is of channel {record.channel_id}, which nothing describes")
            if (topic := self._channels[record.channel_id]) is not None:
                self._message(topic, record)
        elif isinstance(record, Attachment):
            if record.name == KEPT:
                self.found.judged = _judgement(json.loads(record.data))
            elif record.name.startswith(LABEL):
                self.found.labels[safe_name(record.name.removeprefix(LABEL))] = messages.unpack_label(record.data)

    def _message(self, topic: Topic, message: Message) -> None:
        found, key = self.found, topic.key
        if key in self._spools:
            _next(message, topic, len(found.packets[key]))
            data = messages.unpack_video(message.data)
            self._spools[key].write(data)
            found.packets[key].append((len(data), _is_keyframe(found.head.setup, key, data)))
            return
        values = messages.unpack(topic.features, message.data)
        if topic.name.startswith(SENSOR):
            _next(message, topic, len(found.series[key]))
            found.series[key].add(float(values[TIME]), values[key])
            return
        _next(message, topic, len(found.columns[next(iter(topic.features))]))
        if TIME in values:
            found.at.append(float(values.pop(TIME)))
        for name, value in values.items():
            found.columns[name].append(value)

    def close(self) -> None:
        for spool in self._spools.values():
            spool.close()


def _next(message: Message, topic: Topic, number: int) -> None:
    if message.sequence != number:
        raise ValueError(f"message {message.sequence} of {topic.name} follows {number - 1}")


def _judgement(data: Mapping[str, Any]) -> Judgement:
    success, note, flagged, task, incomplete = (
        data[name] for name in ("success", "note", "flagged", "task", "incomplete")
    )
    right = success is None or isinstance(success, bool)
    if not (right and isinstance(flagged, bool) and (task is None or isinstance(task, str))):
        raise ValueError("what was said of the take is no judgement")
    return Judgement(success, str(note), flagged, task, str(incomplete), dict(data["extra"]))


def _spool(folder: Path, number: int) -> Path:
    return folder / f"camera-{number}.packets"


def _is_keyframe(setup: Setup, key: str, data: bytes) -> bool:
    """Told by the parameters that go before a keyframe: the recorder puts them there, in AV1 the encoder does."""
    codec = _codec(setup, key)
    if nal.has_units(codec):
        return any(nal.is_parameter_set(codec, unit) for unit in nal.split(data[:64], None)[:1])
    return data[:1] == b"\x0a" or data[:3] == b"\x12\0\x0a"


def _codec(setup: Setup, key: str) -> str:
    """FFmpeg's name of what a camera is encoded as."""
    return (depth_codec(setup.codec) if is_depth(setup.features[key]) else setup.codec).name


def _film(spool: Path, target: Path, packets: list[tuple[int, bool]], fps: float, codec: str) -> None:
    """Packets with start codes as an mp4, whose parameter sets stand in its header alone. In the guarded process."""
    raw = spool.with_suffix(f".{_RAW[codec]}")
    with spool.open("rb") as file:
        if not packets or not packets[0][1]:
            raise SourceError(spool, "does not begin with a keyframe")
        raw.write_bytes(file.read(packets[0][0]))
        file.seek(0)
        with av.open(str(raw), format=_RAW[codec]) as container:
            stream = container.streams.video[0]
            sets: set[bytes] = set()
            with Copier(target, stream, frame_rate(fps)) as output:
                for number, (size, keyframe) in enumerate(packets):
                    data = file.read(size)
                    if keyframe and nal.has_units(codec):
                        units = nal.split(data, None)
                        sets = sets or {unit for unit in units if nal.is_parameter_set(codec, unit)}
                        data = nal.join((unit for unit in units if unit not in sets), None)
                    output.add(data, number, keyframe)
                output.close()


def _said(error: BaseException) -> str:
    return (str(error) or type(error).__name__)[:300]
