"""Flows on real worker processes: the same store however many there are, and whoever dies on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataengine.errors import ConfigError
from dataengine.flow import FlowResult, run_flow, status
from dataengine.store import Store

PARTS = Path(__file__).parent / "parts"
REPOSITORY = Path(__file__).parents[3]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(PARTS), str(REPOSITORY)]),
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "3",
    "OMP_NUM_THREADS": "1",
}


def dask(*arguments: str, cwd: Path) -> subprocess.Popen:
    cwd.mkdir(parents=True, exist_ok=True)
    with (cwd / "log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments], cwd=cwd, env=ENVIRONMENT, stdout=log, stderr=log
        )


class Cluster:
    """A scheduler and workers as an operator starts them, each in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scheduler = dask(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file",
            str(folder / "scheduler.json"), cwd=folder / "scheduler",
        )  # fmt: skip
        self.workers: list[subprocess.Popen] = []
        self.address = ""

    def wait(self) -> Cluster:
        import json

        deadline = time.monotonic() + 60
        while not self.address and time.monotonic() < deadline:
            time.sleep(0.1)
            try:
                self.address = json.loads((self.folder / "scheduler.json").read_text())["address"]
            except (OSError, ValueError):
                continue
        return self

    def add_worker(self) -> subprocess.Popen:
        arguments = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--death-timeout", "60"]
        worker = dask("worker", self.address, *arguments, cwd=self.folder / f"worker-{len(self.workers)}")
        self.workers.append(worker)
        return worker

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    found = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        found.wait()
        found.add_worker(), found.add_worker()
        yield found
    finally:
        found.close()


def flow(source: Path, out: Path, *stages) -> dict:
    return {"name": "dask", "source": str(source), "stages": list(stages), "out": str(out)}


def clean(source: Path, tmp_path: Path, *stages) -> FlowResult:
    return run_flow(flow(source, tmp_path / "clean", *stages), scheduler="inprocess", progress=False)


def until(condition, seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_a_worker_killed_in_the_middle_of_a_write(toy, tmp_path: Path, cluster: Cluster) -> None:
    """Workers stand in other folders than the driver; one of two is killed while it writes a video."""
    import threading

    episodes = [{"name": f"e{n}", "length": 20 + n, "sluggish": n < 2} for n in range(6)]
    source, out = toy(episodes, camera=True), tmp_path / "out"
    victim, shards = cluster.workers[0], tmp_path / "out.flow" / "work" / "shards"

    def kill() -> None:
        until(lambda: len(list(shards.glob("*.tmp/*"))) == 2)
        victim.send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    result = run_flow(flow(source, out, "toy_scale", "toy_note"), scheduler=cluster.address, progress=False)
    killer.join()
    assert victim.wait(10) == -signal.SIGKILL
    assert (result.kept, result.quarantined, result.exit_code) == (6, 0, 0)
    assert result.digest == clean(source, tmp_path, "toy_scale", "toy_note").digest
    assert Store.open(out).verify(deep=True).ok
    assert not shards.exists(), "what the dead worker left is removed"
    cluster.add_worker()


def test_workers_must_have_what_the_flow_needs(toy, tmp_path: Path, cluster: Cluster, monkeypatch) -> None:
    with pytest.raises(ConfigError, match=r"needs SPACESHIP=1 and no worker .*--resources SPACESHIP=1"):
        run_flow(flow(toy(1), tmp_path / "a", "toy_gpu"), scheduler=cluster.address, progress=False)
    import flow_parts

    with monkeypatch.context() as patch:
        patch.setattr(flow_parts.Versioned, "version", "2")
        with pytest.raises(ConfigError, match="has version 1 of stage 'toy_old', the flow was planned with 2"):
            run_flow(flow(toy(1), tmp_path / "b", "toy_old"), scheduler=cluster.address, progress=False)
    assert status(tmp_path / "b").state == "failed"
    monkeypatch.setattr("dataengine.flow.cluster._CONNECT_SECONDS", 0.5)
    with pytest.raises(ConfigError, match="no Dask scheduler answers"):
        run_flow(flow(toy(1), tmp_path / "c"), scheduler="tcp://127.0.0.1:9", progress=False)


def test_one_process_a_gpu(toy, tmp_path: Path, monkeypatch) -> None:
    log = tmp_path / "gpus.log"
    wants = {"toy_gpu": {"kind": "GPU", "log": str(log)}}
    monkeypatch.setattr("dataengine.flow.cluster._gpus", lambda: [])
    with pytest.raises(ConfigError, match="needs a GPU and this machine has none"):
        run_flow(flow(toy(6), tmp_path / "out", wants), progress=False)
    monkeypatch.setattr("dataengine.flow.cluster._gpus", lambda: ["3", "5"])
    run_flow(flow(toy(6), tmp_path / "out", wants), workers=8, progress=False)
    assert set(log.read_text().split()) == {"3", "5"}


def test_two_processes_give_the_store_of_one_and_outlive_a_deadly_episode(toy, tmp_path: Path) -> None:
    source = toy(5, camera=True)
    (tmp_path / "in" / "deadly-e1").touch()
    stages = ("toy_centre", "toy_split", "toy_note")
    two = run_flow(flow(source, tmp_path / "two", *stages), workers=2, progress=False)
    assert (two.kept, two.quarantined, two.exit_code) == (8, 1, 3)
    (entry,) = two.record["quarantined"]
    assert (entry["episode"], entry["stage"], entry["tries"]) == ("toy.json:e1", "read", 3)
    assert "the worker died 3 times" in entry["reason"]
    # One process, the deadly episode left out from the start.
    one = {**flow(source, tmp_path / "one", *stages), "source": {"path": str(source), "episodes": [0, "2:"]}}
    assert run_flow(one, scheduler="inprocess", progress=False).digest == two.digest
    (tmp_path / "in" / "deadly-e1").unlink()
    retried = run_flow(
        flow(source, tmp_path / "two", *stages), scheduler="inprocess", retry_quarantined=True, progress=False
    )
    assert (retried.kept, retried.quarantined) == (2, 0)
    assert Store.open(tmp_path / "two").verify(deep=True).ok


def test_the_only_worker_may_die_again_while_it_is_started_anew(toy, tmp_path: Path) -> None:
    """Dask looks after a lost worker some seconds later, and takes one that is just starting for gone."""
    import dask
    import distributed  # noqa: F401 – brings the value that is changed here

    source = toy(3)
    (tmp_path / "in" / "deadly-e1").touch()

    def late(*_: object) -> None:
        raise TimeoutError("the run waits for a worker that never comes")

    before = signal.signal(signal.SIGALRM, late)
    kept = dask.config.get("distributed.deploy.lost-worker-timeout")
    dask.config.set({"distributed.deploy.lost-worker-timeout": "300ms"})  # 15 s, if nobody says otherwise
    signal.alarm(90)
    try:
        result = run_flow(flow(source, tmp_path / "out"), workers=1, progress=False)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        dask.config.set({"distributed.deploy.lost-worker-timeout": kept})
    assert (result.kept, result.quarantined, result.exit_code) == (2, 1, 3)


def test_an_episode_that_hangs_is_given_up_and_the_rest_goes_on(toy, tmp_path: Path) -> None:
    source = toy([{"name": f"e{n}", "length": 20, "slow": 600 if n == 1 else 0} for n in range(4)])
    result = run_flow({**flow(source, tmp_path / "out"), "timeout": 10}, workers=2, progress=False)
    assert (result.kept, result.quarantined, result.exit_code) == (3, 1, 3)
    (entry,) = result.record["quarantined"]
    assert (entry["episode"], entry["stage"], entry["tries"]) == ("toy.json:e1", "read", 1)
    assert "took longer than 10 s" in entry["reason"]


def test_a_killed_driver_goes_on_where_it_stopped(toy, tmp_path: Path, read_names) -> None:
    episodes = [{"name": f"e{n}", "length": 20, "slow": 0.0 if n < 4 else 0.8} for n in range(8)]
    source, out = toy(episodes), tmp_path / "out"
    program = tmp_path / "drive.py"
    program.write_text(
        "import sys\nfrom dataengine.flow import run_flow\n"
        "if __name__ == '__main__':\n"
        f"    run_flow({flow(source, out, 'toy_scale')!r}, workers=2, progress=False)\n"
    )
    driver = subprocess.Popen([sys.executable, str(program)], env=ENVIRONMENT, cwd=tmp_path, start_new_session=True)
    try:
        until(lambda: (out / "meta" / "info.json").exists() and len(Store.open(out)) >= 4)
    finally:
        driver.kill()
        driver.wait()
    assert status(out).state == "interrupted" and status(out).exit_code == 5
    assert Store.open(out).verify().ok
    read = len(read_names())
    result = run_flow(flow(source, out, "toy_scale"), scheduler="inprocess", progress=False)
    again = read_names()[read:]
    assert not set(again) & {"e0", "e1", "e2", "e3"} and result.reused >= 4
    assert result.digest == clean(source, tmp_path, "toy_scale").digest
    until(lambda: not _group_alive(driver.pid), 20)


def _group_alive(group: int) -> bool:
    """Whether a process of the killed driver's session is left: its workers must go by themselves."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
