"""One page that is connected: what it may send, what it is sent, and how fast.

Nothing is ever queued up for a page but a few short answers. It gets the newest status and the newest pictures when it
is ready for them: at most `AHEAD` pictures of a camera that it has not acknowledged. A page that stalls stops getting.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect

from collectors.teleop.web.limits import Allowance
from collectors.teleop.web.pictures import Pictures

AHEAD = 3  # pictures under way per camera
MOST_REPLIES = 16
STALLED = 10.0  # a page that takes nothing for so long is cut off [s]
MESSAGES = (250.0, 500.0)  # a second, and at once: 60 inputs of three devices and 60 acknowledgements
ORDERS = (10.0, 30.0)
MISTAKES = (1.0, 20.0)


class Newest(Protocol):
    """What a client is fed from. heading: who drives, as this client sees it."""

    pictures: Pictures
    status: str

    def heading(self, client: Client) -> str: ...


@dataclass(eq=False)
class Client:
    """number: for people, counts up. heard: when it last said something [s]."""

    socket: WebSocket
    number: int
    tab: str = ""
    heard: float = field(default_factory=time.monotonic)
    messages: Allowance = field(default_factory=lambda: Allowance(*MESSAGES))
    orders: Allowance = field(default_factory=lambda: Allowance(*ORDERS))
    mistakes: Allowance = field(default_factory=lambda: Allowance(*MISTAKES))
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    replies: deque[str | bytes] = field(default_factory=lambda: deque(maxlen=MOST_REPLIES))
    _sent: dict[str, deque[int]] = field(default_factory=dict)  # not yet acknowledged, by camera
    _last: dict[str, int] = field(default_factory=dict)
    _heading: str = ""
    _status: str = ""

    def reply(self, kind: str, **values: Any) -> None:
        self.put(json.dumps({"type": kind, **values}, ensure_ascii=False))

    def put(self, message: str | bytes) -> None:
        self.replies.append(message)
        self.ready.set()

    def seen(self, numbers: Mapping[str, int]) -> None:
        """The page has drawn these pictures, and with them all before."""
        for key, number in numbers.items():
            under_way = self._sent.get(key)
            while under_way and under_way[0] <= number:
                under_way.popleft()
        self.ready.set()

    async def feed(self, room: Newest) -> None:
        """Send what is newest, for as long as the page takes it."""
        while True:
            await self.ready.wait()
            self.ready.clear()
            while self.replies:
                await self._send(self.replies.popleft())
            heading, status = room.heading(self), room.status
            if heading != self._heading:
                self._heading = heading
                await self._send(heading)
            if status and status is not self._status:
                self._status = status
                await self._send(status)
            for key in self._due(room.pictures):
                number, message = room.pictures.message(key)
                self._last[key] = number
                self._sent.setdefault(key, deque()).append(number)
                await self._send(message)

    def _due(self, pictures: Pictures) -> list[str]:
        news = [key for key, picture in pictures.newest.items() if picture.number != self._last.get(key)]
        return [key for key in news if len(self._sent.get(key, ())) < AHEAD]

    async def _send(self, message: str | bytes) -> None:
        """Raises `TimeoutError` for a page that takes nothing."""
        async with asyncio.timeout(STALLED):
            if isinstance(message, str):
                await self.socket.send_text(message)
            else:
                await self.socket.send_bytes(message)

    async def close(self, code: int, reason: str) -> None:
        """Say why, if the page still listens."""
        try:
            async with asyncio.timeout(1):
                await self.socket.close(code, reason)
        except (TimeoutError, RuntimeError, WebSocketDisconnect, OSError):
            pass
