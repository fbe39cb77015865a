"""Sending what a local store has and the service lacks, once or for as long as the store grows.

Nothing is remembered that the service can be asked: a recorder that is killed begins again by asking.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import batched
from pathlib import Path
from typing import Any

from collectors.fleet.content import content_of
from collectors.fleet.packing import Packed, outgoing, pack, recorder_of
from collectors.fleet.wire import Wire
from dataengine.errors import DataEngineError, EpisodeError, Refused, StoreError
from dataengine.progress import Progress
from dataengine.store import Store, files, layout

_PIECE = 1 << 20
_ASKED = 100  # episodes in one question
_ROUNDS = 5  # times that one episode is offered anew before it is given up
_LOOK = 0.5  # seconds between two looks at a store that grows


@dataclass
class Report:
    """By episode id. refused: the reason. gone: the service had them once, and an edit took them out."""

    sent: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def settled(self) -> set[str]:
        return {*self.sent, *self.there, *self.gone, *self.refused}


class Push:
    """One store and one service. recorder: its name, default one that is kept with the store.

    say: told of every episode that is refused, and when the service is away.
    """

    def __init__(
        self, root: Path, wire: Wire, *, recorder: str | None = None, say: Callable[[str], None] = lambda line: None
    ) -> None:
        self.root, self.wire, self.say = root, wire, say
        self.store = Store.open(root)
        if self.store.commit is None:
            raise StoreError(f"{root} was not made by this engine; convert it into a store first")
        self.recorder = recorder_of(root, recorder)
        self.report = Report()

    def lacking(self) -> list[str]:
        """Ids of the episodes that the service lacks; the others go into the report."""
        self.store.reload()
        lacks: list[str] = []
        settled = self.report.settled
        for ids in batched([identity for identity in self.store.ids if identity not in settled], _ASKED):
            contents = {identity: content for identity in ids if (content := self._content(identity))}
            code, states = self.wire.ask("POST", "/v1/episodes", json=contents)
            if code != 200:
                raise StoreError(f"{self.wire.url} is no collector service; wrong address?")
            for identity in contents:
                state = states.get(identity)
                if state == "other":
                    self._refuse(identity, "the service has other frames under this id")
                else:
                    kept = {"same": self.report.there, "gone": self.report.gone}
                    kept.get(str(state), lacks).append(identity)
        return lacks

    def once(self) -> Report:
        """Send everything that is there now."""
        lacks = self.lacking()
        if not lacks:
            return self.report
        with outgoing(self.root) as folder, Progress() as progress:
            advance = progress.counter("sending", len(lacks))
            for identity in lacks:
                self._send(identity, folder / "shard")
                advance(1)
        return self.report

    def follow(self) -> Iterator[Report]:
        """Send what is there and what comes, for ever; gives the report whenever all of it was sent."""
        while True:
            seen = self._generation()
            yield self.once()
            while self._generation() == seen:
                time.sleep(_LOOK)

    def _generation(self) -> Any:
        path = self.root / layout.COMMIT
        try:
            status = path.stat()
        except FileNotFoundError:  # between two versions
            return None
        return (status.st_ino, status.st_mtime_ns, status.st_size)

    def _content(self, identity: str) -> str | None:
        """None for an episode that an edit has taken out meanwhile, and for one that cannot be read."""
        try:
            return self._of_now(identity, lambda index: content_of(self.store, index))
        except DataEngineError as error:
            self._refuse(identity, str(error))
            return None

    def _of_now[T](self, identity: str, do: Callable[[int], T]) -> T | None:
        """What reads the store, done again where another process has put a new version in its place."""
        for attempt in range(5):
            index = self.store.table_of_episodes.place.get(identity)
            if index is None:
                return None
            try:
                return do(index)
            except (DataEngineError, FileNotFoundError):
                before = self.store.commit
                self.store.reload()
                changed = (
                    before is None or self.store.commit is None or before.generation != self.store.commit.generation
                )
                if attempt == 4 or not changed:
                    raise
        raise AssertionError("not reached")

    def _send(self, identity: str, folder: Path) -> None:
        try:
            packed = self._of_now(identity, lambda index: self._pack(index, folder))
        except DataEngineError as error:  # it is damaged here already
            self._refuse(identity, str(error))
            return
        try:
            if packed is not None:
                self._deliver(packed)
                self.report.sent.append(identity)
        except (Refused, EpisodeError) as error:
            self._refuse(identity, str(error))
        finally:
            files.remove(folder)

    def _pack(self, index: int, folder: Path) -> Packed:
        return pack(self.store, index, content_of(self.store, index), self.recorder, folder)

    def _deliver(self, packed: Packed) -> None:
        """Until the service says that the episode is durable."""
        offer = packed.offer.to_json()
        for _ in range(_ROUNDS):
            _, answer = self.wire.ask("POST", "/v1/offers", json=offer)
            missing, key = answer.get("missing", {}), str(answer.get("key"))
            if answer.get("state") == "same" or (self._upload(key, packed, missing) and self._commit(key)):
                return
        raise EpisodeError(packed.offer.episode_id, "what arrives at the service is never what was sent; given up")

    def _upload(self, key: str, packed: Packed, missing: dict[str, int]) -> bool:
        """False where the service does not know the offer any more."""
        for sha256, begin in missing.items():
            if sha256 not in packed.files:
                raise StoreError(f"{self.wire.url} asks for a file that was not offered")
            with packed.files[sha256].open("rb") as file:
                size, offset = packed.offer.blobs[sha256], int(begin)
                for _ in range(2 * size // _PIECE + 10):  # what does not come nearer to its end is offered anew
                    if offset >= size:
                        break
                    file.seek(offset)
                    piece = file.read(_PIECE)
                    said = {"Content-Range": f"bytes {offset}-{offset + len(piece) - 1}/{size}"}
                    path = f"/v1/offers/{key}/blobs/{sha256}"
                    code, answer = self.wire.ask("PUT", path, content=piece, headers=said)
                    if code == 404:
                        return False
                    offset = int(answer["offset"])
        return True

    def _commit(self, key: str) -> bool:
        code = 202
        while code == 202:
            code, _ = self.wire.ask("POST", f"/v1/offers/{key}/commit", json={})
        return code == 200

    def _refuse(self, identity: str, reason: str) -> None:
        self.report.refused[identity] = reason
        self.say(f"not taken: {reason}")


def bytes_of(store: Store, ids: Sequence[str]) -> int:
    """About what these episodes would take on the wire: their share of the files they lie in."""
    whole = {path: path.stat().st_size for path in store.root.glob("videos/*/*/*.mp4")}
    frames = sum(int(store.table_of_episodes.length[store.index(identity)]) for identity in ids)
    return round(sum(whole.values()) * frames / max(store.frames, 1))
