"""Pages get what they can take; one drives, the others watch; the session is never waited for."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import numpy as np
import pytest
from fake_sitting import FakeSitting
from page_client import drives, get, heard, key, page, parts, say, until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from collectors.teleop.messages import Order
from collectors.teleop.web.access import PROTOCOL
from collectors.teleop.web.pictures import Preview
from collectors.teleop.web.server import Running, serve

SMALL = {"observation.images.top": (48, 64), "observation.images.wrist": (32, 32)}


@pytest.fixture
def sitting() -> Iterator[FakeSitting]:
    with FakeSitting(SMALL) as sitting:
        yield sitting


@pytest.fixture
def running(sitting: FakeSitting) -> Iterator[Running]:
    with serve(sitting) as running:
        yield running


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
        sitting.go("done", "The sitting is over.")
        running.stop()
        with pytest.raises(ConnectionClosed) as end:
            heard(socket, lambda m: m["type"] == "status" and m["phase"] == "done")  # the last status still comes
            heard(socket, lambda m: False)
        assert end.value.rcvd is not None and end.value.rcvd.reason == "the sitting has ended"
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
