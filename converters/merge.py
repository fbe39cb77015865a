"""Several datasets as one: rates that agree, features that agree by mapping, tasks and licences put together.

Every source keeps its own converter and mapping; merging only finds out beforehand whether their episodes fit
into one store, and says what would make them fit. Embodiment, licence and source stay with each episode.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from converters.base import Converter, detect
from dataengine.episode import Episode, Feature
from dataengine.errors import ConfigError, EpisodeError
from dataengine.licence import merge_licences
from dataengine.source import Plan
from dataengine.store.schema import differences

Wanted = Literal["same", "common"]


@dataclass(frozen=True)
class MergeSource:
    """One dataset and what is laid over the mapping it proposes."""

    path: Path
    mapping: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Merge:
    """Datasets that fit together. plans: in order, their mappings complete. licence: of the whole; None when no
    source names one. embodiment: the one all share; None when they differ, each episode has its own. notes: what was
    left out, and what stands in several sources."""

    converters: tuple[Converter, ...]
    plans: tuple[Plan, ...]
    fps: float
    features: Mapping[str, Feature]
    licence: str | None
    embodiment: str | None
    notes: tuple[str, ...] = ()

    @property
    def tasks(self) -> tuple[str, ...]:
        """Every task of every source, each once."""
        return tuple(dict.fromkeys(t for plan in self.plans for ref in plan.episodes for t in ref.tasks))

    def sources(self) -> list[dict[str, Any]]:
        """Path and complete mapping of every source: what a flow takes as its `source`."""
        return [{"path": plan.path, "mapping": {**plan.mapping, "complete": True}} for plan in self.plans]

    def episodes(self) -> Iterator[Episode]:
        """All episodes in order, each once by its id. Raises `EpisodeError` at the first that cannot be used."""
        seen: set[str] = set()
        for converter, plan in zip(self.converters, self.plans, strict=True):
            for ref in plan.episodes:
                if ref.problem is not None:
                    raise EpisodeError(ref.name, ref.problem)
                episode = converter.read(plan, ref)
                if episode.id not in seen:
                    seen.add(episode.id)
                    yield episode


def plan_merge(sources: Sequence[MergeSource | Path | str], *, features: Wanted = "same") -> Merge:
    """What the sources give together, without reading an episode.

    features: "same" wants every source to have every feature; "common" leaves out those that not all have alike.
    Raises: `ConfigError` for rates, features or licences that do not fit, naming source and mapping key.
    """
    if len(sources) < 2:
        raise ConfigError(f"merging takes two sources and more, not {len(sources)}")
    given = [source if isinstance(source, MergeSource) else MergeSource(Path(source)) for source in sources]
    found = tuple(detect(source.path) for source in given)
    plans = [converter.plan(source.path, source.mapping) for converter, source in zip(found, given, strict=True)]
    names = _names(plans)
    _check_rates(plans, names)
    licence = merge_licences({name: plan.licence for name, plan in zip(names, plans, strict=True)})
    notes: list[str] = []
    if features == "common":
        left_out = _uncommon(plans)
        plans = [
            converter.plan(Path(plan.path), _without(plan, left_out))
            for converter, plan in zip(found, plans, strict=True)
        ]
        notes += [f"{key} is left out: {why}" for key, why in left_out.items()]
    for name, plan in zip(names[1:], plans[1:], strict=True):
        if wrong := differences(plans[0].features, plan.features):
            lines = "; ".join(line.replace("the store", names[0]).replace("the episode", name) for line in wrong)
            raise ConfigError(
                f"{name} does not fit {names[0]}: {lines}. Rename, select or leave out (null) features in the "
                "mapping of either, or keep only the common ones"
            )
    notes += _twice(plans, names)
    robots = {plan.embodiment for plan in plans}
    if len(robots) > 1:
        notes.append("embodiments differ and stay with each episode: " + ", ".join(str(r) for r in robots))
    return Merge(
        found, tuple(plans), plans[0].fps, plans[0].features, licence, robots.pop() if len(robots) == 1 else None,
        tuple(notes),
    )  # fmt: skip


def _names(plans: Sequence[Plan]) -> list[str]:
    """A name for people, one each: the folder's or file's, with its parent's where two are called alike."""
    short = [Path(plan.path).name for plan in plans]
    return [
        name if short.count(name) == 1 else f"{Path(plan.path).parent.name}/{name} ({place + 1})"
        for place, (name, plan) in enumerate(zip(short, plans, strict=True))
    ]


def _check_rates(plans: Sequence[Plan], names: Sequence[str]) -> None:
    if any(abs(plan.fps - plans[0].fps) > 1e-6 * plans[0].fps for plan in plans):
        rates = ", ".join(f"{name}: {plan.fps:g} Hz" for name, plan in zip(names, plans, strict=True))
        raise ConfigError(
            f"the sources have different rates ({rates}) and a dataset has one; resample one first, or set `fps` in "
            "its mapping where its own is wrong"
        )


def _uncommon(plans: Sequence[Plan]) -> dict[str, str]:
    """Features that not all plans have alike, and why."""
    found: dict[str, str] = {}
    for key in dict.fromkeys(key for plan in plans for key in plan.features):
        having = [plan.features[key] for plan in plans if key in plan.features]
        if len(having) < len(plans):
            found[key] = f"{len(having)} of {len(plans)} sources have it"
        elif wrong := [line for one in having[1:] for line in differences({key: having[0]}, {key: one})]:
            found[key] = wrong[0].removeprefix(f"{key}: ")
    return found


def _without(plan: Plan, left_out: Mapping[str, str]) -> dict[str, Any]:
    """The plan's mapping with these features left out."""
    mapping = dict(plan.mapping)
    for section in ("features", "cameras"):
        mapping[section] = {key: rule for key, rule in mapping.get(section, {}).items() if key not in left_out}
    return {**mapping, "complete": True}


def _twice(plans: Sequence[Plan], names: Sequence[str]) -> list[str]:
    """Episodes that stand in more than one source."""
    first: dict[tuple[str, str], str] = {}
    counts: dict[tuple[str, str], int] = {}
    for name, plan in zip(names, plans, strict=True):
        for ref in plan.episodes:
            identity = (str(ref.extra.get("sha256", "")), str(ref.extra.get("place", ref.name)))
            if first.setdefault(identity, name) != name:
                counts[first[identity], name] = counts.get((first[identity], name), 0) + 1
    return [
        f"{count} episodes of {one} stand in {other} too and are taken once" for (one, other), count in counts.items()
    ]
