"""How long a person waits for an episode to be kept: a recording of 60 s with three cameras of 640×480 at 30 Hz.

Frames are given as fast as the encoders take them, so a minute is recorded in less. Then the recording is stopped, as a
person does before they keep it, and `save` is timed until the episode is durable in the store; in every third one it is
not stopped before, so that `save` closes the videos too. The time that it waits for the disk (fsync) is taken out and
shown. A second part records at the clock's pace and looks at the loop: how long `add` takes, and how late frames come.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from pathlib import Path
from unittest import mock

import numpy as np

from bench.results import record
from dataengine.episode import Feature, Meta
from dataengine.store import Store

FPS, SECONDS, EPISODES, PACED = 30, 60, 24, 30
JUDGING = 0.3  # [s] from stopping to keeping
CAMERAS = tuple(f"observation.images.{name}" for name in ("top", "left", "wrist"))
FEATURES = {
    "observation.state": Feature("float32", (14,)),
    "action": Feature("float32", (14,)),
    **{camera: Feature("video", (480, 640, 3)) for camera in CAMERAS},
}
TARGET_MS = 50.0


def pictures() -> list[np.ndarray]:
    """Two seconds of a moving scene with the noise of a sensor, shown over and over."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:480, :640]
    wave = 127 + 90 * np.sin(x / 37) * np.cos(y / 29)
    scene = np.stack([wave, wave[::-1], 255 - wave], axis=2)
    noise = [rng.normal(0, 2, scene.shape) for _ in range(4)]
    return [np.clip(np.roll(scene, (2 * t, 3 * t), (0, 1)) + noise[t % 4], 0, 255).astype(np.uint8) for t in range(60)]


def frame(t: int, shown: list[np.ndarray]) -> dict[str, np.ndarray]:
    joints = np.sin(t / FPS * np.linspace(0.3, 1.2, 14)).astype(np.float32)
    views = {camera: shown[(t + 7 * n) % len(shown)] for n, camera in enumerate(CAMERAS)}
    return {"observation.state": joints, "action": joints, **views}


def main() -> None:
    shown = pictures()
    waits, syncs, adds, late, at_once = [], [], [], [], []
    fsync = os.fsync
    spent = 0.0

    def timed(descriptor: int) -> None:
        nonlocal spent
        begin = time.perf_counter()
        fsync(descriptor)
        if threading.current_thread() is threading.main_thread():  # what is synced beside is waited for, and counts
            spent += time.perf_counter() - begin

    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder) / "store", fps=FPS, features=FEATURES)
        with store.writer() as writer:
            for number in range(EPISODES):
                recording = writer.record(f"episode{number}")
                for t in range(FPS * SECONDS):
                    recording.add(frame(t, shown))
                while recording.behind:
                    time.sleep(0.01)
                if stopped := number % 3 != 2:
                    recording.stop()
                    time.sleep(JUDGING)
                with mock.patch("os.fsync", timed):
                    spent, begin = 0.0, time.perf_counter()
                    recording.save(Meta(tasks=("move",)))
                    wait = (time.perf_counter() - begin - spent) * 1000
                (waits if stopped else at_once).append(wait)
                syncs.append(spent * 1000)
                how = "stopped before" if stopped else "at once"
                print(f"{number}: {wait:.1f} ms {how}, and {syncs[-1]:.1f} ms of fsync", flush=True)
            with writer.record("paced") as recording:
                start = time.perf_counter()
                for t in range(FPS * PACED):
                    time.sleep(max(start + t / FPS - time.perf_counter(), 0))
                    begin = time.perf_counter()
                    late.append((begin - start - t / FPS) * 1000)
                    recording.add(frame(t, shown))
                    adds.append((time.perf_counter() - begin) * 1000)
                recording.save(Meta(tasks=("move",)))
        size = sum(p.stat().st_size for p in store.root.rglob("*.mp4")) / (EPISODES * SECONDS + PACED) / len(CAMERAS)
        whole = store.verify().ok
    figures = {
        "save_ms_p50": round(float(np.percentile(waits, 50)), 1),
        "save_ms_p95": round(float(np.percentile(waits, 95)), 1),
        "save_at_once_ms_p50": round(float(np.percentile(at_once, 50)), 1),
        "save_at_once_ms_p95": round(float(np.percentile(at_once, 95)), 1),
        "fsync_ms_p50": round(float(np.percentile(syncs, 50)), 1),
        "fsync_ms_p95": round(float(np.percentile(syncs, 95)), 1),
        "add_ms_p50": round(float(np.percentile(adds, 50)), 2),
        "add_ms_p99": round(float(np.percentile(adds, 99)), 2),
        "add_ms_max": round(max(adds), 2),
        "frames_late_ms_p99": round(float(np.percentile(late, 99)), 2),
        "frames_late_ms_max": round(max(late), 2),
        "episodes": EPISODES,
        "video_bytes_a_second_and_camera": round(size),
        "target_ms": TARGET_MS,
    }
    # No jitter: a frame is a thirtieth of a second, and none comes a third of that late.
    calm = figures["frames_late_ms_p99"] < 1000 / FPS / 3
    record("appending", figures, met=whole and figures["save_ms_p95"] <= TARGET_MS and calm)


if __name__ == "__main__":
    main()
