"""Every write, rename, link, removal and fsync of an operation fails once: what was committed stays, and it goes on.

The fault is an `OSError` as a full or dying disk gives it, at one call; what follows works again. Whether the operation
then says so or has succeeded (the call only tidied up), readers find the store before or after it, whole.
`DATAENGINE_FAULTS=1` tries every call, else it is one in eight of the longer operations.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from killing import DISK
from store_made import SMALL, episode, store_of

from dataengine.episode import Label
from dataengine.errors import DataEngineError
from dataengine.store import Edit, Store, files, history, merging

EVERY = "DATAENGINE_FAULTS" in os.environ
WRITES = ((files, "write_arrow"), (Path, "write_bytes"), (pq.ParquetWriter, "write_table"))
PLACES = (*DISK, (files, "exchange"), (os, "fsync"), *WRITES)


@contextmanager
def fails_once(n: int) -> Iterator[Callable[[], bool]]:
    """The n-th call of all raises; gives whether there was one."""
    calls = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == n + 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")
            return function(*args, **kwargs)

        return call

    with ExitStack() as stack:
        for owner, name in PLACES:
            stack.enter_context(mock.patch.object(owner, name, counted(getattr(owner, name))))
        yield lambda: calls > n


def append(store: Store) -> None:
    with store.writer() as writer:
        writer.append(episode(7, 5, SMALL).with_label("contact", Label("event", pa.table({"frame": [1]}))))


def edit(store: Store) -> None:
    Edit(store).trim(0, 1, 4).delete([1]).commit()


def label(store: Store) -> None:
    store.write_labels("score", {i: Label("episode", pa.table({"v": np.ones(1)})) for i in store.ids})


def merge(store: Store) -> None:
    merging.merge(store, Store.open(store.root.parent / "other"))


OPERATIONS: dict[str, Callable[[Store], object]] = {
    "append": append,
    "edit": edit,
    "undo": history.undo,
    "compact": Store.compact,
    "label": label,
    "merge": merge,
}


def content(root: Path) -> tuple[str, dict[str, list[str]]]:
    store = Store.open(root)
    return store.digest(), {name: sorted(store.labels(name)) for name in store.label_names()}


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_fault_at_every_call(tmp_path: Path, name: str) -> None:
    operation = OPERATIONS[name]
    store, other = store_of(tmp_path / "base", [5] * 3), store_of(tmp_path / "other", [4] * 5)
    label(store)
    label(other)
    Edit(store).delete([0]).commit()
    shutil.copytree(store.root, tmp_path / "after")
    operation(Store.open(tmp_path / "after"))
    states = [content(store.root), content(tmp_path / "after")]
    failed = 0
    for n in range(0, 1000, 1 if EVERY or name == "label" else 8):
        root = tmp_path / str(n)
        shutil.copytree(store.root, root)
        one = Store.open(root)
        with fails_once(n) as hit:
            try:
                operation(one)
            except (OSError, DataEngineError) as error:
                failed += 1
                assert os.strerror(errno.ENOSPC) in str(error), f"call {n}: {error!r}"
                done = False
            else:
                done = True
        if not hit():
            break
        found = content(root)
        assert found in states and (not done or found == states[1]), f"call {n}"
        with Store.open(root).writer():  # recovers
            pass
        assert Store.open(root).verify().ok and content(root) in states, f"call {n}"
        if not done and content(root) == states[0]:
            operation(Store.open(root))
            assert content(root) == states[1] and Store.open(root).verify().ok, f"call {n}, again"
        assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(f".{n}.")], f"call {n}"
        shutil.rmtree(root)
    assert failed > (15 if EVERY and name != "label" else 3)
