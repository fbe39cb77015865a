"""All pages of one sitting: who drives, what reaches the session, and the beat on which everybody is fed.

Lives in the server's event loop alone. The session is only asked for what it has, never waited for, so that whatever
pages do, its clock does not notice.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from collectors.teleop.messages import Input, Order, Sitting
from collectors.teleop.web.access import PROTOCOL
from collectors.teleop.web.client import Client
from collectors.teleop.web.pictures import Pictures, clock, reference
from collectors.teleop.web.relay import Relay
from collectors.teleop.web.seats import Seats
from collectors.teleop.web.talk import Hello, Ping, Reference, Said, Seat, Seen, understand
from dataengine.errors import ConfigError

BEAT = 0.01  # how often the session is looked at while somebody watches [s]
STATUS = 0.1  # how often it is asked for its status [s]
FAREWELL = 0.2  # for the last status to be taken [s]
MOST_CLIENTS = 8
FREE = ("estop",)  # orders of a watcher that are carried out: whoever sees a robot may stop it
_log = logging.getLogger(__name__)


class Flood(Exception):
    """A page that sends more than pages do; its words go with the closing."""


@dataclass
class Room:
    """status: the newest, as pages take it. phone: what a page shows so that a phone finds its way here."""

    sitting: Sitting
    pictures: Pictures = field(default_factory=Pictures)
    phone: Mapping[str, Any] | None = None
    status: str = ""
    clients: list[Client] = field(default_factory=list)
    seats: Seats[Client] = field(default_factory=Seats)
    _relay: Relay = field(default_factory=Relay)
    _met: int = 0

    async def meet(self, socket: WebSocket) -> None:
        """One page, from its coming to its going."""
        await socket.accept(PROTOCOL)
        self._met += 1
        client = Client(socket, self._met)
        if len(self.clients) >= MOST_CLIENTS:
            await client.close(1013, f"this page is open in {MOST_CLIENTS} places already")
            return
        self.clients.append(client)
        feeding = asyncio.create_task(client.feed(self))
        hearing = asyncio.create_task(self._listen(client))
        try:
            await asyncio.wait((feeding, hearing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.clients.remove(client)
            self._left(client)
            for task in (feeding, hearing):
                task.cancel()
            ends = await asyncio.gather(feeding, hearing, return_exceptions=True)
        flood = next((end for end in ends if isinstance(end, Flood)), None)
        for end in ends:
            if isinstance(end, Exception) and not isinstance(end, Flood | TimeoutError | WebSocketDisconnect | OSError):
                _log.error("a page was given up", exc_info=end)
        await client.close(1008 if flood else 1011, str(flood) if flood else "this page takes no more messages")

    async def beat(self) -> None:
        """Look at the session again and again, for as long as the server runs."""
        due = 0.0
        while True:
            await asyncio.sleep(BEAT)
            if not self.clients:
                continue
            try:
                self.pictures.take(self.sitting.pictures())
                if time.monotonic() >= due:
                    due = time.monotonic() + STATUS
                    self.status = self.sitting.status().to_json()
                    self._settle()
            except Exception:  # whatever the session has: pages stay, and say that they hear nothing of it
                _log.exception("the session cannot be shown")
                await asyncio.sleep(1)
            for client in self.clients:
                client.ready.set()

    async def farewell(self) -> None:
        """The last status for everybody who looks, and the end of their connections."""
        if not self.clients:
            return
        try:
            self.status = self.sitting.status().to_json()
        except Exception:
            _log.exception("the session's last status cannot be shown")
        for client in self.clients:
            client.ready.set()
        await asyncio.sleep(FAREWELL)
        await asyncio.gather(*(client.close(1001, "the sitting has ended") for client in list(self.clients)))

    def heading(self, client: Client) -> str:
        """Who drives, as this page sees it."""
        driver, asking = self.seats.driver, self.seats.asking
        heading = {
            "type": "seat",
            "page": client.number,
            "driving": driver is client,
            "driver": driver.number if driver else None,
            "asking": asking.number if asking else None,
            "pages": len(self.clients),
            "phone": self.phone,
        }
        return json.dumps(heading)

    async def _listen(self, client: Client) -> None:
        """Until the page is gone. Raises `Flood`."""
        while True:
            event = await client.socket.receive()
            if event["type"] != "websocket.receive":
                return
            client.heard = time.monotonic()
            if not client.messages.spend():
                raise Flood("too many messages")
            try:
                text = event.get("text")
                self._heard(client, understand(text if text is not None else event.get("bytes") or b""))
            except ConfigError as wrong:
                if not client.mistakes.spend():
                    raise Flood("too many messages that mean nothing") from None
                client.reply("refused", words=str(wrong)[:200])

    def _heard(self, client: Client, said: Said) -> None:
        match said:
            case Hello():
                client.tab = said.tab
                self._changed(lambda: self.seats.come(client))
            case Ping():
                client.reply("pong", sent=said.sent, clock=clock())
            case Seen():
                client.seen(said.numbers)
            case Reference():
                for message in reference(self.sitting.reference(), self.pictures.preview):
                    client.put(message)
            case Seat():
                self._changed(
                    lambda: (
                        self.seats.ask(client)
                        if said.want == "take"
                        else self.seats.answer(client, said.want == "give")
                    )
                )
            case Input():
                passed = self._relay.passed(said) if self._drives(client) else None
                if passed is not None:
                    self.sitting.input(passed)
            case Order():
                if not client.orders.spend():
                    raise Flood("too many orders")
                if said.name in FREE or self._drives(client):
                    self.sitting.order(said)

    def _drives(self, client: Client) -> bool:
        if self.seats.driver is client:
            return True
        if client.mistakes.spend():
            client.reply("refused", words="another page drives: take control first")
        return False

    def _left(self, client: Client) -> None:
        self._changed(lambda: self.seats.leave(client))

    def _settle(self) -> None:
        self._changed(self.seats.settle)

    def _changed(self, change: Callable[[], object]) -> None:
        """Whatever changes who drives lets go of all keys first."""
        before = self.seats.driver
        change()
        if self.seats.driver is not before:
            for quiet in self._relay.released():
                self.sitting.input(quiet)
            self._relay.begin()
        for each in self.clients:
            each.ready.set()
