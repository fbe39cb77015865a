"""Who may talk to the page's server at all: the right host name, the right origin and this run's token.

Any web site open in the same browser can send requests to 127.0.0.1, and a name it owns can be made to point there (DNS
rebinding). So a request must name a host that this server is known by, come from a page of that very host, and carry a
token that stands only in the address printed in the terminal. Files are given for a cookie made from the token, since
cookies are seen by every port of a host; the WebSocket, which can move the robot, wants the token itself.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PROTOCOL = "dataengine.teleop"
_TOKEN = "token."  # what comes before the token in Sec-WebSocket-Protocol
LOCAL = frozenset({"127.0.0.1", "localhost", "[::1]"})
_REFUSAL = "Open the address that is printed in the terminal.\n"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' {socket}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), accelerometer=(self), gyroscope=(self), "
    "magnetometer=(self), gamepad=(self)",
}


@dataclass(frozen=True)
class Access:
    """Of one run. hosts: names this server answers to, whatever the port, since SSH forwards to another one."""

    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    hosts: frozenset[str] = LOCAL

    def _derived(self, what: str) -> str:
        return hmac.new(self.token.encode(), what.encode(), "sha256").hexdigest()

    @property
    def cookie(self) -> tuple[str, str]:
        """Name and value. The name is this run's own, so that two servers on one host do not overwrite each other's."""
        return f"teleop_{self._derived('name')[:12]}", self._derived("files")

    def refusal(self, scope: Scope) -> str | None:
        """Why this request gets nothing, for the log alone; the asker learns only where the address stands."""
        headers = Headers(scope=scope)
        host, origin = headers.getlist("host"), headers.getlist("origin")
        if len(host) != 1 or _name(host[0]) not in self.hosts:
            return "host"
        scheme = "https" if scope["scheme"] in ("https", "wss") else "http"
        if (origin or scope["type"] == "websocket") and origin != [f"{scheme}://{host[0]}"]:
            return "origin"
        if not (self._socket(headers) if scope["type"] == "websocket" else self._files(scope, headers)):
            return "token"
        return None

    def _socket(self, headers: Headers) -> bool:
        offered = [word.strip() for line in headers.getlist("sec-websocket-protocol") for word in line.split(",")]
        given = [word for word in offered if word.startswith(_TOKEN)]
        return PROTOCOL in offered and len(given) == 1 and _same(given[0].removeprefix(_TOKEN), self.token)

    def _files(self, scope: Scope, headers: Headers) -> bool:
        if self.in_query(scope):
            return True
        name, value = self.cookie
        pairs = (pair.strip().partition("=") for line in headers.getlist("cookie") for pair in line.split(";"))
        return any(key == name and _same(given, value) for key, _, given in pairs)

    def in_query(self, scope: Scope) -> bool:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        return len(given) == 1 and _same(given[0], self.token)


@dataclass(frozen=True)
class Guard:
    """Around the whole application: nobody reaches it but through `Access`, and every answer is hardened."""

    app: ASGIApp
    access: Access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        refused = self.access.refusal(scope)
        if scope["type"] == "websocket":
            if refused:
                return await send({"type": "websocket.close", "code": 1008, "reason": ""})  # HTTP 403: not accepted
            return await self.app(scope, receive, send)
        answer = PlainTextResponse(_REFUSAL, 403) if refused else self.app
        return await answer(scope, receive, self._hardened(scope, send, refused is None))

    def _hardened(self, scope: Scope, send: Send, welcome: bool) -> Send:
        secure = scope["scheme"] == "https"
        host = Headers(scope=scope).get("host", "") if welcome else ""
        policy = _POLICY.format(socket=f"{'wss' if secure else 'ws'}://{host}" if host else "")

        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update({**_HEADERS, "content-security-policy": policy})
                if welcome and self.access.in_query(scope):
                    name, value = self.access.cookie
                    headers["set-cookie"] = f"{name}={value}; Path=/; HttpOnly; SameSite=Strict" + "; Secure" * secure
            await send(message)

        return hardened


def subprotocols(token: str) -> Mapping[str, str]:
    """What a WebSocket client that is no browser sends to be let in; for tests and measurements."""
    return {"Sec-WebSocket-Protocol": f"{PROTOCOL}, {_TOKEN}{token}"}


def _name(host: str) -> str:
    """Without the port: `[::1]:80`, `localhost:80`, `localhost`."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())
