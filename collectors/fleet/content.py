"""The hash that equal episodes share, whichever store they lie in: what was measured, done and seen.

Over rate, columns and pictures; not over what is said of an episode (instructions, success, labels), which is
corrected on either side without making it another one. Compressed pictures count by their packets, so that nothing is
decoded; those that stand in the table count by their pixels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np

from dataengine.episode import Clip, hash_array
from dataengine.guard import safe_join
from dataengine.store import Store
from dataengine.store.packets import packet_digest
from dataengine.store.schema import to_numpy

_DERIVED = "label."  # columns made of labels


def content_hash(fps: float, columns: Mapping[str, np.ndarray], videos: Mapping[str, str]) -> str:
    """videos: by camera, `packet_digest` or `pixel_hash`."""
    parts = {key: hash_array(column) for key, column in columns.items() if not key.startswith(_DERIVED)}
    return hashlib.sha256(json.dumps([float(fps), parts, dict(videos)], sort_keys=True).encode()).hexdigest()


def pixel_hash(clip: Clip) -> str:
    digest = hashlib.sha256()
    for frame in clip.frames():
        digest.update(hash_array(frame).encode())
    return digest.hexdigest()


def content_of(store: Store, index: int) -> str:
    """Of an episode of a store; its labels are not read, and nothing is decoded but pictures in the table."""
    numbers = [key for key, feature in store.features.items() if not feature.is_camera and not key.startswith(_DERIVED)]
    table = store.table(numbers, [index])
    columns = {key: to_numpy(table.column(key), store.features[key], repr(key)) for key in numbers}
    return content_hash(store.fps, columns, {key: _pictures(store, index, key) for key in store.cameras})


def _pictures(store: Store, index: int, key: str) -> str:
    if store.features[key].dtype == "image":
        return pixel_hash(store.clip(index, key))
    table = store.table_of_episodes
    if store.commit is not None and (known := table.value(f"packets/{key}", index)):
        return str(known)
    relative, begin = table.video(index, key)
    return packet_digest(safe_join(store.root, relative), begin, int(table.length[index]), store.fps)[0]
