"""Keys in the terminal, which work over any SSH connection, and the signals that stop a robot.

They depend on no browser and not on the loop: the emergency stop goes to the watchdog's thread.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

from collectors.teleop.messages import Order

if TYPE_CHECKING:
    from collectors.teleop.session import Session

KEYS: Mapping[str, Order] = {
    " ": Order("next"),
    "k": Order("keep"),
    "d": Order("discard"),
    "r": Order("redo"),
    "u": Order("undo"),
    "s": Order("success"),
    "f": Order("failure"),
    "e": Order("estop"),
    "\x1b": Order("estop"),
    "g": Order("release"),
    "t": Order("takeover"),
    "b": Order("handback"),
    "h": Order("home"),
    "q": Order("finish"),
}
HELP = (
    "space next · k keep · d discard · r redo · u undo · s success · f failure · e or Esc stop · g release · "
    "t take over · b hand back · h home · q finish"
)


@contextmanager
def keys(session: Session) -> Iterator[bool]:
    """Orders by key while this is entered; whether there is a terminal to press them in. It is left as it was."""
    if not sys.stdin or not sys.stdin.isatty():
        yield False
        return
    import termios
    import tty

    file = sys.stdin.fileno()
    before = termios.tcgetattr(file)
    over = threading.Event()

    def listen() -> None:
        while not over.is_set():
            if select.select([file], [], [], 0.1)[0]:
                typed = os.read(file, 64).decode(errors="replace")
                for order in orders_of(typed):
                    session.order(order)

    thread = threading.Thread(target=listen, name="terminal", daemon=True)
    try:
        tty.setcbreak(file)
        thread.start()
        yield True
    finally:
        over.set()
        thread.join(1.0)
        termios.tcsetattr(file, termios.TCSADRAIN, before)


def orders_of(typed: str) -> list[Order]:
    """What was typed at once. An escape sequence (an arrow, a function key) is no Escape and means nothing."""
    if typed.startswith("\x1b") and len(typed) > 1:
        return []
    return [KEYS[key.lower()] for key in typed if key.lower() in KEYS]


@contextmanager
def signals(session: Session) -> Iterator[None]:
    """Ctrl-C stops the robot; a second one, SIGTERM or a lost terminal end the session. In the main thread alone."""
    pressed = 0

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed += 1
        if pressed == 1:
            session.stop_now()
        else:
            session.end()

    def end(number: int, frame: FrameType | None) -> None:
        session.end()

    taken = {signal.SIGINT: interrupt, signal.SIGTERM: end, signal.SIGHUP: end}
    before = {number: signal.signal(number, handler) for number, handler in taken.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            with suppress(TypeError):  # a handler that Python did not set
                signal.signal(number, handler)
