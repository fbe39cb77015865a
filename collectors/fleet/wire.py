"""The recorder's end of the wire: requests that are made again while the service is away, with pauses that grow."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dataengine.errors import ConfigError, MissingDependency, Refused, SourceError, StoreError
from dataengine.guard import parse_json

if TYPE_CHECKING:
    import httpx

PATIENCE = 120.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 15.0
_TIMEOUT = 60.0  # seconds without a byte
_AGAIN = {408, 425, 429, 500, 502, 503, 504, 507}
_MOST_ANSWER = 16 << 20


class Wire:
    """patience: seconds for which a service may be away before it is an error; None: for ever.

    say: told when the service goes away. Raises `StoreError` for what will not become better by asking again, and
    `Refused` with the service's reason for an episode that it does not take.
    """

    def __init__(
        self, url: str, token: str, patience: float | None = PATIENCE, say: Callable[[str], None] = lambda line: None
    ) -> None:
        try:
            import httpx
        except ImportError as error:
            raise MissingDependency("httpx", extra="hub") from error
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ConfigError(f"{url!r} is not the address of a service, such as http://127.0.0.1:8787")
        if not token.isascii() or not token.isprintable():
            raise ConfigError("a token is printable ASCII")
        self.url, self.patience, self.say = url.rstrip("/"), patience, say
        headers = {"Authorization": f"Bearer {token}"}
        self._client = httpx.Client(timeout=_TIMEOUT, headers=headers, follow_redirects=False, trust_env=False)

    def close(self) -> None:
        self._client.close()

    def ask(
        self, method: str, path: str, *, json: Any = None, content: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> tuple[int, dict[str, Any]]:
        """Status and answer: 200, 202, 404 or 409."""
        import httpx

        begin, pause = time.monotonic(), _FIRST_PAUSE
        while True:
            try:
                answer = self._client.request(
                    method, f"{self.url}{path}", json=json, content=content, headers=dict(headers)
                )
                if answer.status_code not in _AGAIN:
                    return self._understood(answer)
                reason, wait = self._said(answer), _seconds(answer.headers.get("retry-after", ""))
            except httpx.TransportError as error:
                reason, wait = str(error) or type(error).__name__, 0.0
            away = time.monotonic() - begin
            if self.patience is not None and away > self.patience:
                raise StoreError(f"{self.url}: {reason}; tried for {away:.0f} s. What was acknowledged is kept")
            if pause == _FIRST_PAUSE:
                self.say(f"{self.url}: {reason}; trying again")
            time.sleep(max(min(wait, _LONGEST_PAUSE), pause * (1 + random.random()) / 2))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _understood(self, answer: httpx.Response) -> tuple[int, dict[str, Any]]:
        if answer.status_code == 422:
            raise Refused(self._said(answer))
        if answer.status_code not in (200, 202, 404, 409):
            raise StoreError(f"{self.url}: {answer.status_code} {self._said(answer)}")
        return answer.status_code, self._data(answer)

    def _said(self, answer: httpx.Response) -> str:
        try:
            said = self._data(answer).get("error")
        except StoreError:
            said = None
        text = str(said or f"{answer.status_code} {answer.reason_phrase}")[:2000]
        return text if text.isprintable() else repr(text)

    def _data(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            data = parse_json(answer.text, self.url) if len(answer.content) <= _MOST_ANSWER else None
        except SourceError:
            data = None
        if not isinstance(data, dict):
            raise StoreError(
                f"{self.url}: {answer.status_code} is not an answer of a collector service; wrong address?"
            )
        return data


def _seconds(text: str) -> float:
    return float(text) if text.isdecimal() and len(text) < 6 else 0.0
