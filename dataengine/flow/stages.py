"""Stages as a flow holds them: checked once by the driver, made again by name on each worker."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from dataengine import plugins
from dataengine.episode import Episode, Label
from dataengine.errors import ConfigError
from dataengine.flow.fingerprint import part_key, plain
from dataengine.flow.spec import PartSpec
from dataengine.plugins import Annotator, Drop, Stage


@dataclass(frozen=True)
class StagePlan:
    """A stage by name with everything a worker needs to make it; small and JSON-able.

    label: unique within the flow, for logs and figures. artifact: file of what `fit` found, an absolute path.
    key: fingerprint of stage, parameters and artifact.
    """

    label: str
    kind: Literal["stages", "annotators"]
    name: str
    version: str
    params: Mapping[str, Any]
    reads: tuple[str, ...]
    resources: Mapping[str, float] = field(default_factory=dict)
    fits: bool = False
    artifact: str | None = None
    key: str = ""

    def with_artifact(self, path: Path, content: str) -> StagePlan:
        key = part_key(self.kind, self.name, self.version, self.params, content)
        return replace(self, artifact=str(path), key=key)


@dataclass
class Annotate:
    """An annotator as a stage: adds its labels, which say where they come from."""

    annotator: Annotator
    name: str
    version: str
    reads: tuple[str, ...]
    resources: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def with_(cls, annotator: Annotator) -> Annotate:
        reads, resources = getattr(annotator, "reads", ("*",)), getattr(annotator, "resources", {})
        return cls(annotator, annotator.name, str(annotator.version), tuple(reads), resources)

    def run(self, episodes: Iterator[Episode]) -> Iterator[Episode | Drop]:
        params = json.loads(json.dumps(plugins.params_of(self.annotator), default=plain))
        origin = {"name": self.name, "version": self.version, "params": params}
        for episode in episodes:
            for name, label in self.annotator.annotate(episode).items():
                episode = episode.with_label(name, Label(label.kind, label.table, {**origin, **label.source}))
            yield episode


def plan_stages(specs: tuple[PartSpec, ...]) -> list[StagePlan]:
    """Make every stage once, here, so that a wrong name or parameter is known before anything starts."""
    plans: list[StagePlan] = []
    for spec in specs:
        kind: Literal["stages", "annotators"] = "stages"
        if spec.name not in plugins.parts("stages") and spec.name in plugins.parts("annotators"):
            kind = "annotators"
        part = plugins.make(kind, spec.name, absolute(spec.params, kind, spec.name))
        stage = _as_stage(kind, part)
        params = json.loads(json.dumps(plugins.params_of(part), default=plain))
        fits = hasattr(part, "observe") and hasattr(part, "fit") and params.get("artifact") is None
        if fits:
            if not is_dataclass(part) or "artifact" not in params:
                raise ConfigError(f"stage {spec.name!r} has observe and fit, so it needs a field 'artifact'")
            del params["artifact"]
        taken = sum(plan.name == spec.name for plan in plans)
        plans.append(
            StagePlan(
                label=spec.name if not taken else f"{spec.name} {taken + 1}",
                kind=kind,
                name=spec.name,
                version=str(stage.version),
                params=params,
                reads=tuple(stage.reads),
                resources=dict(getattr(stage, "resources", {}) or {}),
                fits=fits,
                key="" if fits else _key(kind, spec.name, str(stage.version), part),
            )
        )
    return plans


def _key(kind: plugins.Kind, name: str, version: str, part: Any) -> str:
    return part_key(kind, name, version, plugins.params_of(part), getattr(part, "content", None))


def make_stage(plan: StagePlan) -> Stage:
    """The stage on this machine; kept, so that models load once per process."""
    return _made(json.dumps([plan.kind, plan.name, plan.version, plan.params, plan.artifact], sort_keys=True))


def absolute(params: Mapping[str, Any], kind: plugins.Kind, name: str) -> dict[str, Any]:
    """Parameters with relative paths made absolute: a worker may stand in another folder."""
    part = plugins.make(kind, name, params)
    given = {key: getattr(part, key) for key in params} if is_dataclass(part) else dict(params)
    return {k: v.expanduser().absolute() if isinstance(v, Path) and "${" not in str(v) else v for k, v in given.items()}


@lru_cache(maxsize=32)
def _made(description: str) -> Stage:
    kind, name, version, params, artifact = json.loads(description)
    part = plugins.make(kind, name, params)
    if artifact is not None:
        part = replace(part, artifact=json.loads(Path(artifact).read_text("utf-8"))["artifact"])
    stage = _as_stage(kind, part)
    if str(stage.version) != version:
        raise ConfigError(
            f"this worker has version {stage.version} of stage {name!r}, the flow was planned with {version}; "
            "install the same version on all workers"
        )
    return stage


def _as_stage(kind: str, part: Any) -> Stage:
    if kind == "annotators":
        return Annotate.with_(part)
    if missing := [a for a in ("name", "version", "reads", "run") if not hasattr(part, a)]:
        raise ConfigError(f"stage {type(part).__name__} has no {', '.join(missing)}; see plugins.Stage")
    return part
