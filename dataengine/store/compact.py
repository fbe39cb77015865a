"""Replacing a store by its next version; packing is the version with the same content in fewer files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dataengine.store import labels, versions
from dataengine.store.build import build
from dataengine.store.change import Change
from dataengine.store.lock import WriterLock, label_lock
from dataengine.store.recover import recover
from dataengine.store.store import Store


def compact(store: Store, *, join_videos: bool = False) -> None:
    """Pack the store; its digest stays, versions kept for `undo` go. Raises `StoreLocked` while somebody writes."""
    with changing(store):
        replace(store, Change(pack=True, join_videos=join_videos), store)
        versions.forget(store.root)


@contextmanager
def changing(store: Store) -> Iterator[None]:
    """Hold the writer's lock over a store that is whole, read anew, and has each label in one file."""
    versions.own_commit(store)
    lock = WriterLock(store.root)
    lock.acquire()
    try:
        recover(store.root)
        with label_lock(store.root):
            for name in labels.names(store.root):
                labels.pack_files(store.root, name)
        store.reload()
        yield
    finally:
        lock.release()


def replace(store: Store, change: Change, source: Store) -> None:
    """Build the changed version and swap it in; inside `changing`. A killed one leaves the store as it was.

    source: what is read; the store, or a copy of it that has episodes to be taken in.
    """
    with versions.next_version(store, keep=change.edits is not None) as folder:
        build(source, change, folder)
        with label_lock(source.root):
            versions.share_labels(source, folder)
