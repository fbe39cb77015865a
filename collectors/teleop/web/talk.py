"""What page and server say to each other beside orders, inputs and status: seats, clocks, acknowledgements."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from collectors.teleop.messages import Input, Order, parse
from dataengine.errors import ConfigError

# take: I would like to drive. give: I hand over to whoever asks, or to nobody. keep: I stay.
Want = Literal["take", "give", "keep"]
_MOST_CAMERAS = 16


@dataclass(frozen=True)
class Hello:
    """The first message. tab: what the page calls itself, so that it finds its seat again when its connection broke."""

    tab: str


@dataclass(frozen=True)
class Ping:
    """sent: the page's clock, given back beside the server's, so that the page knows how old a picture is [ms]."""

    sent: float


@dataclass(frozen=True)
class Seen:
    """numbers: of the pictures that were drawn last, by camera."""

    numbers: dict[str, int]


@dataclass(frozen=True)
class Seat:
    want: Want


@dataclass(frozen=True)
class Reference:
    """Send me the last session's pictures."""


Said = Hello | Ping | Seen | Seat | Reference | Order | Input


def understand(message: str | bytes) -> Said:
    """A page's message. Raises `ConfigError`, in words that are safe to send back, for anything else."""
    if isinstance(message, str):
        try:
            data = json.loads(message)
        except (ValueError, RecursionError):
            raise ConfigError("a message is one JSON object") from None
        made = _own(data) if isinstance(data, dict) else None
        if made is not None:
            return made
    return parse(message)


def _own(data: dict[str, Any]) -> Said | None:
    kind = data.pop("type", None)
    match kind, data:
        case "hello", {"tab": str(tab)} if len(data) == 1 and len(tab) <= 64:
            return Hello(tab)
        case "ping", {"sent": int() | float() as sent} if len(data) == 1 and math.isfinite(sent):
            return Ping(float(sent))
        case "seen", {"numbers": dict(numbers)} if len(data) == 1 and len(numbers) <= _MOST_CAMERAS:
            if all(type(number) is int for number in numbers.values()):
                return Seen(numbers)
        case "seat", {"want": want} if len(data) == 1 and want in get_args(Want):
            return Seat(want)
        case "reference", {} if not data:
            return Reference()
    if kind in ("hello", "ping", "seen", "seat", "reference"):
        raise ConfigError(f"the message {kind} does not look like this")
    return None
