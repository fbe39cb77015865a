"""A fleet in one process: local stores of small episodes, and a service whose every request can be made to fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
from starlette.testclient import TestClient
from store_made import FPS, FRONT, SMALL, episode

from collectors.fleet.committer import Committer
from collectors.fleet.offer import Limits
from collectors.fleet.packing import Packed
from collectors.fleet.push import Push
from collectors.fleet.service import opened
from collectors.fleet.wire import Wire
from dataengine.episode import Episode, Feature, Label
from dataengine.store import Store

TOKEN = "a token of the tests"
URL = "http://127.0.0.1:8787"
SIDE = "observation.images.side"
FEATURES = {
    **SMALL,
    SIDE: Feature("video", (32, 48, 3), role="image"),
    "intervention": Feature("bool", (1,)),
    "collect.actor": Feature("string", (1,)),
}


def made(seed: int, length: int = 6, features: dict[str, Feature] = FEATURES) -> Episode:
    """An episode in which a person takes over half way; its actions tell which one it is."""
    one = episode(seed, length, SMALL, id=f"episode-{seed}")
    one = replace(one, frames={**one.frames, "action": np.full((length, 2), seed, np.float32)})
    taken = np.arange(length) >= length // 2
    actor = np.where(taken, "person", "policy")
    clip = replace(one.clips[FRONT], array=one.clips[FRONT].array[:, ::-1].copy())  # type: ignore[type-var]
    columns: dict[str, Any] = {**one.frames, "intervention": taken, "collect.actor": actor}
    said = Label("span", pa.table({"start": [0], "stop": [length // 2], "text": ["reach"]}), {"name": "by hand"})
    return replace(
        one,
        features=dict(features),
        frames={key: column for key, column in columns.items() if key in features},
        clips={key: c for key, c in {**one.clips, SIDE: clip}.items() if key in features},
        labels={"subtask": said},
    )


def local(root: Path, seeds: Iterable[int], features: dict[str, Feature] = FEATURES, length: int = 6) -> Store:
    """A recorder's own store."""
    store = Store.create(root, fps=FPS, features=features, embodiment="arm", licence="mit")
    with store.writer() as writer:
        for seed in seeds:
            writer.append(made(seed, length, features))
    return store


class Lost(httpx.TransportError):
    """What a test lets happen to a request."""


class Service:
    """The service at `root`, asked without a network. `before` and `after` see every request; they may raise `Lost`."""

    def __init__(self, root: Path, limits: Limits | None = None) -> None:
        self.root, self.limits, self.said = root, limits, list[str]()
        self.requests = 0
        self.before: Callable[[int], None] = lambda number: None
        self.after: Callable[[int], None] = lambda number: None
        self._stack = self._running()
        self.client = self._stack.__enter__()

    @contextmanager
    def _running(self) -> Iterator[TestClient]:
        with opened(self.root, TOKEN, limits=self.limits, say=self.said.append) as app:
            yield TestClient(app, base_url=URL, headers={"Authorization": f"Bearer {TOKEN}"})

    @property
    def committer(self) -> Committer:
        return self.client.app.app.routes[0].endpoint.__self__.committer  # type: ignore[attr-defined]

    def restart(self) -> None:
        self._stack.__exit__(None, None, None)
        self._stack = self._running()
        self.client = self._stack.__enter__()

    def close(self) -> None:
        with suppress(Exception):
            self._stack.__exit__(None, None, None)

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        number = self.requests
        self.requests += 1
        self.before(number)
        answer = self.client.request(method, url, **options)
        self.after(number)
        return answer

    def ask(self, method: str, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
        answer = self.client.request(method, path, **options)
        return answer.status_code, answer.json()

    def push(self, root: Path, recorder: str = "one", patience: float = 0.0) -> Push:
        wire = Wire(URL, TOKEN, patience)
        wire._client = self  # type: ignore[assignment]
        return Push(root, wire, recorder=recorder)

    @property
    def store(self) -> Store:
        return Store.open(self.root)

    @property
    def waiting(self) -> list[str]:
        """What lies beside the store of uploads that are not whole."""
        folder = self.root.with_name(f".{self.root.name}.incoming")
        return sorted(
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if ".dataengine" not in str(path)
        )


@contextmanager
def service(root: Path, limits: Limits | None = None) -> Iterator[Service]:
    one = Service(root, limits)
    try:
        yield one
    finally:
        one.close()


def same_frames(one: Episode, other: Episode) -> None:
    """Columns, packets of pictures, labels and instructions are equal."""
    assert (one.id, one.meta.tasks, one.fps) == (other.id, other.meta.tasks, other.fps)
    assert one.frames.keys() == other.frames.keys()
    for key, column in one.frames.items():
        np.testing.assert_array_equal(column, other.frames[key], err_msg=key)
    for key, clip in one.clips.items():
        np.testing.assert_array_equal(np.stack(list(clip.frames())), np.stack(list(other.clips[key].frames())))
    assert {k: v.table.to_pylist() for k, v in one.labels.items()} == {
        k: v.table.to_pylist() for k, v in other.labels.items()
    }


def send(fleet: Service, offer: dict[str, Any], files: dict[str, bytes]) -> tuple[int, dict[str, Any]]:
    """Offer, upload in one piece each, commit; the last answer."""
    code, answer = fleet.ask("POST", "/v1/offers", json=offer)
    if code != 200 or answer["state"] == "same":
        return code, answer
    for sha256 in answer["missing"]:
        data = files[sha256]
        said = {"Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}"}
        code, sent = fleet.ask("PUT", f"/v1/offers/{answer['key']}/blobs/{sha256}", content=data, headers=said)
        assert code == 200, sent
    return fleet.ask("POST", f"/v1/offers/{answer['key']}/commit", json={})


def contents(packed: Packed) -> dict[str, bytes]:
    return {sha256: path.read_bytes() for sha256, path in packed.files.items()}
