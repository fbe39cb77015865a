"""Where everything lies in a LeRobotDataset v3.0 directory, ours or a foreign one.

    meta/info.json  meta/stats.json  meta/tasks.parquet
    meta/episodes/chunk-000/file-000.parquet      a row per episode
    data/chunk-000/file-000.parquet               a row per frame, one row group per episode
    videos/<key>/chunk-000/file-000.mp4
    meta/dataengine/commit.json  features.json  sketch-<generation>.arrow  cameras/      ours
    labels/<name>/*.parquet                       ours: side tables
    .dataengine/                                  ours and private: locks, staging, history; never published

Files are numbered by one counter each (data, episodes, every camera); file `n` is `chunk n // 1000`,
`file n % 1000`. A number is never used twice in the life of a store, so a path means one content forever.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from dataengine.errors import UnsafeSource

CODEBASE_VERSION = "v3.0"
CHUNK = 1000
DATA_MB, VIDEO_MB = 100, 200

INFO = "meta/info.json"
STATS = "meta/stats.json"
TASKS = "meta/tasks.parquet"
EPISODES = "meta/episodes"
OURS = "meta/dataengine"
COMMIT = f"{OURS}/commit.json"
FEATURES = f"{OURS}/features.json"
CAMERAS = f"{OURS}/cameras"
LABELS = "labels"
PRIVATE = ".dataengine"
LOCK = f"{PRIVATE}/lock"
STAGING = f"{PRIVATE}/staging"
UNDO = f"{PRIVATE}/undo"
HISTORY = f"{PRIVATE}/history"
JOURNAL = f"{PRIVATE}/journal"  # takes that a recorder has not committed yet
RECORDER = f"{PRIVATE}/recorder"  # the name under which its episodes go to a fleet's store

DATA_TEMPLATE = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_TEMPLATE = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_TEMPLATE = EPISODES + "/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"

_FIELD = re.compile(r"\{(\w+)(?::0?(\d{1,2})d)?\}")


def chunk_and_file(number: int) -> tuple[int, int]:
    return divmod(number, CHUNK)


def data_path(number: int) -> str:
    return expand(DATA_TEMPLATE, *chunk_and_file(number))


def video_path(key: str, number: int) -> str:
    return expand(VIDEO_TEMPLATE, *chunk_and_file(number), key)


def episodes_path(number: int) -> str:
    return expand(EPISODES_TEMPLATE, *chunk_and_file(number))


def sketch_path(generation: int) -> str:
    return f"{OURS}/sketch-{generation:08d}.arrow"


def columns(prefix: str, number: int) -> dict[str, int]:
    """How the episodes table says it: `<prefix>/chunk_index` and `<prefix>/file_index`."""
    chunk, file = chunk_and_file(number)
    return {f"{prefix}/chunk_index": chunk, f"{prefix}/file_index": file}


_NUMBERED = re.compile(r"chunk-(\d+)/file-(\d+)\.\w+$")


def number_of(path: str | Path) -> int | None:
    """The counter behind `…/chunk-CCC/file-FFF.ext`, or None for any other name."""
    found = _NUMBERED.search(path if isinstance(path, str) else path.as_posix())
    return int(found[1]) * CHUNK + int(found[2]) if found else None


@lru_cache(maxsize=4096)
def expand(template: str, chunk_index: int, file_index: int, video_key: str = "") -> str:
    """Fill in a path template of info.json by plain replacement.

    `str.format` would evaluate attribute access on its arguments, and templates come from strangers.
    Raises `UnsafeSource` on any field that the format does not know.
    """
    values = {"chunk_index": chunk_index, "file_index": file_index, "video_key": video_key}

    def fill(match: re.Match[str]) -> str:
        name, width = match[1], match[2]
        if name not in values:
            raise UnsafeSource(
                INFO, f"the path template {template!r} uses {{{name}}}", hint=f"known: {', '.join(values)}"
            )
        return f"{values[name]:0{width}d}" if width and name != "video_key" else str(values[name])

    filled = _FIELD.sub(fill, template)
    if "{" in filled or "}" in filled:
        raise UnsafeSource(INFO, f"the path template {template!r} cannot be filled in")
    return filled
