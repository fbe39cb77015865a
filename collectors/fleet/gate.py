"""Who may ask: every request shows the token, names a host that this service has, and comes from no web page."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LOCAL = ("127.0.0.1", "localhost", "[::1]")


class Gate:
    """ASGI middleware around the whole application. hosts: names, beside the local ones, that it answers to."""

    def __init__(self, app: ASGIApp, token: str, hosts: Iterable[str] = ()) -> None:
        self.app, self.hosts = app, {*LOCAL, *(host.lower() for host in hosts)}
        self._token = _digest(f"Bearer {token}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            refusal = self._refusal(Headers(scope=scope))
            await (self.app if refusal is None else refusal)(scope, receive, send)

    def _refusal(self, headers: Headers) -> JSONResponse | None:
        host = _name(headers.get("host", ""))
        if host not in self.hosts:
            return _said(403, f"this service does not go by the name {host[:80]!r}; add it with --name")
        if "origin" in headers or headers.get("sec-fetch-site", "none") != "none":
            return _said(403, "no web page may ask here")
        if not hmac.compare_digest(_digest(headers.get("authorization", "")), self._token):
            return _said(401, "the token is missing or wrong; the service printed it when it started")
        return None


def _digest(text: str) -> bytes:
    """Of equal length for every text, so that comparing takes the same time for all."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _name(host: str) -> str:
    """A Host header without its port."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).lower()


def _said(code: int, error: str) -> JSONResponse:
    return JSONResponse({"error": error}, code, {"Connection": "close"})
