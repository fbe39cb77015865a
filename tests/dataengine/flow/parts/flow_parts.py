"""A third party's parts: a toy format and stages that are slow, forgetful or deadly on request.

A source is a JSON file `{"toy": 1, "folder": …, "episodes": [{"name", "length", …}]}`. What an episode does to its
worker stands in files beside it, so that a test can change it between runs without changing the source.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from dataengine.episode import ArrayClip, Episode, Feature, Label, Meta, Step, derived_id, episode_id
from dataengine.errors import EpisodeError
from dataengine.plugins import Drop
from dataengine.source import Assumption, EpisodeRef, Plan

STATE = Feature("float32", (3,), ("x", "y", "z"), "state", "m")
ACTION = Feature("float32", (3,), ("x", "y", "z"), "action", "m")
CAMERA = Feature("video", (32, 48, 3), ("height", "width", "channels"), "image")


@dataclass(frozen=True)
class SlowClip(ArrayClip):
    """A camera that takes its time, so that a test can meet a worker in the middle of a video."""

    def frames(self, start=0, stop=None):
        for frame in self.array[start:stop]:
            time.sleep(0.03)
            yield frame


class ToyConverter:
    name = "toy"
    version = "1"
    reads = "toy episodes (.json)"

    def sniff(self, path: Path) -> bool:
        try:
            return path.suffix == ".json" and "toy" in json.loads(path.read_text())
        except (OSError, ValueError):
            return False

    def plan(self, path: Path, mapping=None) -> Plan:
        data = json.loads(path.read_text())
        merged = {"fps": data.get("fps", 10.0), "camera": data.get("camera", False)} | dict(mapping or {})
        features = {"observation.state": STATE, "action": ACTION}
        if merged["camera"]:
            features["observation.images.front"] = CAMERA
        refs = tuple(
            EpisodeRef(e["name"], e["length"], e.get("bytes", 0), (e.get("task", "move"),), e.get("problem"), e)
            for e in data["episodes"]
        )
        return Plan(
            str(path),
            "toy",
            float(merged["fps"]),
            features,
            refs,
            merged,
            (Assumption("task", "move", "the file names none"),),
            licence=data.get("licence"),
            unused=("temperature",),
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        )

    def read(self, plan: Plan, ref: EpisodeRef) -> Episode:
        folder = Path(plan.path).parent
        append(folder / "reads.log", ref.name)
        if ref.extra.get("slow"):
            time.sleep(ref.extra["slow"])
        if (folder / f"deadly-{ref.name}").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        if (folder / f"bad-{ref.name}").exists():
            raise EpisodeError(ref.name, "its joint 2 holds NaN", feature="action", frame=3)
        if (folder / f"flaky-{ref.name}").exists():
            raise OSError("the network file system hiccuped")
        random = np.random.default_rng(int.from_bytes(hashlib.sha256(ref.name.encode()).digest()[:4]))
        state = random.normal(size=(ref.length, 3)).astype(np.float32)
        clips = {}
        if plan.mapping["camera"]:
            ramp = np.arange(32 * 48 * 3).reshape(32, 48, 3)
            pictures = np.stack([(ramp * (t + 3) // 40) % 255 for t in range(ref.length)]).astype(np.uint8)
            kind = SlowClip if ref.extra.get("sluggish") else ArrayClip
            clips["observation.images.front"] = kind(pictures, plan.fps)
        wide = ref.extra.get("wide", False)
        features = dict(plan.features) | ({"action": Feature("float32", (4,), role="action")} if wide else {})
        return Episode(
            episode_id(plan.sha256 if not ref.extra.get("same") else "same", ref.extra.get("same") or ref.name),
            plan.fps,
            features,
            {"observation.state": state, "action": np.zeros((ref.length, 4), np.float32) if wide else state * 0.5},
            clips,
            meta=Meta(
                ref.tasks, source={"format": "toy", "file": Path(plan.path).name}, lineage=(Step("convert", "1"),)
            ),
        )


@dataclass(frozen=True)
class Scale:
    """Multiplies the action."""

    factor: float = 2.0
    log: str = ""
    table: Path | None = None
    name = "toy_scale"
    version = "1"
    reads = ("action",)

    def run(self, episodes):
        for episode in episodes:
            append(self.log, f"scale {episode.id}")
            yield episode.map("action", lambda a: a * np.float32(self.factor))


@dataclass(frozen=True)
class Filter:
    """Drops the short."""

    at_least: int = 5
    name = "toy_filter"
    version = "1"
    reads = ()

    def run(self, episodes):
        for episode in episodes:
            if episode.length < self.at_least:
                yield Drop(episode.id, f"shorter than {self.at_least} frames", {"frames": np.int64(episode.length)})
            else:
                yield episode


@dataclass(frozen=True)
class Split:
    """One episode becomes its two halves, or (`same_id`) two of one name, which is wrong."""

    same_id: bool = False
    name = "toy_split"
    version = "1"
    reads = ("*",)

    def run(self, episodes):
        for episode in episodes:
            middle = episode.length // 2
            yield episode if self.same_id else episode.slice(0, middle)
            yield episode if self.same_id else episode.slice(middle, episode.length)


@dataclass(frozen=True)
class Centre:
    """Subtracts the mean action of all episodes."""

    log: str = ""
    artifact: dict | None = None
    name = "toy_centre"
    version = "1"
    reads = ("action",)

    def observe(self, episode):
        append(self.log, f"observe {episode.id}")
        return {"sum": episode.frames["action"].sum(0), "count": episode.length}

    def fit(self, summaries):
        total, count = np.zeros(3), 0
        for summary in summaries:
            total, count = total + np.array(summary["sum"]), count + summary["count"]
        return {"mean": (total / count).tolist(), "count": count}

    def run(self, episodes):
        mean = np.array(self.artifact["mean"], np.float32)
        for episode in episodes:
            append(self.log, f"centre {episode.id}")
            yield episode.map("action", lambda a: a - mean)


@dataclass(frozen=True)
class Speak:
    """Writes a label; reads another one where told to."""

    word: str = "reach"
    label: str = "said"
    hears: str = ""
    log: str = ""
    name = "toy_label"
    version = "1"

    @property
    def reads(self):
        return ("observation.state", *((f"label:{self.hears}",) if self.hears else ()))

    def run(self, episodes):
        for episode in episodes:
            append(self.log, f"{self.label} {episode.id}")
            heard = episode.labels[self.hears].table.column("text")[0].as_py() if self.hears else ""
            table = pa.table({"start": [0], "stop": [episode.length], "text": [heard + self.word]})
            source = {"name": self.name, "version": self.version, "params": {"word": self.word}, "cost_usd": 0.25}
            yield episode.with_label(self.label, Label("span", table, source))


@dataclass(frozen=True)
class NeedsGpu:
    """Wants a resource, and writes down which GPU it was given."""

    kind: str = "SPACESHIP"
    log: str = ""
    name = "toy_gpu"
    version = "1"
    reads = ()

    @property
    def resources(self):
        return {self.kind: 1}

    def run(self, episodes):
        for episode in episodes:
            append(self.log, os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
            time.sleep(0.3)
            yield episode


@dataclass(frozen=True)
class Versioned:
    name = "toy_old"
    version = os.environ.get("TOY_VERSION", "1")
    reads = ()

    def run(self, episodes):
        yield from episodes


@dataclass(frozen=True)
class Note:
    """An annotator."""

    text: str = "fine"
    name = "toy_note"
    version = "3"

    def annotate(self, episode):
        derived_id(episode.id, "unused")
        return {"note": Label("episode", pa.table({"text": [self.text]}))}


@dataclass(frozen=True)
class Count:
    """Counts what is in the store."""

    text: str = ""
    other: Path | None = None
    fail: bool = False
    watched: Path | None = None
    name = "toy_job"
    version = "1"

    def also(self, store: Path):
        return self.watched and self.watched.read_text()

    def run(self, store: Path, out: Path):
        from dataengine.store import Store

        if self.fail:
            raise ValueError("<b>the job</b> broke")
        append(out / "runs.log", self.text or "run")
        (out / "made.txt").write_text("made")
        other = None if self.other is None else (self.other / "made.txt").read_text()
        return {"episodes": len(Store.open(store)), "text": self.text, "other": other, "runs": lines(out / "runs.log")}


def append(path: Path | str, text: str) -> None:
    if path:
        with Path(path).open("a") as file:
            file.write(text + "\n")


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0
