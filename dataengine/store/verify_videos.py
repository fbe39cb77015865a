"""Videos against rows: a picture for every row, at its time, none of another episode; packets as they were written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from dataengine.errors import DataEngineError
from dataengine.guard import safe_join
from dataengine.store.episodes import video_keys
from dataengine.store.packets import packet_digest
from dataengine.store.problems import Problem, numbers
from dataengine.store.store import Store
from dataengine.store.verify_files import UNREADABLE, Files, absent
from dataengine.store.verify_rows import TOLERANCE
from dataengine.video import probe_guarded
from dataengine.video.container import open_video
from dataengine.video.index import index_of


class Videos:
    """Looks at the cameras of episodes one after the other."""

    def __init__(self, store: Store, found: Files) -> None:
        self.store, self.found, self.table = store, found, store.table_of_episodes
        shown: dict[str, list[tuple[float, int]]] = defaultdict(list)
        for key in video_keys(store.features):
            for index in range(len(store)):
                relative, begin = self.table.video(index, key)
                shown[relative].append((begin, index))
        self.users = {relative: [index for _, index in sorted(spans)] for relative, spans in shown.items()}
        self._looked: set[str] = set()

    def check(self, index: int, *, deep: bool = False, quick: bool = False) -> Iterator[Problem]:
        for key in video_keys(self.store.features):
            relative = key
            try:
                relative, begin = self.table.video(index, key)
                path = safe_join(self.store.root, relative)
                if not path.is_file():
                    read = "LeRobot fails at every frame of it"
                    yield Problem("missing", relative, f"the video of camera {key!r} {absent(path)}", index, read)
                    continue
                first = relative not in self._looked
                self._looked.add(relative)
                self.found.seen.add(relative)
                yield from self._span(index, key, relative, begin)
                if quick:
                    yield from self._head(index, key, relative) if first else ()
                    continue
                if first:
                    yield from self._file(index, key, relative)
                yield from self._pictures(index, key, relative, begin, deep)
            except UNREADABLE as error:
                self.found.bad.add(relative)
                reason = str(getattr(error, "reason", error))
                yield Problem("damaged", relative, reason, index, f"LeRobot fails at pictures of {key!r}")
        if deep:
            yield from self._stills(index)

    def _span(self, index: int, key: str, relative: str, begin: float) -> Iterator[Problem]:
        """What the episodes table says, in itself."""
        rows, fps = int(self.table.length[index]), self.store.fps
        end = self.table.value(f"videos/{key}/to_timestamp", index)
        if end is not None and round((end - begin) * fps) != rows:
            told = f"from_timestamp to to_timestamp are {(end - begin) * fps:.2f} frames, {rows} rows"
            yield Problem("count", relative, told, index, "LeRobot reads from from_timestamp on, a row a frame", True)
        users = self.users[relative]  # in the order of the file, which an edit may have changed in the table
        place = users.index(index)
        if place:
            before = users[place - 1]
            _, other = self.table.video(before, key)
            gap = round((begin - other) * fps) - self._rows(before)
            if gap < 0:
                told = f"begins {-gap} frames before the end of episode {before} in the same file"
                yield Problem("order", relative, told, index, f"LeRobot shows pictures of episode {before}, or shifted")

    def _head(self, index: int, key: str, relative: str) -> Iterator[Problem]:
        """What the head of a file promises, without its body."""
        container, stream = open_video(safe_join(self.store.root, relative))
        with container:
            have = stream.frames
        need = max(
            round(self.table.video(i, key)[1] * self.store.fps) + int(self.table.length[i])
            for i in self.users[relative]
        )
        if have and have < need:
            told = f"its head promises {have} frames, its episodes need {need}"
            yield Problem("count", relative, told, index, "LeRobot fails at the last ones, or repeats")

    def _file(self, index: int, key: str, relative: str) -> Iterator[Problem]:
        if expected := self.table.value(f"sha256/{key}", index):
            yield from self.found.check(relative, expected, lambda: self._instead(key, relative))
        if relative in self.found.bad or self.table.value(f"packets/{key}", index):
            return
        path = safe_join(self.store.root, relative)
        probe_guarded(path)
        coding, (height, width) = index_of(path).coding, self.store.features[key].shape[:2]
        if (coding.height, coding.width) != (height, width):
            told = f"its pictures are {coding.width}×{coding.height}, info.json says {width}×{height}"
            yield Problem("values", relative, told, index, "LeRobot gives them in their own size")

    def _instead(self, key: str, relative: str) -> str:
        """What is read out of a damaged video: the packets of which episodes are still what was written."""
        hit = set()
        for index in self.users[relative]:
            try:
                digest, _ = packet_digest(
                    self.store.root / relative, self.table.video(index, key)[1], self._rows(index), self.store.fps
                )
            except UNREADABLE:
                return f"LeRobot fails at pictures of {key!r} in episodes {numbers(self.users[relative])}"
            if digest != self.table.value(f"packets/{key}", index):
                hit.add(index)
        if not hit:
            return "no picture is damaged, only what stands around them"
        return f"LeRobot shows wrong pictures of {key!r} in episodes {numbers(hit)}, or fails there"

    def _rows(self, index: int) -> int:
        return int(self.table.length[index])

    def _pictures(self, index: int, key: str, relative: str, begin: float, deep: bool) -> Iterator[Problem]:
        rows, fps, path = self._rows(index), self.store.fps, safe_join(self.store.root, relative)
        packets, frames = packet_digest(path, begin, rows, fps)
        if frames != rows:
            told = f"camera {key!r} has {frames} frames, {rows} rows"
            yield Problem("count", relative, told, index, "LeRobot fails at the rows without, or shows a neighbour")
        expected = self.table.value(f"packets/{key}", index)
        if expected and expected != packets:
            told = f"the packets of camera {key!r} are not those that were written"
            yield Problem("checksum", relative, told, index, "LeRobot shows wrong pictures, or fails")
        elif not expected and frames == rows:
            yield from self._clock(index, key, relative, begin)
        if deep and (shown := sum(1 for _ in self.store.clip(index, key).frames())) != rows:
            yield Problem("count", relative, f"camera {key!r} decodes to {shown} frames, {rows} rows", index)

    def _clock(self, index: int, key: str, relative: str, begin: float) -> Iterator[Problem]:
        """LeRobot asks for the picture at from_timestamp + timestamp, and takes none further off than its tolerance."""
        found = index_of(safe_join(self.store.root, relative))
        if found.times is None:
            return
        times = found.times * float(found.time_base)
        wanted = begin + np.arange(self._rows(index)) / self.store.fps
        right = np.clip(np.searchsorted(times, wanted), 1, max(len(times) - 1, 1))
        near = np.minimum(np.abs(times[right - 1] - wanted), np.abs(times[np.minimum(right, len(times) - 1)] - wanted))
        if near.max(initial=0) > TOLERANCE:
            at = int(near.argmax())
            told = f"camera {key!r} shows no picture at the time of frame {at}, the nearest is {near[at]:.4g} s off"
            read = f"LeRobot fails there (its tolerance is {TOLERANCE:g} s)"
            yield Problem("order", relative, told, index, read, whole=True)

    def _stills(self, index: int) -> Iterator[Problem]:
        """Pictures that stand in the table."""
        for key in (k for k in self.store.cameras if self.store.features[k].dtype == "image"):
            try:
                for _ in self.store.clip(index, key).frames():
                    pass
            except DataEngineError as error:
                place = self.table.data(index)[0]
                yield Problem("damaged", place, f"camera {key!r}: {error}", index, "LeRobot fails at these frames")
