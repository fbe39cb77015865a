"""Tiny LeRobot folders of every version, written with json, pyarrow and av alone, not by the code under test."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

HEIGHT, WIDTH = 48, 64
TOP = "observation.images.top"
DATA_V2 = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO_V2 = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
DATA_V3 = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_V3 = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
TASKS = ("pick up the cube", "push the <b>cube</b>: {now}")


@dataclass
class Rollout:
    """What an episode is, before any format: state and action `(T, 3)` float32, frames, one task a frame."""

    state: np.ndarray
    action: np.ndarray
    frames: list[np.ndarray]
    task: np.ndarray

    def __len__(self) -> int:
        return len(self.state)


@dataclass
class Folder:
    """How a folder is to be written; the defaults make an ordinary one."""

    fps: float = 20
    lengths: tuple[int, ...] = (9, 12, 7)
    cameras: Mapping[str, str] = field(default_factory=lambda: {TOP: "video"})
    version: str = "v2.1"
    robot_type: str | None = "arm"
    licence: str | None = None
    info: dict[str, Any] = field(default_factory=dict)
    names: Any = field(default_factory=lambda: {"motors": ["x", "y", "z"]})

    def rollouts(self) -> list[Rollout]:
        return [rollout(seed, length) for seed, length in enumerate(self.lengths)]


def rollout(seed: int, length: int) -> Rollout:
    random = np.random.default_rng(seed)
    state = np.cumsum(random.normal(0, 0.1, (length, 3)), 0).astype(np.float32)
    frames = [picture(seed, i) for i in range(length)]
    task = np.full(length, seed % 2, np.int64)
    return Rollout(state, np.roll(state, -1, 0), frames, task)


def picture(seed: int, index: int) -> np.ndarray:
    """A gradient with a bright column that stands elsewhere in every frame, so that an off-by-one shows."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    image = np.stack([x * 3, y * 4, np.full_like(x, 40 * seed)], -1).astype(np.uint8)
    image[:, (4 * index) % WIDTH : (4 * index) % WIDTH + 4] = (250, 240, 230)
    return image


def write_mp4(path: Path, frames: list[np.ndarray], fps: float, *, codec: str = "libx264", gop: int = 4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rate = Fraction(fps).limit_denominator(1001)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options={"bf": "0", "g": str(gop), "crf": "18"})
        stream.height, stream.width, stream.pix_fmt = frames[0].shape[0], frames[0].shape[1], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def png(frame: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG")
    return buffer.getvalue()


def table_of(folder: Folder, index: int, first: int, episode: Rollout) -> pa.Table:
    n = len(episode)
    columns: dict[str, Any] = {
        "observation.state": pa.FixedSizeListArray.from_arrays(pa.array(episode.state.ravel()), 3),
        "action": pa.FixedSizeListArray.from_arrays(pa.array(episode.action.ravel()), 3),
        "next.reward": pa.array(np.arange(n, dtype=np.float32)),
        "next.done": pa.array(np.arange(n) == n - 1),
    }
    for key, dtype in folder.cameras.items():
        if dtype == "image":
            cells = [{"bytes": png(frame), "path": f"frame_{i:06d}.png"} for i, frame in enumerate(episode.frames)]
            columns[key] = pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    columns |= {
        "timestamp": pa.array((np.arange(n) / folder.fps).astype(np.float32)),
        "frame_index": pa.array(np.arange(n)),
        "episode_index": pa.array(np.full(n, index)),
        "index": pa.array(np.arange(first, first + n)),
        "task_index": pa.array(episode.task),
    }
    return pa.table(columns)


def features_of(folder: Folder) -> dict[str, Any]:
    vector = {"dtype": "float32", "shape": [3], "names": folder.names}
    features: dict[str, Any] = {
        "observation.state": vector,
        "action": vector,
        "next.reward": {"dtype": "float32", "shape": [1], "names": None},
        "next.done": {"dtype": "bool", "shape": [1], "names": None},
    }
    for key, dtype in folder.cameras.items():
        features[key] = {"dtype": dtype, "shape": [HEIGHT, WIDTH, 3], "names": ["height", "width", "channel"]}
    for key in ("timestamp", "frame_index", "episode_index", "index", "task_index"):
        features[key] = {"dtype": "float32" if key == "timestamp" else "int64", "shape": [1], "names": None}
    return features


def write_v2(root: Path, folder: Folder | None = None) -> list[Rollout]:
    """A v2.0 or v2.1 folder; gives what was written."""
    folder = folder or Folder()
    rollouts = folder.rollouts()
    for index, episode in enumerate(rollouts):
        path = root / f"data/chunk-000/episode_{index:06d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table_of(folder, index, sum(folder.lengths[:index]), episode), path)
        for key, dtype in folder.cameras.items():
            if dtype == "video":
                write_mp4(root / f"videos/chunk-000/{key}/episode_{index:06d}.mp4", episode.frames, folder.fps)
    _write_info(root, folder, {"data_path": DATA_V2, "video_path": VIDEO_V2, "total_chunks": 1, "total_videos": 0})
    _write_lines(root / "meta/tasks.jsonl", [{"task_index": i, "task": text} for i, text in enumerate(TASKS)])
    _write_lines(
        root / "meta/episodes.jsonl",
        [
            {"episode_index": i, "tasks": [TASKS[t] for t in dict.fromkeys(e.task.tolist())], "length": len(e)}
            for i, e in enumerate(rollouts)
        ],
    )
    stats = {key: {"mean": [0.0], "count": [1]} for key in ("observation.state", *folder.cameras)}
    if folder.version == "v2.1":
        lines = [{"episode_index": i, "stats": stats} for i in range(len(rollouts))]
        _write_lines(root / "meta/episodes_stats.jsonl", lines)
    else:
        (root / "meta/stats.json").write_text(json.dumps(stats))
    return rollouts


def write_v3(root: Path, folder: Folder | None = None, *, row_groups: str = "episode") -> list[Rollout]:
    """A v3.0 folder with two data files and one video file a camera.

    row_groups: "episode" (one each), "file" (one for all), or a number of rows as text.
    """
    folder = folder or Folder(version="v3.0")
    folder.version = "v3.0"
    rollouts, rows, first, shown = folder.rollouts(), [], 0, 0
    tables: dict[int, list[pa.Table]] = {0: [], 1: []}
    for index, episode in enumerate(rollouts):
        file = int(index == len(rollouts) - 1)
        tables[file].append(table_of(folder, index, first, episode))
        row: dict[str, Any] = {
            "episode_index": index,
            "tasks": [TASKS[t] for t in dict.fromkeys(episode.task.tolist())],
            "length": len(episode),
            "data/chunk_index": 0,
            "data/file_index": file,
            "dataset_from_index": first,
            "dataset_to_index": first + len(episode),
        }
        for key, dtype in folder.cameras.items():
            if dtype == "video":
                row |= {f"videos/{key}/chunk_index": 0, f"videos/{key}/file_index": 0}
                row |= {f"videos/{key}/from_timestamp": shown / folder.fps}
                row |= {f"videos/{key}/to_timestamp": (shown + len(episode)) / folder.fps}
        rows.append({**row, "meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0})
        first, shown = first + len(episode), shown + len(episode)
    for file, parts in tables.items():
        path = root / f"data/chunk-000/file-{file:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        if row_groups == "episode":
            with pq.ParquetWriter(path, parts[0].schema) as writer:
                for part in parts:
                    writer.write_table(part)
        else:
            size = 1 << 20 if row_groups == "file" else int(row_groups)
            pq.write_table(pa.concat_tables(parts), path, row_group_size=size)
    for key, dtype in folder.cameras.items():
        if dtype == "video":
            frames = [frame for episode in rollouts for frame in episode.frames]
            write_mp4(root / f"videos/{key}/chunk-000/file-000.mp4", frames, folder.fps, gop=2)
    _write_info(root, folder, {"data_path": DATA_V3, "video_path": VIDEO_V3})
    path = root / "meta/episodes/chunk-000/file-000.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    pq.write_table(pa.table({"task_index": list(range(len(TASKS))), "task": list(TASKS)}), root / "meta/tasks.parquet")
    return rollouts


def edit_json(path: Path, **changes: Any) -> None:
    """Change entries of a JSON object; None removes one."""
    data = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in data.items() if v is not None}))


def edit_table(path: Path, **columns: Any) -> None:
    """Replace, add or (None) remove columns of a parquet file."""
    table = pq.read_table(path)
    for key, values in columns.items():
        if key in table.column_names:
            table = table.drop_columns([key])
        if values is not None:
            table = table.append_column(key, values if isinstance(values, pa.Array) else pa.array(values))
    pq.write_table(table, path)


def _write_info(root: Path, folder: Folder, paths: dict[str, Any]) -> None:
    info = {
        "codebase_version": folder.version,
        "robot_type": folder.robot_type,
        "total_episodes": len(folder.lengths),
        "total_frames": sum(folder.lengths),
        "total_tasks": len(TASKS),
        "chunks_size": 1000,
        "fps": folder.fps,
        "splits": {"train": f"0:{len(folder.lengths)}"},
        "features": features_of(folder),
        **paths,
        **folder.info,
    }
    (root / "meta").mkdir(parents=True, exist_ok=True)
    (root / "meta/info.json").write_text(json.dumps(info))
    if folder.licence:
        (root / "README.md").write_text(f"---\nlicense: {folder.licence}\n---\n# A data set\n")


def _write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
