"""One camera of a take: a thread that encodes, in bounded memory, and never makes the loop wait.

Every row has one picture, so rows and video agree whatever happens. A camera that has nothing new, or an encoder that
has no room, gives the picture before once more; the row says which of the two it was.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from dataengine.episode import Feature
from dataengine.store.picture_stats import PictureStats
from dataengine.store.schema import as_stored, is_depth
from dataengine.store.shard import Written
from dataengine.video import Codec, DepthCoding, Encoder, VideoClip

_AGAIN = object()
# What one picture weighs in the estimate of the encoder's time: half of it is forgotten after 14.
_NEWEST = 0.05


class Camera:
    """Takes pictures for `path`, an mp4 on the dataset's clock; `room` bytes of them may wait.

    tap: called by the thread with the number of a row, its packet, and whether that is a keyframe. failure: what ended
    the encoder; rows up to then are whole.
    """

    def __init__(
        self, path: Path, feature: Feature, fps: float, codec: Codec, room: int, tap: Callable[[int, bytes, bool], None]
    ) -> None:
        feature = as_stored(feature)
        height, width, channels = feature.shape
        self._depth = DepthCoding.from_info(feature.info)
        self._kind: Literal["rgb", "depth"] = "depth" if is_depth(feature) else "rgb"
        self._shape = feature.shape
        self._written: Written | None = None
        self._stats, self._fps = PictureStats(feature), fps
        self._packets = 0

        def count(data: bytes, keyframe: bool) -> None:
            tap(self._packets, data, keyframe)
            self._packets += 1

        self._encoder = Encoder(path, height, width, fps, codec, self._kind, self._depth, tap=count)
        self.most = max(room // (height * width * channels * (1 if self._kind == "rgb" else 4)), 2)
        self.rows = self.encoded = self.waiting = 0
        self.milliseconds = 0.0  # of one picture, lately
        self.failure: BaseException | None = None
        self._queue: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"encode {path.stem}", daemon=True)
        self._thread.start()

    @property
    def codec(self) -> str:
        """As FFmpeg calls what comes out: h264, hevc, av1."""
        return self._encoder.codec.name

    @property
    def extradata(self) -> bytes:
        return self._encoder.extradata

    @property
    def full(self) -> bool:
        return self.waiting >= self.most

    @property
    def behind(self) -> int:
        """Rows not yet encoded."""
        return self.rows - self.encoded

    def add(self, picture: np.ndarray | None) -> None:
        """The next row's picture; None: the one before once more. The first row has one. The caller gives it away."""
        if picture is not None:
            with self._lock:
                self.waiting += 1
        self.rows += 1
        self._queue.put(_AGAIN if picture is None else picture)

    def end(self) -> None:
        """No more rows; what waits is still encoded, and the file is closed."""
        self._queue.put(None)

    def finish(self) -> Written:
        """After `end`: the file, when it is closed. Raises what ended the encoder."""
        self._thread.join()
        if self._written is None:
            raise self.failure or RuntimeError("the take is over")
        return self._written

    def clip(self) -> VideoClip:
        """What `finish` gives, to be looked at."""
        height, width, _ = self._shape
        return VideoClip(self._encoder.target, 0, self.rows, self._fps, height, width, self._kind, self._depth)

    def abort(self) -> None:
        """Give up, at once. What is not closed yet goes; a closed file goes with the take's folder."""
        self.failure = self.failure or RuntimeError("the take is over")
        self._queue.put(None)
        self._thread.join()
        self._encoder.abort()

    def _run(self) -> None:
        """After a failure pictures are only taken, so that memory stays bounded."""
        picture: np.ndarray | None = None
        while (given := self._queue.get()) is not None:
            fresh = given is not _AGAIN
            if fresh:
                assert isinstance(given, np.ndarray)
                picture = given
            if self.failure is None:
                assert picture is not None
                try:
                    self._encode(picture)
                except BaseException as failure:
                    self.failure = failure
            if fresh:
                with self._lock:
                    self.waiting -= 1
        if self.failure is None:
            try:
                self._written = Written.of(self.clip(), self._encoder.close(), self._stats.sketch())
            except BaseException as failure:
                self.failure = failure

    def _encode(self, picture: np.ndarray) -> None:
        begin = time.perf_counter()
        self._stats.update(picture)
        self._encoder.add(picture)
        self.encoded += 1
        took = 1000 * (time.perf_counter() - begin)
        self.milliseconds += (took - self.milliseconds) * (_NEWEST if self.encoded > 20 else 1 / self.encoded)
