"""Whoever is not the page of this run gets nothing and stops nothing, and no page can do more than pages do."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest
from fake_sitting import FakeSitting
from page_client import drives, get, heard, page, parts, say, until
from websockets.exceptions import ConnectionClosed, InvalidStatus

from collectors.teleop.web.access import PROTOCOL
from collectors.teleop.web.server import Running, serve
from dataengine.errors import ConfigError, MachineError

SMALL = {"observation.images.top": (48, 64), "observation.images.wrist": (32, 32)}


@pytest.fixture
def sitting() -> Iterator[FakeSitting]:
    with FakeSitting(SMALL) as sitting:
        yield sitting


@pytest.fixture
def running(sitting: FakeSitting) -> Iterator[Running]:
    with serve(sitting) as running:
        yield running


def test_the_page_and_its_files_come_with_a_strict_policy(running: Running) -> None:
    _, token = parts(running)
    status, headers, body = get(running, f"/?token={token}")
    assert status == 200 and b"<title>Teleoperation" in body
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store" and "server" not in headers
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and token not in cookie
    for name in ("page.js", "page.css", "icon.svg", "link.js"):
        status, headers, _ = get(running, f"/{name}", Cookie=cookie.split(";")[0])
        assert status == 200 and headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/page.js", "/nothing", "/?token=", "/?token=wrong", "/page.js?token=x&token=y"])
def test_nothing_without_the_token(running: Running, path: str) -> None:
    status, headers, body = get(running, path, Cookie="teleop_0=0; a=b")
    assert status == 403 and b"address that is printed" in body and "set-cookie" not in headers
    assert "content-security-policy" in headers


def test_names_that_were_made_to_point_here_get_nothing(running: Running) -> None:
    _, token = parts(running)
    for host in ("evil.example", "127.0.0.1.evil.example", "0.0.0.0", "localhost.evil.example", "", "127.0.0.1:80;x"):
        assert get(running, f"/?token={token}", host)[0] == 403
    for host in ("localhost", "LOCALHOST", "[::1]"):  # SSH forwards under these names, to any port
        assert get(running, f"/?token={token}", host)[0] == 200


def test_pages_of_other_origins_get_nothing(running: Running) -> None:
    port, token = parts(running)
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", f"https://127.0.0.1:{port}"):
        assert get(running, f"/?token={token}", Origin=origin)[0] == 403
        with pytest.raises(InvalidStatus, match="403"):
            page(running, origin=origin)
    with pytest.raises(InvalidStatus, match="403"):
        page(running, origin=None)


def test_no_socket_without_the_token_itself(running: Running, sitting: FakeSitting) -> None:
    _, token = parts(running)
    cookie = get(running, f"/?token={token}")[1]["set-cookie"].split(";")[0]
    offers = ([], [PROTOCOL], [PROTOCOL, "token.wrong"], [f"token.{token}"], [PROTOCOL, "token."])
    for offered in (*offers, [PROTOCOL, f"token.{token}", "token.wrong"]):
        with pytest.raises(InvalidStatus, match="403"):
            page(running, subprotocols=offered or None, additional_headers={"Cookie": cookie})
    with page(running) as right:
        assert right.subprotocol == PROTOCOL  # the token does not come back
        assert heard(right, drives)
    assert not sitting.orders


@pytest.mark.parametrize(
    "path",
    [
        "/../server.py",
        "/..%2fserver.py",
        "/%2e%2e/%2e%2e/pyproject.toml",
        "//etc/passwd",
        "/page/",
        "//evil.example/",
        "/.",
        "/%00",
    ],
)
def test_paths_lead_nowhere(running: Running, path: str) -> None:
    _, token = parts(running)
    cookie = get(running, f"/?token={token}")[1]["set-cookie"].split(";")[0]
    status, _, body = get(running, path, Cookie=cookie)
    assert status in (400, 404) and len(body) < 100


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("no json", "JSON"),
        ("[" * 5000, "JSON"),
        ("[]", "JSON"),
        ("{}", "type"),
        ('{"type":"order","name":"explode"}', "order is one of"),
        ('{"type":"order","name":"start","text":"x"}', "takes no such value"),
        ('{"type":"input","source":"keyboard","seq":0,"sent":NaN}', "sent"),
        ('{"type":"input","source":"keyboard","seq":-1,"sent":0}', "seq"),
        ('{"type":"seen","numbers":{"a":"b"}}', "seen"),
        ('{"type":"seat","want":"all"}', "seat"),
        ('{"type":"ping","sent":Infinity}', "ping"),
        (b"\x00\x01", "text"),
    ],
)
def test_what_means_nothing_is_refused_in_words(
    running: Running, sitting: FakeSitting, message: str | bytes, words: str
) -> None:
    with page(running) as socket:
        assert heard(socket, drives)
        socket.send(message)
        assert words in heard(socket, lambda m: m["type"] == "refused")["words"]
        say(socket, "order", name="start")  # and goes on
        until(lambda: sitting.phase == "recording")
    assert [order.name for order in sitting.orders] == ["start"]


def test_too_long_a_message_ends_its_connection_alone(running: Running, sitting: FakeSitting) -> None:
    with page(running) as one, page(running) as other:
        assert heard(one, drives)
        other.send('{"type":"order","name":"note","text":"' + "x" * 20_000 + '"}')
        with pytest.raises(ConnectionClosed) as end:
            heard(other, lambda m: False)
        assert end.value.rcvd is not None and end.value.rcvd.code == 1009
        say(one, "order", name="start")
        until(lambda: sitting.phase == "recording")


def test_a_flood_is_cut_off_and_hurts_nobody_else(running: Running, sitting: FakeSitting) -> None:
    with page(running) as one, page(running) as flood:
        assert heard(one, drives)
        with pytest.raises(ConnectionClosed) as end:
            for _ in range(3000):
                flood.send('{"type":"ping","sent":1}')
            heard(flood, lambda m: False)
        assert end.value.rcvd is not None and "too many messages" in end.value.rcvd.reason
        say(one, "order", name="start")
        until(lambda: sitting.phase == "recording")
    with page(running) as orders, pytest.raises(ConnectionClosed) as end:
        assert heard(orders, lambda m: m["type"] == "seat")
        for _ in range(60):
            say(orders, "order", name="flag")
        heard(orders, lambda m: False)
    assert end.value.rcvd is not None and "too many orders" in end.value.rcvd.reason


def test_only_so_many_pages(running: Running) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(page(running))
        one_more = stack.enter_context(page(running, hello=False))
        with pytest.raises(ConnectionClosed) as end:
            heard(one_more, lambda m: False)
        assert end.value.rcvd is not None and end.value.rcvd.code == 1013


def test_the_network_only_when_asked_for(sitting: FakeSitting) -> None:
    with pytest.raises(ConfigError, match="lan=True"):
        serve(sitting, "0.0.0.0")
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(MachineError, match="cannot listen"):
        serve(sitting, port=taken.getsockname()[1])
