"""Edits that are killed (SIGKILL) before the n-th rename, link, removal or swap, for every n: run as a program.

    python store_edit_killed.py FOLDER [STRIDE]

prints a JSON line for each n (or every STRIDE-th) until an edit survives: the store's digest as a reader finds it,
after recovery, and after undoing what was done.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from killing import DISK, die_before  # noqa: E402
from store_made import store_of  # noqa: E402

from dataengine.errors import StoreError  # noqa: E402
from dataengine.store import Edit, Store, files, history  # noqa: E402


def child(work: Callable[[], object]) -> int:
    if (process := os.fork()) == 0:
        work()
        os._exit(0)
    return os.waitpid(process, 0)[1]


def base(root: Path) -> None:
    """A store that was edited before, so that there is a history to lose."""
    store = store_of(root, range(5, 9))
    Edit(store).delete([0]).commit()


def killed_at(root: Path, n: int) -> None:
    edit = Edit(Store.open(root)).trim(0, 1, 4).delete([1])
    die_before(n, *DISK, (files, "exchange"))
    edit.commit()


def look(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"digest": Store.open(root).digest()}
    with Store.open(root).writer():
        pass
    store = Store.open(root)
    found |= {"recovered": store.digest(), "ok": store.verify().ok}
    found["left"] = sorted(path.name for path in root.parent.glob(f".{root.name}.*"))
    try:
        history.undo(store)
    except StoreError as error:
        return found | {"undone": str(error)}
    return found | {"undone": store.digest()}


def main(folder: Path, stride: int) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    child(lambda: base(folder / "base"))
    first = {"base": Store.open(folder / "base").digest()}
    for n in range(0, 1000, stride):
        root = folder / str(n)
        shutil.copytree(folder / "base", root, symlinks=True)
        status = child(lambda: killed_at(root, n))  # noqa: B023
        print(json.dumps({"n": n, **first, **look(root)}), flush=True)
        shutil.rmtree(root)
        if os.WIFEXITED(status):
            break


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
