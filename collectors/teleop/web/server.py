"""The teleoperation page's server: on this machine alone unless asked for more, in a thread and event loop of its own.

    with serve(session) as running:
        print(running.announcement())

`lan=True` opens a second door for a phone on the same network, with a certificate of this run; the first one stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute

from collectors.teleop.messages import MOST_BYTES, Sitting
from collectors.teleop.web.access import LOCAL, Access, Guard
from collectors.teleop.web.certificate import Certificate, self_signed
from collectors.teleop.web.phone import lan_address, qr_rows, qr_text
from collectors.teleop.web.pictures import Pictures, Preview
from collectors.teleop.web.room import Room
from dataengine.errors import ConfigError, MachineError

PAGE = Path(__file__).parent / "page"
_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_STOP = 5.0  # how long an end may take [s]


@dataclass
class Running:
    """A server at work. url: to be opened on this machine. phone_url: by a phone, with `lan` alone."""

    url: str = field(repr=False)  # the token stands in it
    phone_url: str = field(default="", repr=False)
    fingerprint: str = ""
    _room: Room | None = field(default=None, repr=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, repr=False)
    _servers: list[uvicorn.Server] = field(default_factory=list, repr=False)
    _thread: threading.Thread | None = field(default=None, repr=False)

    def announcement(self) -> str:
        """What the terminal shows: the address, and a phone's with its QR code."""
        lines = [f"Open {self.url}"]
        if self.phone_url:
            lines += [
                f"On a phone in the same network, scan this or open {self.phone_url}",
                qr_text(self.phone_url),
                f"Its browser warns of an unknown certificate; that is ours if its SHA-256 is {self.fingerprint}",
            ]
        return "\n".join(lines)

    def stop(self) -> None:
        """Tell pages what came of it, and end; may be called twice."""
        if self._room is not None and self._loop is not None and self._loop.is_running():
            told = asyncio.run_coroutine_threadsafe(self._room.farewell(), self._loop)
            with contextlib.suppress(TimeoutError, asyncio.CancelledError):
                told.result(_STOP / 2)
        for server in self._servers:
            server.should_exit = True
        if self._thread is not None:
            self._thread.join(_STOP)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def serve(
    sitting: Sitting,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    lan: bool = False,
    preview: Preview | None = None,
) -> Running:
    """Begin to serve a sitting; gives at once. port: 0 for any free one. host: with `lan`, this machine's address in
    the network, found out if it is left out. token: for tests; else made anew.

    Raises `ConfigError` for an address that needs `lan`, `MachineError` for one that cannot be had.
    """
    local = host in ("127.0.0.1", "localhost", "::1")
    if not local and not lan:
        raise ConfigError(f"on {host} others in the network could move the robot; ask for it with lan=True")
    room = Room(sitting, Pictures(preview or Preview()))
    access = Access(token) if token else Access()
    doors: list[tuple[socket.socket, Access, Certificate | None]] = [
        (_bound(host if local else "127.0.0.1", port), access, None)
    ]
    running = Running(_address("http", doors[0][0], access))
    if lan:
        outside = lan_address() if local else host
        certificate = self_signed(outside)
        phone = Access(access.token, LOCAL | {f"[{outside}]" if ":" in outside else outside})
        doors.append((_bound(outside, port), phone, certificate))
        running.phone_url = _address("https", doors[1][0], phone)
        running.fingerprint = certificate.fingerprint
        room.phone = {"url": running.phone_url, "rows": qr_rows(running.phone_url), "print": certificate.fingerprint}
    application = _application(room)
    running._servers = [uvicorn.Server(_config(Guard(application, a), c)) for _, a, c in doors]
    running._room, sockets = room, [bound for bound, _, _ in doors]
    running._thread = threading.Thread(
        target=lambda: asyncio.run(_run(running, room, sockets)), name="teleop-page", daemon=True
    )
    running._thread.start()
    return running


def _application(room: Room) -> Starlette:
    """A fixed table of files that were read at the start: no path of a request ever reaches the disk."""
    files = {path.name: path.read_bytes() for path in PAGE.iterdir() if path.suffix in _KINDS}

    async def page(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in files:
            return PlainTextResponse("There is nothing here.\n", 404)
        return Response(files[name], media_type=_KINDS[Path(name).suffix])

    routes = [Route("/", page), Route("/{name}", page), WebSocketRoute("/socket", room.meet)]
    application = Starlette(routes=routes)
    application.router.redirect_slashes = False  # //elsewhere/ would be sent elsewhere
    return application


def _config(guard: Guard, certificate: Certificate | None) -> uvicorn.Config:
    tls: Mapping[str, Any] = {"ssl_context_factory": lambda *_: certificate.context} if certificate else {}
    return uvicorn.Config(
        guard,
        loop="asyncio",
        http="h11",
        ws="websockets-sansio",
        ws_max_size=MOST_BYTES,
        ws_ping_interval=3.0,
        ws_ping_timeout=6.0,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=1,
        **tls,
    )


async def _run(running: Running, room: Room, sockets: list[socket.socket]) -> None:
    running._loop, servers = asyncio.get_running_loop(), running._servers
    beat = asyncio.create_task(room.beat())
    await asyncio.gather(
        *(server.serve(sockets=[bound]) for server, bound in zip(servers, sockets, strict=True)), return_exceptions=True
    )
    beat.cancel()


def _bound(host: str, port: int) -> socket.socket:
    """Bound and listening before this returns, so that the address can be printed and opened at once."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(64)
    except OSError as error:
        bound.close()
        reason = error.strerror or str(error)
        raise MachineError(
            f"the page cannot listen on {host}:{port} ({reason}); port 0 takes any that is free"
        ) from None
    return bound


def _address(scheme: str, bound: socket.socket, access: Access) -> str:
    host, port = bound.getsockname()[:2]
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/?token={access.token}"
