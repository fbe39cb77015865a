"""Put a stream of episodes into a store, made from the first one when it is not there yet."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dataengine.episode import Episode
from dataengine.store import files, layout
from dataengine.store.shard import Shard
from dataengine.store.store import Store
from dataengine.store.writer import Writer

# One set of metadata files is written for this many episodes; what is not committed yet is sealed on the disk.
TOGETHER = 16


def append_all(episodes: Iterable[Episode], root: Path) -> int:
    """Append what the store does not have yet; the number of new episodes.

    Raises `EpisodeError` at the first episode that does not fit; those before it stay.
    """
    writer: Writer | None = None
    sealed: list[Shard] = []
    before = 0
    try:
        for episode in episodes:
            if writer is None:
                writer, before = _open(episode, root)
            if episode.id in writer.store.table_of_episodes.place:
                continue
            sealed.append(writer.store.seal(episode, root / layout.STAGING / f"gather-{len(sealed)}"))
            if len(sealed) == TOGETHER:
                _commit(writer, sealed, root)
    finally:
        if writer is not None:
            _commit(writer, sealed, root)
            writer.close()
    return 0 if writer is None else len(Store.open(root)) - before


def _open(episode: Episode, root: Path) -> tuple[Writer, int]:
    if (root / layout.INFO).exists():
        store = Store.open(root)
    else:
        meta = episode.meta
        store = Store.create(
            root, fps=episode.fps, features=episode.features, embodiment=meta.embodiment, licence=meta.licence
        )
    writer = store.writer()
    writer.__enter__()
    return writer, len(store)


def _commit(writer: Writer, sealed: list[Shard], root: Path) -> None:
    if sealed:
        writer.commit_all(sealed)
    for number in range(len(sealed)):
        files.remove(root / layout.STAGING / f"gather-{number}")
    sealed.clear()
