"""What a flow would do, known before it does anything: sources, stages, jobs, size, and all that is assumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dataengine.errors import ConfigError
from dataengine.flow.estimate import Estimate, estimate
from dataengine.flow.fingerprint import digest
from dataengine.flow.jobs import JobPlan, plan_jobs
from dataengine.flow.source import PlannedSource, embodiment_of, licence_of, open_sources
from dataengine.flow.spec import FlowSpec, load_flow
from dataengine.flow.stages import StagePlan, plan_stages


@dataclass(frozen=True)
class FlowPlan:
    """Everything checked and nothing done. key: fingerprint of the stages, whatever artifacts they will find."""

    spec: FlowSpec
    sources: tuple[PlannedSource, ...]
    stages: tuple[StagePlan, ...]
    jobs: tuple[JobPlan, ...]
    estimate: Estimate
    embodiment: str | None
    licence: str | None

    @property
    def key(self) -> str:
        return digest([[s.kind, s.name, s.version, s.params] for s in self.stages])

    @property
    def episodes(self) -> int:
        return sum(len(source.refs) for source in self.sources)

    @property
    def frames(self) -> int:
        return sum(ref.length for source in self.sources for ref in source.refs if ref.problem is None)

    def to_json(self) -> dict[str, Any]:
        """For people and programs: what `--dry-run` shows."""
        return {
            "name": self.spec.name,
            "out": str(self.spec.out),
            "episodes": self.episodes,
            "frames": self.frames,
            "sources": [_source_json(source) for source in self.sources],
            "stages": [{"name": s.label, "version": s.version, "params": dict(s.params)} for s in self.stages],
            "then": [{"name": j.label, "version": j.version, "params": _texts(j.params)} for j in self.jobs],
            "embodiment": self.embodiment,
            "licence": self.licence,
            "estimate": asdict(self.estimate) | {"needed": self.estimate.needed},
        }


def plan_flow(
    flow: str | Path | Mapping[str, Any] | FlowSpec,
    params: Mapping[str, Any] | None = None,
    *,
    limit: int | None = None,
    hashed: bool = False,
) -> FlowPlan:
    """A dry run. hashed: also hash the sources, which a plan that is carried out needs.

    Raises `ConfigError` and `SourceError`: whatever can be known to be wrong is known here.
    """
    spec = load_flow(flow, params)
    if limit is not None and limit < 1:
        raise ConfigError(f"limit is a count of at least 1, got {limit}")
    stages = plan_stages(spec.stages)
    jobs = plan_jobs(spec.then)
    _check_codec(spec)
    sources = open_sources(spec.sources, limit, hashed=hashed)
    for source in sources:
        _check_apart(spec.out, Path(source.plan.path))
    if spec.out.is_dir() and any(spec.out.iterdir()) and not (spec.out / "meta" / "info.json").exists():
        raise ConfigError(f"`out` {spec.out} is not empty and no store; a store needs a folder of its own")
    if len(rates := {source.plan.fps for source in sources}) > 1:
        raise ConfigError(
            f"the sources have different rates ({', '.join(f'{r:g}' for r in sorted(rates))} Hz) and a store has one; "
            "say one for all with `fps` in their mappings (--set fps=30), where the format can be read at another rate"
        )
    return FlowPlan(
        spec, tuple(sources), tuple(stages), tuple(jobs), estimate(sources), embodiment_of(sources), licence_of(sources)
    )


def _check_apart(out: Path, source: Path) -> None:
    """Neither may lie in the other, by whichever links they are named: a flow never writes into what it reads."""
    for own, other in (
        (out, source),
        (out.parent.resolve() / out.name, source.resolve()),
        (out.resolve(), source.resolve()),
    ):
        if own == other or own in other.parents:
            raise ConfigError(f"`out` {out} holds the source {source}; a store needs a folder of its own")
        if other in own.parents:
            raise ConfigError(f"`out` {out} lies inside the source {source}; a store needs a folder of its own")


def _check_codec(spec: FlowSpec) -> None:
    if spec.codec:
        from dataengine.video import Codec

        try:
            Codec(**spec.codec)
        except TypeError as error:
            known = ", ".join(Codec.__dataclass_fields__)
            raise ConfigError(f"codec: {error}; it takes: {known}") from error


def _source_json(source: PlannedSource) -> dict[str, Any]:
    plan = source.plan
    return {
        "path": plan.path,
        "format": plan.format,
        "fps": plan.fps,
        "embodiment": plan.embodiment,
        "licence": plan.licence,
        "features": {key: asdict(feature) for key, feature in plan.features.items()},
        "episodes": [
            {"name": r.name, "length": r.length, "bytes": r.bytes, "tasks": r.tasks, "problem": r.problem}
            for r in source.refs
        ],
        "assumptions": [str(assumption) for assumption in plan.assumptions],
        "unused": list(plan.unused),
        "notes": list(plan.notes),
        "mapping": plan.mapping,
    }


def _texts(params: Mapping[str, Any]) -> dict[str, Any]:
    return {k: str(v) if isinstance(v, Path) else v for k, v in params.items()}
