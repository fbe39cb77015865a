"""A headless Chromium over its own debugging protocol, for tests and measurements of pages. Skips where there is none.

No driver and no package beside `websockets`: a page is opened, keys and fingers are pressed as if by a person, scripts
are evaluated, pictures are taken.
"""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # tests run as root in containers
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
)


@dataclass
class Page:
    """One tab. events: what it logged and threw, for a test to be angry about."""

    _socket: ClientConnection
    _count: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    events: list[dict[str, Any]] = field(default_factory=list)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol, and its result."""
        number = next(self._count)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=30))
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def run(self, script: str) -> Any:
        """The value of an expression, promises waited for."""
        done = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in done:
            raise RuntimeError(
                done["exceptionDetails"]["exception"].get("description", done["exceptionDetails"]["text"])
            )
        return done["result"].get("value")

    def wait(self, script: str, seconds: float = 10.0) -> None:
        """Until an expression is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.run(f"!!({script})"):
                return
            time.sleep(0.02)
        raise AssertionError(f"after {seconds} s still not: {script}")

    def open(self, url: str) -> None:
        self.send("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def size(self, width: int, height: int, *, phone: bool = False, dark: bool = False) -> None:
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self.send("Emulation.setTouchEmulationEnabled", enabled=phone, maxTouchPoints=5)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        pointer = [{"name": "pointer", "value": "coarse"}] if phone else []
        self.send("Emulation.setEmulatedMedia", features=[scheme, *pointer])

    def picture(self, path: Path, *, whole: bool = False) -> None:
        done = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(done["data"]))

    def key(self, code: str, *, down: bool = True, up: bool = True, key: str | None = None) -> None:
        """Press a key by its place on the board (`KeyboardEvent.code`)."""
        name, number, text = _KEYS.get(code, (code.removeprefix("Key").removeprefix("Digit").lower(), 0, None))
        if code.startswith(("Key", "Digit")):
            number, text = ord(code[-1]), name
        given = {"code": code, "key": key or name, "windowsVirtualKeyCode": number}
        if down:
            self.send("Input.dispatchKeyEvent", type="keyDown", **given, **({"text": text} if text else {}))
        if up:
            self.send("Input.dispatchKeyEvent", type="keyUp", **given)

    def type(self, text: str) -> None:
        self.send("Input.insertText", text=text)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, selector: str) -> None:
        x, y = self.centre(selector)
        self.mouse("mousePressed", x, y, button="left", buttons=1, clickCount=1)
        self.mouse("mouseReleased", x, y, button="left", clickCount=1)

    def centre(self, selector: str) -> tuple[float, float]:
        script = f"""(() => {{ const e = document.querySelector({json.dumps(selector)});
            e.scrollIntoView({{block: "nearest"}}); const r = e.getBoundingClientRect();
            return [r.x + r.width / 2, r.y + r.height / 2]; }})()"""
        x, y = self.run(script)
        return x, y

    def touch(self, kind: str, points: list[tuple[float, float]]) -> None:
        """touchStart, touchMove with the fingers that are down, touchEnd with none."""
        fingers = [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(points)]
        self.send("Input.dispatchTouchEvent", type=kind, touchPoints=fingers)

    def errors(self) -> list[str]:
        """What the page complained of so far."""
        self.run("0")
        wrong = []
        for event in self.events:
            method, said = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                wrong.append(str(said["exceptionDetails"].get("exception", {}).get("description")))
            elif method == "Log.entryAdded" and said["entry"]["level"] == "error":
                wrong.append(said["entry"]["text"])
        return wrong


_KEYS: Mapping[str, tuple[str, int, str | None]] = {
    "Space": (" ", 32, " "),
    "Enter": ("Enter", 13, "\r"),
    "Tab": ("Tab", 9, None),
    "Escape": ("Escape", 27, None),
    "PageDown": ("PageDown", 34, None),
    "PageUp": ("PageUp", 33, None),
    "Delete": ("Delete", 46, None),
    "Backspace": ("Backspace", 8, None),
    "ArrowUp": ("ArrowUp", 38, None),
    "ArrowDown": ("ArrowDown", 40, None),
    "ArrowLeft": ("ArrowLeft", 37, None),
    "ArrowRight": ("ArrowRight", 39, None),
    "ShiftLeft": ("Shift", 16, None),
}


@contextmanager
def browser(*more: str) -> Iterator[Callable[[], Page]]:
    """A Chromium with an empty profile; each call opens one more tab."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"needs a Chromium (one of {', '.join(NAMES)}) to look at the page with")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [program, *_FLAGS, *more, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        sockets: list[ClientConnection] = []

        def new() -> Page:
            request = urllib.request.Request(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT")
            with urllib.request.urlopen(request, timeout=10) as answer:
                address = json.load(answer)["webSocketDebuggerUrl"]
            sockets.append(connect(address, max_size=2**26))
            page = Page(sockets[-1])
            for domain in ("Page", "Runtime", "Log"):
                page.send(f"{domain}.enable")
            return page

        try:
            port = _port(Path(profile) / "DevToolsActivePort", process)
            yield new
        finally:
            for socket in sockets:
                socket.close()
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _port(file: Path, process: subprocess.Popen[bytes]) -> int:
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        if file.exists() and "\n" in (text := file.read_text()):
            return int(text.split("\n")[0])
        time.sleep(0.05)
    raise RuntimeError("Chromium does not start")
