"""An episode while it happens: pictures are encoded as they come, so that what is left at the end takes milliseconds.

Each camera has a thread that encodes and takes statistics. A picture that was taken is in the episode, always: where
an encoder falls behind by more than the memory it was given, `add` waits, and `behind` says before that how far it is.
"""

from __future__ import annotations

import queue
import threading
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from dataengine.episode import Episode, Label, Meta
from dataengine.errors import ConfigError, EpisodeError
from dataengine.store import files, layout, stats
from dataengine.store.episodes import has_numbers
from dataengine.store.picture_stats import PictureStats
from dataengine.store.schema import is_depth
from dataengine.store.shard import Written, seal
from dataengine.video import DepthCoding, Encoder, VideoClip

if TYPE_CHECKING:
    from dataengine.store.store import Store
    from dataengine.store.writer import Writer


class Recording:
    """`with writer.record() as recording:` then `add` for every frame and `save` at the end; else nothing stays.

    identity: of the episode, default a new one. buffer_bytes: what pictures that wait to be encoded may take, all
    cameras together. Raises `ConfigError` for a store with cameras kept as images.
    """

    def __init__(self, writer: Writer, identity: str | None = None, buffer_bytes: int = 128 << 20) -> None:
        store = writer.store
        if images := [key for key, feature in store.features.items() if feature.dtype == "image"]:
            raise ConfigError(f"{', '.join(images)} of {store.root} is kept as images; record into a store of videos")
        self.writer, self.identity, self.frames = writer, identity or uuid.uuid4().hex, 0
        self._stopped = False
        self._folder = store.root / layout.STAGING / f"recording-{uuid.uuid4().hex[:8]}"
        self._columns: dict[str, list[np.ndarray]] = {
            key: [] for key, feature in store.features.items() if not feature.is_camera
        }
        self._cameras: dict[str, _Camera] = {}
        try:
            for key in store.cameras:
                share = buffer_bytes // len(store.cameras)
                self._cameras[key] = _Camera(self._folder / f"{key}.mp4", store, key, share)
        except BaseException:
            self.discard()
            raise

    def add(self, frame: Mapping[str, Any]) -> None:
        """One frame: `(*shape)` of the feature's dtype per key, pictures `(H, W, 3)` uint8, depth float32 metres.

        Everything is copied. Raises `EpisodeError` naming the frame and the feature that is missing or does not fit,
        with nothing of the frame taken, or that it was stopped; `VideoError` when an encoder has failed.
        """
        if self._stopped:
            raise EpisodeError(self.identity, "was stopped; it takes no more frames", frame=self.frames)
        values = self._fitting(frame)
        for key, camera in self._cameras.items():
            camera.add(values[key])
        for key, column in self._columns.items():
            column.append(values[key])
        self.frames += 1

    @property
    def behind(self) -> int:
        """Pictures not yet encoded, of the camera that has most of them."""
        return max((camera.waiting.qsize() for camera in self._cameras.values()), default=0)

    def stop(self) -> None:
        """No more frames. The cameras' files are closed and the columns counted beside from now on, and `save`, which
        waits for that, has less to do; it stops what was not."""
        if self._stopped:
            return
        self._stopped = True
        for camera in self._cameras.values():
            camera.end()
        beside = ThreadPoolExecutor(1)
        self._arrays = beside.submit(lambda: {key: np.array(column) for key, column in self._columns.items()})
        self._counted = beside.submit(self._count)
        beside.shutdown(wait=False)

    def save(self, meta: Meta, labels: Mapping[str, Label] | None = None, frame_tasks: np.ndarray | None = None) -> int:
        """Commit the episode; its index. It is durable when this returns, and the recording is over either way.

        frame_tasks: `(T,)` int64, which of `meta.tasks` a frame is about, where it is not one for all. Raises
        `EpisodeError` for values that no episode may have, `VideoError` when an encoder has failed.
        """
        store = self.writer.store
        shard = self._folder.with_name(f"{self._folder.name}-sealed")
        try:
            self.stop()
            episode = Episode(
                self.identity,
                store.fps,
                dict(store.features),
                self._arrays.result(),
                {key: camera.clip() for key, camera in self._cameras.items()},
                dict(labels or {}),
                meta,
                frame_tasks,
            )
            written = {key: camera.finish for key, camera in self._cameras.items()}
            how: dict[str, Any] = {"features": store.features, "codec": store.codec, "written": written}
            return self.writer.commit(seal(episode, shard, **how, hold=True, counted=self._counted.result))
        finally:
            self.discard()
            files.remove(shard)

    def _count(self) -> dict[str, stats.Counted]:
        numeric = {k: f for k, f in self.writer.store.features.items() if has_numbers(f)}
        with np.errstate(all="ignore"):  # `save` refuses what is no number, with its place
            return stats.count({k: self._arrays.result()[k] for k in numeric}, numeric, self.writer.sketches)

    def discard(self) -> None:
        """Give up; nothing stays. Does nothing after `save`."""
        for camera in self._cameras.values():
            camera.abort()
        files.remove(self._folder)

    def _fitting(self, frame: Mapping[str, Any]) -> dict[str, np.ndarray]:
        features = self.writer.store.features
        if wrong := sorted(features.keys() ^ frame.keys()):
            raise EpisodeError(self.identity, f"has or lacks {', '.join(wrong)}", frame=self.frames)
        values: dict[str, np.ndarray] = {}
        for key, feature in features.items():
            value = np.array(frame[key])
            if feature.shape == (1,) and value.shape == (1,):
                value = value[0]
            want = () if feature.shape == (1,) else feature.shape
            dtype = {"video": "float32" if is_depth(feature) else "uint8"}.get(feature.dtype, feature.dtype)
            if value.shape != want or (dtype != "string" and value.dtype != dtype):
                got = f"{value.dtype} of shape {value.shape}, expected {dtype} of {want}"
                raise EpisodeError(self.identity, f"is {got}", feature=key, frame=self.frames)
            values[key] = value
        return values

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.discard()


class _Camera:
    """One encoder and its thread."""

    def __init__(self, path: Path, store: Store, key: str, buffer_bytes: int) -> None:
        feature = store.features[key]
        self._depth = DepthCoding.from_info(feature.info)
        self._stats = PictureStats(feature)
        self._fps, self._shape, self._frames = store.fps, feature.shape, 0
        height, width, _ = feature.shape
        self._encoder = Encoder(path, height, width, store.fps, store.codec, self._kind, self._depth)
        picture = height * width * (3 if self._depth is None else 4)
        self.waiting: queue.Queue[np.ndarray | None] = queue.Queue(max(buffer_bytes // picture, 2))
        self._failure: BaseException | None = None
        self._written: Written | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=f"encode {key}", daemon=True)
        self._thread.start()

    @property
    def _kind(self) -> Literal["rgb", "depth"]:
        return "rgb" if self._depth is None else "depth"

    def add(self, picture: np.ndarray) -> None:
        if self._failure is not None:
            raise self._failure
        self.waiting.put(picture)
        self._frames += 1

    def clip(self) -> VideoClip:
        """The file that `finish` closes."""
        height, width, _ = self._shape
        return VideoClip(self._encoder.target, 0, self._frames, self._fps, height, width, self._kind, self._depth)

    def end(self) -> None:
        """No more pictures; what waits is encoded and the file closed."""
        if not self._ended:
            self._ended = True
            self.waiting.put(None)

    def finish(self) -> Written:
        """After `end`: the file, when it is closed. Raises what went wrong."""
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        assert self._written is not None
        return self._written

    def abort(self) -> None:
        self._failure = self._failure or RuntimeError("the recording is over")
        self.end()
        self._thread.join()
        self._encoder.abort()

    def _run(self) -> None:
        """Takes pictures until the end is said; after a failure it only takes them, so that nobody waits for ever."""
        while (picture := self.waiting.get()) is not None:
            if self._failure is None:
                try:
                    self._stats.update(picture)
                    self._encoder.add(picture)
                except BaseException as failure:
                    self._failure = failure
        if self._failure is None:
            try:
                self._written = Written.of(self.clip(), self._encoder.close(), self._stats.sketch())
            except BaseException as failure:
                self._failure = failure
