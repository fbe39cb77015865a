"""The driver of one run: hands out episodes, learns what stages must learn first, commits what comes back."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from dataengine.flow import memory
from dataengine.flow.cluster import Executor
from dataengine.flow.committer import Committer, Verdict
from dataengine.flow.dispatch import run_in_order
from dataengine.flow.events import EventLog
from dataengine.flow.fingerprint import chain_key, digest, part_key, plain
from dataengine.flow.folder import FlowFolder, read_json, write_json
from dataengine.flow.plan import FlowPlan
from dataengine.flow.progress import Progress
from dataengine.flow.quarantine import Quarantine, Quarantined
from dataengine.flow.stages import StagePlan, make_stage
from dataengine.flow.tally import Tally
from dataengine.flow.task import Outcome, Task
from dataengine.flow.worker import recorded
from dataengine.source import EpisodeRef


class Driver:
    """One run of a plan, from the first episode to the last commit. executor: opens the workers when called first."""

    def __init__(
        self,
        plan: FlowPlan,
        folder: FlowFolder,
        events: EventLog,
        executor: Callable[[list[StagePlan]], Executor],
        progress: Progress,
        *,
        retry_quarantined: bool,
    ) -> None:
        self.plan, self.folder, self.events = plan, folder, events
        self.run = events.state.run
        self.quarantine = Quarantine(folder.quarantine)
        self.tally = Tally(tuple(stage.label for stage in plan.stages))
        self.learned: dict[str, dict[str, Any]] = {}
        self._open = executor
        self._executor: Executor | None = None
        self._progress = progress
        self._retry = retry_quarantined
        self._began: float | None = None
        self._worked = 0

    def close(self) -> None:
        if self._executor is not None:
            self._executor.close()
            self._executor = None

    def work(self) -> None:
        """Everything but the jobs. Raises `Cancelled`, and what is wrong with the flow as a whole."""
        stages: list[StagePlan] = []
        for stage in self.plan.stages:
            stages.append(self._fit(stage, stages) if stage.fits else stage)
        self._commit_all(stages)
        self._tidy()

    # -- the main pass -----------------------------------------------------------------------------------

    def _commit_all(self, stages: Sequence[StagePlan]) -> None:
        plan, tasks = self.plan, self._tasks(stages, None)
        self._phase("episodes")
        with Committer(
            self.folder, plan.spec, self.events, embodiment=plan.embodiment, licence=plan.licence
        ) as committer:

            def recall(task: Task) -> Outcome | None:
                known = self._recall(task)
                return known if known and committer.recall_is_whole(known) else None

            for batch in run_in_order(tasks, self._workers, recall, self.events):
                for task, outcome in batch:
                    if outcome.state == "failed":
                        committer.check_absent(task)
                        self._quarantine(task, outcome)
                for verdict in committer.commit([each for each in batch if each[1].state == "done"]):
                    self._take(verdict)
                memory.give_back()
                self._show()

    def _take(self, verdict: Verdict) -> None:
        task, outcome = verdict.task, verdict.outcome
        if verdict.problem is not None:
            self.folder.done(task.key).unlink(missing_ok=True)
            self._quarantine(task, replace(outcome, state="failed", stage="commit", reason=str(verdict.problem)))
            return
        self.quarantine.release(self._quarantine_key(task.source), self.run)
        self.tally.finished(outcome, verdict.taken, verdict.left, task.episode)
        seconds = {} if outcome.reused else {name: round(value, 4) for name, value in outcome.seconds.items()}
        said = {"episode": task.episode, "ids": [o.id for o in verdict.taken], "seconds": seconds}
        self.events.write("episode", **said, reused=outcome.reused)
        for drop in outcome.drops:
            self.events.write("drop", episode=task.episode, stage=drop.stage, reason=drop.reason)

    def _quarantine(self, task: Task, outcome: Outcome, *, count: bool = True) -> None:
        key = self._quarantine_key(task.source)
        entry = Quarantined(key, task.episode, outcome.stage, outcome.reason, outcome.tries, self.run)
        self.quarantine.add(entry)
        if count:
            self.tally.failed(entry, outcome)
        said = {"episode": task.episode, "stage": outcome.stage, "reason": outcome.reason, "tries": outcome.tries}
        self.events.write("quarantine", **said)

    # -- stages that must see all episodes first -----------------------------------------------------------

    def _fit(self, stage: StagePlan, before: Sequence[StagePlan]) -> StagePlan:
        """Let `stage` observe every episode as the stages before it leave them, and learn from that.

        A store that is begun keeps what its episodes were made with: those that come later, or are retried, must
        not change the others. Building it anew (`overwrite`) learns anew.
        """
        chain_so_far = [[s.kind, s.name, s.version, s.params] for s in (*before, stage)]
        last = self.folder.root / "artifacts" / "last" / f"{digest(chain_so_far)[:40]}.json"
        begun = (self.folder.root / "committed.jsonl").exists()
        if begun and (known := read_json(last)) is not None:
            self.learned[stage.label] = known
            return stage.with_artifact(Path(known["path"]), known["content"])
        tasks = self._tasks(before, stage)
        self._phase(f"observe for {stage.label}")
        seen: list[str] = []
        batches = run_in_order(tasks, self._workers, self._recall, self.events)
        for count, (task, outcome) in enumerate(chain.from_iterable(batches), 1):
            if outcome.state == "failed":
                self._quarantine(task, outcome, count=False)  # the main pass finds and counts it
            else:
                seen.append(task.key)
                self.tally.observed(outcome)
            self._show(done=count)
        inputs = self.folder.root / "artifacts" / "inputs" / f"{digest([_key(stage), seen])}.json"
        if (known := read_json(inputs)) is None:
            artifact = make_stage(replace(stage, artifact=None)).fit(self._summaries(seen))  # type: ignore[attr-defined]
            text = json.loads(json.dumps(artifact, default=plain))
            content = digest(text)
            path = self.folder.artifact(content)
            write_json(path, {"stage": stage.label, "artifact": text})
            known = {"path": str(path), "content": content, "episodes": len(seen), "run": self.run}
            write_json(inputs, known)
        write_json(last, known)
        self.learned[stage.label] = known
        self.events.write("fit", stage=stage.label, episodes=len(seen), artifact=known["content"])
        return stage.with_artifact(Path(known["path"]), known["content"])

    def _summaries(self, keys: Sequence[str]) -> Iterator[Any]:
        """What was observed, in source order, one episode in memory at a time."""
        for key in keys:
            data = read_json(self.folder.done(key))
            yield from data["summaries"] if data else ()

    # -- tasks ---------------------------------------------------------------------------------------------

    def _tasks(self, stages: Sequence[StagePlan], observer: StagePlan | None) -> Iterator[Task]:
        """Every episode in source order, without those in quarantine (or only those, when they are retried)."""
        codec = dict(self.plan.spec.codec)
        goal = f"observe {_key(observer)}" if observer else f"seal {digest(codec)}"
        parts = [stage.key for stage in stages]
        index = 0
        for source in self.plan.sources:
            for ref in source.refs:
                identity = source.key(ref)
                name = f"{Path(source.plan.path).name}:{ref.name}"
                if self._passed_over(identity, name, ref, count=observer is None):
                    continue
                yield Task(
                    index=index,
                    episode=name,
                    origin=source.origin(ref),
                    source=identity,
                    key=chain_key(identity, ref.name, parts, goal),
                    converter=source.converter,
                    plan=source.for_worker(ref),
                    stages=tuple(stages),
                    observer=observer,
                    out=str(self.folder.out),
                    run=self.run,
                    codec=codec,
                    timeout=self.plan.spec.timeout,
                )
                index += 1

    def _passed_over(self, identity: str, name: str, ref: EpisodeRef, *, count: bool) -> bool:
        key = self._quarantine_key(identity)
        entry = self.quarantine.get(key)
        if ref.problem is not None:
            if entry is None:
                entry = Quarantined(key, name, "plan", ref.problem, 0, self.run)
                self.quarantine.add(entry)
                self.events.write("quarantine", episode=name, stage="plan", reason=ref.problem, tries=0)
        elif self._retry:
            return entry is None
        if entry is not None and count:
            self.tally.failed(entry)
        return entry is not None

    def _quarantine_key(self, identity: str) -> str:
        return digest([identity, self.plan.key])

    def _recall(self, task: Task) -> Outcome | None:
        return recorded(self.folder, task.key)

    def _workers(self) -> Executor:
        if self._executor is None:
            self._executor = self._open([s for s in self.plan.stages if not s.fits])
            self.events.write("workers", slots=self._executor.slots)
        return self._executor

    # -- telling -------------------------------------------------------------------------------------------

    def _phase(self, phase: str) -> None:
        self._began = None
        total = len(self.quarantine) if self._retry else self.plan.episodes
        self.events.update(now=True, phase=phase, episodes=total, left=None, **self.tally.figures())
        self.events.write("phase", phase=phase, episodes=total)
        self._progress.show(self.events.state)

    def _show(self, **changes: Any) -> None:
        figures: Mapping[str, Any] = {**self.tally.figures(), **changes}
        state = self.events.state
        worked = figures["done"] - figures["reused"]
        now = time.monotonic()
        if self._began is None and worked > 0:
            self._began, self._worked = now, worked
        left = None
        if self._began is not None and worked > self._worked:
            left = (now - self._began) / (worked - self._worked) * (state.episodes - figures["done"])
        self._progress.show(self.events.update(left=left, **figures))

    def _tidy(self) -> None:
        """Remove what dead workers and refused work left behind; everything finished is committed by now."""
        self.close()
        for name in ("tries", "shards", "labels"):
            shutil.rmtree(self.folder.root / name, ignore_errors=True)


def _key(stage: StagePlan) -> str:
    """Fingerprint of a stage before it learned anything."""
    return part_key(stage.kind, stage.name, stage.version, stage.params)
