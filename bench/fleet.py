"""Two recorders stream 50 episodes each, with two cameras, into one store: how fast, and what kills do to it.

By the documented commands (`collect serve`, `collect push`), in processes of their own. First undisturbed, beside the
same episodes merged from disk to disk (`edit merge`, which trusts them) and appended one by one; then once more with
SIGKILL at random instants on both sides. What the service had acknowledged must be there after every kill; at the end
every episode once, whole, and readable by stock LeRobot.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.results import record
from dataengine.episode import ArrayClip, Episode, Feature, Meta
from dataengine.store import Store
from dataengine.store.merging import merge

EPISODES, FRAMES, FPS, HEIGHT, WIDTH = 50, 40, 20, 120, 160
KILLS, LONGEST = 20, 1.0  # seconds from an acknowledgement to the next kill
CAMERAS = ("observation.images.top", "observation.images.wrist")
FEATURES = {
    "observation.state": Feature("float32", (7,)),
    "action": Feature("float32", (7,)),
    "intervention": Feature("bool", (1,)),
    **{camera: Feature("video", (HEIGHT, WIDTH, 3)) for camera in CAMERAS},
}
TOKEN = "a token for this measurement"


def local(root: Path, name: str) -> Store:
    rng = np.random.default_rng(len(name))
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    wave = 127 + 100 * np.sin(x / 31) * np.cos(y / 23)
    scene = np.stack([wave, wave[::-1], 255 - wave], 2).astype(np.uint8)
    store = Store.create(root / name, fps=FPS, features=FEATURES)
    with store.writer() as writer:
        for number in range(EPISODES):
            shift = rng.integers(1, 9, 2)
            clip = ArrayClip(np.stack([np.roll(scene, tuple(t * shift), (0, 1)) for t in range(FRAMES)]), FPS)
            numbers = rng.normal(size=(2, FRAMES, 7)).astype(np.float32)
            columns = {"observation.state": numbers[0], "action": numbers[1], "intervention": numbers[1, :, 0] > 1}
            clips = dict.fromkeys(CAMERAS, clip)
            writer.append(Episode(f"{name}{number}", FPS, dict(FEATURES), columns, clips, meta=Meta(tasks=("reach",))))
    return store


@dataclass
class Fleet:
    """A service and its recorders."""

    folder: Path
    root: Path
    port: int
    started: int = 0
    service: subprocess.Popen[bytes] | None = None
    pushes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, *words: object) -> subprocess.Popen[bytes]:
        self.started += 1
        log = (self.folder / f"{self.root.name}-{words[0]}-{self.started:03d}.log").open("wb")
        command = [sys.executable, "-W", "ignore", "-m", "dataengine", "collect", *map(str, words)]
        environment = {**os.environ, "DATAENGINE_FLEET_TOKEN": TOKEN, "PYTHONUNBUFFERED": "1"}
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)

    def serve(self) -> None:
        self.service = self.start("serve", self.root, "--port", self.port)

    def push(self, name: str) -> None:
        words = ("push", self.folder / name, f"http://127.0.0.1:{self.port}", "--recorder", name)
        self.pushes[name] = self.start(*words)

    def kill_service(self) -> None:
        assert self.service is not None
        self.service.kill()
        self.service.wait()

    @property
    def acknowledged(self) -> set[str]:
        logs = self.folder.glob(f"{self.root.name}-serve-*.log")
        return {found for log in logs for found in re.findall(r"^(\w+): \d+ frames", log.read_text(), re.M)}

    @property
    def running(self) -> bool:
        return any(process.poll() is None for process in self.pushes.values())

    def waited(self) -> None:
        """Until the service answers: its start is not what is measured."""
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def undisturbed(folder: Path) -> float:
    """Seconds from the start of both recorders to the last acknowledgement."""
    fleet = Fleet(folder, folder / "calm", free_port())
    fleet.serve()
    fleet.waited()
    begin = time.perf_counter()
    for name in "ab":
        fleet.push(name)
    codes = [process.wait() for process in fleet.pushes.values()]
    seconds = time.perf_counter() - begin
    fleet.kill_service()
    assert codes == [0, 0] and len(Store.open(fleet.root)) == 2 * EPISODES
    return seconds


def disturbed(folder: Path) -> tuple[Store, Counter[str], list[str]]:
    fleet, wait = Fleet(folder, folder / "killed", free_port()), random.Random(0)
    killed: Counter[str] = Counter()
    wrong: list[str] = []
    fleet.serve()
    for name in "ab":
        fleet.push(name)
    while fleet.running:
        known = len(fleet.acknowledged)
        while fleet.running and (killed.total() >= KILLS or len(fleet.acknowledged) == known):
            time.sleep(0.05)
        time.sleep(wait.uniform(0, LONGEST))
        name = wait.choice("ab")
        if fleet.running and killed.total() % 2:
            fleet.kill_service()
            killed["service"] += 1
        elif fleet.pushes[name].poll() is None:
            fleet.pushes[name].kill()
            fleet.pushes[name].wait()
            killed["recorder"] += 1
            fleet.push(name)
        if lost := fleet.acknowledged - set(Store.open(fleet.root).ids):
            wrong.append(f"acknowledged and lost: {sorted(lost)}")
        assert fleet.service is not None
        if fleet.service.poll() is not None:
            fleet.serve()
    wrong += [f"{name} ended with {process.returncode}" for name, process in fleet.pushes.items() if process.returncode]
    fleet.kill_service()
    return Store.open(fleet.root), killed, wrong


def looked_at(store: Store, sources: list[Store], cache: Path) -> list[str]:
    """What is wrong with the store that came out."""
    with store.writer():
        pass
    wrong = [str(problem) for problem in store.verify(deep=True).problems]
    ids = [identity for source in sources for identity in source.ids]
    if sorted(store.ids) != sorted(ids):
        wrong.append(f"{len(store)} episodes, {len(ids)} were recorded")
    for source in sources:
        for one in source:
            if any((column != store.get(one.id).frames[key]).any() for key, column in one.frames.items()):
                wrong.append(f"{one.id} has other values")
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(cache)}
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset("fleet/store", root=store.root, video_backend="pyav")
    shown = [tuple(dataset[index][CAMERAS[0]].shape) for index in range(0, len(dataset), FRAMES // 2)]
    if len(dataset) != store.frames or set(shown) != {(3, HEIGHT, WIDTH)}:
        wrong.append(f"LeRobot reads {len(dataset)} frames of {store.frames}")
    return wrong


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = [local(folder, which) for which in "ab"]
        size = sum(path.stat().st_size for source in sources for path in source.root.glob("videos/*/*/*.mp4"))
        begin = time.perf_counter()
        merged = Store.create(folder / "merged", fps=FPS, features=FEATURES)
        for source in sources:
            merge(merged, source)
        merging = time.perf_counter() - begin
        begin = time.perf_counter()
        with Store.create(folder / "appended", fps=FPS, features=FEATURES).writer() as writer:
            for source in sources:
                for one in source:
                    writer.append(one)
        appending = time.perf_counter() - begin
        streaming = undisturbed(folder)
        shutil.rmtree(folder / "calm")
        store, killed, wrong = disturbed(folder)
        wrong += looked_at(store, sources, folder / "cache")
    count = 2 * EPISODES
    figures = {
        "episodes": count,
        "frames_of_two_cameras": count * FRAMES,
        "mb_of_video": round(size / 1e6, 1),
        "streamed_episodes_per_second": round(count / streaming, 2),
        "merged_episodes_per_second": round(count / merging, 1),
        "appended_episodes_per_second": round(count / appending, 1),
        "seconds": {"streamed": round(streaming, 1), "merged": round(merging, 2), "appended": round(appending, 1)},
        "times_a_local_merge": round(streaming / merging, 1),
        "times_local_appends": round(streaming / appending, 1),
        "killed": dict(killed),
        "wrong": wrong,
    }
    record("fleet", figures, met=not wrong and killed.total() >= 10)


if __name__ == "__main__":
    main()
