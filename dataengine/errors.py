"""The one exception tree. Every message says what is wrong, where, and what would have been right."""

from __future__ import annotations

from pathlib import Path


class DataEngineError(Exception):
    """Base of everything this engine raises on purpose; the command line prints it without a traceback."""


class ConfigError(DataEngineError):
    """A parameter, flow file or mapping that cannot be used as written."""


class RateUnknown(ConfigError):
    """A source does not say how many frames make a second, and no mapping does."""


class MissingDependency(DataEngineError):
    """An optional package or system library is absent; the message names what to install."""

    def __init__(self, what: str, *, extra: str) -> None:
        super().__init__(f"{what} is not installed; it comes with: pip install 'vla-dataengine[{extra}]'")


class SourceError(DataEngineError):
    """A file or folder that cannot be read as what it claims to be.

    `path` names the file, `reason` says what is wrong with it, `hint` what to do next.
    """

    def __init__(self, path: str | Path, reason: str, *, hint: str = "") -> None:
        self.path, self.reason, self.hint = _line(str(path)), _line(reason), _line(hint)
        super().__init__(f"{self.path}: {self.reason}" + (f" – {self.hint}" if hint else ""))

    def __reduce__(self) -> tuple:
        return (_rebuild, (type(self), self.path, self.reason, self.hint))


class UnsafeSource(SourceError):
    """Input that tries to leave its folder, run code or exhaust the machine."""


class VideoError(SourceError):
    """A video that is damaged, truncated, of an unsupported codec, or not what its metadata says."""


class EpisodeError(DataEngineError):
    """One episode that cannot be used; a flow quarantines it and goes on.

    `episode` is its id or place in the source, `feature` and `frame` say where inside it, when known.
    """

    def __init__(self, episode: str, reason: str, *, feature: str | None = None, frame: int | None = None) -> None:
        self.episode, self.reason, self.feature, self.frame = episode, _line(reason), feature, frame
        place = "".join(
            [f", feature {feature!r}" if feature is not None else "", f", frame {frame}" if frame is not None else ""]
        )
        super().__init__(f"episode {episode}{_line(place)}: {self.reason}")

    def __reduce__(self) -> tuple:
        return (_rebuild_episode, (self.episode, self.reason, self.feature, self.frame))


class StoreError(DataEngineError):
    """A store that cannot be opened, written or trusted."""


class StoreLocked(StoreError):
    """Somebody else is writing to the store; the message says who."""


class MachineError(DataEngineError):
    """The machine fails whatever is tried on it, such as a full disk; no episode's fault."""


class RobotError(DataEngineError):
    """A robot, camera or teleoperator that does not answer, is not calibrated or cannot do what is asked of it."""


class Refused(DataEngineError):
    """Something that would leave the machine must not: preflight found a reason."""


_MOST = 2000


def _line(text: str) -> str:
    """What a file or a library says, as a part of one line: no breaks, nothing a terminal obeys, of bounded length."""
    if len(text) > _MOST:
        text = f"{text[:_MOST]}…"
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))


def _rebuild(kind: type[SourceError], path: str, reason: str, hint: str) -> SourceError:
    return kind(path, reason, hint=hint)


def _rebuild_episode(episode: str, reason: str, feature: str | None, frame: int | None) -> EpisodeError:
    return EpisodeError(episode, reason, feature=feature, frame=frame)
