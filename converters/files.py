"""Sources made of files that each hold whole episodes: one such file, or a folder of them.

A file converter says what one file holds; here the files of a folder become one source. An episode is
quarantined (`EpisodeRef.problem`), not the whole, when its file is damaged or it lacks what the others have.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from converters.base import Converter
from converters.raw import Camera, Column, Survey
from dataengine import guard
from dataengine.errors import DataEngineError, SourceError
from dataengine.source import Assumption, EpisodeRef, Plan

# A column that fewer episodes than this have is no part of the source's shape; more, and the others lack it.
_COMMON = 0.75
_DEPTH = 2


@dataclass(frozen=True)
class Sketch:
    """One episode of a file as its headers show it. `ref.extra["place"]` is set by the file's converter."""

    ref: EpisodeRef
    columns: Mapping[str, Column] = field(default_factory=dict)
    cameras: Mapping[str, Camera] = field(default_factory=dict)


@dataclass(frozen=True)
class FileSketch:
    """One file: its episodes, facts about the whole that a proposal may need, what in it cannot be used."""

    episodes: tuple[Sketch, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Proposal:
    """What a format makes of the columns and cameras all episodes share."""

    mapping: Mapping[str, Any]
    assumptions: tuple[Assumption, ...] = ()
    notes: tuple[str, ...] = ()


class FileConverter(Converter):
    """Base of formats whose files hold whole episodes. In a folder only files with one of `suffixes` count."""

    suffixes: ClassVar[tuple[str, ...]]
    # Columns and cameras an episode may do without, by the beginning of their names.
    optional: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def sniff_file(self, path: Path) -> bool:
        """Whether the file is this format; may raise whatever opening it raises."""

    @abstractmethod
    def sketch(self, path: Path) -> FileSketch:
        """What one file holds. Raises `SourceError` when nothing of it can be used."""

    @abstractmethod
    def propose(
        self, files: Mapping[str, FileSketch], columns: Mapping[str, Column], cameras: Mapping[str, Camera]
    ) -> Proposal:
        """The mapping for what all episodes share. files: by path inside the source, readable ones only."""

    def files(self, path: Path) -> list[str]:
        """The files of a source by their path in it; [""] where the source is one itself."""
        return [""] if path.is_file() else self._candidates(path)

    def sniff(self, path: Path) -> bool:
        try:
            return any(self._sniffs(path / file) for file in self.files(path))
        except OSError:
            return False

    def refusal(self, path: Path) -> SourceError | None:
        """The reason why the first file with one of our suffixes cannot be opened."""
        for file in (path / name for name in self.files(path)):
            if file.is_dir() or file.suffix.lower() in self.suffixes:
                try:
                    self.sniff_file(file)
                except SourceError as error:
                    return error
                except (OSError, ValueError, KeyError, RuntimeError, TypeError):
                    continue
        return None

    def survey(self, path: Path) -> Survey:
        files: dict[str, FileSketch] = {}
        broken: list[EpisodeRef] = []
        names = self.files(path)
        for file in names:
            try:
                files[file] = self._sketched(path, file)
            except DataEngineError as error:
                if not file:
                    raise
                reason = error.reason if isinstance(error, SourceError) else str(error)
                broken.append(EpisodeRef(file, 0, problem=reason, extra={"file": file, "place": ""}))
        if not files and not broken:
            raise SourceError(path.name, f"holds no {self.name} files")
        if not files:
            raise SourceError(path.name, f"none of its {len(broken)} files can be read", hint=str(broken[0].problem))
        sketches = [_placed(s, file) for file, sketch in files.items() for s in sketch.episodes]
        columns, cameras, refs, left = agree(sketches, path.name, self.optional)
        proposal = self.propose(files, columns, cameras)
        others = _others(path, set(names)) if names != [""] else []
        return Survey(
            episodes=(*refs, *broken),
            columns=columns,
            cameras=cameras,
            mapping=proposal.mapping,
            assumptions=proposal.assumptions,
            unused=tuple(dict.fromkeys([*left, *(u for f in files.values() for u in f.unused), *others])),
            notes=tuple(dict.fromkeys([*proposal.notes, *(n for f in files.values() for n in f.notes)])),
        )

    def _sketched(self, root: Path, file: str) -> FileSketch:
        path = guard.safe_join(root, file) if file else root
        if path.stat().st_size == 0:
            raise SourceError(path.name, "the file is empty (0 bytes)")
        try:
            if not self.sniff_file(path):
                raise SourceError(path.name, f"is not {self.name} like the other files")
            return self.sketch(path)
        except (OSError, ValueError, KeyError, RuntimeError, TypeError, IndexError) as error:
            raise SourceError(path.name, f"cannot be read: {error}") from error

    def _sniffs(self, path: Path) -> bool:
        try:
            return path.stat().st_size > 0 and self.sniff_file(path)
        except (DataEngineError, OSError, ValueError, KeyError, RuntimeError, TypeError, IndexError):
            return False

    def _candidates(self, folder: Path) -> list[str]:
        """Files with our suffix, from the shallowest level that has any, in natural order."""
        for depth in range(_DEPTH + 1):
            found = [
                p.relative_to(folder).as_posix()
                for p in folder.glob("*/" * depth + "*")
                if p.suffix.lower() in self.suffixes and p.is_file() and not p.name.startswith(".")
            ]
            if found:
                return sorted(found, key=natural)
        return []


def file_of(plan: Plan, ref: EpisodeRef) -> Path:
    """The file an episode lies in, never outside the source."""
    file = ref.extra.get("file", "")
    return guard.safe_join(plan.path, file) if file else Path(plan.path)


def natural(name: str) -> list[tuple[int, int, str]]:
    """A sort key with numbers in their order: demo_2 before demo_10."""
    pieces: list[tuple[int, int, str]] = []
    digits = ""
    for c in name + "\0":
        if c.isascii() and c.isdigit():
            digits += c
            continue
        if digits:
            pieces.append((0, int(digits), ""))
            digits = ""
        pieces.append((1, 0, c))
    return pieces


def agree(
    sketches: Sequence[Sketch], source: str, optional: tuple[str, ...] = ()
) -> tuple[dict[str, Column], dict[str, Camera], list[EpisodeRef], list[str]]:
    """The columns and cameras that episodes share, with a problem for each episode that lacks one.

    Also gives what only some have, as text. Raises `SourceError` when no quarter of them may be missing: then
    the files are not one source.
    """
    good = [s for s in sketches if s.ref.problem is None]
    if not good:
        if sketches:
            raise SourceError(source, f"none of its {len(sketches)} episodes can be used: {sketches[0].ref.problem}")
        raise SourceError(source, "holds no episodes")
    columns, left = _shared([s.columns for s in good], lambda c: c.shape)
    cameras, left_cameras = _shared([s.cameras for s in good], lambda c: (c.height, c.width))
    if partial := [n for n in (*left, *left_cameras) if not n.startswith(optional or ("\0",))]:
        what = ", ".join(f"{n} ({(left | left_cameras)[n]})" for n in partial[:6])
        raise SourceError(
            source,
            f"its {len(good)} episodes do not hold the same things: {what}",
            hint="convert the files that belong together, each kind into its own store",
        )
    refs = []
    for sketch in sketches:
        faults = [f"lacks {n}" for n in (*columns, *cameras) if n not in {**sketch.columns, **sketch.cameras}]
        faults += [f"{n} has shape {c.shape}, not {columns[n].shape}"
                   for n, c in sketch.columns.items() if n in columns and c.shape != columns[n].shape]  # fmt: skip
        faults += [f"{n} is {c.height}×{c.width}, not {cameras[n].height}×{cameras[n].width}"
                   for n, c in sketch.cameras.items() if n in cameras
                   and (c.height, c.width) != (cameras[n].height, cameras[n].width)]  # fmt: skip
        problem = sketch.ref.problem or ("; ".join(faults) if faults else None)
        refs.append(replace(sketch.ref, problem=problem))
    return columns, cameras, refs, [f"{n}: {why}" for n, why in (left | left_cameras).items()]


def _shared[T: Column | Camera](episodes: Sequence[Mapping[str, T]], shape: Any) -> tuple[dict[str, T], dict[str, str]]:
    """What nearly all episodes have in one shape, and for the rest a sentence on who has it."""
    shared: dict[str, T] = {}
    left: dict[str, str] = {}
    for name in dict.fromkeys(n for e in episodes for n in e):
        having = [e[name] for e in episodes if name in e]
        (best, count), *others = Counter(shape(c) for c in having).most_common()
        if count < _COMMON * len(episodes):
            shapes = f", in {1 + len(others)} shapes" if others else ""
            left[name] = f"in {len(having)} of {len(episodes)} episodes{shapes}"
            continue
        alike = [c for c in having if shape(c) == best]
        shared[name] = alike[0]
        if isinstance(alike[0], Column) and alike[0].dtype != "string":
            widest = np.result_type(*{c.dtype for c in alike if isinstance(c, Column)})
            shared[name] = replace(alike[0], dtype=str(widest))  # type: ignore[type-var]
    return shared, left


def _placed(sketch: Sketch, file: str) -> Sketch:
    """In a folder an episode's name begins with its file; where a file is one episode it is the file's name."""
    place = sketch.ref.extra.get("place", sketch.ref.name)
    name = sketch.ref.name if not file else (f"{file}:{place}" if place else file)
    return replace(sketch, ref=replace(sketch.ref, name=name, extra={**sketch.ref.extra, "file": file, "place": place}))


def _others(folder: Path, taken: set[str]) -> list[str]:
    """Files that lie beside the ones read, at most a dozen named."""
    beside = {(folder / t).parent for t in taken}
    rest = sorted(
        p.relative_to(folder).as_posix()
        for d in beside
        for p in d.iterdir()
        if p.is_file() and p.relative_to(folder).as_posix() not in taken and not p.name.startswith(".")
    )
    return rest[:12] + ([f"… and {len(rest) - 12} more files"] if len(rest) > 12 else [])
