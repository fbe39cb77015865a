"""Replay buffers in zarr: Diffusion Policy's `ReplayBuffer`, as a folder or a zip, and UMI's with picture codecs.

    meta/episode_ends           (E,) cumulative ends
    data/<name>                 (N, …) all episodes one after another
      img, camera0_rgb, …       (N, H, W, 3) uint8, or float32 with values 0..255
      robot0_eef_pos            (N, 3) m                                                   (UMI)
      robot0_eef_rot_axis_angle (N, 3) rad
      robot0_gripper_width      (N, 1) m
      state, action             (N, 5), (N, 2) pixels of a 512 canvas, and rad             (PushT)

UMI's files hold no actions: the action of a row is the pose of the next one, the last row's is repeated (UMI
trains on future poses of the same arrays). Diffusion Policy `common/replay_buffer.py` (5ba07ac), UMI
`07_generate_replay_buffer.py` (d095ba9).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from converters.clips import RawClip, blocks
from converters.files import FileConverter, FileSketch, Proposal, Sketch, file_of, natural
from converters.hdf5 import SMALLEST, brightest
from converters.mapping import SourceMapping
from converters.raw import Camera, Column, RawEpisode
from converters.zarr_mapping import propose, vital
from converters.zarr_store import ArrayHeader, is_zarr, open_array, read_headers
from dataengine.errors import EpisodeError, SourceError
from dataengine.guard import check_allocation, check_zip
from dataengine.source import EpisodeRef, Plan

_BLOCK = 8 << 20
_ENDS = "meta/episode_ends"
_MAX_EPISODES = 10_000_000


@dataclass(frozen=True)
class ZarrClip(RawClip):
    """Rows `start` to `start + length` of an array of pictures, given as they lie. sha256: of the whole source."""

    path: str
    array: str
    start: int
    length: int
    height: int
    width: int
    fps: float
    sha256: str
    kind: Literal["rgb", "depth"] = "rgb"

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        first, last, _ = slice(start, stop).indices(self.length)
        if first >= last:
            return
        array = open_array(Path(self.path), self.array)
        row = max(1, array.dtype.itemsize * int(np.prod(array.shape[1:], dtype=np.int64)))
        step = max(1, _BLOCK // (row * array.chunks[0])) * array.chunks[0]
        for at, until in blocks(self.start + first, self.start + last, step):
            try:
                block = np.asarray(array[at:until])
            except Exception as error:  # every codec has exceptions of its own
                raise EpisodeError(self.array, f"rows {at}:{until} cannot be decoded: {error}") from error
            yield from block

    def slice(self, start: int, stop: int) -> ZarrClip:
        return replace(self, start=self.start + start, length=stop - start)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.sha256}\0{self.array}\0{self.start}\0{self.length}".encode()).hexdigest()


class ZarrReplay(FileConverter):
    """Replay buffers of Diffusion Policy and UMI."""

    name = "zarr_replay"
    reads = "zarr replay buffers of UMI (zip) and Diffusion Policy (folder or zip), zarr 2 and 3"
    suffixes = (".zip", ".zarr")

    def files(self, path: Path) -> list[str]:
        if path.is_file() or is_zarr(path):
            return [""]
        return sorted((p.name for p in path.iterdir() if p.suffix in self.suffixes), key=natural)

    def sniff_file(self, path: Path) -> bool:
        if path.is_file():
            with path.open("rb") as file:
                if file.read(2) != b"PK":
                    return False
            check_zip(path)
        return is_zarr(path) and _ENDS in read_headers(path)

    def sketch(self, path: Path) -> FileSketch:
        headers = read_headers(path)
        ends = _ends(path, headers[_ENDS])
        data = {name.removeprefix("data/"): h for name, h in headers.items() if name.startswith("data/")}
        total = int(ends[-1])
        faults = [f"data/{n} has {h.shape[0] if h.shape else 0} rows, episodes end at {total}"
                  for n, h in data.items() if h.shape[:1] != (total,)]  # fmt: skip
        if faults or not data:
            raise SourceError(path.name, "; ".join(faults) or "there are no arrays under data/")
        columns, cameras, unused = {}, {}, []
        for name, header in data.items():
            if (camera := _camera(name, header)) is not None:
                cameras[name] = camera
            elif np.dtype(header.dtype).kind in "biuf" and len(header.shape) <= 3:
                columns[name] = Column(name, header.dtype, header.shape[1:])
            else:
                unused.append(f"{name} ({header.dtype}, {header.shape[1:]} per frame, is no column)")
        unused += [name for name in headers if not name.startswith("data/") and name != _ENDS]
        bright = {n: _brightest(path, n) for n in cameras if np.dtype(data[n].dtype).kind == "f"}
        refs, notes = _episodes(ends, data, vital(columns) | set(cameras))
        sketches = tuple(Sketch(ref, columns, cameras) for ref in refs)
        return FileSketch(sketches, {"headers": data, "bright": bright}, tuple(unused), tuple(notes))

    def propose(
        self, files: Mapping[str, FileSketch], columns: Mapping[str, Column], cameras: Mapping[str, Camera]
    ) -> Proposal:
        first = next(iter(files.values())).facts
        return propose(columns, cameras, first["headers"], first["bright"])

    def raw(self, plan: Plan, ref: EpisodeRef) -> RawEpisode:
        rules = SourceMapping.from_dict(plan.mapping)
        path = file_of(plan, ref)
        start = int(ref.extra["start"])
        columns = {}
        for name in sorted(rules.columns()):
            array = open_array(path, f"data/{name}")
            check_allocation(path, name, array.dtype.itemsize * ref.length * math.prod(array.shape[1:]))
            try:
                columns[name] = np.asarray(array[start : start + ref.length])
            except Exception as error:  # every codec has exceptions of its own
                raise EpisodeError(ref.name, f"cannot be decoded: {error}", feature=name) from error
        clips = {}
        for rule in rules.cameras.values():
            shape = open_array(path, f"data/{rule.source}").shape
            height, width = shape[2:4] if rule.layout == "chw" else shape[1:3]
            clips[rule.source] = ZarrClip(
                str(path), f"data/{rule.source}", start, ref.length, height, width, plan.fps,
                ref.extra["sha256"], rule.kind,
            )  # fmt: skip
        return RawEpisode(columns, clips)


def _ends(path: Path, header: ArrayHeader) -> np.ndarray:
    """`(E,)` int64 cumulative ends, never falling."""
    if len(header.shape) != 1 or not 0 < header.shape[0] <= _MAX_EPISODES or np.dtype(header.dtype).kind not in "iu":
        raise SourceError(path.name, f"meta/episode_ends is {header.shape} {header.dtype}, not a list of whole numbers")
    if header.missing or header.damaged:
        raise SourceError(path.name, f"a chunk of meta/episode_ends is {'missing' if header.missing else 'damaged'}")
    try:
        ends = np.asarray(open_array(path, _ENDS)[:], np.int64)
    except Exception as error:  # every codec has exceptions of its own
        raise SourceError(path.name, f"meta/episode_ends cannot be decoded: {error}") from error
    if ends[0] < 0 or ends[-1] < 1 or (np.diff(ends) < 0).any():
        raise SourceError(path.name, "meta/episode_ends does not rise from each episode to the next")
    return ends


def _episodes(
    ends: np.ndarray, data: Mapping[str, ArrayHeader], needed: set[str]
) -> tuple[list[EpisodeRef], list[str]]:
    """A reference for each episode, and notes.

    Where a chunk is absent zarr reads its fill value and says nothing. In arrays that are `needed` such rows are a
    problem; elsewhere it may be meant (zarr 3 writes no chunk that is all zeros).
    """
    starts = np.concatenate([[0], ends[:-1]])
    problems = {int(i): ["has no rows"] for i in np.flatnonzero(ends == starts)}
    notes = []

    def across(header: ArrayHeader, chunk: int) -> list[int]:
        """Episodes that have rows in a chunk."""
        low, high = chunk * header.chunks[0], (chunk + 1) * header.chunks[0]
        return [int(episode) for episode in np.nonzero((starts < high) & (ends > low))[0]]

    for name, header in data.items():
        for chunk in header.damaged:
            for episode in across(header, chunk):
                problems.setdefault(episode, []).append(f"chunk {chunk} of data/{name} is damaged")
        if not header.missing:
            continue
        if name not in needed:
            notes.append(f"{len(header.missing)} chunks of data/{name} are absent and read as the fill value")
            continue
        for chunk in header.missing:
            for episode in across(header, chunk):
                problems.setdefault(episode, []).append(f"chunk {chunk} of data/{name} is missing")
    row = sum(header.stored for header in data.values()) / float(ends[-1])
    refs = [
        EpisodeRef(
            f"episode_{i}", int(end - start), int(row * (end - start)), (),
            "; ".join(problems[i][:3]) if i in problems else None,
            {"place": str(i), "start": int(start)},
        )
        for i, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]  # fmt: skip
    return refs, notes


def _camera(name: str, header: ArrayHeader) -> Camera | None:
    """Four dimensions with 1, 3 or 4 channels last or 3 first; depth by its name."""
    shape, kind = header.shape, np.dtype(header.dtype).kind
    depth = "depth" in name.lower()
    if kind not in "uf" or min(shape, default=0) < 1 or (kind == "u" and header.dtype != "uint8" and not depth):
        return None
    if depth and (len(shape) == 3 or (len(shape) == 4 and shape[3] == 1)):
        return Camera(name, shape[1], shape[2], "depth")
    if depth and len(shape) == 4 and shape[1] == 1 and min(shape[2:]) >= SMALLEST:
        return Camera(name, shape[2], shape[3], "depth")
    if len(shape) == 4 and shape[3] in (1, 3, 4) and min(shape[1:3]) >= 4:
        return Camera(name, shape[1], shape[2])
    if len(shape) == 4 and shape[1] == 3 and min(shape[2:]) >= 4:
        return Camera(name, shape[2], shape[3])
    return None


def _brightest(path: Path, name: str) -> float:
    """The largest value of a few pictures."""
    try:
        return brightest(open_array(path, f"data/{name}"))
    except Exception as error:  # every codec has exceptions of its own
        raise SourceError(path.name, f"data/{name} cannot be decoded: {error}") from error
