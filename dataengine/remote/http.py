"""Parts of files over HTTP: asked for by range, every answer checked, tried again where that may help.

httpx is imported when the first address is read.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote

from dataengine.errors import MissingDependency, StoreError

if TYPE_CHECKING:
    import httpx

TRIES = 5
PAUSE = 0.5  # seconds before the second try; doubled before each further one
_LONGEST_PAUSE = 30.0
TIMEOUT = 30.0  # seconds without a byte
_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_HINTS = {
    401: " (is a token needed? log in: hf auth login)",
    403: " (does this token have access?)",
}


class Missing(StoreError):
    """There is no such file, or not for us."""


class NoRanges(StoreError):
    """The server sends whole files only."""


class _Again(Exception):
    """What may be otherwise in a moment. wait: seconds the server asks for."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True)
class Version:
    """What tells one state of a file from another: bytes, and the server's mark ("" where it gives none, or where the
    address itself names the content).
    """

    size: int
    mark: str


@dataclass(frozen=True)
class Origin:
    """Files below one address. headers: sent to its host only (a token). Every error is a `StoreError` of address and
    reason.
    """

    base: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def url(self, path: str) -> str:
        return f"{self.base}/{quote(path)}"

    def version(self, path: str) -> Version:
        """Raises `Missing`."""

        def look() -> Version:
            # One byte instead of HEAD, which not every server knows.
            with self._asked(path, {"Range": "bytes=0-0"}) as answer:
                if answer.status_code == 206:
                    return Version(_content_range(answer)[2], _mark(answer))
                return Version(_length(answer), _mark(answer))

        return self._tried(path, look)

    def part(self, path: str, start: int, stop: int, expected: Version) -> bytes:
        """Bytes `start` to `stop` of a file. Raises `NoRanges`, and `StoreError` when it is not as expected."""

        def load() -> bytes:
            with self._asked(path, {"Range": f"bytes={start}-{stop - 1}"}) as answer:
                if answer.status_code != 206:
                    raise NoRanges(f"{self.url(path)}: the server does not give parts of files (range requests)")
                begin, end, total = _content_range(answer)
                self._check(path, Version(total, _mark(answer)), expected)
                if (begin, end) != (start, stop - 1):
                    raise StoreError(
                        f"{self.url(path)}: asked for bytes {start} to {stop - 1}, the server says it gave {begin} "
                        f"to {end}"
                    )
                data = bytearray()
                for piece in answer.iter_raw():
                    data += piece
                    if len(data) > stop - start:
                        break
                if len(data) != stop - start:
                    less = "more than" if len(data) > stop - start else f"{len(data)} of"
                    raise _Again(f"gave {less} {stop - start} bytes")
                return bytes(data)

        return self._tried(path, load)

    def save(self, path: str, target: Path, most: int, expected: Version | None = None) -> Version:
        """A whole file of at most `most` bytes under a name that only the caller knows. Raises `Missing`."""

        def load() -> Version:
            with self._asked(path, {}) as answer, target.open("wb") as file:
                said = int(answer.headers["content-length"]) if "content-length" in answer.headers else None
                size = _copied(answer, file, most if said is None else min(said, most))
                if said is not None and size < min(said, most):
                    raise _Again(f"gave {size} of {said} bytes")
                if size > most or (said or 0) > most:
                    raise StoreError(f"{self.url(path)}: has more than {most:,} bytes, which cache_bytes leaves for it")
                got = Version(size, _mark(answer))
                if expected is not None:
                    self._check(path, got, expected)
                return got

        return self._tried(path, load)

    def text(self, path: str, most: int = 1 << 20) -> str:
        """A small answer as text; what is beyond `most` bytes is not read. Raises `Missing`."""

        def load() -> str:
            with self._asked(path, {}) as answer:
                data = b""
                for piece in answer.iter_raw():
                    data += piece
                    if len(data) >= most:
                        break
                return data[:most].decode("utf-8", "replace")

        return self._tried(path, load)

    def _check(self, path: str, got: Version, expected: Version) -> None:
        if got.size != expected.size or (expected.mark and got.mark != expected.mark):
            raise StoreError(
                f"{self.url(path)}: has changed since it was opened ({expected.size:,} bytes {expected.mark}; now "
                f"{got.size:,} bytes {got.mark}); open the store again"
            )

    @contextmanager
    def _asked(self, path: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """A good answer whose body is still to come, as it is on the wire."""
        asked = {"Accept-Encoding": "identity", **self.headers, **headers}
        with _client().stream("GET", self.url(path), headers=asked) as answer:
            code = answer.status_code
            if code in _AGAIN:
                wait = answer.headers.get("retry-after", "")
                raise _Again(f"{code} {answer.reason_phrase}", float(wait) if wait.isdigit() else 0.0)
            if code not in (200, 206):
                # Some stores of objects say 403 for what is not there.
                kind = Missing if code in (403, 404, 410) else StoreError
                raise kind(f"{self.url(path)}: {code} {answer.reason_phrase}{_HINTS.get(code, '')}")
            if self.base.startswith("https:") and answer.url.scheme != "https":
                raise StoreError(f"{self.url(path)}: leads to an address without encryption")
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise StoreError(f"{self.url(path)}: comes compressed though plain bytes were asked for")
            yield answer

    def _tried[T](self, path: str, do: Callable[[], T]) -> T:
        _client()
        import httpx

        for attempt in range(TRIES):
            try:
                return do()
            except (httpx.TransportError, _Again) as error:
                reason = f"no answer within {TIMEOUT:g} s" if isinstance(error, httpx.TimeoutException) else str(error)
                if attempt == TRIES - 1:
                    raise StoreError(f"{self.url(path)}: {reason or repr(error)}, tried {TRIES} times") from error
                wait = max(getattr(error, "wait", 0.0), PAUSE * 2**attempt * (1 + random.random()))
                time.sleep(min(wait, _LONGEST_PAUSE))
            except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                raise StoreError(f"{self.url(path)}: {error}") from error
        raise AssertionError("not reached")


def _content_range(answer: httpx.Response) -> tuple[int, int, int]:
    """First and last byte, and bytes of the whole file. Raises `ValueError`."""
    said = answer.headers.get("content-range", "")
    kind, _, rest = said.partition(" ")
    span, _, total = rest.partition("/")
    begin, _, end = span.partition("-")
    if kind != "bytes" or not (begin.isdecimal() and end.isdecimal() and total.isdecimal()):
        raise ValueError(f"the server does not say which part it gave (Content-Range: {said!r})")
    return int(begin), int(end), int(total)


def _length(answer: httpx.Response) -> int:
    said = answer.headers.get("content-length", "")
    if not said.isdecimal():
        raise ValueError(f"the server does not say how large the file is (Content-Length: {said!r})")
    return int(said)


def _mark(answer: httpx.Response) -> str:
    return answer.headers.get("etag") or answer.headers.get("last-modified") or ""


def _copied(answer: httpx.Response, file: BinaryIO, most: int) -> int:
    """Bytes written; a few more than `most` where there are more."""
    size = 0
    for piece in answer.iter_raw():
        size += file.write(piece)
        if size > most:
            break
    return size


@lru_cache(maxsize=1)
def _client() -> httpx.Client:
    try:
        import httpx
    except ImportError as error:
        raise MissingDependency("httpx", extra="hub") from error
    return httpx.Client(timeout=TIMEOUT, follow_redirects=True, max_redirects=5)


# Parent and child would write into one connection.
os.register_at_fork(after_in_child=_client.cache_clear)
