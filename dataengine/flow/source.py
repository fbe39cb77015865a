"""From source entries to planned episodes: which converter reads them, which episodes, in what order."""

from __future__ import annotations

import difflib
import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dataengine.detect import find_converter, plan_with
from dataengine.errors import ConfigError, SourceError
from dataengine.flow.fingerprint import digest, stat_digest
from dataengine.flow.spec import SourceSpec
from dataengine.licence import merge_licences
from dataengine.source import EpisodeRef, Plan


@dataclass(frozen=True)
class PlannedSource:
    """One source with its plan. refs: the chosen episodes, in source order."""

    converter: str
    version: str
    plan: Plan
    refs: tuple[EpisodeRef, ...]

    def origin(self, ref: EpisodeRef) -> str:
        """Which recording this is: its file's content and the place in it, however it is read.

        A converter that knows the file of each episode (`extra["sha256"]`) keeps the others' keys when a folder grows.
        A file that nobody could read has no hash: its name tells it from the others.
        """
        if content := ref.extra.get("sha256"):
            return digest([content, ref.extra.get("place", ref.name)])
        whole = self.plan.sha256 or stat_digest(Path(self.plan.path))
        return digest([whole, ref.name, ref.extra.get("place", ref.name)])

    def key(self, ref: EpisodeRef) -> str:
        """What an episode as read depends on: the recording, the converter and the mapping, not where it lies."""
        return digest([self.plan.format, self.version, self.origin(ref), self.plan.fps, self.plan.mapping])

    def for_worker(self, ref: EpisodeRef) -> Plan:
        """The plan with this one episode: what travels to a worker stays small."""
        return replace(self.plan, episodes=(ref,))


def open_sources(specs: Sequence[SourceSpec], limit: int | None = None, *, hashed: bool = True) -> list[PlannedSource]:
    """Plan every source; patterns such as `data/*.hdf5` are expanded. limit: episodes over all sources.

    hashed: False plans without reading files to their end, good for showing only.

    Raises `SourceError` when a path is no episode source, `ConfigError` when a choice does not exist in it.
    """
    planned = []
    for spec in specs:
        for path in expand(spec.path):
            planned.append(_plan(replace(spec, path=str(path)), hashed))
    if limit is not None:
        left, kept = limit, []
        for source in planned:
            if left > 0:
                kept.append(replace(source, refs=source.refs[:left]))
                left -= len(kept[-1].refs)
        planned = kept
    return planned


def licence_of(sources: Sequence[PlannedSource]) -> str | None:
    """The licence of what all sources give together; `ConfigError` where that is not ours to decide."""
    names = [Path(source.plan.path).name for source in sources]
    unique = [f"{name} ({place + 1})" if names.count(name) > 1 else name for place, name in enumerate(names)]
    return merge_licences({name: source.plan.licence for name, source in zip(unique, sources, strict=True)})


def embodiment_of(sources: Sequence[PlannedSource]) -> str | None:
    """The one robot of all sources, or None when they differ or do not say."""
    found = {s.plan.embodiment for s in sources}
    return found.pop() if len(found) == 1 else None


def expand(pattern: str) -> Iterator[Path]:
    """What a pattern such as `data/*.hdf5` names, in order; a path that is no pattern itself."""
    if not glob.has_magic(pattern) or Path(pattern).exists():
        yield Path(pattern)
        return
    found = sorted(glob.glob(pattern))  # noqa: PTH207 - the pattern is absolute
    if not found:
        raise SourceError(pattern, "no file matches this pattern", hint="check the path")
    yield from map(Path, found)


def _plan(spec: SourceSpec, hashed: bool) -> PlannedSource:
    path = Path(spec.path)
    converter = find_converter(path, spec.format)
    plan = plan_with(converter, path, _mapping(spec.mapping), hashed=hashed)
    refs = _choose(plan, spec)
    if not refs:
        raise SourceError(path, "holds no episodes", hint="nothing to do; leave it out")
    return PlannedSource(converter.name, str(getattr(converter, "version", "1")), plan, refs)


def _mapping(mapping: Mapping[str, Any] | str | None) -> Mapping[str, Any] | None:
    if mapping is None or isinstance(mapping, Mapping):
        return mapping
    from dataengine.guard import read_yaml

    if not Path(mapping).is_file():
        raise ConfigError(f"there is no mapping file {mapping}")
    read = read_yaml(Path(mapping))
    if not isinstance(read, Mapping):
        raise ConfigError(f"{mapping}: a mapping file holds keys such as fps, task and features")
    return read


def _choose(plan: Plan, spec: SourceSpec) -> tuple[EpisodeRef, ...]:
    refs = plan.episodes
    if spec.episodes is not None:
        by_name = {ref.name: place for place, ref in enumerate(refs)}
        places: dict[int, None] = {}
        for choice in spec.episodes:
            for place in _places(choice, by_name, len(refs), spec.path):
                places[place] = None
        refs = tuple(refs[place] for place in sorted(places))
    return refs[: spec.limit]


def _places(choice: str | int, by_name: Mapping[str, int], count: int, where: str) -> Sequence[int]:
    if isinstance(choice, str):
        if choice in by_name:
            return [by_name[choice]]
        first, colon, last = choice.partition(":")
        if colon and all(not part or part.isdigit() for part in (first, last)):
            return range(int(first or 0), min(int(last or count), count))
        near = difflib.get_close_matches(choice, by_name, n=1)
        raise ConfigError(
            f"{where}: there is no episode {choice!r}"
            + (f"; did you mean {near[0]!r}?" if near else "")
            + f" It holds {count}, the first is {next(iter(by_name), None)!r}"
        )
    if not 0 <= choice < count:
        raise ConfigError(f"{where}: there is no episode at position {choice}; it holds {count}")
    return [choice]
