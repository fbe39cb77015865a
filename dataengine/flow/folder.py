"""Where a flow keeps its own things: in `<out>.flow/`, beside the store, so that neither a new version of the
store nor publishing it ever touches them.

    report.html           what a person reads        01-<job>/        a folder for each job
    events.jsonl          everything that happened   quarantine.jsonl episodes that could not be used, and why
    work/lock             held by the one driver     work/status.json how far it is
    work/cancel           a run's id: please stop    work/runs/       the record of each run
    work/committed.jsonl  which episode of the store came from which work
    work/done/            one small file a finished episode: what it became, so that nothing is done twice
    work/cache/           results of single stages   work/artifacts/  what stages learned from all episodes
    work/shards/, labels/ sealed and said, waiting to be committed
    work/tries/           work begun and not ended: a worker that died left its lines here
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataengine.errors import StoreLocked
from dataengine.flow.cache import ResultCache
from dataengine.flow.fingerprint import digest, plain


@dataclass(frozen=True)
class FlowFolder:
    """The places of the flow that writes the store at `out`."""

    out: Path

    @property
    def beside(self) -> Path:
        return self.out.with_name(f"{self.out.name}.flow")

    @property
    def root(self) -> Path:
        return self.beside / "work"

    @property
    def events(self) -> Path:
        return self.beside / "events.jsonl"

    @property
    def cache(self) -> ResultCache:
        return ResultCache(self.root / "cache")

    @property
    def quarantine(self) -> Path:
        return self.beside / "quarantine.jsonl"

    def features(self, name: str) -> Path:
        return self.root / "features" / f"{name}.json"

    def mark(self, episode_id: str) -> Path:
        """Where the driver notes that an episode is in the store: workers need not seal it again."""
        return self.root / "committed" / digest(episode_id)[:2] / f"{digest(episode_id)[:40]}.json"

    def is_committed(self, episode_id: str, base: str) -> bool:
        noted = read_json(self.mark(episode_id))
        return bool(noted and noted.get("base") == base)

    def done(self, key: str) -> Path:
        return self.root / "done" / key[:2] / f"{key}.json"

    def staging(self, key: str) -> Path:
        return self.root / "shards" / key[:40]

    def tries(self, run: str, key: str) -> Path:
        return self.root / "tries" / f"{run}-{key[:40]}"

    def artifact(self, key: str) -> Path:
        return self.root / "artifacts" / f"{key}.json"

    @contextmanager
    def lock(self, run: str) -> Iterator[None]:
        """Be the only driver on this store; `StoreLocked` names the other one. A dead driver's lock is free."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                raise StoreLocked(f"another flow writes to {self.out}: {file.read().strip() or 'unknown'}") from error
            file.truncate(0)
            file.write(json.dumps({"run": run, "pid": os.getpid(), "host": socket.gethostname()}))
            file.flush()
            yield

    def is_running(self) -> bool:
        """Whether a driver holds the lock at this moment."""
        try:
            with (self.root / "lock").open("r") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False


def write_json(path: Path, value: Any) -> None:
    """Put a small JSON file in place in one step. Workers may race on it: the last whole one stays.

    Not synced: one that a power failure tears counts as absent, and what it told is found out again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")
    with fresh.open("w", encoding="utf-8") as file:
        json.dump(value, file, default=plain, ensure_ascii=False)
    fresh.replace(path)


def read_json(path: Path) -> Any | None:
    """What `write_json` wrote, or None where there is nothing whole."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def append_line(path: Path, value: Mapping[str, Any], *, durable: bool = False) -> None:
    """One JSON line at the end of a file."""
    append_lines(path, [value], durable=durable)


def append_lines(path: Path, values: Iterable[Mapping[str, Any]], *, durable: bool = False) -> None:
    """JSON lines in one write, so that those of two writers never mix. durable: they survive a power failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = "".join(json.dumps(value, default=plain, ensure_ascii=False) + "\n" for value in values).encode()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, b"\n" + line if torn else line)
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a JSONL file; a line torn by a crash is skipped."""
    with suppress(FileNotFoundError), path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            with suppress(ValueError):
                yield json.loads(line)
