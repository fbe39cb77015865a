"""What an episode looks like on the wire: an `Offer` names it, describes it, and lists its files by hash and size.

The files are those of a sealed shard (`dataengine.store.shard`): the table, a video per camera, a file per label. No
name of a file travels, so none can lead anywhere. An offer comes from a stranger until every field was looked at.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

from dataengine.episode import Feature, Meta, Role, meta_from_json, meta_to_json
from dataengine.errors import ConfigError, DataEngineError, EpisodeError
from dataengine.guard import safe_name
from dataengine.store.schema import as_stored, check_feature, from_info, to_details, to_info
from dataengine.video import Codec

PROTOCOL = 1
SHA256 = re.compile(r"[0-9a-f]{64}")
_WORD = re.compile(r"[\w-]{1,32}", re.ASCII)
_TEXT = 4096  # characters of an instruction or a name
_MOST_TASKS, _MOST_FEATURES, _MOST_LABELS, _MOST_STEPS = 1000, 500, 200, 1000


@dataclass(frozen=True)
class Limits:
    """What one service takes. piece_bytes: of one request. episode_bytes, frames: of one episode. waiting_bytes,
    waiting_offers: of uploads that are not whole yet, together; after `waiting_seconds` without a byte they go.
    """

    piece_bytes: int = 8 << 20
    offer_bytes: int = 4 << 20
    episode_bytes: int = 8 << 30
    frames: int = 2_000_000
    waiting_bytes: int = 64 << 30
    waiting_offers: int = 1000
    waiting_seconds: float = 7 * 86400.0


@dataclass(frozen=True)
class Blob:
    """One file of an episode."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Offer:
    """content: the hash that equal episodes share (`content.content_hash`). features: as the recorder's store has
    them. data: the table, in Arrow's file format, with the column `task`. videos, labels: by camera and by name.
    codec, embodiment, licence: of the store that is made where there is none yet.
    """

    episode_id: str
    content: str
    fps: float
    length: int
    features: Mapping[str, Feature]
    meta: Meta
    data: Blob
    videos: Mapping[str, Blob]
    labels: Mapping[str, Blob]
    codec: Codec
    embodiment: str | None = None
    licence: str | None = None

    @property
    def blobs(self) -> dict[str, int]:
        """Bytes of every file, by sha256."""
        return {blob.sha256: blob.size for blob in (self.data, *self.videos.values(), *self.labels.values())}

    @property
    def size(self) -> int:
        return sum(self.blobs.values())

    @property
    def key(self) -> str:
        """The name of this offer; the same offer made again goes on where the first one stopped."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        described = {key: to_info(f) | to_details(f) for key, f in self.features.items()}
        plain = {
            "protocol": PROTOCOL,
            "episode_id": self.episode_id,
            "content": self.content,
            "fps": self.fps,
            "length": self.length,
            "features": described,
            "meta": meta_to_json(self.meta),
            "data": asdict(self.data),
            "videos": {key: asdict(blob) for key, blob in self.videos.items()},
            "labels": {name: asdict(blob) for name, blob in self.labels.items()},
            "codec": asdict(self.codec),
            "embodiment": self.embodiment,
            "licence": self.licence,
        }
        made: dict[str, Any] = json.loads(json.dumps(plain, default=str))
        return made


def read_offer(given: Any, limits: Limits) -> Offer:
    """An offer out of parsed JSON. Raises `EpisodeError` saying what of it cannot be."""
    if not isinstance(given, dict) or given.get("protocol") != PROTOCOL:
        raise EpisodeError("?", f"the offer is not of protocol {PROTOCOL}; are service and recorder of one version?")
    identity = check_id(given.get("episode_id"))
    try:
        offer = _read(identity, given)
        _check(offer, limits)
    except EpisodeError:
        raise
    except DataEngineError as error:
        raise EpisodeError(identity, str(error)) from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise EpisodeError(identity, f"the offer is malformed: {type(error).__name__}: {error}") from error
    return offer


def check_id(identity: Any) -> str:
    """An episode's id that may stand in a table, a log and a terminal. Raises `EpisodeError`."""
    if not isinstance(identity, str) or not 1 <= len(identity) <= 200 or not identity.isprintable():
        raise EpisodeError(repr(identity)[:200], "an id is a text of 1 to 200 printable characters")
    return identity


def _read(identity: str, given: dict[str, Any]) -> Offer:
    described = _mapping(given["features"], _MOST_FEATURES)
    return Offer(
        identity,
        _sha256(given["content"]),
        _number(given["fps"]),
        _count(given["length"]),
        {key: _feature(key, entry) for key, entry in described.items()},
        _meta(given["meta"]),
        _blob(given["data"]),
        {key: _blob(blob) for key, blob in _mapping(given["videos"], _MOST_FEATURES).items()},
        {safe_name(name): _blob(blob) for name, blob in _mapping(given["labels"], _MOST_LABELS).items()},
        _codec(given["codec"]),
        _text(given["embodiment"]),
        _text(given["licence"]),
    )


def _check(offer: Offer, limits: Limits) -> None:
    if not 0 < offer.fps <= 100_000:
        raise ConfigError(f"{offer.fps:g} frames a second cannot be")
    if not 1 <= offer.length <= limits.frames:
        raise ConfigError(f"it has {offer.length} frames; 1 to {limits.frames:,} are taken")
    if offer.size > limits.episode_bytes:
        raise ConfigError(f"it has {offer.size:,} bytes; {limits.episode_bytes:,} are taken")
    for key, feature in offer.features.items():
        check_feature(safe_name(key), feature)
        if feature.size > 1 << 26:
            raise ConfigError(f"feature {key!r} has {feature.size:,} values a frame")
        as_stored(feature)
    cameras = {key for key, feature in offer.features.items() if feature.dtype == "video"}
    if wrong := sorted(cameras ^ offer.videos.keys()):
        raise ConfigError(f"videos and cameras differ in {', '.join(wrong)}")


def _feature(key: str, entry: Any) -> Feature:
    unit, role, rate = entry.get("unit"), entry.get("role"), entry.get("rate")
    if role not in (None, *get_args(Role)):
        raise ValueError(f"feature {key!r} has the role {role!r}")
    if unit is not None and not (isinstance(unit, str) or (isinstance(unit, list) and all(map(_is_text, unit)))):
        raise ValueError(f"feature {key!r} has the unit {unit!r}")
    return from_info(key, entry, {"unit": unit, "role": role, "rate": None if rate is None else _number(rate)})


def _meta(given: Any) -> Meta:
    for name in ("operator", "embodiment", "licence", "split", "parent"):
        _text(given[name])
    tasks, steps = given["tasks"], given["lineage"]
    if not (isinstance(tasks, list) and 1 <= len(tasks) <= _MOST_TASKS and all(map(_is_text, tasks))):
        raise ValueError(f"tasks are 1 to {_MOST_TASKS} texts")
    if not (given["success"] is None or isinstance(given["success"], bool)):
        raise ValueError("success is true, false or null")
    if given["quality"] is not None:
        _number(given["quality"])
    if not (isinstance(steps, list) and len(steps) <= _MOST_STEPS and all(map(_is_step, steps))):
        raise ValueError(f"lineage is a list of at most {_MOST_STEPS} steps")
    _mapping(given["source"], 1000)
    _mapping(given["extra"], 1000)
    return meta_from_json(given)


def _is_step(step: Any) -> bool:
    assumed = step["assumed"]
    named = _is_text(step["name"]) and _is_text(step["version"]) and isinstance(step["params"], dict)
    return named and isinstance(assumed, list) and all(map(_is_text, assumed))


def _codec(given: Any) -> Codec:
    codec = Codec(**given)
    for word in (codec.preset, codec.pix_fmt):
        if word is not None and not (isinstance(word, str) and _WORD.fullmatch(word)):
            raise ValueError(f"{word!r} is no setting of a codec")
    if codec.gop > 10_000 or codec.threads > 64 or not isinstance(codec.lossless, bool):
        raise ValueError("the codec's settings are out of bounds")
    return codec


def _blob(given: Any) -> Blob:
    return Blob(_sha256(given["sha256"]), _count(given["size"]))


def _sha256(given: Any) -> str:
    if not isinstance(given, str) or not SHA256.fullmatch(given):
        raise ValueError(f"{str(given)[:80]!r} is not a sha256")
    return given


def _count(given: Any) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or not 0 < given < 1 << 62:
        raise ValueError(f"{str(given)[:80]} is not a count")
    return given


def _number(given: Any) -> float:
    if not isinstance(given, int | float) or isinstance(given, bool) or not math.isfinite(given):
        raise ValueError(f"{str(given)[:80]} is not a number")
    return float(given)


def _text(given: Any) -> str | None:
    if given is not None and not _is_text(given):
        raise ValueError(f"{str(given)[:80]!r} is not a text of at most {_TEXT} characters")
    return given  # type: ignore[no-any-return]


def _is_text(given: Any) -> bool:
    return isinstance(given, str) and len(given) <= _TEXT


def _mapping(given: Any, most: int) -> dict[str, Any]:
    if not isinstance(given, dict) or len(given) > most:
        raise ValueError(f"{str(given)[:80]!r} is not a mapping of at most {most} entries")
    return given
