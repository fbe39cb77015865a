"""What a converter owes: say what it recognises, survey it, and give one raw episode.

A new format is one file: a subclass with `sniff`, `survey` and `raw`, an entry point in the group
`dataengine.converters`, and a test. How columns become features is in `mapping.py` and `assemble.py`.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from converters.assemble import assemble, features_of
from converters.mapping import SourceMapping, overlay
from converters.raw import RawEpisode, Survey
from dataengine import guard
from dataengine.detect import find_converter
from dataengine.episode import Episode, Meta, Step, episode_id
from dataengine.errors import ConfigError, DataEngineError, EpisodeError, RateUnknown, SourceError, UnsafeSource
from dataengine.source import Assumption, EpisodeRef, Plan

# The task of an episode whose source says none: empty, never made up.
NO_TASK = ("",)

# What a library may raise at damaged input; anything else is our own mistake and shows as such.
_LIBRARY_ERRORS = (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError, ArithmeticError, MemoryError)


class Converter(ABC):
    """A foreign format. Has no state: one object reads any number of sources, on any worker.

    name: the entry point's. reads: one line for people. version: goes into the lineage; raise it when the
    same source would come out different.
    """

    name: ClassVar[str]
    reads: ClassVar[str]
    version: ClassVar[str] = "1"

    @abstractmethod
    def sniff(self, path: Path) -> bool:
        """Whether `path` (file or folder) is this format, by content. Never raises, reads little."""

    @abstractmethod
    def survey(self, path: Path) -> Survey:
        """What the source holds, without decoding it. Raises `SourceError` when nothing of it can be used."""

    @abstractmethod
    def raw(self, plan: Plan, ref: EpisodeRef) -> RawEpisode:
        """One episode: at least the columns and clips that `plan.mapping` names. Clips read lazily, at `plan.fps`.

        What is wrong with this episode alone is an `EpisodeError`; exceptions of libraries become one by themselves.
        """

    def refusal(self, path: Path) -> SourceError | None:
        """Why a path that looks like this format from outside cannot be opened (damaged, unsafe); else None."""
        return None

    def copied(self, plan: Plan) -> Mapping[str, int]:
        """Bytes of video that a store takes over packet by packet, by the key of the camera."""
        return {}

    def fingerprint(self, path: Path) -> str:
        """sha256 of one file of the source, or of a folder's files."""
        return guard.tree_sha256(path) if path.is_dir() else guard.sha256_file(path)

    def _fingerprints(self, path: Path, files: Sequence[str]) -> dict[str, str]:
        """The fingerprint of each file; hashing leaves Python alone, so a thread for each core takes part."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return dict(zip(files, pool.map(lambda file: self.fingerprint(path / file), files), strict=True))

    def plan(self, path: Path, mapping: Mapping[str, Any] | None = None, *, hashed: bool = True) -> Plan:
        """What reading the source with this mapping gives.

        hashed: False leaves `sha256` empty and reads no file to its end; such a plan can be shown, not read.
        Raises `SourceError` (the source) or `ConfigError` (the mapping).
        """
        path = Path(path).resolve()
        if mapping and mapping.get("format", self.name) != self.name:
            raise ConfigError(f"the mapping was written for {mapping['format']!r}, this source is {self.name!r}")
        try:
            found = self.survey(path)
        except _LIBRARY_ERRORS as error:
            raise SourceError(path.name, f"cannot be read: {type(error).__name__}: {error}") from error
        merged = overlay(found.mapping, mapping)
        if merged.get("fps") is None:
            raise RateUnknown(
                f"{path.name}: does not say its rate; write it to a file as `fps: 10` (Hz) and give that with --mapping"
            )
        rules = SourceMapping.from_dict(merged)
        try:
            features = features_of(rules, found.columns, found.cameras)
        except UnsafeSource as error:  # a name, which says nothing of where it stands
            hint = "rename it in the source, or give it another name or null in the mapping"
            raise UnsafeSource(path.name, f"the name {error.path} {error.reason}", hint=hint) from None
        hashes = self._fingerprints(path, _files(found)) if hashed else {}
        episodes = tuple(
            replace(ref, extra={**ref.extra, "sha256": hashes.get(ref.extra.get("file", ""), "")})
            for ref in found.episodes
        )
        taken = rules.columns() | {camera.source for camera in rules.cameras.values()}
        unused = [name for name in (*found.columns, *found.cameras) if name not in taken]
        return Plan(
            path=str(path),
            format=self.name,
            fps=rules.fps,
            features=features,
            episodes=episodes,
            mapping=merged,
            assumptions=tuple(a for a in found.assumptions if _stands(a, merged)),
            embodiment=rules.embodiment,
            licence=rules.licence,
            unused=(*unused, *found.unused),
            notes=found.notes,
            sha256=_joint_hash(hashes),
        )

    def read(self, plan: Plan, ref: EpisodeRef) -> Episode:
        """One checked episode. Raises `EpisodeError` when this one cannot be used, `SourceError` for the source."""
        if ref.problem is not None:
            raise EpisodeError(ref.name, ref.problem)
        if not ref.extra.get("sha256"):
            raise EpisodeError(ref.name, "the plan was made with hashed=False; make it again to read from it")
        rules = SourceMapping.from_dict(plan.mapping)
        try:
            raw = self.raw(plan, ref)
            frames, clips = assemble(raw, rules, plan.features, ref.name)
        except DataEngineError:
            raise
        except _LIBRARY_ERRORS as error:
            raise EpisodeError(ref.name, f"cannot be read: {type(error).__name__}: {error}") from error
        step = Step(
            "convert",
            self.version,
            {"format": self.name, "mapping": plan.mapping},
            (*(str(assumption) for assumption in plan.assumptions), *raw.remarks),
        )
        tasks = (rules.task,) if rules.task is not None else (raw.tasks or ref.tasks or NO_TASK)
        file = ref.extra.get("file") or Path(plan.path).name
        place = ref.extra.get("place", ref.name)
        meta = Meta(
            tasks=tasks,
            success=raw.success,
            operator=raw.operator,
            embodiment=rules.embodiment or raw.embodiment,
            licence=rules.licence,
            split=raw.split,
            source={"format": self.name, "file": file, "sha256": ref.extra["sha256"], "place": place},
            lineage=(step,),
            extra=raw.extra,
        )
        found = Episode(
            id=episode_id(ref.extra["sha256"], place),
            fps=rules.fps,
            features=plan.features,
            frames=frames,
            clips=clips,
            labels=raw.labels,
            meta=meta,
            frame_tasks=None if rules.task is not None else raw.frame_tasks,
        )
        try:
            return found.check()
        except EpisodeError as error:  # say it with the place in the source, which a person can look up
            raise EpisodeError(ref.name, error.reason, feature=error.feature, frame=error.frame) from None

    def read_all(
        self,
        path: Path,
        mapping: Mapping[str, Any] | None = None,
        *,
        limit: int | None = None,
        on_problem: Callable[[EpisodeRef, EpisodeError], None] | None = None,
    ) -> Iterator[Episode]:
        """Every episode in order, at most `limit`. With `on_problem` the bad ones are reported and passed over."""
        plan = self.plan(path, mapping)
        for ref in plan.episodes[:limit]:
            try:
                episode = self.read(plan, ref)
            except EpisodeError as error:
                if on_problem is None:
                    raise
                on_problem(ref, error)
                continue
            yield episode


def detect(path: Path) -> Converter:
    """The one converter that recognises a file or folder by its content; `SourceError` says what there is."""
    found: Converter = find_converter(Path(path))
    return found


def _files(found: Survey) -> list[str]:
    """Files of the source that hold episodes which can be read, in order, each once."""
    return list(dict.fromkeys(ref.extra.get("file", "") for ref in found.episodes if ref.problem is None))


def _joint_hash(hashes: Mapping[str, str]) -> str:
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    return (
        hashlib.sha256("\n".join(f"{k} {v}" for k, v in sorted(hashes.items())).encode()).hexdigest() if hashes else ""
    )


def _stands(assumption: Assumption, mapping: Mapping[str, Any]) -> bool:
    """Whether what was assumed is still what the mapping says.

    A mapping that says otherwise settles it; one that repeats it does not, since a written proposal repeats all.
    """
    value: Any = mapping
    keys = assumption.key.split("/")
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            return len(keys) == 1
        value = value[key]
    return value == assumption.value
