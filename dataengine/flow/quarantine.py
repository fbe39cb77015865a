"""Episodes that could not be used: kept by name with the reason, passed over until asked for again.

The file only grows; the last line of an episode counts. An entry belongs to the
work that failed (its chain key): when the source, a mapping or a stage changes, the episode is tried anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dataengine.flow.folder import append_line, read_lines


@dataclass(frozen=True)
class Quarantined:
    """episode: `<source file>:<name in it>`. stage: where it failed ("plan", "read", a stage, "seal")."""

    key: str
    episode: str
    stage: str
    reason: str
    tries: int = 1
    run: str = ""
    when: str = ""


class Quarantine:
    """The quarantine file of one store."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._entries: dict[str, Quarantined] = {}
        for line in read_lines(path):
            self._take(line)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Quarantined]:
        return iter(self._entries.values())

    def get(self, key: str) -> Quarantined | None:
        return self._entries.get(key)

    def add(self, entry: Quarantined) -> None:
        stamped = asdict(entry) | {"when": datetime.now(UTC).isoformat(timespec="seconds")}
        append_line(self.path, stamped, durable=True)
        self._take(stamped)

    def release(self, key: str, run: str) -> None:
        """The episode worked after all."""
        if key in self._entries:
            line = {"key": key, "released": True, "run": run, "episode": self._entries[key].episode}
            append_line(self.path, line, durable=True)
            self._take(line)

    def _take(self, line: dict[str, Any]) -> None:
        if not isinstance(line.get("key"), str):
            return
        self._entries.pop(line["key"], None)
        if not line.get("released"):
            known = {f: line[f] for f in Quarantined.__dataclass_fields__ if f in line}
            if {"episode", "stage", "reason"} <= set(known):
                self._entries[line["key"]] = Quarantined(**known)
