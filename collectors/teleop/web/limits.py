"""How much one page may send. A page that works as it should never notices; a flood is cut off."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class Allowance:
    """A bucket that fills with `rate` a second up to `burst`."""

    rate: float
    burst: float
    _left: float = field(init=False)
    _at: float = field(default_factory=time.monotonic, init=False)

    def __post_init__(self) -> None:
        self._left = self.burst

    def spend(self, amount: float = 1.0) -> bool:
        """Whether this much was left."""
        now = time.monotonic()
        self._left = min(self.burst, self._left + (now - self._at) * self.rate)
        self._at = now
        if self._left < amount:
            return False
        self._left -= amount
        return True
