"""Where tasks run: in this process, on local processes, or on any Dask scheduler by its address."""

from __future__ import annotations

import logging
import os
import queue
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from dataengine.errors import ConfigError, DataEngineError, MissingDependency
from dataengine.flow import memory
from dataengine.flow.stages import StagePlan
from dataengine.flow.task import Outcome, Task
from dataengine.flow.worker import probe, process

# How many worker deaths Dask itself forgives a task: more than our three tries, which name a reason.
_DEATHS = 12
_CONNECT_SECONDS, _JOIN_SECONDS = 10.0, 30.0
# Dask looks again so long after a worker was lost, and gives its place up for good if just then the next one is
# starting: of a clip that kills one worker after another, a run would wait for ever. It is read when a worker is lost.
_FORGIVING = {"distributed.deploy.lost-worker-timeout": "1000 days"}
# A task here takes seconds. Looking a hundred times a second what it does, and fifty times whether each event loop
# still turns, costs a tenth of the machine when all its cores work, and nobody reads it.
_QUIET = {"distributed.worker.profile.enabled": False, "distributed.admin.tick.interval": "500ms"}


class Executor(Protocol):
    """Runs tasks and gives them back in any order. slots: how many run at once, at this moment."""

    @property
    def slots(self) -> int: ...
    def submit(self, task: Task) -> None: ...
    def wait(self, seconds: float) -> list[tuple[Task, Outcome | BaseException]]:
        """What finished, at least one if it comes within `seconds`."""
        ...

    def close(self) -> None: ...


class InProcess:
    """One task at a time, here. For looking into a stage with a debugger: a crash takes the driver along."""

    slots = 1

    def __init__(self) -> None:
        self._finished: list[tuple[Task, Outcome | BaseException]] = []

    def submit(self, task: Task) -> None:
        try:
            self._finished.append((task, process(replace(task, timeout=None))))  # the driver must not end itself
        except Exception as error:
            self._finished.append((task, error))

    def wait(self, seconds: float) -> list[tuple[Task, Outcome | BaseException]]:
        finished, self._finished = self._finished, []
        return finished

    def close(self) -> None:
        self._finished.clear()


class OnDask:
    """Tasks on a Dask cluster. Its workers must see the store under the same absolute path."""

    def __init__(self, client: Any, owned: list[Any], address: str) -> None:
        self._client, self._owned, self._address = client, owned, address
        self._finished: queue.SimpleQueue[tuple[Task, Any]] = queue.SimpleQueue()
        self._futures: dict[str, Any] = {}
        self._submitted = 0
        self._slots, self._looked = 0, 0.0

    @property
    def slots(self) -> int:
        """Threads of all workers; looked up every two seconds, since workers come and go."""
        if time.monotonic() - self._looked > 2.0:
            self._looked = time.monotonic()
            self._slots = sum(self._client.nthreads().values())
        return self._slots

    def submit(self, task: Task) -> None:
        if self._client.status != "running":
            raise DataEngineError(f"the scheduler at {self._address} is gone; run the flow again to go on from here")
        self._submitted += 1
        name = f"{task.run}-{task.index}-{self._submitted}"
        future = self._client.submit(process, task, key=name, pure=False, resources=task.resources or None)
        self._futures[name] = future
        future.add_done_callback(lambda done: self._finished.put((task, done)))

    def wait(self, seconds: float) -> list[tuple[Task, Outcome | BaseException]]:
        found: list[tuple[Task, Outcome | BaseException]] = []
        try:
            while True:
                task, future = self._finished.get(timeout=0 if found else seconds)
                found.append((task, self._result(future)))
        except queue.Empty:
            return found

    def _result(self, future: Any) -> Outcome | BaseException:
        self._futures.pop(future.key, None)
        try:
            return future.result(timeout=30)
        except Exception as error:
            return error

    def close(self) -> None:
        for closing in (*self._owned, self._client) if not self._owned else (self._client, *self._owned):
            closing.close(timeout=10)


def open_executor(
    scheduler: str | None, workers: int | None, stages: list[StagePlan], out: Path, token: str
) -> Executor:
    """Start or join what `scheduler` names: None (local processes), "inprocess", or `tcp://host:port`.

    Raises `ConfigError` when no worker answers, one lacks a part or does not see the store, or nobody has a
    resource (such as a GPU) that a stage declares: all of it before the first episode.
    """
    if scheduler == "inprocess":
        return InProcess()
    try:
        import distributed
    except ImportError as error:
        raise MissingDependency("distributed (Dask)", extra="flow") from error
    if workers is not None and workers < 1:
        raise ConfigError(f"workers must be at least 1, got {workers}")
    wanted = {kind: amount for stage in stages for kind, amount in stage.resources.items()}
    if scheduler is None:
        cluster = _local(workers or os.cpu_count() or 1, wanted)
        executor = OnDask(distributed.Client(cluster), [cluster], cluster.scheduler_address)
    else:
        try:
            client = distributed.Client(scheduler, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise ConfigError(f"no Dask scheduler answers at {scheduler}: {error}") from error
        executor = OnDask(client, [], scheduler)
    try:
        _check_workers(executor, wanted, tuple(stages), out, token)
    except BaseException:
        executor.close()
        raise
    return executor


def _local(workers: int, wanted: Mapping[str, float]) -> Any:
    """Processes on this machine, one thread each; with GPU stages one process a GPU, which sees only that one."""
    import dask
    from distributed import Nanny, Scheduler, SpecCluster

    gpus = _gpus() if "GPU" in wanted else []
    if "GPU" in wanted and not gpus:
        raise ConfigError(
            "a stage needs a GPU and this machine has none; start workers where there is one "
            "(dask worker tcp://… --resources GPU=1) and give the scheduler's address"
        )
    options: dict[str, Any] = {
        "nthreads": 1,
        "memory_limit": "auto",
        "dashboard": False,
        "silence_logs": logging.CRITICAL,
    }
    options["preload"] = ["dataengine.flow.preload"]
    specification = {
        place: {
            "cls": Nanny,
            "options": options | {"resources": {**wanted, "GPU": 1}, "env": {"CUDA_VISIBLE_DEVICES": gpus[place]}}
            if gpus
            else options | {"resources": dict(wanted)},
        }
        for place in range(min(workers, len(gpus)) if gpus else workers)
    }
    local = {"dashboard": False, "dashboard_address": "127.0.0.1:0", "host": "127.0.0.1", "port": 0}
    spawn = {**dask.config.get("distributed.nanny.pre-spawn-environ"), **memory.ENVIRON}
    own = {"distributed.scheduler.allowed-failures": _DEATHS, "distributed.nanny.pre-spawn-environ": spawn}
    dask.config.set(_FORGIVING)
    with dask.config.set(own | _QUIET):
        scheduler = {"cls": Scheduler, "options": local}
        return SpecCluster(workers=specification, scheduler=scheduler, name="flow", silence_logs=logging.CRITICAL)


def _gpus() -> list[str]:
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name for name in chosen.split(",") if name.strip()]
    return [path.name.removeprefix("nvidia") for path in sorted(Path("/dev").glob("nvidia[0-9]*"))]


def _check_workers(
    executor: OnDask, wanted: Mapping[str, float], stages: tuple[StagePlan, ...], out: Path, token: str
) -> None:
    client, where = executor._client, executor._address
    try:
        client.wait_for_workers(1, timeout=_JOIN_SECONDS)
    except TimeoutError as error:
        raise ConfigError(f"no worker has joined {where}; start one with: dask worker {where}") from error
    try:
        answers = client.run(probe, str(out), token, stages)
    except Exception as error:
        raise ConfigError(f"a worker of {where} cannot run this engine: {type(error).__name__}: {error}") from error
    for address, answer in answers.items():
        if not answer["sees"]:
            raise ConfigError(
                f"worker {address} ({answer['host']}) does not see {out}; all workers need the store's folder "
                f"under the same absolute path as the driver on {socket.gethostname()}"
            )
        if answer["problems"]:
            raise ConfigError(f"worker {address} ({answer['host']}): {answer['problems'][0]}")
    supplied = client.scheduler_info(n_workers=-1)["workers"].values()
    for kind, amount in wanted.items():
        if not any(worker.get("resources", {}).get(kind, 0) >= amount for worker in supplied):
            raise ConfigError(
                f"a stage needs {kind}={amount:g} and no worker of {where} has it; "
                f"start one with: dask worker {where} --resources {kind}={amount:g}"
            )
