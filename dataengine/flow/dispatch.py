"""Keeping workers busy without outrunning them: tasks out in bounded number, outcomes back in source order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from dataengine.errors import ConfigError, DataEngineError, MachineError, MissingDependency
from dataengine.flow.cluster import Executor
from dataengine.flow.events import Cancelled, EventLog
from dataengine.flow.task import MAX_TRIES, Outcome, Task

# One task waits at each worker while it runs another; finished ones may wait for a slow one before them.
_AHEAD = 2
_WAITING = 64
# A task that Dask itself could not bring through this often (lost workers, lost connections) is given up.
_LOST = 3 * MAX_TRIES


def run_in_order(
    tasks: Iterable[Task],
    executor: Callable[[], Executor],
    recall: Callable[[Task], Outcome | None],
    events: EventLog,
) -> Iterator[list[tuple[Task, Outcome]]]:
    """Every task with its outcome, in order of the tasks, whatever order they finish in; as many as are ready.

    executor: called when the first task must really run, so that a run with nothing to do starts no cluster.
    recall: what is known from an earlier run. Raises `Cancelled`, and what is wrong with workers or the
    flow rather than with an episode.
    """
    source = iter(tasks)
    ready: dict[int, tuple[Task, Outcome]] = {}
    running: dict[int, Task] = {}
    order: list[int] = []
    lost: dict[int, int] = {}
    workers: Executor | None = None
    exhausted = False
    idle_since: float | None = None
    while True:
        while not exhausted and len(ready) < _WAITING + (room := _room(workers)) and len(running) < room:
            task = next(source, None)
            if task is None:
                exhausted = True
                break
            order.append(task.index)
            if (known := recall(task)) is not None:
                ready[task.index] = (task, known)
                continue
            workers = workers or executor()
            running[task.index] = task
            workers.submit(task)
        batch = []
        while order and order[0] in ready:
            batch.append(ready.pop(order.pop(0)))
        if batch:
            yield batch
        if events.cancelled():
            raise Cancelled
        if exhausted and not running:
            return
        if not running or workers is None:
            continue
        for task, outcome in workers.wait(0.2):
            if isinstance(outcome, BaseException):
                lost[task.index] = lost.get(task.index, 0) + 1
                outcome = _failure(task, outcome, lost[task.index])
            if outcome.state == "again":
                events.write("retry", episode=task.episode, stage=outcome.stage, reason=outcome.reason)
                workers.submit(task)
            else:
                ready[task.index] = (running.pop(task.index), outcome)
        idle_since = _watch(workers, events, idle_since)


def _room(workers: Executor | None) -> int:
    return _AHEAD * max(workers.slots, 1) if workers else 1


def _failure(task: Task, error: BaseException, times: int) -> Outcome:
    """What an exception outside of an episode's own work means: the flow's fault, or a lost worker."""
    if isinstance(error, ConfigError | MissingDependency | MachineError):
        raise error
    reason = f"{type(error).__name__}: {error}"
    if not _is_loss(error):
        raise DataEngineError(f"{task.episode}: the worker failed outside of the episode's work: {reason}") from error
    state = "again" if times < _LOST else "failed"
    return Outcome(task.key, state, stage="worker", reason=f"its worker was lost {times} times ({reason})", tries=times)  # type: ignore[arg-type]


def _is_loss(error: BaseException) -> bool:
    """Dask's ways to say that a worker or a connection is gone; by name, so that Dask need not be installed."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"KilledWorker", "CommClosedError", "CancelledError", "FutureCancelledError", "TimeoutError"})


def _watch(workers: Executor, events: EventLog, idle_since: float | None) -> float | None:
    """Say so when no worker is left; a cluster's new ones may come at any time."""
    events.update(workers=workers.slots)
    if workers.slots:
        return None
    if idle_since is None:
        events.write("no_workers")
        events.update(now=True, message="no worker is left; waiting for one")
        return time.monotonic()
    return idle_since
