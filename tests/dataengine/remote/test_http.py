"""A server that fails, lies or changes its mind: tried again where that helps, else an error that says all."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from remote_served import Served, reply, serving

from dataengine.errors import StoreError
from dataengine.remote import Missing, Origin, Version
from dataengine.remote import http as over_http
from dataengine.remote.http import NoRanges

DATA = bytes(range(256)) * 40
Fault = Callable[[BaseHTTPRequestHandler, str], bool]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(over_http, "PAUSE", 0.0)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "a b#1").write_bytes(DATA)
    with serving(tmp_path) as found:
        yield found


def times(count: int, fault: Fault) -> Fault:
    """Only the first answers."""
    left = [count]

    def sometimes(handler: BaseHTTPRequestHandler, path: str) -> bool:
        left[0] -= 1
        return left[0] >= 0 and fault(handler, path)

    return sometimes


def short(handler: BaseHTTPRequestHandler, path: str) -> bool:
    """Fewer bytes than the header says, then the connection ends."""
    handler.close_connection = True
    return reply(handler, 206, DATA[100:150], Content_Length="100", Content_Range=f"bytes 100-199/{len(DATA)}")


def range_of(said: str, body: bytes = DATA[100:200], code: int = 206) -> Fault:
    return lambda handler, path: reply(handler, code, body, Content_Range=said)


def test_a_part_is_what_was_asked_for(served: Served) -> None:
    origin = Origin(served.address)
    version = origin.version("a b#1")
    assert version.size == len(DATA) and version.mark
    assert origin.part("a b#1", 100, 200, version) == DATA[100:200]
    assert served.sent == 101
    with pytest.raises(Missing, match=f"{served.address}/nothing: 404"):
        origin.version("nothing")


@pytest.mark.parametrize(
    "fault",
    [short, lambda h, p: reply(h, 500, b""), lambda h, p: reply(h, 429, b"", Retry_After="0"),
     range_of(f"bytes 100-199/{len(DATA)}", DATA[100:150])],
)  # fmt: skip
def test_what_passes_is_tried_again(served: Served, fault: Fault) -> None:
    origin = Origin(served.address)
    version = Version(len(DATA), "")
    served.fault = times(over_http.TRIES - 1, fault)
    assert origin.part("a b#1", 100, 200, version) == DATA[100:200]
    assert len(served.asked) == over_http.TRIES
    served.fault = fault
    with pytest.raises(StoreError, match=rf"{served.address}/a%20b%231: .*tried {over_http.TRIES} times"):
        origin.part("a b#1", 100, 200, version)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (range_of(f"bytes 0-99/{len(DATA)}", DATA[:100]), "asked for bytes 100 to 199, .* gave 0 to 99"),
        (range_of(f"bytes 100-199/{len(DATA) + 1}"), "has changed since it was opened"),
        (range_of("bytes 100-199/*"), "does not say which part"),
        (range_of("rows 1-2/3"), "does not say which part"),
        (range_of(f"bytes 100-199/{len(DATA)}", DATA[100:201]), "gave more than 100 bytes"),
        (lambda h, p: reply(h, 206, b"x" * 100, Content_Encoding="gzip"), "comes compressed"),
        (lambda h, p: reply(h, 403, b""), "403 Forbidden .does this token"),
        (lambda h, p: reply(h, 401, b""), "401 Unauthorized .is a token needed"),
        (lambda h, p: reply(h, 302, b"", Location=h.path), "[Rr]edirects"),
        (lambda h, p: reply(h, 302, b"", Location="file:///etc/passwd"), "/a%20b%231: "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_address(served: Served, fault: Fault, reason: str) -> None:
    served.fault = fault
    with pytest.raises(StoreError, match=reason) as error:
        Origin(served.address).part("a b#1", 100, 200, Version(len(DATA), ""))
    assert str(error.value).startswith(f"{served.address}/a%20b%231: ")


def test_a_file_that_changes_is_an_error(served: Served) -> None:
    origin = Origin(served.address)
    version = origin.version("a b#1")
    (served.folder / "a b#1").write_bytes(DATA[::-1])
    with pytest.raises(StoreError, match="a%20b%231: has changed since it was opened"):
        origin.part("a b#1", 0, 10, version)


def test_whole_files_are_bounded_and_checked(served: Served, tmp_path: Path) -> None:
    origin, target = Origin(served.address), tmp_path / "here"
    assert origin.save("a b#1", target, len(DATA)).size == len(DATA) and target.read_bytes() == DATA
    with pytest.raises(StoreError, match="has more than 1,000 bytes"):
        origin.save("a b#1", target, 1000)
    assert target.stat().st_size <= 2 << 20
    served.fault = times(2, short)
    assert origin.save("a b#1", target, len(DATA)).size == len(DATA)
    with pytest.raises(StoreError, match="has changed"):
        origin.save("a b#1", target, len(DATA), Version(3, ""))
    served.ranges = False
    with pytest.raises(NoRanges, match="range requests"):
        origin.part("a b#1", 0, 10, Version(len(DATA), ""))
    assert origin.version("a b#1").size == len(DATA)


def test_silence_ends(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    monkeypatch.setattr(over_http, "_client", lambda: httpx.Client(timeout=0.05))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(StoreError, match=f"{address}/x: no answer within .* tried"):
            Origin(address).version("x")
    with pytest.raises(StoreError, match=f"{address}/x: .*refused.* tried"):
        Origin(address).version("x")


def test_a_token_is_not_told_to_others(served: Served, tmp_path: Path) -> None:
    heard: list[str | None] = []

    def listen(handler: BaseHTTPRequestHandler, path: str) -> bool:
        heard.append(handler.headers.get("Authorization"))
        return False

    with serving(tmp_path) as other:
        other.fault = listen
        elsewhere = f"{other.address}/a%20b%231"
        served.fault = lambda h, p: listen(h, p) or reply(h, 302, b"", Location=elsewhere)
        assert Origin(served.address, {"Authorization": "Bearer x"}).version("a b#1").size == len(DATA)
    assert heard == ["Bearer x", None]
