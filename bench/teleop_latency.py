"""From a key to the picture that answers it, in a real browser: the page's server alone, and the whole of a session.

Input to photon: a key is pressed in the page, and the time runs until the canvas on the page shows something else than
the still scene before. `fake`: a sitting that lights a square at its next tick, three cameras up to 640×480 at 30 Hz;
what is measured is the page and its server. `sim`: `dataengine collect teleop --sim` while it records; then limits of
acceleration, physics, drawing and encoding are in it. A browser that is stopped
or killed must not slow the loop.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench.results import record

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from browser import Page, browser
from fake_sitting import FakeSitting

from collectors.teleop.web.pictures import Preview, encode
from collectors.teleop.web.server import serve

TRIALS = 40
TARGETS = {"p50_ms": 100.0, "p95_ms": 200.0}

_MEASURE = Path(__file__).with_suffix(".js").read_text()


def photons(page: Page, keys: list[str], scale: int, threshold: int) -> list[float]:
    """`TRIALS` trials [ms], a few at a time."""
    found: list[float] = []
    for _ in range(TRIALS // 5):
        found += page.run(f"({_MEASURE.rstrip()})(5, {json.dumps(keys)}, {scale}, {threshold})")
    return found


def figures(photon: list[float], page: Page) -> dict[str, Any]:
    lags = page.run("teleop.figures.lag")
    return {
        "p50_ms": round(statistics.median(photon), 1),
        "p95_ms": round(float(np.percentile(photon, 95)), 1),
        "trials": len(photon),
        "echo_p50_ms": round(statistics.median(lags), 1),
        "picture_age_ms": float(page.run("document.getElementById('age').textContent").split()[0]),
        "loop_hz": float(page.run("document.getElementById('rate').textContent").split()[0]),
    }


def pictures() -> dict[str, float]:
    """CPU of one picture's JPEG [ms], and its bytes."""
    found: dict[str, float] = {}
    with FakeSitting({"a": (224, 224), "b": (480, 640)}) as sitting:
        time.sleep(0.2)
        for array in sitting.pictures().values():
            encode(array, Preview())
            begin = time.process_time()
            for _ in range(100):
                jpeg = encode(array, Preview())
            name = f"{array.shape[1]}x{array.shape[0]}"
            found[f"jpeg_{name}_ms"] = round((time.process_time() - begin) * 10, 3)
            found[f"jpeg_{name}_bytes"] = len(jpeg)
    return found


def fake() -> dict[str, Any]:
    """The page and its server against a sitting that does nothing but answer."""
    with FakeSitting(swings=False) as sitting, serve(sitting) as running, browser() as new:
        page = _opened(new(), running.url)
        found = figures(photons(page, ["KeyG", "KeyJ"], 64, 60), page)
        before = resource.getrusage(resource.RUSAGE_SELF)
        at, ticks, time_before = sum((before.ru_utime, before.ru_stime)), sitting.ticks, time.monotonic()
        time.sleep(5)
        after = resource.getrusage(resource.RUSAGE_SELF)
        passed = time.monotonic() - time_before
        found["cpu_share_with_the_fake"] = round((after.ru_utime + after.ru_stime - at) / passed, 3)
        found["ticks_hz"] = round((sitting.ticks - ticks) / passed, 2)
        found["ticks_hz_browser_stalled"] = _ticks_while(sitting, signal.SIGSTOP)
        found["ticks_hz_browser_killed"] = _ticks_while(sitting, signal.SIGKILL)
    return found


def _ticks_while(sitting: FakeSitting, what: signal.Signals) -> float:
    """The loop's rate for three seconds after every process of this script's browser got a signal."""
    for pid in _children(os.getpid()):
        with contextlib.suppress(ProcessLookupError):  # ps itself was one of them
            os.kill(pid, what)
    ticks, begin = sitting.ticks, time.monotonic()
    time.sleep(3)
    return round((sitting.ticks - ticks) / (time.monotonic() - begin), 2)


def _children(pid: int) -> list[int]:
    told = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in told.splitlines()]
    found = [child for child, parent in pairs if parent == pid]
    return found + [grandchild for child in found for grandchild in _children(child)]


def sim() -> dict[str, Any]:
    """The whole of a session while it records the embedded world."""
    with tempfile.TemporaryDirectory() as folder, session(Path(folder) / "store") as url, browser() as new:
        page = _opened(new(), url)
        page.key("KeyR")
        time.sleep(0.5)
        page.key("Space")
        page.wait("document.body.dataset.phase === 'recording'", 20)
        time.sleep(2)
        found = figures(photons(page, ["KeyW", "KeyS"], 112, 40), page)
        page.key("PageDown")
        page.wait("document.body.dataset.phase === 'review'", 20)
        page.key("Delete")
        time.sleep(1)
    return found


@contextmanager
def session(store: Path, *more: str) -> Iterator[str]:
    """`dataengine collect teleop --sim` as a person starts it; gives the address it prints."""
    program = Path(sys.executable).with_name("dataengine")
    process = subprocess.Popen([program, "collect", "teleop", store, "--sim", *more], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        url = None
        while url is None:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError("the session did not start")
            url = re.search(r"http://\S+", line)
        yield url.group()
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _opened(page: Page, url: str) -> Page:
    page.size(1280, 800)
    page.open(url)
    page.wait("document.body.dataset.phase === 'ready' && document.body.dataset.seat === 'driving'", 60)
    page.wait("document.querySelector('canvas')?.width > 200")
    return page


def main() -> None:
    found: dict[str, Any] = {"pictures": pictures(), "fake": fake(), "sim": sim(), "targets": TARGETS}
    found["load_average"] = round(os.getloadavg()[0], 1)  # on two cores, more than two is somebody else's work
    print(json.dumps(found, indent=2))
    met = all(found[kind][name] <= most for kind in ("fake", "sim") for name, most in TARGETS.items())
    steady = abs(found["fake"]["ticks_hz_browser_stalled"] / 30 - 1) < 0.02
    record("teleop_latency", found, met=met and steady)


if __name__ == "__main__":
    main()
