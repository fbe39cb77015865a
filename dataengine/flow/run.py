"""Running a flow from its file to its report."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dataengine.errors import DataEngineError
from dataengine.flow.cluster import Executor, open_executor
from dataengine.flow.committer import clear_store
from dataengine.flow.driver import Driver
from dataengine.flow.estimate import check_disk
from dataengine.flow.events import Cancelled, EventLog, State
from dataengine.flow.fingerprint import plain
from dataengine.flow.folder import FlowFolder, write_json
from dataengine.flow.jobs import JobResult, run_jobs
from dataengine.flow.plan import FlowPlan, plan_flow
from dataengine.flow.progress import Progress
from dataengine.flow.spec import FlowSpec, load_flow
from dataengine.flow.stages import StagePlan


@dataclass(frozen=True)
class FlowResult:
    """What a run did. exit_code: 0 all well, 1 failed, 3 done but some episodes are in quarantine, 4 cancelled.

    A wrong flow or source raises instead (2 on the command line). seconds: wall time. reused: episodes whose
    work was found done. digest: of the store's content.
    """

    run: str
    name: str
    out: str
    state: State
    exit_code: int
    episodes: int
    kept: int
    frames: int
    dropped: int
    quarantined: int
    reused: int
    seconds: float
    digest: str | None = None
    report: str | None = None
    error: str = ""
    jobs: tuple[JobResult, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {k: v for k, v in asdict(self).items() if k != "record"}


def run_flow(
    flow: str | Path | Mapping[str, Any] | FlowSpec,
    params: Mapping[str, Any] | None = None,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    limit: int | None = None,
    retry_quarantined: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> FlowResult:
    """Carry out a flow; the same call again goes on where the last one stopped.

    scheduler: None for processes on this machine, "inprocess", or a Dask scheduler's address. workers: local
    processes, one per core by default. limit: episodes over all sources. retry_quarantined: only those.
    overwrite: build the store anew where the flow changed; results of unchanged stages are kept.

    Raises `ConfigError` and `SourceError` for what is wrong as a whole, before or while it runs; what is wrong
    with single episodes ends up in `<out>.flow/quarantine.jsonl`.
    """
    spec = load_flow(flow, params)
    plan = plan_flow(spec, limit=limit, hashed=True)
    run = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    folder = FlowFolder(spec.out)
    check_disk(spec.out, plan.estimate)
    with folder.lock(run):
        if overwrite:
            clear_store(folder)
        events = EventLog(folder, run, spec.name)
        (folder.root / "cancel").unlink(missing_ok=True)
        (folder.root / "token").write_text(run, "utf-8")
        events.write("start", flow=spec.name, out=str(spec.out), plan=_brief(plan))

        def executor(stages: list[StagePlan]) -> Executor:
            return open_executor(scheduler, workers, stages, spec.out, run)

        with Progress(progress) as shown:
            driver = Driver(plan, folder, events, executor, shown, retry_quarantined=retry_quarantined)
            try:
                return _carry_out(driver, time.monotonic())
            except OSError as error:
                raise DataEngineError(f"{spec.out}: {error}; run the same command again to go on from here") from error


def _carry_out(driver: Driver, began: float) -> FlowResult:
    """Work, then jobs, then the report; whatever happens, the state on disk says how it ended."""
    events = driver.events
    state: State = "finished"
    error: BaseException | None = None
    jobs: list[JobResult] = []
    digest: str | None = None
    try:
        driver.work()
        digest = _digest(driver.folder)
        for job in _jobs(driver, digest):
            jobs.append(job)  # one by one: what is done stays told when a later one is cancelled
        if any(job.state == "failed" for job in jobs):
            state = "failed"
    except (Cancelled, KeyboardInterrupt):
        state = "cancelled"
    except BaseException as caught:
        state, error = "failed", caught
        raise
    finally:
        driver.close()
        message = str(error) if error else next((job.error for job in jobs if job.state == "failed"), "")
        with nullcontext() if error is None else suppress(OSError):  # a full disk takes no report of itself
            events.update(now=True, state=state, phase="ended", left=None, message=message, **driver.tally.figures())
            events.write("end", state=state, error=message)
            if not isinstance(error, Exception) or isinstance(error, DataEngineError):
                result = _result(driver, state, jobs, digest, message, time.monotonic() - began)
    return result


def _jobs(driver: Driver, digest: str | None) -> Iterable[JobResult]:
    if digest is None:
        return [JobResult(p.label, "skipped", "", error="the store has no episodes") for p in driver.plan.jobs]
    return run_jobs(driver.plan.jobs, driver.folder, digest, driver.events)


def _digest(folder: FlowFolder) -> str | None:
    """The store's content hash, None where nothing was committed."""
    if not (folder.out / "meta" / "info.json").exists():
        return None
    from dataengine.store import Store

    return Store.open(folder.out).digest()


def _result(
    driver: Driver, state: State, jobs: list[JobResult], digest: str | None, message: str, seconds: float
) -> FlowResult:
    """The run's record on disk, the report made from it, and what the caller gets."""
    folder, events, tally, plan = driver.folder, driver.events, driver.tally, driver.plan
    record = {
        "run": events.state.run,
        "name": plan.spec.name,
        "state": state,
        "error": message,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "plan": plan.to_json() | {"sources": _brief(plan)},
        "tally": tally.to_json(),
        "quarantined": [asdict(entry) for entry in driver.quarantine],
        "jobs": [asdict(job) for job in jobs],
        "digest": digest,
        "learned": {name: {k: v[k] for k in ("episodes", "run")} for name, v in driver.learned.items()},
        "workers": events.state.workers,
    }
    record = json.loads(json.dumps(record, default=plain))
    write_json(folder.root / "runs" / f"{events.state.run}.json", record)
    try:
        from dataengine.flow.report import write_report

        report: str | None = str(write_report(record, folder))
    except Exception as error:  # the work is done and recorded; a page that cannot be drawn does not undo it
        report = None
        events.write("no_report", error=f"{type(error).__name__}: {error}")
    return FlowResult(
        run=events.state.run,
        name=plan.spec.name,
        out=str(folder.out),
        state=state,
        exit_code=events.state.exit_code,
        episodes=events.state.episodes,
        kept=tally.kept,
        frames=tally.frames,
        dropped=tally.dropped,
        quarantined=tally.quarantined,
        reused=tally.reused,
        seconds=round(seconds, 3),
        digest=digest,
        report=report,
        error=message,
        jobs=tuple(jobs),
        record=record,
    )


def _brief(plan: FlowPlan) -> list[dict[str, Any]]:
    """The sources without their list of episodes."""
    sources = plan.to_json()["sources"]
    for source in sources:
        lengths = [e["length"] for e in source["episodes"] if e["problem"] is None]
        source["frames"], source["bytes"] = sum(lengths), sum(e["bytes"] for e in source["episodes"])
        source["episodes"] = len(source["episodes"])
    return sources
