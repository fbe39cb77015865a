"""What a reader that shares no code with the converters finds in a damaged source, against what a store holds of it.

h5py, zarr, pyarrow, PIL, OpenCV and PyAV are used directly. The mapping in an episode's lineage says which columns
of the source a feature was made of; their values are read here anew.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import cv2
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from PIL import Image

# Mean difference in grey levels that encoding leaves in these small noisy pictures, and that copying does, where
# frames before a span's first keyframe are encoded anew. The next frame is 20 away (5 in a store of ours).
ENCODED, COPIED = 14.0, 4.0


class Different(Exception):
    """A store holds something else than its source, by an independent reading."""


class Source:
    """One episode of a source. place: its name there, as episodes in a store say it."""

    def __init__(self, root: Path, source: dict[str, str]) -> None:
        self.root, self.place, self.format = root, source["place"], source["format"]
        self.file = root / source["file"] if root.is_dir() and self.format in ("robomimic", "aloha") else root

    def column(self, name: str) -> np.ndarray:
        if self.format in ("robomimic", "aloha"):
            with h5py.File(self.file, "r") as file:
                node = file[f"data/{self.place}"] if self.format == "robomimic" else file
                return np.asarray(node[name][()])
        if self.format == "zarr_replay":
            group = zarr.open_group(_zarr_store(self.root), mode="r")
            ends = np.concatenate([[0], np.asarray(group["meta/episode_ends"][:], np.int64)])
            at = int(self.place)
            return np.asarray(group[f"data/{name}"][int(ends[at]) : int(ends[at + 1])])
        table = self.table(name).column(name)
        return np.asarray(table.to_pylist(), dtype=object if pa.types.is_string(table.type) else None)

    def table(self, name: str) -> pa.Table:
        """Rows of this episode of a LeRobot folder in one column; others may be damaged."""
        info = json.loads((self.root / "meta/info.json").read_text("utf-8-sig"))
        index = int(self.place.rsplit("_", 1)[1])
        if info["codebase_version"].startswith("v2"):
            fields = {"episode_chunk": index // int(info.get("chunks_size", 1000)), "episode_index": index}
            return pq.read_table(self.root / info["data_path"].format(**fields), columns=[name])
        row = self.row()
        fields = {"chunk_index": int(row["data/chunk_index"]), "file_index": int(row["data/file_index"])}
        table = _readable(self.root / info["data_path"].format(**fields), [name, "episode_index"])
        return table.filter(pa.array([v in (index, [index]) for v in table.column("episode_index").to_pylist()]))

    def row(self) -> dict[str, Any]:
        index = int(self.place.rsplit("_", 1)[1])
        tables = []
        for path in _plain(self.root.glob("meta/episodes/*/*.parquet")):
            names = [n for n in pq.read_schema(path).names if n.startswith(("episode_index", "data/", "videos/"))]
            tables.append(pq.read_table(path, columns=names))
        rows = [r for t in tables for r in t.to_pylist() if np.asarray(r["episode_index"]).reshape(-1)[0] == index]
        return dict(rows[0])

    def pictures(self, rule: dict[str, Any], length: int) -> tuple[list[np.ndarray], float]:
        """Colour pictures as the mapping says they are to be shown, and how far encoding may move them."""
        name = rule["from"]
        if not self.format.startswith("lerobot"):
            stored = self.column(name)
            frames = [_decoded(row) for row in stored] if stored.ndim <= 2 else list(stored)
            return [_shown(frame, rule) for frame in frames], ENCODED
        info = json.loads((self.root / "meta/info.json").read_text("utf-8-sig"))
        if info["features"][name]["dtype"] == "image":
            cells = self.table(name).column(name).to_pylist()
            data = [c["bytes"] if isinstance(c, dict) else c for c in cells]
            return [np.asarray(Image.open(io.BytesIO(d)).convert("RGB")) for d in data], ENCODED
        index = int(self.place.rsplit("_", 1)[1])
        fields: dict[str, Any] = {"video_key": name}
        if info["codebase_version"].startswith("v2"):
            fields |= {"episode_chunk": index // int(info.get("chunks_size", 1000)), "episode_index": index}
            frames, times = decoded(self.root / info["video_path"].format(**fields))
            return frames[:length], COPIED
        row = self.row()
        fields |= {k: int(row[f"videos/{name}/{k}"]) for k in ("chunk_index", "file_index")}
        frames, times = decoded(self.root / info["video_path"].format(**fields))
        start = int(np.argmin(np.abs(np.array(times) - row[f"videos/{name}/from_timestamp"])))
        return frames[start : start + length], COPIED


def _readable(path: Path, columns: list[str]) -> pa.Table:
    """The row groups of a file that are not damaged; others may hold other episodes."""
    file, found = pq.ParquetFile(path), []
    for group in range(file.num_row_groups):
        with suppress(pa.ArrowException, OSError):
            found.append(file.read_row_group(group, columns=columns))
    return pa.concat_tables(found)


def _zarr_store(root: Path) -> Any:
    if root.is_dir():
        return zarr.storage.LocalStore(root, read_only=True)
    from imagecodecs.numcodecs import register_codecs

    register_codecs(verbose=False)
    return zarr.storage.ZipStore(root, mode="r")


def decoded(path: Path) -> tuple[list[np.ndarray], list[float]]:
    """The frames of a video, to the first that cannot be decoded, and the times [s] at which they are shown."""
    frames, times = [], []
    with av.open(str(path), metadata_errors="replace") as container, suppress(av.error.FFmpegError):
        for frame in container.decode(video=0):
            frames.append(frame.to_ndarray(format="rgb24"))
            times.append(float(frame.pts * frame.time_base) if frame.pts is not None else len(times))
    return frames, times


def _decoded(row: Any) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(np.asarray(row).tobytes(), np.uint8), 1)
    if picture is None:
        raise Different("a picture that OpenCV cannot decode was taken")
    return picture


def _shown(frame: np.ndarray, rule: dict[str, Any]) -> np.ndarray:
    if rule.get("layout") == "chw":
        frame = np.moveaxis(frame, 0, -1)
    frame = frame[..., None] if frame.ndim == 2 else frame
    frame = {"vertical": frame[::-1], "none": frame}[rule.get("flip", "none")]
    frame = np.repeat(frame, 3, 2) if frame.shape[2] == 1 else frame[..., :3]
    frame = frame[..., ::-1] if rule.get("colour") == "bgr" else frame
    return np.clip(np.rint(frame.astype(np.float64) * rule.get("scale", 1.0)), 0, 255)


def made_of(feature: dict[str, Any], source: Source, dtype: np.dtype) -> np.ndarray:
    """`(T, n)` values of a feature, out of the source's own columns."""
    parts = []
    for part in feature["from"]:
        name = part if isinstance(part, str) else part["column"]
        span = None
        if name.endswith("]") and "[" in name:
            name, _, rest = name.rpartition("[")
            span = slice(*map(int, rest[:-1].split(":")))
        values = source.column(name)
        values = values.reshape(len(values), -1)
        parts.append(values if span is None else values[:, span])
    whole = np.concatenate(parts, axis=1)
    if feature.get("derive") == "next_pose":
        whole = np.concatenate([whole[1:], whole[-1:]])
    return whole if dtype.kind == "O" else whole.astype(dtype)


class Made:
    """A store that was made, read with pyarrow and PyAV."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.info = json.loads((root / "meta/info.json").read_text())
        self.rows = [r for p in sorted(root.glob("meta/episodes/*/*.parquet")) for r in pq.read_table(p).to_pylist()]

    def table(self, row: dict[str, Any]) -> pa.Table:
        name = f"data/chunk-{row['data/chunk_index']:03d}/file-{row['data/file_index']:03d}.parquet"
        table = pq.read_table(self.root / name)
        return table.filter(pa.array(np.asarray(table.column("episode_index")) == row["episode_index"]))

    def pictures(self, row: dict[str, Any], key: str, table: pa.Table) -> list[np.ndarray]:
        if self.info["features"][key]["dtype"] == "image":
            return [
                np.asarray(Image.open(io.BytesIO(c["bytes"])).convert("RGB")) for c in table.column(key).to_pylist()
            ]
        place = {k: row[f"videos/{key}/{k}"] for k in ("chunk_index", "file_index", "from_timestamp", "to_timestamp")}
        name = f"videos/{key}/chunk-{place['chunk_index']:03d}/file-{place['file_index']:03d}.mp4"
        first, last = (round(place[k] * self.info["fps"]) for k in ("from_timestamp", "to_timestamp"))
        return decoded(self.root / name)[0][first:last]


def compare(root: Path, store: Path) -> int:
    """How many episodes a store holds, each of them exactly what its source says. Raises `Different`."""
    made = Made(store)
    for row in made.rows:
        source_of = json.loads(row["source"])
        steps = [s for s in json.loads(row["lineage"]) if s["name"] == "convert"]
        source, mapping = Source(root, source_of), steps[-1]["params"]["mapping"]
        table = made.table(row)
        if table.num_rows != row["length"]:
            raise Different(f"{source.place}: {table.num_rows} rows, its episode says {row['length']}")
        for key, feature in mapping["features"].items():
            _same(
                made_of(_parts(feature, mapping), source, _dtype(table, key)),
                _stored(table, key),
                f"{source.place}: {key}",
            )
        for key, rule in mapping["cameras"].items():
            got = made.pictures(row, key, table) if rule["kind"] == "rgb" else [0] * row["length"]
            want, far = source.pictures(rule, row["length"]) if rule["kind"] == "rgb" else (got, 0.0)
            if far == COPIED and len(want) == len(got) < row["length"]:
                pass  # copied as it is, a picture included that no decoder can show
            elif len(want) != row["length"] or len(got) != row["length"]:
                raise Different(f"{source.place}: {key}: {len(want)} pictures in the source, {len(got)} in the store")
            if (wrong := _wrong_picture(want, got, far)) is not None:
                raise Different(f"{source.place}: {key}, frame {wrong} differs")
    return len(made.rows)


def _wrong_picture(want: list[np.ndarray], got: list[np.ndarray], far: float) -> int | None:
    """The first picture that is too far from its own, or nearer to another one. Noise costs what its grain is."""
    for n, (a, b) in enumerate(zip(want, got, strict=True)):
        if a.shape != b.shape:
            return n
        own = _distance(a, b)
        grain = np.abs(np.diff(a.astype(np.float64), axis=1)).mean() if far > COPIED else 0.0
        nearest = min((_distance(c, b) for c in want if c.shape == b.shape), default=own)
        if own > far + grain / 2 or own > 1.3 * nearest + 3:
            return n
    return None


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(np.float64) - b).mean())


def compare_stores(original: Path, store: Path) -> int:
    """As `compare` for a store made from one of ours, which has checksums: it must hold what the undamaged one did."""
    want, made = Made(original), Made(store)
    known = {row["episode_id"]: row for row in want.rows}
    for row in made.rows:
        if row["episode_id"] not in known:
            raise Different(f"an episode {row['episode_id']} that was never there")
        before, after = want.table(known[row["episode_id"]]), made.table(row)
        for key in (k for k, f in want.info["features"].items() if f["dtype"] not in ("video", "image")):
            if key in ("index", "episode_index", "task_index"):
                continue
            if key not in after.column_names:
                raise Different(f"{key} was lost")
            _same(_stored(before, key), _stored(after, key), f"{row['episode_id']}: {key}")
        for key in (k for k, f in want.info["features"].items() if f["dtype"] == "video"):
            pairs = zip(
                want.pictures(known[row["episode_id"]], key, before), made.pictures(row, key, after), strict=True
            )
            if any(np.abs(a.astype(np.float64) - b).mean() > COPIED for a, b in pairs):
                raise Different(f"{row['episode_id']}: {key} differs")
    return len(made.rows)


def _parts(feature: dict[str, Any], mapping: dict[str, Any]) -> dict[str, Any]:
    return feature if feature.get("from") else {**mapping["features"]["observation.state"], **feature}


def _dtype(table: pa.Table, key: str) -> np.dtype:
    return np.asarray(_flat(table.column(key))).dtype


def _stored(table: pa.Table, key: str) -> np.ndarray:
    return np.asarray(_flat(table.column(key))).reshape(table.num_rows, -1)


def _flat(column: pa.ChunkedArray) -> pa.Array:
    values: Any = column.combine_chunks()
    values = values.storage if isinstance(values, pa.ExtensionArray) else values
    while pa.types.is_nested(values.type):
        values = values.flatten()
    return values.to_numpy(zero_copy_only=False)


def _same(want: np.ndarray, got: np.ndarray, where: str) -> None:
    if want.shape != got.shape or not all(_equal(a, b) for a, b in zip(want, got, strict=True)):
        raise Different(f"{where}: {_brief(want)} in the source, {_brief(got)} in the store")


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.array_equal(a, b))


def _brief(values: np.ndarray) -> str:
    return f"{values.shape} {values.dtype} {' '.join(str(values.reshape(-1)[:4]).split())}"


def count(format: str, root: Path) -> int | None:
    """How many episodes a source has for an independent reader; None where it cannot be told."""
    if format == "zarr_replay":
        return int(zarr.open_group(_zarr_store(root), mode="r")["meta/episode_ends"].shape[0])
    if format == "lerobot_v2":
        lines: Iterable[str] = (root / "meta/episodes.jsonl").read_text("utf-8-sig").splitlines()
        return sum(bool(line.strip()) for line in lines)
    if format == "lerobot_v3":
        return sum(pq.read_metadata(p).num_rows for p in _plain(root.glob("meta/episodes/*/*.parquet")))
    return None


def _plain(paths: Iterator[Path]) -> list[Path]:
    return sorted(p for p in paths if not p.name.startswith("."))
