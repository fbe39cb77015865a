"""The wire between the Hub's real client and a server: requests counted, and cut before or after any of them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from huggingface_hub import close_session, set_client_factory
from huggingface_hub.utils._http import default_client_factory

from dataengine.hub.objects import Objects

REPO = "local/cubes"


class Killed(BaseException):
    """What stands for SIGKILL inside one process: nothing catches it, and no request follows it."""


class Wire(httpx.BaseTransport):
    """Passes requests on and notes them as "METHOD path". cut: called with the number of a request, from 0, and with
    "before" or "after" it was carried out; what it raises is what the client sees."""

    def __init__(self, cut: Callable[[int, str], None]) -> None:
        self.cut, self.asked = cut, []  # type: ignore[var-annotated]
        self._inner, self._numbers, self._lock = httpx.HTTPTransport(), itertools.count(), threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            number = next(self._numbers)
            self.cut(number, "before")
            self.asked.append(f"{request.method} {request.url.path}")
        response = self._inner.handle_request(request)
        try:
            self.cut(number, "after")
        except BaseException:
            response.read()
            raise
        return response

    def close(self) -> None:
        self._inner.close()


@contextmanager
def wire(cut: Callable[[int, str], None] = lambda number, when: None) -> Iterator[Wire]:
    """The client of this process over a `Wire`."""
    carried = Wire(cut)

    def factory() -> httpx.Client:
        client: Any = default_client_factory()
        return httpx.Client(
            transport=carried, event_hooks=client.event_hooks, follow_redirects=True, timeout=httpx.Timeout(30)
        )

    set_client_factory(factory)
    try:
        yield carried
    finally:
        close_session()
        set_client_factory(default_client_factory)


def killed_at(n: int) -> Callable[[int, str], None]:
    """The process dies before request n."""

    def cut(number: int, when: str) -> None:
        if number >= n:
            raise Killed

    return cut


def lost_at(n: int) -> Callable[[int, str], None]:
    """The server does what request n asks; the connection breaks before its answer."""

    def cut(number: int, when: str) -> None:
        if (number, when) == (n, "after"):
            raise httpx.RemoteProtocolError("the server closed the connection without an answer")

    return cut


def content_of(root: Path, revision: str) -> dict[str, str] | None:
    """sha256 of every file at this revision, from the server's own folder; None: there is no such revision."""
    repo = Objects(root).get(REPO)
    commit = repo.resolve(revision) if repo else None
    return None if repo is None or commit is None else {p: f.sha256 for p, f in repo.tree(commit).items()}


def moving(root: Path) -> str:
    """What LeRobot takes for `v3.0`: that tag, or else the highest `v3.0.N`."""
    repo = Objects(root).get(REPO)
    assert repo is not None
    fixed = sorted((int(t.rsplit(".", 1)[1]), t) for t in repo.tags if t.startswith("v3.0."))
    return "v3.0" if "v3.0" in repo.tags else fixed[-1][1]
