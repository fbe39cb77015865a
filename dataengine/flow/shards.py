"""Sealed shards in staging: written whole by any worker, opened again by the driver, in this run or a later one.

The store and its codecs are imported here alone, and late: planning and showing a flow needs neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataengine.episode import Episode

if TYPE_CHECKING:
    from dataengine.store.shard import Shard


def is_sealed(folder: Path) -> bool:
    """Whether a whole shard is there; the folder appears by a rename when it is."""
    return (folder / "manifest.json").is_file()


def seal_shard(episode: Episode, folder: Path, codec: Mapping[str, Any]) -> None:
    """Encode or remux an episode's clips and write its immutable files; the same episode gives the same files."""
    from dataengine.store.schema import as_stored
    from dataengine.store.shard import seal
    from dataengine.video import Codec, close_readers

    folder.parent.mkdir(parents=True, exist_ok=True)
    features = {key: as_stored(feature) for key, feature in episode.features.items()}
    try:
        seal(episode, folder, features=features, codec=Codec(**codec))
    finally:
        close_readers()  # what was written is not read here again, and a decoder holds megabytes


def open_shard(folder: Path) -> Shard:
    from dataengine.store.shard import Shard

    return Shard.load(folder)


def check_label(episode: Episode, name: str) -> None:
    """Raise `EpisodeError` for a label that the store would not take."""
    from dataengine.store.labels import check

    check(episode.id, episode.length, name, episode.labels[name])
