"""A page of the teleoperation server that is no browser: what is right by default, and wrong where a test wants it."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from websockets.sync.client import ClientConnection, connect

from collectors.teleop.web.access import PROTOCOL
from collectors.teleop.web.server import Running


def parts(running: Running) -> tuple[int, str]:
    """Port and token."""
    address = urlsplit(running.url)
    return int(address.port or 0), address.query.removeprefix("token=")


def get(running: Running, path: str, host: str = "127.0.0.1", **headers: str) -> tuple[int, dict[str, str], bytes]:
    port, _ = parts(running)
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    asked.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
    for key, value in {"Host": f"{host}:{port}", **headers}.items():
        asked.putheader(key, value)
    asked.endheaders()
    answer = asked.getresponse()
    body = answer.read()
    asked.close()
    return answer.status, {key.lower(): value for key, value in answer.getheaders()}, body


def page(running: Running, *, tab: str = "", hello: bool = True, **more: Any) -> ClientConnection:
    """A WebSocket as the page opens it; keywords replace what is right by what is not."""
    port, token = parts(running)
    address = more.pop("address", "127.0.0.1")
    given = {
        "origin": f"http://127.0.0.1:{port}",
        "subprotocols": [PROTOCOL, f"token.{token}"],
        "open_timeout": 5,
        "compression": None,
        "max_size": 2**22,
        "max_queue": None,  # else a test that does not read cannot close
        **more,
    }
    socket = connect(f"ws://{address}:{port}/socket", **given)
    if hello:
        say(socket, "hello", tab=tab)
    return socket


def say(socket: ClientConnection, kind: str, **values: Any) -> None:
    socket.send(json.dumps({"type": kind, **values}))


def heard(socket: ClientConnection, wanted: Callable[[dict[str, Any]], bool], seconds: float = 5.0) -> dict[str, Any]:
    """The first text message that is wanted."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        with contextlib.suppress(TimeoutError):
            message = socket.recv(timeout=left)
            if isinstance(message, str) and wanted(data := json.loads(message)):
                return dict(data)
    raise AssertionError("not heard")


def until(what: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def drives(message: dict[str, Any]) -> bool:
    return message["type"] == "seat" and message["driving"]


def key(seq: int, *keys: str) -> dict[str, Any]:
    return {"source": "keyboard", "seq": seq, "sent": float(seq), "keys": list(keys)}
