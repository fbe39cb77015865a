"""The videos of a version to come: shared, cut out of files that others leave, or joined."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from dataengine.errors import StoreError
from dataengine.guard import safe_join, sha256_file
from dataengine.store import episodes as tables
from dataengine.store import files, layout
from dataengine.store.build_rows import EpisodeRows
from dataengine.store.change import Change
from dataengine.store.packets import packet_digest
from dataengine.store.store import Store
from dataengine.video import CannotJoin, VideoClip, join, remux


class Videos:
    """Places the videos of the rows' episodes in `folder` and says in the rows where they are.

    renumber: files that stay as they are get new numbers too, because their own are another store's.
    """

    def __init__(self, store: Store, folder: Path, rows: EpisodeRows, change: Change, renumber: bool = False) -> None:
        self.store, self.folder, self.rows, self.change, self.renumber = store, folder, rows, change, renumber
        self._folders: set[Path] = set()

    def run(self, number: int) -> int:
        """`number`: the first one not used; gives the first not used after."""
        keys = [key for key in tables.video_keys(self.store.features) if key not in self.change.drop]
        place = self._join if self.change.join_videos else self._share
        after = max([number, *(place(key, number) for key in keys)])
        for folder in self._folders:
            files.sync_folder(folder)
        return after

    def _share(self, key: str, number: int) -> int:
        """A file stays as it is while all its episodes do; else each that stays gets its own."""
        table, kept = self.store.table_of_episodes, set(self.rows.order.tolist())
        users = defaultdict(list)
        for index in range(len(self.store)):
            users[table.video(index, key)[0]].append(index)
        whole = {path for path, users_of in users.items() if kept.issuperset(users_of)} - self.change.spoiled
        linked: dict[str, int] = {}
        for place, index in enumerate(self.rows.order.tolist()):
            relative, _ = table.video(index, key)
            if relative not in whole:
                self._cut(key, place, number)
                number += 1
            elif not self.renumber:
                self._link(key, relative)
            else:
                if relative not in linked:
                    linked[relative] = number
                    self._link(key, relative, number)
                    number += 1
                self.rows.set(place, layout.columns(f"videos/{self._name(key)}", linked[relative]))
        return number

    def _name(self, key: str) -> str:
        return self.change.rename.get(key, key)

    def _link(self, key: str, relative: str, number: int | None = None) -> None:
        source = safe_join(self.store.root, relative)
        if self._name(key) != key or number is not None:
            number = (layout.number_of(relative) or 0) if number is None else number
            relative = layout.video_path(self._name(key), number)
        target = self.folder / relative
        if target.parent not in self._folders:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._folders.add(target.parent)
        files.share(source, target)

    def _cut(self, key: str, place: int, number: int) -> None:
        clip = self.store.clip(int(self.rows.order[place]), key)
        assert isinstance(clip, VideoClip)
        path = self.folder / layout.video_path(self._name(key), number)
        remux(clip, path)
        files.sync(path)
        self._folders.add(path.parent)
        packets, _ = packet_digest(path, 0.0, clip.length, self.store.fps)
        self._say(place, key, number, 0.0, clip.length, sha256_file(path))
        self.rows.set(place, {f"packets/{self._name(key)}": packets})

    def _say(self, place: int, key: str, number: int, begin: float, length: int, digest: str) -> None:
        name = self._name(key)
        times = {"from_timestamp": begin, "to_timestamp": begin + length / self.store.fps}
        self.rows.set(place, {f"videos/{name}/{column}": value for column, value in times.items()})
        self.rows.set(place, {**layout.columns(f"videos/{name}", number), f"sha256/{name}": digest})

    def _join(self, key: str, number: int) -> int:
        """Episodes of one camera into files of up to 200 MB, in runs that can be joined."""
        run: list[int] = []
        size = 0
        for place, index in enumerate(self.rows.order.tolist()):
            more = (self.store.root / self.store.table_of_episodes.video(index, key)[0]).stat().st_size
            if run and size + more > layout.VIDEO_MB << 20:
                number, run, size = self._flush(key, run, number), [], 0
            run.append(place)
            size += more
        return self._flush(key, run, number) if run else number

    def _flush(self, key: str, run: list[int], number: int) -> int:
        clips = [self.store.clip(int(self.rows.order[place]), key) for place in run]
        path = self.folder / layout.video_path(key, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            if len(run) == 1:
                raise CannotJoin(path, "is one clip")
            join([clip for clip in clips if isinstance(clip, VideoClip)], path)
        except CannotJoin:
            files.remove(path)
            if len(run) > 1:  # somewhere in between the parameters change: look for it by halves
                half = len(run) // 2
                return self._flush(key, run[half:], self._flush(key, run[:half], number))
            self._link(key, self.store.table_of_episodes.video(int(self.rows.order[run[0]]), key)[0])
            return number
        files.sync(path)
        self._folders.add(path.parent)
        digest, start = sha256_file(path), 0
        for place, clip in zip(run, clips, strict=True):
            begin = start / self.store.fps
            found, _ = packet_digest(path, begin, clip.length, self.store.fps)
            if found != self.rows.value(place, f"packets/{key}"):
                raise StoreError(f"joining the videos of {key!r} changed episode {place}; the store is left as it was")
            self._say(place, key, number, begin, clip.length, digest)
            start += clip.length
        return number + 1
