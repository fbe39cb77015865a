"""The collector service: a few addresses through which recorders add whole episodes to one store.

GET  /v1/store                        what the store is
POST /v1/episodes                     {id: content} → what the store has of each: same, other, gone, missing
POST /v1/offers                       an offer → its key, and from which byte on which files are needed
PUT  /v1/offers/KEY/blobs/SHA256      the next piece of a file (Content-Range)
POST /v1/offers/KEY/commit            check it and commit it; 202: still at it, ask again
"""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from collectors.fleet.committer import GONE, OTHER, Committer
from collectors.fleet.gate import Gate
from collectors.fleet.inbox import Crowded, Inbox, Misplaced, Unknown
from collectors.fleet.intake import FULL, Damaged
from collectors.fleet.offer import PROTOCOL, Limits, check_id, read_offer
from dataengine.errors import (
    ConfigError,
    DataEngineError,
    EpisodeError,
    MachineError,
    Refused,
    SourceError,
    StoreError,
)
from dataengine.guard import parse_json
from dataengine.store.schema import to_info
from dataengine.store.store import Store

PATIENCE = 15.0  # seconds that a commit is waited for in one request
_SILENCE = 60.0  # seconds without a byte of a body
_AT_ONCE = 200  # episodes asked for in one request
_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})", re.ASCII)


class Service:
    """What the addresses do; the committer and the inbox are open while the application runs."""

    def __init__(self, root: Path, limits: Limits, say: Callable[[str], None]) -> None:
        self.limits = limits
        self.inbox = Inbox.beside(root, limits)
        self.committer = Committer(root, self.inbox, say)

    async def about(self, request: Request) -> Response:
        store = await run_in_threadpool(self.committer.store)
        about: dict[str, Any] = {"protocol": PROTOCOL, "piece_bytes": self.limits.piece_bytes}
        return JSONResponse(about | (_described(store) if store else {"episodes": 0, "frames": 0}))

    async def episodes(self, request: Request) -> Response:
        asked = await self._json(request)
        if not isinstance(asked, dict) or len(asked) > _AT_ONCE:
            raise HTTPException(400, f"expected is a mapping of at most {_AT_ONCE} ids to contents")
        known = {check_id(identity): str(content) for identity, content in asked.items()}
        return JSONResponse(await run_in_threadpool(self.committer.states, known))

    async def offer(self, request: Request) -> Response:
        offer = read_offer(await self._json(request), self.limits)
        state = await run_in_threadpool(self.committer.state, offer.episode_id, offer.content)
        if state != "missing":
            if state != "same":
                raise Refused(f"episode {offer.episode_id}: {OTHER if state == 'other' else GONE}")
            return JSONResponse({"state": "same"})
        key = await run_in_threadpool(self.inbox.open, offer)
        return JSONResponse({"state": "missing", "key": key, "missing": self.inbox.missing(key, offer)})

    async def blob(self, request: Request) -> Response:
        key, sha256 = request.path_params["key"], request.path_params["sha256"]
        offer = await run_in_threadpool(self.inbox.offer, key)
        size = offer.blobs.get(sha256) if offer else None
        if size is None:
            raise HTTPException(404, "no offer of this key lists this file")
        said = _RANGE.fullmatch(request.headers.get("content-range", ""))
        if said is None:
            raise HTTPException(400, "a piece says where it stands: Content-Range: bytes FIRST-LAST/SIZE")
        first, last, total = map(int, said.groups())
        if not (first <= last < total == size and last - first < self.limits.piece_bytes):
            raise HTTPException(416, f"of {size} bytes, pieces of at most {self.limits.piece_bytes} are taken")
        data = await self._body(request, last - first + 1)
        if len(data) != last - first + 1:
            raise HTTPException(400, f"the piece has {len(data)} bytes, not {last - first + 1}")
        return JSONResponse({"offset": await run_in_threadpool(self.inbox.append, key, sha256, first, data)})

    async def commit(self, request: Request) -> Response:
        key = request.path_params["key"]
        offer = await run_in_threadpool(self.inbox.offer, key)
        if offer is None:
            raise HTTPException(404, "there is no such offer (any more); offer the episode again")
        if missing := self.inbox.missing(key, offer):
            return JSONResponse({"error": "not all of it is here", "missing": missing}, 409)
        job = asyncio.wrap_future(self.committer.submit(key))
        try:
            index = await asyncio.wait_for(asyncio.shield(job), PATIENCE)
        except TimeoutError:
            return JSONResponse({"state": "waiting"}, 202)
        except Damaged as error:
            missing = dict.fromkeys(error.blobs, 0)
            return JSONResponse({"error": f"{error}; send them again", "missing": missing}, 409)
        return JSONResponse({"state": "same", "index": index})

    async def _json(self, request: Request) -> Any:
        data = await self._body(request, self.limits.offer_bytes)
        try:
            return await run_in_threadpool(parse_json, data.decode(), "the request")
        except (UnicodeDecodeError, SourceError) as error:
            raise HTTPException(400, "the request is not JSON") from error

    async def _body(self, request: Request, most: int) -> bytes:
        said = request.headers.get("content-length", "")
        if said.isdecimal() and int(said) > most:
            raise HTTPException(413, f"the request has more than {most} bytes")
        body, stream = bytearray(), request.stream()
        while True:
            try:
                body += await asyncio.wait_for(anext(stream), _SILENCE)
            except StopAsyncIteration:
                return bytes(body)
            except TimeoutError:
                raise HTTPException(408, "nothing came for too long") from None
            if len(body) > most:
                raise HTTPException(413, f"the request has more than {most} bytes")


@contextmanager
def opened(
    root: Path,
    token: str,
    *,
    hosts: Iterable[str] = (),
    limits: Limits | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[Gate]:
    """The application that grows the store at `root`, whose writer it holds meanwhile. Raises `StoreLocked`.

    hosts: names that it goes by, beside the local ones.
    """
    service = Service(root, limits or Limits(), say)
    routes = [
        Route("/v1/store", service.about, methods=["GET"]),
        Route("/v1/episodes", service.episodes, methods=["POST"]),
        Route("/v1/offers", service.offer, methods=["POST"]),
        Route("/v1/offers/{key}/blobs/{sha256}", service.blob, methods=["PUT"]),
        Route("/v1/offers/{key}/commit", service.commit, methods=["POST"]),
    ]
    kinds = (HTTPException, ClientDisconnect, DataEngineError, OSError)
    app = Starlette(routes=routes, exception_handlers=dict.fromkeys(kinds, _failed))
    with service.inbox, service.committer:
        yield Gate(app, token, hosts)


def listening(host: str, port: int) -> socket.socket:
    """Raises `ConfigError` where nobody can listen there. Port 0: any free one."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"cannot listen on {host}, port {port}: {error}") from error


def address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def server_of(app: Gate) -> uvicorn.Server:
    """To be run with `listening` sockets. Bodies are bounded by the addresses; connections are bounded here."""
    options: dict[str, Any] = {"log_level": "warning", "limit_concurrency": 64, "timeout_graceful_shutdown": 5}
    return uvicorn.Server(uvicorn.Config(app, server_header=False, lifespan="off", **options))


@contextmanager
def serving(root: Path, token: str, *, port: int = 0, limits: Limits | None = None) -> Iterator[str]:
    """The service on 127.0.0.1 in a thread of this process; gives its address."""
    with opened(root, token, limits=limits) as app, listening("127.0.0.1", port) as listener:
        server = server_of(app)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield address_of(listener)
        finally:
            server.should_exit = True
            thread.join(timeout=30)


def _described(store: Store) -> dict[str, Any]:
    features = {key: to_info(feature) for key, feature in store.features.items()}
    return {"episodes": len(store), "frames": store.frames, "fps": store.fps, "features": features}


async def _failed(request: Request, error: Exception) -> Response:
    """Errors as JSON of one line: what is wrong, and by the code whether it helps to ask again."""
    extra: dict[str, Any] = {}
    headers: dict[str, str] = {}
    if isinstance(error, HTTPException):
        code, said = error.status_code, str(error.detail)
    elif isinstance(error, Misplaced):
        code, said, extra = 409, str(error), {"offset": error.offset}
    elif isinstance(error, EpisodeError | Refused):
        code, said = 422, str(error)
    elif isinstance(error, Crowded):
        code, said, headers = 503, str(error), {"Retry-After": "10"}
    elif isinstance(error, OSError):
        full = error.errno in FULL
        code, said = (507, "the service's disk is full") if full else (503, f"the service's disk: {error.strerror}")
    elif isinstance(error, MachineError):
        code, said = (507 if "full" in str(error) else 503), str(error)
    elif isinstance(error, Unknown):
        code, said = 404, str(error)
    elif isinstance(error, StoreError):
        code, said = 503, "the service cannot read its store; verify it there"
    else:
        code, said = 400, "the request is not what this address takes"
    return JSONResponse({"error": said, **extra}, code, headers)
