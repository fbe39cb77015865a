"""What verifying finds: a problem names the file, says what is wrong, and what a loader would have read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """kind: missing, damaged, checksum, count, order, values, statistics, labels, stray. place: a path in the store.

    episode: index, where known. read: what LeRobot, or this engine, gives instead of what was written. whole: the
    episode's rows and pictures are all there, only something said about them is wrong.
    """

    kind: str
    place: str
    reason: str
    episode: int | None = None
    read: str = ""
    whole: bool = False

    def __str__(self) -> str:
        where = self.place + (f", episode {self.episode}" if self.episode is not None else "")
        return f"{where}: {self.reason}" + (f"; {self.read}" if self.read else "")


@dataclass(frozen=True)
class VerifyReport:
    """problems: empty if all is well. digest: of the content, where it could be read. checked, trusted: in words."""

    problems: tuple[Problem, ...]
    episodes: int
    frames: int
    files: int
    digest: str | None = None
    deep: bool = False
    notes: tuple[str, ...] = ()
    checked: str = ""
    trusted: str = ""

    @property
    def ok(self) -> bool:
        return not self.problems

    def __str__(self) -> str:
        if self.ok:
            return f"{self.episodes} episodes, {self.frames} frames, {self.files} files: all as it should be"
        return "\n".join(map(str, self.problems))


def names(found: list[str] | set[str], limit: int = 5) -> str:
    """A list in words, long ones cut."""
    listed = sorted(found)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(repr(name) for name in listed[:limit]) + more


def numbers(found: list[int] | set[int], limit: int = 8) -> str:
    listed = sorted(found)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(map(str, listed[:limit])) + more
