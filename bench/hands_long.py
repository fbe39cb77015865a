"""Ten minutes of hands: is memory constant, does a killed run go on where it was, is a clip that kills its reader set
aside?

A folder holds a long video (640×480, 30 Hz, h264, real hands there and back; rendered ones where the shared data is
absent), a short one, one on which the tracker ends its process, and one whose packets are damaged in the middle. It
goes through `examples/ego.yaml` with one worker: as it is, and again while its driver is killed twice (SIGKILL, once
with everything it started, once alone) in the middle of the long video. Decoding is real, the tracker is that of
`hands_long_tracker`: fast, always the same, and it counts.

Memory is the peak of the whole process tree (proportional set size, ten times a second) against that of the same folder
with one minute in place of the long video. What may grow is the table, 1.4 KB a frame; the pictures of nine minutes are
15 GB. Targets: at most 15 % more memory; no finished minute is tracked twice; the same content digest as without the
kills; both bad clips in quarantine with a reason.

`python -m bench.hands_long [--minutes 10] [--mediapipe]`; the latter measures memory alone, with the real tracker.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import yaml

from bench.hands_long_tracker import LOG, MARK
from bench.results import DATA, record
from dataengine.store import Store

ROOT = Path(__file__).parents[1]
CLIP, MODEL = DATA / "hands" / "handpose3d_cam0.mp4", DATA / "models" / "hand_landmarker.task"
FPS, SIZE, MINUTE, GROWTH = 30, (640, 480), 1800, 0.15
LONG, FATAL, BROKEN, SHORT = "1 long.mp4", "2 fatal.mp4", "3 broken.mp4", "4 short.mp4"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--mediapipe", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        flow = write_flow(place, mediapipe=asked.mediapipe)
        film(place / "minute.mp4")
        folders = {minutes: videos(place, minutes) for minutes in (1, asked.minutes)}
        peaks = {minutes: measured(Run(place, f"m{minutes}", flow, folder)) for minutes, folder in folders.items()}
        growth = peaks[asked.minutes]["tree_mib"] / peaks[1]["tree_mib"] - 1
        figures = {
            "target": f"at most {GROWTH:.0%} more memory for {asked.minutes} minutes than for one; no finished minute "
            "tracked twice; the same digest after two SIGKILLs; both bad clips in quarantine with a reason",
            "tracker": "mediapipe" if asked.mediapipe else "steady, of the benchmark",
            "frames": asked.minutes * MINUTE,
            "peak": {f"{minutes} min": peak for minutes, peak in peaks.items()},
            "growth": round(growth, 3),
        }
        if asked.mediapipe:
            record("hands_long_mediapipe", figures, met=growth <= GROWTH, module="hands_long")
            return
        whole = Run(place, f"m{asked.minutes}", flow, folders[asked.minutes])
        killed = Run(place, "killed", flow, folders[asked.minutes])
        figures |= {"killed": kills(killed, asked.minutes), "quarantined": whole.quarantined()}
        figures["same_digest"] = whole.digest() == killed.digest()
        figures["same_quarantine"] = whole.quarantined() == killed.quarantined()
    good = figures["killed"]["redone"] == 0 and figures["same_digest"] and figures["same_quarantine"]
    record("hands_long", figures, met=good and len(figures["quarantined"]) == 2 and growth <= GROWTH)


# -- videos ------------------------------------------------------------------------------------------------------


def pictures() -> list[np.ndarray]:
    """Some seconds of a hand, `(480, 640, 3)` each."""
    if CLIP.exists():
        with av.open(str(CLIP)) as container:
            whole = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        return [cv2.resize(picture[90:630], SIZE, interpolation=cv2.INTER_AREA) for picture in whole]
    from dataengine.sim.human_hand import HumanHand

    with HumanHand("right") as hand:
        motion = hand.move("pinch", 0, 300, FPS)
        parts = zip(motion.angles, motion.place, motion.rotation, strict=True)
        return [hand.render(*part, "front", width=SIZE[0], height=SIZE[1]) for part in parts]


def film(path: Path) -> None:
    """One minute, there and back."""
    seen = pictures()
    around = seen + seen[-2:0:-1]
    write(path, (around[n % len(around)] for n in range(MINUTE)))


def write(path: Path, frames: Iterator[np.ndarray]) -> None:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", FPS, options={"preset": "veryfast", "g": "30", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode(None))


def repeated(source: Path, target: Path, times: int, stop: int | None = None) -> None:
    """The packets of a video again and again, or the first of them."""
    with av.open(str(source)) as given, av.open(str(target), "w") as made:
        stream: Any = made.add_stream_from_template(given.streams.video[0])
        kept = [(bytes(p), p.pts, p.duration, p.is_keyframe) for p in given.demux(video=0) if p.size][:stop]
        for turn in range(times):
            for content, pts, duration, key in kept:
                packet = av.Packet(content)
                packet.pts = packet.dts = pts + turn * len(kept) * duration
                packet.duration, packet.is_keyframe = duration, key
                packet.time_base, packet.stream = given.streams.video[0].time_base, stream
                made.mux(packet)


def videos(place: Path, minutes: int) -> Path:
    folder = place / f"videos{minutes}"
    folder.mkdir()
    repeated(place / "minute.mp4", folder / LONG, minutes)
    repeated(place / "minute.mp4", folder / SHORT, 1, stop=600)
    marked = np.full((SIZE[1], SIZE[0], 3), MARK, np.uint8)
    write(folder / FATAL, (marked for _ in range(60)))
    data = bytearray((place / "minute.mp4").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20_000] = np.random.default_rng(0).bytes(20_000)
    (folder / BROKEN).write_bytes(data)
    return folder


# -- runs --------------------------------------------------------------------------------------------------------


def write_flow(place: Path, *, mediapipe: bool) -> Path:
    """The example with the benchmark's tracker, and a folder that installs it for the processes that are started."""
    flow = yaml.safe_load((ROOT / "examples" / "ego.yaml").read_text())
    own: dict[str, Any] = {"tracker_params": {"model": str(MODEL)}} if mediapipe else {"tracker": "steady"}
    flow["source"]["mapping"] = {**own, "task": "move the hands"}
    (place / "flow.yaml").write_text(yaml.safe_dump(flow))
    about = place / "site" / "hands_long-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: hands-long\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[dataengine.hand_trackers]\nsteady = bench.hands_long_tracker:Steady\n")
    return place / "flow.yaml"


class Run:
    """One folder on its way into one store, with a cache of its own; started as often as it takes."""

    def __init__(self, place: Path, name: str, flow: Path, videos: Path) -> None:
        self.out, self.log, self.cache = place / f"out_{name}", place / f"{name}.log", place / f"cache_{name}"
        self._site = place / "site"
        self._command = [sys.executable, "-m", "dataengine", "run", str(flow), "--workers", "1", "--json"]
        self._command += ["--set", f"source={videos}", "--set", f"out={self.out}"]

    def start(self) -> subprocess.Popen[bytes]:
        path = os.pathsep.join(map(str, (self._site, ROOT)))
        own = {LOG: str(self.log), "DATAENGINE_CACHE": str(self.cache), "PYTHONPATH": path}
        nowhere = subprocess.DEVNULL
        return subprocess.Popen(
            self._command, env={**os.environ, **own}, stdout=nowhere, stderr=nowhere, start_new_session=True
        )

    def ended(self) -> list[int]:
        """Frames of every piece that was tracked to its end."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []
        return [line["frames"] for line in lines if line["what"] == "end"]

    def pieces(self) -> dict[str, int]:
        """When each piece that is kept was written [ns]."""
        return {str(path): path.stat().st_mtime_ns for path in self.cache.rglob("*.npz")}

    def digest(self) -> str:
        return Store.open(self.out).digest()

    def quarantined(self) -> dict[str, str]:
        path = Path(f"{self.out}.flow") / "quarantine.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return {line["episode"].split(":")[1]: _brief(line["reason"]) for line in lines if not line.get("released")}


def _brief(reason: str) -> str:
    """Without folders of this machine."""
    return " ".join(word.rsplit("/", 1)[-1] for word in reason.split(" "))


def kills(run: Run, minutes: int) -> dict[str, Any]:
    """Kill the run in the middle of the long video, twice, and let it end. `redone`: pieces that were kept and written
    anew, or tracked to their end once more."""
    rng = random.Random(0)
    at = sorted(rng.sample(range(1, max(3, minutes)), 2))
    redone, frames = 0, []
    for number, pieces in enumerate(at):
        process = run.start()
        wait_for(lambda enough=pieces: len(run.pieces()) >= enough, process)
        time.sleep(rng.uniform(0, 2))
        frames.append(sum(run.ended()))
        kept = run.pieces()
        if number:
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(3)  # a worker without its driver ends by itself
    code = run.start().wait()
    after = run.pieces()
    redone += sum(after.get(path) != when for path, when in kept.items())
    extra = len(run.ended()) - len(after)  # a piece that was tracked and not yet kept when the kill came is no fault
    return {
        "kills": len(at),
        "frames_tracked_before_each": frames,
        "exit_code": code,
        "pieces": len(after),
        "tracked_to_their_end": len(run.ended()),
        "redone": redone + max(0, extra - len(at)),
    }


def wait_for(true: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    while not true():
        if process.poll() is not None:
            sys.exit(f"the run ended by itself ({process.returncode}) before it was killed")
        time.sleep(0.05)


# -- memory ------------------------------------------------------------------------------------------------------


def measured(run: Run) -> dict[str, float]:
    """Peak memory of a run [MiB]: of its process tree, and of its largest process."""
    begin, process = time.monotonic(), run.start()
    tree = largest = 0.0
    while process.poll() is None:
        found = [_memory(number) for number in family(process.pid)]
        tree = max(tree, sum(now for now, _ in found))
        largest = max(largest, *(peak for _, peak in found))
        time.sleep(0.1)
    if process.returncode != 3:  # done, with episodes in quarantine
        sys.exit(f"the run ended with {process.returncode}")
    seconds = time.monotonic() - begin
    return {"tree_mib": round(tree, 1), "largest_process_mib": round(largest, 1), "seconds": round(seconds, 1)}


def family(root: int) -> list[int]:
    """A process and all it started."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            children.setdefault(int(path.read_text().rpartition(")")[2].split()[1]), []).append(int(path.parent.name))
    found, left = [], [root]
    while left:
        found.append(left.pop())
        left += children.get(found[-1], [])
    return found


def _memory(process: int) -> tuple[float, float]:
    """Proportional set size now, and the largest resident set so far [MiB]; 0 of a process that is gone."""
    found = {"Pss": 0.0, "VmHWM": 0.0}
    for name in ("smaps_rollup", "status"):
        with suppress(OSError):
            for line in Path(f"/proc/{process}/{name}").read_text().splitlines():
                key, _, value = line.partition(":")
                if key in found:
                    found[key] = int(value.split()[0]) / 1024
    return found["Pss"], found["VmHWM"]


if __name__ == "__main__":
    main()
