"""Make the traces of the page's devices again: `python tests/collectors/teleop/record_traces.py`, with a Chromium.

A person's hands are played to the real page in a real browser – keys, a mouse, two fingers, a gamepad and a phone that
is tilted – and what the session is given then is written down, one `Input` a line, with the time since the first.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from browser import Page, browser  # noqa: E402
from fake_sitting import FakeSitting  # noqa: E402

from collectors.teleop.messages import Input  # noqa: E402
from collectors.teleop.web.server import serve  # noqa: E402

TRACES = Path(__file__).parent / "traces"
PAD = """(() => {
  globalThis.pad = { id: "a pad in the standard mapping", index: 0, connected: true, mapping: "standard", timestamp: 0,
    axes: [0, 0, 0, 0], buttons: Array.from({ length: 17 }, () => ({ value: 0, pressed: false, touched: false })) };
  navigator.getGamepads = () => [globalThis.pad, null, null, null];
})()"""


def keyboard(page: Page) -> None:
    """W for a second, W and A together, a tap of G, slowly up with Shift and R."""
    page.key("KeyW", up=False)
    time.sleep(1.0)
    page.key("KeyA", up=False)
    time.sleep(0.4)
    page.key("KeyA", down=False)
    page.key("KeyW", down=False)
    time.sleep(0.3)
    page.key("KeyG")
    time.sleep(0.4)
    page.key("ShiftLeft", up=False)
    page.key("KeyR", up=False)
    time.sleep(0.5)
    page.key("KeyR", down=False)
    page.key("ShiftLeft", down=False)
    time.sleep(0.3)


def pointer(page: Page) -> None:
    """A left drag up and to the right, a right drag upwards, two notches of the wheel away, a click."""
    x, y = page.centre("canvas")
    _drag(page, x, y, 120, -60, "left", 1)
    _drag(page, x, y, 0, -80, "right", 2)
    for _ in range(2):
        page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-100)
        time.sleep(0.1)
    time.sleep(0.4)
    page.mouse("mousePressed", x, y, button="left", buttons=1, clickCount=1)
    page.mouse("mouseReleased", x, y, button="left", clickCount=1)
    time.sleep(0.4)


def _drag(page: Page, x: float, y: float, dx: float, dy: float, button: str, buttons: int) -> None:
    page.mouse("mousePressed", x, y, button=button, buttons=buttons, clickCount=1)
    for step in range(1, 25):
        page.mouse("mouseMoved", x + dx * step / 24, y + dy * step / 24, button=button, buttons=buttons)
        time.sleep(0.02)
    page.mouse("mouseReleased", x + dx, y + dy, button=button, clickCount=1)
    time.sleep(0.3)


def touch(page: Page) -> None:
    """One finger to the right and up, two fingers up together, two fingers apart, a tap."""
    x, y = page.centre("canvas")
    _fingers(page, lambda s: [(x + 90 * s, y - 45 * s)])
    _fingers(page, lambda s: [(x - 40, y - 60 * s), (x + 40, y - 60 * s)])
    _fingers(page, lambda s: [(x - 30 - 50 * s, y), (x + 30 + 50 * s, y)])
    page.touch("touchStart", [(x, y)])
    page.touch("touchEnd", [])
    time.sleep(0.4)


def _fingers(page: Page, at: Callable[[float], list[tuple[float, float]]]) -> None:
    page.touch("touchStart", at(0))
    for step in range(1, 25):
        page.touch("touchMove", at(step / 24))
        time.sleep(0.02)
    page.touch("touchEnd", [])
    time.sleep(0.3)


def gamepad(page: Page) -> None:
    """The left stick forward and then right, the right stick up, A, half the right trigger, the cross to the right."""
    page.run(PAD)
    for change, seconds in (
        ("pad.axes[1] = -0.9", 0.7),
        ("pad.axes[1] = 0.03; pad.axes[0] = 0.6", 0.5),
        ("pad.axes[0] = 0; pad.axes[3] = -0.8", 0.5),
        ("pad.axes[3] = 0; pad.buttons[0] = { value: 1, pressed: true }", 0.2),
        ("pad.buttons[0] = { value: 0 }", 0.3),
        ("pad.buttons[7] = { value: 0.5 }", 0.3),
        ("pad.buttons[7] = { value: 0 }; pad.buttons[15] = { value: 1 }", 0.4),
        ("pad.buttons[15] = { value: 0 }", 0.4),
    ):
        page.run(f"{change}; 0")
        time.sleep(seconds)


def phone(page: Page) -> None:
    """A finger rests on the page while the phone's top is tilted down by 20° and then turned by 30°; gripper; up."""
    page.click("#sense")
    _tilt(page, 90, 20, 0)
    time.sleep(0.4)
    x, y = page.centre("#clutch")
    page.touch("touchStart", [(x, y)])
    for step in range(1, 41):
        _tilt(page, 90 + 30 * max(0.0, step / 20 - 1), 20 - 20 * min(1.0, step / 20), 0)
        time.sleep(0.025)
    page.touch("touchEnd", [])
    time.sleep(0.3)
    page.click("#grip")
    time.sleep(0.4)
    page.touch("touchStart", [page.centre("#up")])
    time.sleep(0.5)
    page.touch("touchEnd", [])
    time.sleep(0.3)


def _tilt(page: Page, alpha: float, beta: float, gamma: float) -> None:
    page.send("DeviceOrientation.setDeviceOrientationOverride", alpha=alpha, beta=beta, gamma=gamma)


HANDS: dict[str, Callable[[Page], None]] = {
    "keyboard": keyboard, "pointer": pointer, "touch": touch, "gamepad": gamepad, "phone": phone,
}  # fmt: skip


class Written(FakeSitting):
    """Writes down what comes and when."""

    def input(self, given: Input) -> None:
        super().input(given)
        self.times.append(time.monotonic())

    def __post_init__(self) -> None:
        super().__post_init__()
        self.times: list[float] = []


def record(name: str, new: Callable[[], Page]) -> list[dict[str, object]]:
    """What the session is given of one device, by time [s] since the first."""
    with Written({"observation.images.front": (240, 320)}) as sitting, serve(sitting) as running:
        page = new()
        if name in ("touch", "phone"):
            page.size(390, 844, phone=True)
        else:
            page.size(1280, 800)
        page.open(running.url)
        page.wait("document.body.dataset.seat === 'driving' && document.querySelector('canvas')?.width === 320")
        HANDS[name](page)
        page.send("Page.close")
        pairs = [(t, given) for t, given in zip(sitting.times, sitting.inputs, strict=True) if given.source == name]
    lines = []
    for at, given in pairs:
        known = {key: value for key, value in asdict(given).items() if value != ()}
        lines.append({"time": round(at - pairs[0][0], 4), "type": "input", **known})
    return lines


def main() -> None:
    TRACES.mkdir(exist_ok=True)
    with browser() as new:
        for name, hands in HANDS.items():
            lines = record(name, new)
            about = {
                "about": " ".join((hands.__doc__ or "").split()),
                "recorded": "played to the page in headless Chromium by tests/collectors/teleop/record_traces.py; "
                "x to the right, y downwards, wheel away from the person and fingers apart positive",
            }
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in [about, *lines])
            (TRACES / f"{name}.jsonl").write_text(text)
            print(f"{name}: {len(lines)} messages over {lines[-1]['time']} s")


if __name__ == "__main__":
    main()
