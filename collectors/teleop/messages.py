"""What page and session say to each other; everything that comes from a browser passes through `parse`.

The page sends orders and the state of its input devices; it gets `Status` ten times a second and pictures beside it.
Text is text everywhere: nothing of it is ever made into markup, a path or a format string.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, get_args

import numpy as np

from dataengine.errors import ConfigError
from dataengine.lines import one_line

MOST_BYTES = 16_384  # of one message
MOST_TEXT = 500  # characters of an instruction or a note
MOST_NUMBERS = 64  # keys, axes, buttons of one input

# What a session is doing. A person's way round: ready → recording → review → reset → ready.
Phase = Literal["starting", "approach", "ready", "recording", "review", "reset", "held", "fault", "done"]

# next: whatever comes next (one pedal is enough): start, stop, keep, or the reset is over. stop ends an episode and
# asks keep or discard. redo throws it away and lays out the same scene again. undo takes the last kept episode out of
# the dataset. success and failure: the person's judgement of the episode at hand. estop holds the robot until release.
# takeover and handback: a person acts instead of the policy or expert, and gives back. home: slow approach to the
# start.
OrderName = Literal[
    "next", "start", "stop", "keep", "discard", "redo", "undo", "success", "failure", "estop", "release",
    "takeover", "handback", "reset", "home", "instruct", "note", "flag", "rehearse", "device", "task", "finish",
]  # fmt: skip
ORDERS: tuple[str, ...] = get_args(OrderName)
_TEXTUAL = ("instruct", "note", "device", "task")
_SWITCHES = ("flag", "rehearse")

Source = Literal["keyboard", "pointer", "gamepad", "touch", "phone"]
SOURCES: tuple[str, ...] = get_args(Source)


@dataclass(frozen=True)
class Order:
    """Something a person wants of the session. text: with instruct, note, device and task. on: with flag, rehearse."""

    name: OrderName
    text: str = ""
    on: bool = True


@dataclass(frozen=True)
class Input:
    """The state of one input device of the page, whole each time, so that a lost message harms nothing.

    keys: codes of keys that are down (`KeyboardEvent.code`). axes: numbers of the device – gamepad: its axes; pointer
    and touch: drag x, y in widths of the picture and wheel or pinch, each summed up since the page was opened, so that
    differences of two messages are what was dragged between them; phone: quaternion x y z w of its orientation, then
    translation if known [m]. buttons: 0 to 1 each – gamepad: in the order of the standard mapping; pointer: left,
    middle, right; touch: one finger is down, two are; phone: clutch (a finger rests on the page), gripper closed, up,
    down. seq: counts up; older ones than the newest are dropped. sent: the page's own clock [ms], given back in
    `Status.echo` so that it can measure the way there and back. While anything is held down a page sends the state at
    least every 100 ms, changed or not: what is silent for 250 ms counts as let go.
    """

    source: Source
    seq: int
    sent: float
    keys: tuple[str, ...] = ()
    axes: tuple[float, ...] = ()
    buttons: tuple[float, ...] = ()


@dataclass(frozen=True)
class Finding:
    """One thing that is odd in an episode: which check says so, where ([s] from the start), and in words."""

    check: str
    start: float
    stop: float
    words: str
    objective: bool


@dataclass(frozen=True)
class Verdict:
    """What the quality checks say about the episode under review. grade: 0 to 1, None while it is being made."""

    grade: float | None
    findings: tuple[Finding, ...] = ()
    unknown: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class Camera:
    """rate: pictures a second that came. repeated: rows that show an old picture. waiting: not yet encoded.
    drift: how far framing and exposure are from the last session's picture, 0 the same to 1, None without one."""

    key: str
    height: int
    width: int
    rate: float
    repeated: int
    waiting: int
    drift: float | None = None


@dataclass(frozen=True)
class Status:
    """Everything a page shows, of one instant. Times in [s] unless said otherwise.

    rate: of the loop over the last second, against `fps`. late_ms: 95th percentile of how late ticks came. missed:
    ticks of this episode that were not kept in time, all marked in the data. echo: by source, the last `Input.sent`
    that a tick acted on. trouble: what is wrong now and what to do, in one line each. minutes_left: of disk at this
    rate. actor: who acts now. controls: what the keys do now, for people and screen readers.
    """

    phase: Phase
    fps: float
    rate: float
    instruction: str
    kept: int
    target: int
    episode_seconds: float
    episode_rows: int
    reset_left: float
    device: str
    actor: str
    recording: bool
    rehearsal: bool
    flagged: bool
    note: str
    success: bool | None
    progress: float | None
    late_ms: float
    missed: int
    minutes_left: float | None
    state: Mapping[str, float]
    cameras: tuple[Camera, ...]
    devices: tuple[str, ...]
    tasks: tuple[str, ...]
    trouble: tuple[str, ...]
    said: str
    echo: Mapping[str, float]
    verdict: Verdict | None
    discarded: int
    successes: int
    seconds_kept: float
    controls: Mapping[str, str]
    held_by: str = ""

    def to_json(self) -> str:
        return json.dumps({"type": "status", **asdict(self)}, ensure_ascii=False, allow_nan=False)


class Sitting(Protocol):
    """What the page's server may ask of a session. Each returns at once and may be called from any thread."""

    def order(self, order: Order) -> None:
        """Queue it; the loop carries it out at its next tick and answers in `Status.said`."""
        ...

    def input(self, given: Input) -> None:
        """Take the newest state of an input device of the controlling page."""
        ...

    def status(self) -> Status: ...

    def pictures(self) -> Mapping[str, np.ndarray]:
        """The newest picture of every camera by feature key, `(H, W, 3)` uint8, not to be written to."""
        ...

    def reference(self) -> Mapping[str, np.ndarray]:
        """The last session's first picture of every camera, to lay over the live one; empty without one."""
        ...


def parse(message: str | bytes) -> Order | Input:
    """A browser's message. Raises `ConfigError`, in words that are safe to send back, for anything else."""
    if not isinstance(message, str):
        raise ConfigError("messages are text")
    if len(message.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise ConfigError(f"a message has at most {MOST_BYTES} bytes")
    try:
        data = json.loads(message)
    except (ValueError, RecursionError):
        raise ConfigError("a message is one JSON object") from None
    if not isinstance(data, dict):
        raise ConfigError("a message is one JSON object")
    kind = data.pop("type", None)
    if kind == "order":
        return _order(data)
    if kind == "input":
        return _input(data)
    raise ConfigError("the type of a message is order or input")


def _order(data: dict[str, Any]) -> Order:
    name, text, on = data.pop("name", None), data.pop("text", ""), data.pop("on", True)
    if name not in ORDERS:
        raise ConfigError(f"an order is one of {', '.join(ORDERS)}")
    if data or not isinstance(text, str) or not isinstance(on, bool):
        raise ConfigError("an order has a name, a text and on, nothing else")
    if (text and name not in _TEXTUAL) or (not on and name not in _SWITCHES):
        raise ConfigError(f"the order {name} takes no such value")
    line = one_line(text)
    if len(line) > MOST_TEXT:
        raise ConfigError(f"a text has at most {MOST_TEXT} characters")
    return Order(name, line, on)


def _input(data: dict[str, Any]) -> Input:
    source, seq, sent = data.pop("source", None), data.pop("seq", None), data.pop("sent", None)
    keys, axes, buttons = data.pop("keys", []), data.pop("axes", []), data.pop("buttons", [])
    if source not in SOURCES or data:
        raise ConfigError(f"an input has a source ({', '.join(SOURCES)}), seq, sent, keys, axes and buttons")
    if type(seq) is not int or not 0 <= seq < 2**53 or not _finite(sent):
        raise ConfigError("seq is a whole number and sent a time in ms")
    for values in (keys, axes, buttons):
        if not isinstance(values, list) or len(values) > MOST_NUMBERS:
            raise ConfigError(f"keys, axes and buttons are lists of at most {MOST_NUMBERS}")
    if not all(isinstance(key, str) and len(key) <= 32 for key in keys):
        raise ConfigError("keys are short names")
    if not all(_finite(value) and abs(value) <= 1e6 for value in (*axes, *buttons)):
        raise ConfigError("axes and buttons are finite numbers")
    return Input(source, seq, float(sent), tuple(keys), tuple(map(float, axes)), tuple(map(float, buttons)))


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
