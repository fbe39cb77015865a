"""SIGKILL at random instants on both sides, while a learner reads: nothing acknowledged is lost or comes twice."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet_made import local, same_frames

from dataengine.store import Store

PROGRAM = Path(__file__).parents[2] / "fleet_process.py"
KILLS = int(os.environ.get("DATAENGINE_FLEET_KILLS", "2"))


started: list[subprocess.Popen[str]] = []


def start(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", str(PROGRAM), *map(str, words)]
    started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    return started[-1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def serve(root: Path, port: int) -> subprocess.Popen[str]:
    service = start("serve", root, port)
    assert service.stdout is not None and service.stdout.readline() == "ready\n"
    return service


def end(process: subprocess.Popen[str]) -> list[str]:
    """Kill; what it had said."""
    process.kill()
    return process.communicate()[0].split()


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[Store], list[int]]]:
    """A store that two recorders have streamed into with kills on both sides, the recorders' own, and the numbers of
    episodes that a learner saw."""
    try:
        yield grow(tmp_path_factory)
    finally:
        for process in started:  # whatever went wrong, nobody reads or serves on
            process.kill()


def grow(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Store], list[int]]:
    folder, wait, port = tmp_path_factory.mktemp("grown"), random.Random(0), free_port()
    stores = [local(folder / "a", range(0, 6)), local(folder / "b", range(4, 10))]
    root, url, acknowledged = folder / "fleet", f"http://127.0.0.1:{port}", set[str]()
    learner = start("learn", root, folder / "end")
    service = serve(root, port)
    pushes = {store.root.name: start("push", store.root, url, store.root.name) for store in stores}
    for kill in range(KILLS):
        time.sleep(wait.uniform(0.1, 1.5))
        if kill % 2:
            name = wait.choice("ab")
            acknowledged |= set(end(pushes[name]))
            pushes[name] = start("push", folder / name, url, name)
        else:
            end(service)
            service = serve(root, port)
        if (root / "meta/info.json").exists():
            assert acknowledged <= set(Store.open(root).ids)
    for name, process in pushes.items():
        assert process.wait(120) == 0, name
    (folder / "end").touch()
    saw = json.loads(learner.communicate(timeout=120)[0])
    assert learner.returncode == 0
    end(service)
    return root, stores, saw


def test_every_episode_is_there_once_and_whole(grown: tuple[Path, list[Store], list[int]]) -> None:
    root, stores, _ = grown
    got = Store.open(root)
    assert sorted(got.ids) == sorted({identity for store in stores for identity in store.ids})
    with got.writer():  # takes back what the last kill may have left
        pass
    assert got.verify(deep=True).ok
    for store in stores:
        for one in store:
            same_frames(one, got.get(one.id))


def test_the_learner_saw_whole_states_of_a_store_that_grew(grown: tuple[Path, list[Store], list[int]]) -> None:
    _, _, saw = grown
    assert saw == sorted(saw) and len(set(saw)) > 1


def test_stock_lerobot_reads_every_frame(
    grown: tuple[Path, list[Store], list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lerobot")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    root, _, _ = grown
    dataset, store = LeRobotDataset("fleet/grown", root=root, video_backend="pyav"), Store.open(root)
    assert (len(dataset), dataset.num_episodes) == (store.frames, len(store))
    for index in range(len(dataset)):
        item = dataset[index]
        number = int(store.ids[int(item["episode_index"])].rpartition("-")[2])
        assert item["action"].tolist() == [number, number] and item["observation.images.side"].shape == (3, 32, 48)
