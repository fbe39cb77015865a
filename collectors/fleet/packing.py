"""An episode of a local store made ready to travel: sealed into a shard, which is what the offer lists.

Sealing the same episode gives the same bytes, so a recorder that was killed offers the same again, and the service
says from which byte on it lacks them.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from collectors.fleet.content import content_hash, pixel_hash
from collectors.fleet.offer import Blob, Offer
from dataengine.errors import EpisodeError, StoreError
from dataengine.store import Store, files, layout
from dataengine.store.shard import seal

_OUTGOING = f"{layout.PRIVATE}/outgoing"
_MOST_NAME = 100


@dataclass(frozen=True)
class Packed:
    """files: where each file of the offer lies, by sha256."""

    offer: Offer
    files: Mapping[str, Path]


def pack(store: Store, index: int, content: str, recorder: str, folder: Path) -> Packed:
    """Seal an episode into `folder`, which the caller removes. content: `content_of` it.

    Columns that were made of labels stay behind: the labels travel. Raises `EpisodeError`, `VideoError`, `StoreError`.
    """
    episode = store[index]
    derived = {column for made in store.commit.materialized.values() for column in made} if store.commit else set()
    episode = episode.select([key for key in episode.features if key not in derived])
    episode = episode.with_meta(extra={"recorder": recorder, **episode.meta.extra})
    shard = seal(episode, folder, features=episode.features, codec=store.codec)
    said = shard.manifest
    shown = {key: pixel_hash(clip) for key, clip in episode.clips.items() if key not in said["videos"]}
    shown |= {key: str(entry["packets"]) for key, entry in said["videos"].items()}
    if content_hash(store.fps, episode.frames, shown) != content:
        raise EpisodeError(episode.id, "its pictures cannot be sent without encoding them anew; compact the store")
    found: dict[str, Path] = {}

    def blob(entry: Mapping[str, str]) -> Blob:
        path = found[entry["sha256"]] = shard.file(entry["file"])
        return Blob(entry["sha256"], path.stat().st_size)

    offer = Offer(
        episode.id,
        content,
        store.fps,
        episode.length,
        episode.features,
        episode.meta,
        blob(said["data"]),
        {key: blob(entry) for key, entry in said["videos"].items()},
        {name: blob(entry) for name, entry in said["labels"].items()},
        store.codec,
        store.embodiment,
        store.licence,
    )
    return Packed(offer, found)


def recorder_of(root: Path, given: str | None = None) -> str:
    """The name that says which recorder an episode is from: as given, or made up once and kept with the store.

    It says nothing of the machine. Raises `StoreError` for a name that cannot be kept.
    """
    if given is not None:
        if not 1 <= len(given) <= _MOST_NAME or not given.isprintable():
            raise StoreError(f"a recorder's name has 1 to {_MOST_NAME} printable characters")
        return given
    path = root / layout.RECORDER
    with suppress(OSError, UnicodeDecodeError):
        known = path.read_text()[: _MOST_NAME + 1].strip()
        if 1 <= len(known) <= _MOST_NAME and known.isprintable():
            return known
    made = f"recorder-{uuid.uuid4().hex[:8]}"
    files.write_bytes(path, made.encode())
    return made


@contextmanager
def outgoing(root: Path) -> Iterator[Path]:
    """A folder for sealed episodes in the store's private one; what a killed process left there goes.

    Not the writer's staging folder: that is emptied by whoever records into the store meanwhile.
    """
    base = root / _OUTGOING
    base.mkdir(parents=True, exist_ok=True)
    mine = base / uuid.uuid4().hex
    for old in base.glob("*.lock"):
        with suppress(OSError), old.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            files.remove(old.with_suffix(""))
            files.remove(old)
    lock = mine.with_suffix(".lock")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        mine.mkdir()
        yield mine
    finally:
        files.remove(mine)
        files.remove(lock)
        os.close(descriptor)
