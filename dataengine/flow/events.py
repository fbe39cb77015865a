"""What a run tells the outside: an event log, its state, and a way to ask it to stop. All of it is files."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from dataengine.errors import ConfigError
from dataengine.flow.folder import FlowFolder, append_line, read_json, write_json

State = Literal["running", "finished", "cancelled", "failed", "interrupted"]
EXIT_CODES: dict[State, int] = {"finished": 0, "failed": 1, "cancelled": 4, "interrupted": 5, "running": 0}
EXIT_CONFIG, EXIT_QUARANTINED = 2, 3


class Cancelled(Exception):
    """Somebody asked the run to stop."""


@dataclass(frozen=True)
class FlowStatus:
    """How far a run is. Times in [s]; `left` is None while nobody can know. interrupted: its driver died."""

    run: str
    name: str
    state: State
    phase: str = "starting"
    episodes: int = 0
    done: int = 0
    reused: int = 0
    kept: int = 0
    dropped: int = 0
    quarantined: int = 0
    frames: int = 0
    elapsed: float = 0.0
    left: float | None = None
    workers: int = 0
    message: str = ""
    updated: str = ""
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)

    @property
    def exit_code(self) -> int:
        return EXIT_QUARANTINED if self.state == "finished" and self.quarantined else EXIT_CODES[self.state]


def status(out: str | Path) -> FlowStatus:
    """The state of the last run on the store at `out`; `ConfigError` where no flow ever ran."""
    folder = FlowFolder(Path(out).absolute())
    data = read_json(folder.root / "status.json")
    if data is None:
        raise ConfigError(f"no flow has run on {out}")
    if not isinstance(data, dict) or not {"run", "name"} <= set(data) or data.get("state") not in EXIT_CODES:
        raise ConfigError(f"{folder.root / 'status.json'} is damaged; run the flow again")
    found = FlowStatus(**{k: v for k, v in data.items() if k in FlowStatus.__dataclass_fields__})
    if found.state == "running" and not folder.is_running():
        return replace(found, state="interrupted", left=None, message="its driver ended; run the flow again to go on")
    return found


def cancel(out: str | Path) -> FlowStatus:
    """Ask the run on `out` to stop; what is committed stays, and the same flow goes on from there later."""
    found = status(out)
    if found.state == "running":
        write_json(FlowFolder(Path(out).absolute()).root / "cancel", {"run": found.run})
    return found


def last_run(out: str | Path) -> dict[str, Any] | None:
    """The record of the last run on `out`, as its report was made from."""
    folder = FlowFolder(Path(out).absolute())
    state = read_json(folder.root / "status.json")
    return None if state is None else read_json(folder.root / "runs" / f"{state['run']}.json")


class EventLog:
    """Writes the event log and `status.json` of one run, and sees a request to stop."""

    def __init__(self, folder: FlowFolder, run: str, name: str) -> None:
        self.folder = folder
        self.state = FlowStatus(run=run, name=name, state="running")
        self._began = time.monotonic()
        self._written = 0.0
        self._asked = 0.0
        self._stop = False

    def write(self, event: str, **fields: Any) -> None:
        """One line: when, which run, what, and its figures."""
        when = datetime.now(UTC).isoformat(timespec="milliseconds")
        append_line(self.folder.events, {"time": when, "run": self.state.run, "event": event, **fields})

    def update(self, *, now: bool = False, **changes: Any) -> FlowStatus:
        """Change the state; it reaches the disk at most twice a second unless `now`."""
        clock = time.monotonic()
        self.state = replace(self.state, elapsed=round(clock - self._began, 3), **changes)
        if now or clock - self._written > 0.5:
            self._written = clock
            self.state = replace(self.state, updated=datetime.now(UTC).isoformat(timespec="seconds"))
            write_json(self.folder.root / "status.json", asdict(self.state))
        return self.state

    def cancelled(self) -> bool:
        """Whether somebody asked this run to stop; looks at the disk at most five times a second."""
        clock = time.monotonic()
        if not self._stop and clock - self._asked > 0.2:
            self._asked = clock
            asked = read_json(self.folder.root / "cancel")
            self._stop = bool(asked and asked.get("run") == self.state.run)
        return self._stop
