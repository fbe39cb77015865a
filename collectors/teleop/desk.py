"""The episode at hand and what has been said about it, from its start until it is kept or thrown away.

The recorder's slow steps run in the clerk's thread; the desk changes in the loop's thread alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from collectors.recorder import Recorder, Take, Tick
from collectors.teleop.clerk import Clerk
from collectors.teleop.messages import Verdict
from collectors.teleop.review import LONG, judge, judge_table
from dataengine.episode import Episode
from dataengine.errors import DataEngineError


@dataclass
class Notes:
    """What is said of one episode. success: None where nobody has judged. judged: a person did, not the world."""

    task: str = ""
    note: str = ""
    flagged: bool = False
    success: bool | None = None
    judged: bool = False
    extra: dict[str, Any] = field(default_factory=dict)


class Desk:
    """recorder: None where nothing may be recorded. said: tells the person. checks: whether episodes under review are
    judged, for a person to decide by.

    `open`: an episode lies here, running or under review. `running`: it takes rows now. `opening`: asked for.
    """

    def __init__(
        self, recorder: Recorder | None, clerk: Clerk, said: Callable[[str], None], checks: bool = True
    ) -> None:
        self.recorder, self.clerk, self.said, self.checks = recorder, clerk, said, checks
        self.reviewer = Clerk("reviewer", at_once=clerk.at_once)
        self.notes = Notes()
        self.verdict: Verdict | None = None
        self.running, self.opening, self.stopped = False, False, ""
        self.discarded = 0
        self.trouble = ""
        self._take: Take | None = None
        self._rows, self._seen = 0, 0

    @property
    def open(self) -> bool:
        return self._take is not None or self.opening

    @property
    def kept(self) -> int:
        return self.recorder.kept if self.recorder is not None else 0

    @property
    def rows(self) -> int:
        return self._rows

    def begin(self, task: str, extra: Mapping[str, Any], ready: Callable[[], None]) -> None:
        """Open an episode; `ready` is called when rows may come."""
        assert self.recorder is not None
        recorder = self.recorder
        self.notes = Notes(task, extra=dict(extra))
        self.opening, self.verdict, self.stopped, self.trouble, self._rows = True, None, "", "", 0

        def opened(take: Take) -> None:
            self._take, self.opening, self.running = take, False, True
            ready()

        def failed(problem: Exception) -> None:
            self.opening = False
            self._complain(problem)

        self.clerk.give(lambda: recorder.start(task, dict(extra)), opened, failed)

    def add(self, tick: Tick) -> None:
        """One row. Raises what the recorder raises: the take is over then."""
        if self._take is not None and self.running:
            self._take.add(tick)
            self._rows += 1

    def end(self, why: str = "") -> None:
        """No more rows; why: what cut it short. The checks begin."""
        if self._take is None or not self.running:
            return
        take, self.running, self.stopped = self._take, False, why
        self._seen += 1
        seen = self._seen
        self.verdict = Verdict(None)

        def unjudged(problem: Exception) -> None:
            self._judged(seen, Verdict(None, unknown={"quality": f"{problem}"}))

        def stopped(made: Episode | Exception | None) -> None:
            if isinstance(made, Exception):
                unjudged(made)
            elif made is not None and seen == self._seen:
                if made.length > LONG * made.fps:  # pictures of a long one take a while; the table comes first
                    self.reviewer.give(lambda: judge_table(made), lambda v: self._judged(seen, v), unjudged)
                self.reviewer.give(lambda: judge(made), lambda v: self._judged(seen, v), unjudged)

        checked = self.checks
        self.clerk.give(lambda: _stopped(take, why, checked), stopped, self._complain)

    def keep(self, task: str = "") -> None:
        """Into the dataset, with everything that was said of it; what was cut short is flagged."""
        if self._take is None:
            return
        self.end()
        take, notes, why = self._take, self.notes, self.stopped
        self._forget()
        note = "; ".join(part for part in (notes.note, why) if part)
        flagged = notes.flagged or bool(why)

        def kept(index: int) -> None:
            self.said(f"episode {index + 1} is kept" + (f", marked: {why}" if why else ""))

        def keep() -> int:
            return take.keep(
                success=notes.success, note=note, flagged=flagged, task=task or notes.task, extra=notes.extra
            )

        self.clerk.give(keep, kept, self._complain)

    def discard(self, said: str = "thrown away") -> None:
        if self._take is None:
            return
        take = self._take
        self._forget()
        self.discarded += 1
        self.clerk.give(take.discard, lambda _: self.said(said), self._complain)

    def undo(self) -> None:
        """Take the last kept episode out of the dataset."""
        if self.recorder is None:
            return

        def done(gone: str | None) -> None:
            self.said("the last episode is taken out of the dataset" if gone else "there is nothing left to undo")

        self.clerk.give(self.recorder.undo, done, self._complain)

    def collect(self) -> None:
        self.clerk.collect()
        self.reviewer.collect()

    def health(self) -> Any:
        """The running take's health as the recorder tells it, else None."""
        return self._take.health() if self._take is not None and self.running else None

    def close(self) -> None:
        """Wait for what is still being written."""
        self.clerk.finish()
        self.reviewer.close()

    def _judged(self, seen: int, verdict: Verdict) -> None:
        if seen == self._seen and self._take is not None:
            self.verdict = verdict

    def _forget(self) -> None:
        self._take, self.running, self.verdict = None, False, None
        self._seen += 1

    def _complain(self, problem: Exception) -> None:
        self.trouble = f"{problem}"
        self.said(f"{problem}")


def _stopped(take: Take, why: str, checked: bool) -> Episode | Exception | None:
    """In the clerk's thread: end the take; its episode for the checks, or why there is none, None without checks."""
    take.stop(why)
    try:
        return take.episode() if take.rows and checked else None
    except DataEngineError as problem:
        return problem
