"""Converting is a flow without stages: sources in, one store out, with everything a flow has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dataengine.flow.plan import FlowPlan, plan_flow
from dataengine.flow.run import FlowResult, run_flow
from dataengine.flow.spec import FlowSpec, SourceSpec, source_spec


def convert(
    sources: str | Path | Sequence[str | Path | Mapping[str, Any]],
    out: str | Path,
    *,
    mapping: Mapping[str, Any] | str | Path | None = None,
    format: str | None = None,
    limit: int | None = None,
    codec: Mapping[str, Any] | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    retry_quarantined: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> FlowResult:
    """Convert one or several sources into the store at `out`, resumable; see `run_flow` for what it gives and raises.

    mapping, format: for the sources that do not bring their own. limit: episodes over all sources.
    """
    return run_flow(
        conversion(sources, out, mapping=mapping, format=format, codec=codec),
        scheduler=scheduler,
        workers=workers,
        limit=limit,
        retry_quarantined=retry_quarantined,
        overwrite=overwrite,
        progress=progress,
    )


def plan_conversion(
    sources: str | Path | Sequence[str | Path | Mapping[str, Any]],
    out: str | Path,
    *,
    mapping: Mapping[str, Any] | str | Path | None = None,
    format: str | None = None,
    limit: int | None = None,
) -> FlowPlan:
    """What `convert` would do; `plan.sources[i].plan.mapping` is the mapping to write down and edit."""
    return plan_flow(conversion(sources, out, mapping=mapping, format=format), limit=limit)


def conversion(
    sources: str | Path | Sequence[str | Path | Mapping[str, Any]],
    out: str | Path,
    *,
    mapping: Mapping[str, Any] | str | Path | None = None,
    format: str | None = None,
    codec: Mapping[str, Any] | None = None,
) -> FlowSpec:
    """The flow that a conversion is."""
    listed = [sources] if isinstance(sources, str | Path) else list(sources)
    return FlowSpec(
        name=f"convert {Path(out).name}",
        sources=tuple(_source(source, mapping, format) for source in listed),
        out=Path(out).expanduser().absolute(),
        codec=dict(codec or {}),
    )


def _source(
    source: str | Path | Mapping[str, Any], mapping: Mapping[str, Any] | str | Path | None, format: str | None
) -> SourceSpec:
    raw = dict(source) if isinstance(source, Mapping) else {"path": str(source)}
    shared = {"mapping": mapping, "format": format}
    return source_spec({**{k: v for k, v in shared.items() if v is not None}, **raw})
