"""The one hand that writes to the growing store: takes whole uploads in turn, has them checked, commits what is sound.

What waits is committed together. An episode is acknowledged when it is durable, and never before; one that the store
has already is acknowledged again where it is the same, and refused where it is not.
"""

from __future__ import annotations

import contextlib
import errno
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from collectors.fleet.content import content_of
from collectors.fleet.inbox import Inbox
from collectors.fleet.intake import FULL, Damaged, check
from collectors.fleet.offer import Offer
from dataengine.errors import DataEngineError, EpisodeError, MachineError, Refused, SourceError, StoreError
from dataengine.guard import run_guarded
from dataengine.store import Store, files, layout
from dataengine.store.commit import mark_of
from dataengine.store.schema import as_stored
from dataengine.store.shard import Shard
from dataengine.store.writer import Writer

State = Literal["missing", "same", "other", "gone"]
TOGETHER = 16
OTHER = "the store has an episode of this id with other frames; an id belongs to one recording for ever"
GONE = "an edit took this episode out of the store; it does not come in again"


class Committer:
    """A thread that holds the store's writer. `with Committer(root, inbox) as committer:`

    say: told of every episode that came in or was refused.
    """

    def __init__(self, root: Path, inbox: Inbox, say: Callable[[str], None] = lambda line: None) -> None:
        self.root, self.inbox, self.say = root, inbox, say
        self._writer: Writer | None = None
        self._store: Store | None = None
        self._contents: dict[str, str] = {}
        self._jobs: dict[str, Future[int]] = {}
        self._waiting: queue.Queue[str | None] = queue.Queue()
        self._reading = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)

    def __enter__(self) -> Self:
        if (self.root / layout.INFO).exists():
            self._open()
        elif self.root.exists() and any(self.root.iterdir()):
            raise StoreError(f"{self.root} holds something that is no store; give a folder of its own")
        self.inbox.sweep(lambda offer: self.state(offer.episode_id, offer.content) == "same")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.put(None)
        self._thread.join()
        if self._writer is not None:
            self._writer.close()

    # -- what the store has, asked from any thread ---------------------------------------------------------

    def store(self) -> Store | None:
        """As it is now; None before the first episode."""
        with self._reading:
            if self._store is not None:
                self._store.reload()
            elif (self.root / layout.INFO).exists():
                self._store = Store.open(self.root)
            return self._store

    def state(self, identity: str, content: str) -> State:
        """What the store has of an episode."""
        return self.states({identity: content})[identity]

    def states(self, asked: dict[str, str]) -> dict[str, State]:
        store = self.store()
        with self._reading:
            gone = store.commit.gone if store is not None and store.commit is not None else set()
            return {identity: self._state(store, gone, identity, content) for identity, content in asked.items()}

    def _state(self, store: Store | None, gone: set[str], identity: str, content: str) -> State:
        if store is None or identity not in store.table_of_episodes.place:
            return "gone" if gone and mark_of(identity) in gone else "missing"
        if identity not in self._contents:
            self._contents[identity] = content_of(store, store.index(identity))
        return "same" if self._contents[identity] == content else "other"

    # -- taking in -----------------------------------------------------------------------------------------

    def submit(self, key: str) -> Future[int]:
        """Have an upload checked and committed; the index it gets. Asked twice, it is done once.

        The future raises `Refused` with the reason, `Damaged`, or `MachineError`, after which all that came is kept.
        """
        with self._reading:
            if key not in self._jobs:
                self._jobs[key] = Future()
                self.inbox.hold(key, True)
                self._waiting.put(key)
            return self._jobs[key]

    def _run(self) -> None:
        later: list[str] = []
        while True:
            batch, later = later or [self._waiting.get()], []  # type: ignore[list-item]
            while len(batch) < TOGETHER and not self._waiting.empty():
                batch.append(self._waiting.get())  # type: ignore[arg-type]
            keys = [key for key in batch if key is not None]
            try:
                later = self._take(keys)
            except BaseException as error:
                for key in keys:
                    self._fail(key, error)
            if None in batch:
                for key in list(self._jobs):
                    self._end(key, MachineError("the service is stopping; send it again"))
                return

    def _take(self, keys: list[str]) -> list[str]:
        """Check and commit; gives what has to wait because another of the same id is among them."""
        sealed: dict[str, tuple[Offer, Shard]] = {}
        later: list[str] = []
        for key in keys:
            try:
                offer = self.inbox.offer(key)
                if offer is None:
                    raise MachineError("the upload is gone; send it again")
                if any(offer.episode_id == other.episode_id for other, _ in sealed.values()):
                    later.append(key)
                elif not self._known(key, offer):
                    sealed[key] = (offer, self._checked(key, offer))
            except BaseException as error:
                self._fail(key, error)
        try:
            self._commit(sealed)
        finally:
            for _, shard in sealed.values():
                files.remove(shard.folder)
        return later

    def _known(self, key: str, offer: Offer) -> bool:
        state = self.state(offer.episode_id, offer.content)
        if state == "same":
            store = self.store()
            assert store is not None
            self._end(key, store.index(offer.episode_id))
        elif state != "missing":
            raise EpisodeError(offer.episode_id, OTHER if state == "other" else GONE)
        return state == "same"

    def _checked(self, key: str, offer: Offer) -> Shard:
        """The sealed shard; the first one makes the store."""
        store = self.store()
        features = dict(store.features) if store else {key: as_stored(f) for key, f in offer.features.items()}
        codec, fps = (store.codec, store.fps) if store else (offer.codec, offer.fps)
        out, seconds = self.inbox.work(), 60 + 4 * (offer.size >> 20)
        folder = self.inbox.file(key, offer.data.sha256).parent
        try:
            run_guarded(check, folder, offer, features, codec, fps, out, seconds=seconds)
            if store is None:
                self._create(offer)
            return Shard.load(out)
        except BaseException:
            for left in out.parent.glob(f"{out.name}*"):
                files.remove(left)
            raise

    def _create(self, offer: Offer) -> None:
        """Beside its place first, so that whoever looks finds a store or none."""
        work = self.inbox.work()
        Store.create(
            work,
            fps=offer.fps,
            features=offer.features,
            embodiment=offer.embodiment,
            licence=offer.licence,
            codec=offer.codec,
        )
        self.root.parent.mkdir(parents=True, exist_ok=True)
        work.rename(self.root.resolve())
        files.sync_folder(self.root.resolve().parent)

    def _commit(self, sealed: dict[str, tuple[Offer, Shard]]) -> None:
        if not sealed:
            return
        try:
            indices = self._open().commit_all([shard for _, shard in sealed.values()])
        except EpisodeError as error:
            if len(sealed) == 1:
                self._fail(next(iter(sealed)), error)
            else:  # one of them does not fit: find out which
                for key, pair in sealed.items():
                    self._commit({key: pair})
            return
        except BaseException as error:
            self._close()  # opened anew, what is left of this commit is taken back
            for key in sealed:
                self._fail(key, error)
            return
        for (key, (offer, _)), index in zip(sealed.items(), indices, strict=True):
            self._contents[offer.episode_id] = offer.content
            self._end(key, index)
            recorder = str(offer.meta.extra.get("recorder", "?"))[:100]
            named = recorder if recorder.isprintable() else repr(recorder)
            self.say(f"{offer.episode_id}: {offer.length} frames from {named}")

    def _open(self) -> Writer:
        if self._writer is None:
            writer = Store.open(self.root).writer()
            writer.__enter__()
            self._writer = writer
        return self._writer

    def _close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(DataEngineError, OSError):
                writer.close()

    # -- answers -------------------------------------------------------------------------------------------

    def _fail(self, key: str, error: BaseException) -> None:
        if isinstance(error, Damaged):
            for blob in error.blobs:
                self.inbox.forget(key, blob)
            self._end(key, error)
        elif isinstance(error, EpisodeError | SourceError) and not is_the_machines(error):
            reason = error.reason if isinstance(error, SourceError) else str(error)  # not where it lies on this disk
            self.inbox.remove(key)
            self._end(key, Refused(reason))
            self.say(f"refused: {reason}")
        elif isinstance(error, OSError) and error.errno in FULL:
            self._end(key, MachineError(f"the service's disk is full ({error.strerror})"))
        elif isinstance(error, DataEngineError | OSError):
            what = error.strerror or errno.errorcode.get(error.errno or 0) if isinstance(error, OSError) else error
            self._end(key, error if isinstance(error, MachineError) else MachineError(f"the service cannot: {what}"))
        else:
            self._end(key, MachineError("the service failed; its log says why"))
            self.say(f"failed: {error!r}")

    def _end(self, key: str, result: int | BaseException) -> None:
        self.inbox.hold(key, False)
        with self._reading:
            job = self._jobs.pop(key, None)
        if isinstance(result, int):
            self.inbox.remove(key)
        if job is not None:
            job.set_result(result) if isinstance(result, int) else job.set_exception(result)


def is_the_machines(error: DataEngineError) -> bool:
    """Whether the guarded process could not even be started."""
    return isinstance(error, SourceError) and error.path == "the guarded process"
