"""Jobs on the finished store, in order: each with a folder of its own, done again only when something changed."""

from __future__ import annotations

import json
import shutil
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from dataengine import plugins
from dataengine.errors import ConfigError, DataEngineError
from dataengine.flow.events import Cancelled, EventLog
from dataengine.flow.fingerprint import digest, part_key, plain
from dataengine.flow.folder import FlowFolder, read_json, write_json
from dataengine.flow.spec import PartSpec, fill, names_in
from dataengine.flow.stages import absolute


@dataclass(frozen=True)
class JobPlan:
    """A job by name. folder: its name below `<out>.flow/`. params may name earlier jobs' folders: `${jobs.<name>}`."""

    label: str
    name: str
    version: str
    params: Mapping[str, Any]
    folder: str


@dataclass(frozen=True)
class JobResult:
    """report: JSON-able, the job's own. skipped: an earlier job failed, or there was nothing to work on."""

    label: str
    state: Literal["done", "cached", "failed", "skipped"]
    folder: str
    seconds: float = 0.0
    report: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


def plan_jobs(specs: Sequence[PartSpec]) -> list[JobPlan]:
    """Make every job once, so that a wrong name or parameter is known before the first episode."""
    plans: list[JobPlan] = []
    for place, spec in enumerate(specs, 1):
        params = absolute(spec.params, "jobs", spec.name)
        earlier = [f"jobs.{plan.label}" for plan in plans]
        for name in names_in(params):
            if name not in earlier:
                raise ConfigError(
                    f"then: {spec.name}: ${{{name}}} is no earlier job; there are: {', '.join(earlier) or 'none'}"
                )
        version = str(getattr(plugins.load("jobs", spec.name), "version", "1"))
        taken = sum(plan.name == spec.name for plan in plans)
        label = spec.name if not taken else f"{spec.name}_{taken + 1}"
        plans.append(JobPlan(label, spec.name, version, params, f"{place:02d}-{label}"))
    return plans


def run_jobs(plans: Sequence[JobPlan], folder: FlowFolder, store: str, events: EventLog) -> Iterator[JobResult]:
    """Run the jobs on the store with this digest. After one that failed the others are skipped.

    Raises `Cancelled` between two jobs when somebody asked the run to stop.
    """
    folders: dict[str, str] = {}
    keys: dict[str, str] = {}
    failed = False
    for plan in plans:
        where = folder.beside / plan.folder
        if failed:
            yield JobResult(plan.label, "skipped", str(where), error="a job before it failed")
            continue
        if events.cancelled():
            raise Cancelled
        events.update(now=True, phase=f"job {plan.label}")
        job = plugins.make("jobs", plan.name, fill(plan.params, folders, "then"))
        # An earlier job counts by what it was made from, not by the path of its folder.
        also = [job.also(folder.out)] if hasattr(job, "also") else []
        key = digest([part_key("jobs", plan.name, plan.version, _meaning(plan, job, keys)), store, *also])
        folders[f"jobs.{plan.label}"], keys[f"jobs.{plan.label}"] = str(where), key
        result = _run(plan, job, where, folder.out, key)
        failed = result.state == "failed"
        events.write("job", job=plan.label, state=result.state, seconds=result.seconds, error=result.error)
        yield result


def _run(plan: JobPlan, job: Any, where: Path, store: Path, key: str) -> JobResult:
    note = where / "job.json"
    kept = read_json(note)
    if kept and kept.get("key") == key and getattr(job, "cached", True):
        return JobResult(plan.label, "cached", str(where), kept["seconds"], kept["report"])
    begun = where / "begun.json"
    if where.exists() and read_json(begun) != {"key": key}:
        shutil.rmtree(where)  # left by another version of this job; one that was killed may go on in its own folder
    note.unlink(missing_ok=True)
    write_json(begun, {"key": key})
    began = time.monotonic()
    try:
        report = json.loads(json.dumps(dict(job.run(store, where)), default=plain))
    except Exception as error:
        if not isinstance(error, DataEngineError):
            (where / "error.txt").write_text(traceback.format_exc(), "utf-8")
        said = str(error) if isinstance(error, DataEngineError) else f"{type(error).__name__}: {error}"
        return JobResult(plan.label, "failed", str(where), round(time.monotonic() - began, 3), error=said)
    result = JobResult(plan.label, "done", str(where), round(time.monotonic() - began, 3), report)
    write_json(note, asdict(result) | {"key": key})
    return result


def _meaning(plan: JobPlan, job: Any, keys: Mapping[str, str]) -> dict[str, Any]:
    """All parameters, defaults included; those that name an earlier job by what that job was."""
    named = {k: v for k, v in plan.params.items() if names_in({k: v})}
    return plugins.params_of(job) | dict(fill(named, keys, "then"))
