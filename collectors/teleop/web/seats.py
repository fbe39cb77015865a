"""Who of the pages drives. One does; the others watch, and may ask."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

GRACE = 3.0  # how long a page that lost its connection may come back to its seat [s]
SILENT = 5.0  # a page that said nothing for so long does not keep others waiting [s]


class Seated(Protocol):
    """A page, as far as seats go. tab: its own name for itself. heard: when it last said something [s]."""

    tab: str
    heard: float


@dataclass
class Seats[Page: Seated]:
    """driver: the page in control. asking: the page that would like to be."""

    driver: Page | None = None
    asking: Page | None = None
    _kept_for: str = ""
    _kept_until: float = 0.0

    def come(self, page: Page) -> bool:
        """A page is there: it drives if nobody does. True if it does now."""
        now = time.monotonic()
        free = now >= self._kept_until or (page.tab and page.tab == self._kept_for)
        if self.driver is None and free:
            self.driver = page
        return self.driver is page

    def leave(self, page: Page) -> bool:
        """A page is gone. True if it drove; its seat is kept for a moment."""
        if self.asking is page:
            self.asking = None
        if self.driver is not page:
            return False
        self.driver = None
        self._kept_for, self._kept_until = page.tab, time.monotonic() + GRACE
        return True

    def ask(self, page: Page) -> None:
        """A watcher would like to drive: at once if nobody does or the driver is silent, else the driver is asked."""
        if page is self.driver:
            return
        silent = self.driver is not None and time.monotonic() - self.driver.heard > SILENT
        if silent or (self.driver is None and time.monotonic() >= self._kept_until):
            self.driver, self.asking = page, None
        else:
            self.asking = page

    def answer(self, page: Page, yes: bool) -> None:
        """The driver hands over to whoever asks (or to nobody), or stays."""
        if page is self.driver:
            self.driver = self.asking if yes else page
            self.asking = None

    def settle(self) -> None:
        """Called now and then: whoever asked gets a seat that nobody came back to."""
        if self.driver is None and self.asking is not None and time.monotonic() >= self._kept_until:
            self.driver, self.asking = self.asking, None
