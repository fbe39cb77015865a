"""One hash of what a store holds, however its files are cut."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pyarrow as pa

from dataengine.episode import hash_array, hash_table, meta_to_json
from dataengine.guard import safe_join
from dataengine.store.packets import packet_digest
from dataengine.store.store import Store


def digest(store: Store) -> str:
    """sha256 over episodes in order: id, meta, columns, compressed pictures, labels; and the features."""
    whole = hashlib.sha256()
    features = {key: [f.dtype, f.shape, f.names, f.unit, f.role] for key, f in sorted(store.features.items())}
    whole.update(json.dumps([store.fps, features], sort_keys=True).encode())
    for index in range(len(store)):
        episode = store[index]
        parts: dict[str, Any] = {key: hash_array(column) for key, column in episode.frames.items()}
        for key in store.cameras:
            if store.features[key].dtype == "video":
                relative, begin = store.table_of_episodes.video(index, key)
                parts[key], _ = packet_digest(safe_join(store.root, relative), begin, episode.length, store.fps)
            else:
                parts[key] = episode.clips[key].fingerprint
        for name, label in episode.labels.items():
            values = pa.Table.from_pylist(label.table.to_pylist()) if label.table.num_rows else pa.table({})
            parts[f"label:{name}"] = [label.kind, hash_table(values)]
        if episode.frame_tasks is not None:
            parts["frame_tasks"] = hash_array(episode.frame_tasks)
        whole.update(json.dumps([episode.id, meta_to_json(episode.meta), parts], sort_keys=True, default=str).encode())
    return whole.hexdigest()
