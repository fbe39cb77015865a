"""Whoever is not the page of this run gets nothing and stops nothing; whoever is gets what it can take."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from fake_sitting import FakeSitting
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from collectors.teleop.access import PROTOCOL
from collectors.teleop.messages import Order
from collectors.teleop.pictures import Preview
from collectors.teleop.server import Running, serve
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
        one_more = stack.enter_context(page(running))
        with pytest.raises(ConnectionClosed) as end:
            heard(one_more, lambda m: False)
        assert end.value.rcvd is not None and end.value.rcvd.code == 1013


def test_one_drives_and_the_others_watch(running: Running, sitting: FakeSitting) -> None:
    with page(running) as driver, page(running) as watcher:
        assert heard(driver, drives)
        assert not heard(watcher, lambda m: m["type"] == "seat" and m["driver"] is not None)["driving"]
        say(watcher, "order", name="start")
        say(watcher, "input", **key(0, "KeyW"))
        assert "take control" in heard(watcher, lambda m: m["type"] == "refused")["words"]
        assert heard(watcher, lambda m: m["type"] == "status")["phase"] == "ready"
        assert not sitting.orders and not sitting.inputs
        say(watcher, "order", name="estop")  # whoever sees a robot may stop it
        until(lambda: sitting.phase == "held")
        say(watcher, "order", name="release")
        say(watcher, "seat", want="take")
        asked = heard(driver, lambda m: m["type"] == "seat" and m["asking"] is not None)
        say(driver, "seat", want="keep")
        heard(watcher, lambda m: m["type"] == "seat" and m["asking"] is None)
        say(watcher, "seat", want="give")  # not its to give
        say(watcher, "seat", want="take")
        heard(driver, lambda m: m["type"] == "seat" and m["asking"] == asked["asking"])
        say(driver, "input", **key(0, "KeyW"))
        say(driver, "seat", want="give")
        assert heard(watcher, drives)
        until(lambda: len(sitting.inputs) == 2)
        assert sitting.inputs[-1].keys == ()  # what was held is let go
        say(watcher, "input", **key(0, "KeyS"))
        until(lambda: len(sitting.inputs) == 3)
        assert [given.seq for given in sitting.inputs] == [0, 1, 2]
    assert [order.name for order in sitting.orders] == ["estop"]


def test_a_lost_driver_lets_go_and_finds_its_seat_again(running: Running, sitting: FakeSitting) -> None:
    with page(running, tab="second") as other:
        with page(running, tab="first") as first:
            say(other, "seat", want="give")
            say(first, "seat", want="take")
            assert heard(first, drives)
            say(first, "input", source="pointer", seq=7, sent=1.0, axes=[0.5, 0.25, 0.0], buttons=[1, 0, 0])
            say(first, "input", source="pointer", seq=8, sent=2.0, axes=[0.6, 0.25, 0.0], buttons=[1, 0, 0])
            until(lambda: len(sitting.inputs) == 2)
        until(lambda: len(sitting.inputs) == 3)
        assert sitting.inputs[-1].buttons == (0, 0, 0) and sitting.inputs[-1].axes == pytest.approx((0.1, 0, 0))
        with page(running, tab="first") as again:
            assert heard(again, drives, 1.0)
            say(again, "input", source="pointer", seq=0, sent=1.0, axes=[0.0, 0.0, 0.0], buttons=[1, 0, 0])
            until(lambda: len(sitting.inputs) == 4)
            assert sitting.inputs[-1].axes == pytest.approx((0.1, 0, 0))  # a page loaded anew moves nothing
            assert sitting.inputs[-1].seq == 3
        say(other, "seat", want="take")
        assert heard(other, drives, 6.0)  # nobody came back


def test_pictures_come_as_fast_as_they_are_acknowledged(running: Running, sitting: FakeSitting) -> None:
    def pictures(socket: ClientConnection, seconds: float) -> list[tuple[str, int, bytes]]:
        got, end = [], time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                message = socket.recv(timeout=left)
                if isinstance(message, bytes):
                    kind, length, number, _ = struct.unpack_from("<BBxxId", message)
                    assert kind == 1
                    got.append((message[16 : 16 + length].decode(), number, message[16 + length :]))
                    if acknowledge:
                        say(socket, "seen", numbers={got[-1][0]: number})
        return got

    acknowledge = False
    with page(running) as socket:
        assert len(pictures(socket, 0.7)) == 6  # three ahead of each camera, and no more
    acknowledge = True
    with page(running) as socket:
        got = pictures(socket, 1.0)
    for camera in SMALL:
        numbers = [number for name, number, _ in got if name == camera]
        assert 15 <= len(numbers) <= 36 and numbers == sorted(set(numbers))
    assert all(jpeg[:2] == b"\xff\xd8" for _, _, jpeg in got)


def test_a_reader_that_stalls_stops_nobody(sitting: FakeSitting) -> None:
    big = FakeSitting({"observation.images.top": (480, 640)})
    with big, serve(big, preview=Preview(quality=95)) as running, page(running) as one:
        port, token = parts(running)
        assert heard(one, drives)
        stuck = socket.create_connection(("127.0.0.1", port))
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        hello = (
            f"GET /socket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {PROTOCOL}, token.{token}\r\n\r\n"
        )
        stuck.sendall(hello.encode())
        half = socket.create_connection(("127.0.0.1", port))
        half.sendall(b"GET / HTTP/1.1\r\nHost: 127")  # and one that never ends its request
        ticks = big.ticks
        for _ in range(8):
            assert heard(one, lambda m: m["type"] == "status", 1.0)
        say(one, "order", name="start")
        until(lambda: big.phase == "recording")
        assert big.ticks > ticks
        stuck.close()
        half.close()


def test_the_session_is_never_waited_for() -> None:
    """A session whose status fails is still stopped, and shown again when it comes back."""

    class Failing(FakeSitting):
        broken = True

        def status(self):  # type: ignore[no-untyped-def]
            if self.broken:
                raise RuntimeError("the status cannot be made")
            return super().status()

    with Failing(SMALL) as sitting, serve(sitting) as running, page(running) as socket:
        assert heard(socket, drives)
        say(socket, "order", name="estop")
        until(lambda: bool(sitting.orders))
        sitting.broken = False
        assert heard(socket, lambda m: m["type"] == "status")


def test_text_and_reference_pass_through(running: Running, sitting: FakeSitting) -> None:
    with page(running) as socket:
        assert heard(socket, drives)
        say(socket, "order", name="instruct", text="<b>lift\nthe “cup”</b> ")
        until(lambda: bool(sitting.orders))
        assert sitting.orders[0] == Order("instruct", "<b>lift the “cup”</b>")
        say(socket, "reference")
        kinds = set()
        for _ in range(60):
            message = socket.recv(timeout=5)
            kinds |= {message[0]} if isinstance(message, bytes) else set()
            if 2 in kinds:
                break
        assert 2 in kinds


def test_the_network_only_when_asked_for(sitting: FakeSitting) -> None:
    with pytest.raises(ConfigError, match="lan=True"):
        serve(sitting, "0.0.0.0")
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(MachineError, match="cannot listen"):
        serve(sitting, port=taken.getsockname()[1])


def test_a_phone_comes_in_over_tls_and_by_its_address_alone(sitting: FakeSitting) -> None:
    with serve(sitting, "127.0.0.2", lan=True) as running:
        assert running.url.startswith("http://127.0.0.1:") and running.phone_url.startswith("https://127.0.0.2:")
        told = running.announcement()
        assert running.phone_url in told and running.fingerprint in told and "█" in told
        address = urlsplit(running.phone_url)
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        asked = http.client.HTTPSConnection("127.0.0.2", address.port, timeout=5, context=trusting)
        asked.request("GET", f"/?{address.query}")
        answer = asked.getresponse()
        assert answer.status == 200 and "Secure" in answer.headers["set-cookie"]
        assert f"wss://127.0.0.2:{address.port}" in answer.headers["content-security-policy"]
        asked.close()
        assert get(running, f"/?{address.query}", "127.0.0.2")[0] == 403  # the door of this machine knows that name not
        origin = f"https://127.0.0.2:{address.port}"
        token = address.query.removeprefix("token=")
        with (
            page(running, hello=False) as desk,
            connect(
                f"wss://127.0.0.2:{address.port}/socket",
                origin=origin,  # type: ignore[arg-type]
                subprotocols=[PROTOCOL, f"token.{token}"],  # type: ignore[list-item]
                ssl=trusting,
                max_queue=None,
            ) as phone,
        ):
            say(phone, "hello", tab="phone")
            assert heard(phone, drives)["phone"]["url"] == running.phone_url
            say(desk, "hello", tab="desk")
            assert not heard(desk, lambda m: m["type"] == "seat" and m["driver"] is not None)["driving"]
    with serve(sitting, "127.0.0.2", lan=True) as again:
        assert again.fingerprint != running.fingerprint


def test_stopping_frees_the_port_and_leaves_no_thread(sitting: FakeSitting) -> None:
    before = threading.active_count()
    running = serve(sitting)
    port, _ = parts(running)
    with page(running) as socket:
        assert heard(socket, drives)
        running.stop()
    running.stop()
    assert threading.active_count() <= before
    serve(sitting, port=port).stop()


def test_pictures_that_cannot_be_shown_are_none(sitting: FakeSitting) -> None:
    class Odd(FakeSitting):
        def pictures(self):  # type: ignore[no-untyped-def]
            return {"a": np.zeros((0, 0, 3), np.uint8), "b": np.zeros((8, 8, 3), np.uint8)}

    with Odd(SMALL) as odd, serve(odd) as running, page(running) as socket:
        names = set()
        for _ in range(20):
            message = socket.recv(timeout=5)
            names |= {message[16 : 16 + message[1]]} if isinstance(message, bytes) else set()
            if names == {b"a", b"b"}:
                break
        assert names == {b"a", b"b"}
