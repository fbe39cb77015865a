"""What happens to one episode, on whichever process it lands: read, go through the stages, be sealed.

Runs any number of times with the same effect: files are named by their content and put in place by a rename.
A task that kills its worker leaves its begun tries behind, and after three of them is given up.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from dataengine import plugins
from dataengine.episode import Episode, Label, Step, hash_table
from dataengine.errors import DataEngineError, EpisodeError, MachineError, MissingDependency, UnsafeSource
from dataengine.flow import memory
from dataengine.flow.fingerprint import base_key, digest, result_key
from dataengine.flow.folder import FlowFolder, append_line, read_json, read_lines, write_json
from dataengine.flow.labels import label_file, write_label
from dataengine.flow.shards import check_label, is_sealed, seal_shard
from dataengine.flow.stages import StagePlan, make_stage
from dataengine.flow.task import MAX_TRIES, Dropped, Outcome, Output, Task
from dataengine.plugins import Drop, Stage, params_of

_LATE = "late"


def process(task: Task) -> Outcome:
    """Do one task. What is wrong with the episode comes back as an outcome; what is wrong with this worker raises."""
    try:
        return _process(task)
    finally:
        memory.give_back()


def _process(task: Task) -> Outcome:
    folder = FlowFolder(Path(task.out))
    if (known := recorded(folder, task.key)) is not None:
        return known
    tries = folder.tries(task.run, task.key)
    lines = list(read_lines(tries))
    begun = [line for line in lines if line.get("event") == "begin"]
    if len(begun) >= MAX_TRIES or any(line.get("event") == _LATE for line in lines):
        return _given_up(task, tries, len(begun))
    append_line(tries, {"event": "begin", "host": socket.gethostname(), "pid": os.getpid()})
    run = _Run(task, folder, lambda stage: append_line(tries, {"event": "stage", "stage": stage}))
    stages = [make_stage(plan) for plan in task.stages]  # a wrong version or missing library ends the whole run
    try:
        with _deadline(task, tries):
            outcome = run.observe(stages) if task.observer else run.seal(stages)
    except (MissingDependency, MachineError):
        raise
    except Exception as error:
        if (fault := _machine_fault(error)) is not None:
            hint = "make room or choose another `out`, and run the same command again to go on from here"
            raise MachineError(f"{folder.out}: {fault} (at {task.episode}) – {hint}") from error
        count = len(begun) + 1
        final = count >= MAX_TRIES or isinstance(error, EpisodeError | UnsafeSource)
        if final:
            tries.unlink(missing_ok=True)
        reason = str(error) if isinstance(error, DataEngineError) else f"{type(error).__name__}: {error}"
        return Outcome(task.key, "failed" if final else "again", stage=run.at, reason=reason, tries=count)
    tries.unlink(missing_ok=True)
    return outcome


def recorded(folder: FlowFolder, key: str) -> Outcome | None:
    """What became of this work in an earlier try or run, if everything it promises is still there."""
    data = read_json(folder.done(key))
    if data is None:
        return None
    outcome = replace(Outcome.from_json(data), reused=True)
    whole = all(folder.is_committed(o.id, o.base) or is_sealed(folder.staging(o.base)) for o in outcome.outputs)
    return outcome if whole else None


class _Run:
    """One try at one task: what it did so far, and how long each part took."""

    def __init__(self, task: Task, folder: FlowFolder, note: Callable[[str], None]) -> None:
        self.task, self.folder, self.note = task, folder, note
        self.at = "read"
        self.seconds: dict[str, float] = {}
        self.cpu: dict[str, float] = {}
        self.hits: dict[str, int] = {}
        self.counts: dict[str, int] = {}
        self.cost: dict[str, float] = {}
        self.drops: list[Dropped] = []

    def seal(self, stages: Sequence[Stage]) -> Outcome:
        """Read, stages, shards; the record is written last, so that it never promises what is not there."""
        episodes = self._through(stages)
        if len({e.id for e in episodes}) != len(episodes):
            raise EpisodeError(episodes[0].id, "a stage gave two episodes one id; variants need `derived_id`")
        with self._clock("seal"):
            outputs = tuple(self._seal(episode) for episode in episodes)
        return self._finish(Outcome(self.task.key, "done", outputs))

    def observe(self, stages: Sequence[Stage]) -> Outcome:
        """Read, stages, and what the observing stage has to say about each episode that is left."""
        assert self.task.observer is not None
        observer: Any = make_stage(self.task.observer)
        episodes = self._through(stages)
        with self._clock(self.task.observer.label):
            summaries = [observer.observe(episode) for episode in episodes]
        return self._finish(Outcome(self.task.key, "done"), summaries=summaries)

    def _finish(self, outcome: Outcome, **extra: Any) -> Outcome:
        outcome = replace(
            outcome,
            drops=tuple(self.drops),
            seconds=self.seconds,
            cpu=self.cpu,
            hits=self.hits,
            counts=self.counts,
            cost=self.cost,
        )
        write_json(self.folder.done(self.task.key), outcome.to_json() | extra | {"episode": self.task.episode})
        return outcome

    def _through(self, stages: Sequence[Stage]) -> list[Episode]:
        (ref,) = self.task.plan.episodes
        with self._clock("read"):
            converter = _converter(self.task.converter)
            episodes = [converter.read(self.task.plan, ref)]
        for plan, stage in zip(self.task.stages, stages, strict=True):
            with self._clock(plan.label):
                left: list[Episode] = []
                for before in episodes:
                    for result in self._stage(plan, stage, before):
                        if isinstance(result, Drop):
                            self.drops.append(Dropped(plan.label, result.episode_id, result.reason, result.evidence))
                        else:
                            left.append(result)
                episodes = left
            self.counts[plan.label] = len(episodes)
        return episodes

    def _stage(self, plan: StagePlan, stage: Stage, before: Episode) -> list[Episode | Drop]:
        """What a stage makes of one episode, from the cache where everything it reads is unchanged."""
        key = result_key(plan.key, plan.reads, before)
        kept = self.folder.cache.recall(key, before)
        if kept is not None:
            self.hits[plan.label] = self.hits.get(plan.label, 0) + 1
            return kept
        results = [_with_step(result, before, plan, stage) for result in stage.run(iter([before]))]
        for result in results:
            if not isinstance(result, Episode | Drop):
                raise EpisodeError(before.id, f"stage {plan.name!r} gave {type(result).__name__}, not Episode or Drop")
            if isinstance(result, Episode) and (paid := _cost(before, result)):
                self.cost[plan.label] = self.cost.get(plan.label, 0.0) + paid
        self.folder.cache.keep(key, before, results, plan.reads)
        return results

    def _seal(self, episode: Episode) -> Output:
        episode.check()
        base = base_key(episode, self.task.codec)
        if not self.folder.is_committed(episode.id, base) and not is_sealed(self.folder.staging(base)):
            seal_shard(replace(episode, labels={}), self.folder.staging(base), self.task.codec)
        for name in episode.labels:
            check_label(episode, name)
        labels = {name: self._put_label(episode.id, label) for name, label in episode.labels.items()}
        features = {key: asdict(feature) for key, feature in episode.features.items()}
        name = digest(list(features.items()))[:20]
        if not self.folder.features(name).exists():
            write_json(self.folder.features(name), features)
        return Output(episode.id, base, name, episode.length, episode.fps, labels)

    def _put_label(self, episode: str, label: Label) -> str:
        """Keep a label for the driver; its name says whose it is, so that the file has one reader."""
        name = digest([episode, label.kind, dict(label.source), hash_table(label.table)])
        path = label_file(self.folder, name)
        if not path.exists():
            write_label(path, label)
        return name

    @contextmanager
    def _clock(self, name: str) -> Iterator[None]:
        """Wall and processor time of a part, which is also where an error happened."""
        self.at = name
        self.note(name)
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - wall
        self.cpu[name] = self.cpu.get(name, 0.0) + time.process_time() - cpu


@lru_cache(maxsize=16)
def _converter(name: str) -> Any:
    """Converters have no state: one for all episodes of a process."""
    return plugins.make("converters", name)


def _machine_fault(error: BaseException | None) -> str | None:
    """What the system said, where a disk that is full or cannot be written stands behind an error."""
    while error is not None:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            return str(error)
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def _deadline(task: Task, tries: Path) -> Iterator[None]:
    """End this worker when the work's time is over, and note why: a library that hangs knows no other end."""
    if task.timeout is None:
        yield
        return

    def late() -> None:
        append_line(tries, {"event": _LATE})
        os._exit(1)

    timer = threading.Timer(task.timeout, late)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _given_up(task: Task, tries: Path, count: int) -> Outcome:
    """The verdict on a task that takes its worker down: begun three times and never ended, or not ended in time."""
    lines = list(read_lines(tries))
    at = next((line["stage"] for line in reversed(lines) if line.get("event") == "stage"), "read")
    if any(line.get("event") == _LATE for line in lines):
        reason = f"took longer than {task.timeout:g} s (last in {at!r}); raise the flow's `timeout` if it needs that"
    else:
        reason = f"the worker died {count} times (last in {at!r}): out of memory, or a crash inside a library"
    tries.unlink(missing_ok=True)
    return Outcome(task.key, "failed", stage=at, reason=reason, tries=count)


def _with_step(result: Episode | Drop, before: Episode, plan: StagePlan, stage: Stage) -> Episode | Drop:
    """Write into the lineage what changed an episode, files by their names alone: where they lie on this machine is
    nobody's business. Labels carry their own source, so they leave no step."""
    if not isinstance(result, Episode) or _unchanged(result, before):
        return result
    new = result.meta.lineage[len(before.meta.lineage) :]
    if any(step.name == plan.name for step in new):
        return result
    names = {key: value.name for key, value in params_of(stage).items() if isinstance(value, Path)}
    params = dict(plan.params) | names | ({"artifact": plan.key[:16]} if plan.artifact else {})
    return result.with_step(Step(plan.name, plan.version, params))


def _unchanged(result: Episode, before: Episode) -> bool:
    same = result.id == before.id and result.fps == before.fps and result.meta == before.meta
    return (
        same
        and dict(result.features) == dict(before.features)
        and all(result.frames[k] is before.frames.get(k) for k in result.frames)
        and all(result.clips[k] is before.clips.get(k) for k in result.clips)
        and result.frame_tasks is before.frame_tasks
    )


def _cost(before: Episode, result: Episode) -> float:
    fresh = [label for name, label in result.labels.items() if before.labels.get(name) is not label]
    paid = [label.source.get("cost_usd", 0.0) for label in fresh]
    return float(sum(value for value in paid if isinstance(value, int | float)))


def probe(root: str, token: str, stages: tuple[StagePlan, ...]) -> dict[str, Any]:
    """Run on every worker before the first task: does it see the store, and has it the same parts?"""
    path = FlowFolder(Path(root)).root / "token"
    sees = path.is_file() and path.read_text("utf-8") == token
    problems = []
    for plan in stages:
        try:
            if not plan.fits or plan.artifact is not None:
                make_stage(plan)
        except Exception as error:
            problems.append(str(error))
    return {"sees": sees, "problems": problems, "host": socket.gethostname(), "where": str(Path.cwd())}
