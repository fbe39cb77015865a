"""One member of a fleet as a process that can be killed: run as a program.

python fleet_process.py serve STORE PORT
python fleet_process.py push STORE URL NAME      until everything has been acknowledged; a line for each episode
python fleet_process.py learn STORE FILE         reads the growing store until there is FILE; says what it saw as JSON
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import numpy as np  # noqa: E402

from dataengine.errors import StoreError  # noqa: E402
from dataengine.store import FrameStream, Store  # noqa: E402

TOKEN = "a token of the tests"


def serve(root: str, port: str) -> None:
    from collectors.fleet.service import listening, opened, server_of

    with listening("127.0.0.1", int(port)) as listener, opened(Path(root), TOKEN) as app:
        print("ready", flush=True)
        server_of(app).run([listener])


def push(root: str, url: str, name: str) -> None:
    from collectors.fleet import push as pushing
    from collectors.fleet.wire import Wire

    pushing._PIECE = 3000
    work = pushing.Push(Path(root), Wire(url, TOKEN, 60), recorder=name)
    deliver: Callable[..., None] = work._deliver

    def told(packed: pushing.Packed) -> None:
        deliver(packed)
        print(packed.offer.episode_id, flush=True)

    work._deliver = told  # type: ignore[method-assign]
    work.once()


def learn(root: str, end: str) -> None:
    """Every epoch is over one whole state: episodes 0 to n, each with all its frames, and no frame of another."""
    states: list[int] = []
    seen: tuple[str, ...] = ()
    store: Store | None = None
    while not Path(end).exists():
        try:
            store = store.reload() if store else Store.open(root)
        except StoreError:  # nobody has sent anything yet
            assert store is None
            time.sleep(0.02)
            continue
        assert store.ids[: len(seen)] == seen, "an episode went away"
        seen = store.ids
        frames, sums = 0, np.zeros(len(seen))
        for batch in FrameStream(store, batch=16, seed=len(states)):
            frames += len(batch["index"])
            np.add.at(sums, batch["episode_index"], batch["action"][:, 0])
        assert frames == store.frames == int(store.table_of_episodes.length.sum())
        expected = [int(identity.rpartition("-")[2]) for identity in seen] * store.table_of_episodes.length
        np.testing.assert_array_equal(sums, expected)
        states.append(len(seen))
        time.sleep(0.05)  # the others need the processor too
    print(json.dumps(states))


if __name__ == "__main__":
    {"serve": serve, "push": push, "learn": learn}[sys.argv[1]](*sys.argv[2:])
