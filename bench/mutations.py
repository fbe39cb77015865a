"""Damaged and hostile sources of every format that is read: what becomes of a conversion of each?

`python -m bench.mutations [COUNT [FIRST]]` makes COUNT (1000) damaged copies of tiny sources – blindly or knowing the
format – and converts each as the command line does, in a process forked for it. Allowed is one line that names file and
reason; episodes in quarantine with a reason; or exactly what an independent reader finds (`mutations_oracle`), a
quarantine's other episodes included. A traceback, a crash, 10 s or 1 GiB more than usual, and an answer of another kind
are failures. Every mutation is given by its number: `python -m bench.mutations 1 17` repeats the seventeenth.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import mutations_bytes as raw
from bench.forked import Done, forked
from bench.mutations_arrays import HDF5, HOSTILE_HDF5, ZARR, codec_out, zarr_change
from bench.mutations_sources import SOURCES
from bench.mutations_tables import TABLES, camera_out, template_out
from bench.results import record

SECONDS, BYTES = 10.0, 1 << 30
# What a library may say to a change that it cannot make; another is tried then.
LIBRARY = (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError, ArithmeticError)
USUAL = 10.0  # a clean conversion here takes under a second; a busy machine may take ten
# Reasons that are a mistake of ours showing through, not words about a file.
OURS = re.compile(
    r"^[A-Z]\w*(?:Error|Exception): |cannot be read: (?:Type|Attribute|Index|Key|Assertion|Recursion|Unbound)\w*Error"
    r"|\bNoneType\b|0x[0-9a-f]{6,}>"
)


@dataclass(frozen=True)
class Verdict:
    """kind: error, quarantined, equal, or a failure's name. said: what was told, or what is wrong."""

    number: int
    source: str
    change: str
    kind: str
    said: str = ""
    seconds: float = 0.0
    mib: float = 0.0

    @property
    def good(self) -> bool:
        return self.kind in ("error", "quarantined", "equal")


def changes_of(source: str) -> tuple[dict[str, raw.Change], dict[str, raw.Change]]:
    """What can be done to a source: damage, of which anything may come, and what must be refused."""
    blind = {f"blind_{kind}": raw.blind(kind) for kind in raw.BLIND}
    if source in ("robomimic", "libero", "aloha_raw", "aloha_jpeg"):
        return {**blind, **HDF5, **(raw.FOLDER if source.startswith("aloha") else {})}, HOSTILE_HDF5
    if source.startswith("zarr"):
        hostile = {"codec_out": zarr_change(codec_out)}
        if source == "zarr_zip":
            return {**blind, **ZARR}, {**hostile, "zip_member": raw.zip_member}
        return {**blind, **ZARR, **raw.FOLDER}, {**hostile, "link_out": raw.link_out}
    hostile = {"link_out": raw.link_out}
    videos = {"mp4": raw.mp4, "mp4_again": raw.mp4, "other_video": raw.other_video}
    if source == "ego":
        return {**blind, **videos, **raw.FOLDER}, hostile
    if source == "egodex":
        return {**blind, **HDF5, **videos, **raw.FOLDER}, {**HOSTILE_HDF5, **hostile}
    if source != "store":
        hostile |= {"template_out": template_out, "camera_out": camera_out}
    return {**blind, **TABLES, **videos, **raw.FOLDER}, hostile


def mutate(number: int, root: Path, source: str) -> tuple[str, bool]:
    """Damage the source at `root` as this number says; gives what was done, and whether it must be refused."""
    rng = np.random.default_rng([20, number])
    damage, hostile = changes_of(source)
    while True:
        refused = rng.random() < 0.12
        names = sorted(hostile if refused else damage)
        name = names[int(rng.integers(len(names)))]
        try:
            (hostile if refused else damage)[name](root, rng)
        except (raw.NotHere, AttributeError, *LIBRARY):
            continue
        return name, refused


class Bench:
    """Sources kept undamaged in a folder, and one damaged copy at a time beside them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clean: dict[str, Path] = {}

    def source(self, name: str) -> Path:
        if name not in self.clean:
            place = self.folder / "clean" / name
            place.mkdir(parents=True)
            status = forked(lambda: print(SOURCES[name](place)), place / "log", SECONDS + USUAL)
            if status.code:
                sys.exit(f"the source {name} cannot be made: {status.text[-2000:]}")
            self.clean[name] = Path(status.text.split("\n")[-2])
        return self.clean[name]

    def run(self, number: int) -> Verdict:
        name = list(SOURCES)[number % len(SOURCES)]
        clean, place = self.source(name), self.folder / f"at{number}"
        place.mkdir()
        root = place / clean.name
        (shutil.copytree if clean.is_dir() else shutil.copyfile)(clean, root)
        made = forked(lambda: print(json.dumps(mutate(number, root, name))), place / "mutation", 60)
        if made.code:
            return Verdict(number, name, "?", "not made", made.text[-600:])
        change, hostile = json.loads(made.text.split("\n")[-2])
        try:
            return self._judge(Verdict(number, name, change, "?"), root, place / "out", hostile)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _judge(self, verdict: Verdict, root: Path, out: Path, hostile: bool) -> Verdict:
        def verdict_of(kind: str, said: str) -> Verdict:
            return Verdict(verdict.number, verdict.source, verdict.change, kind, said[:900], done.seconds, done.mib)

        done = convert(root, out)
        lines = [line for line in done.text.splitlines() if line.strip()]
        if done.late:
            return verdict_of("hang", done.text[-400:])
        if done.code < 0:
            return verdict_of("crash", f"{signal.Signals(-done.code).name}: {done.text[-400:]}")
        if "Traceback" in done.text or done.code not in (0, 2, 3):
            return verdict_of("traceback", done.text[-900:])
        if done.mib > BYTES / 2**20:
            return verdict_of("memory", f"{done.mib:.0f} MiB: {done.text[-300:]}")
        if done.code == 2:
            errors = [line for line in lines if line.startswith("error: ")]
            names = {root.name, *(p.name for p in (root.rglob("*") if root.is_dir() else ()))}
            if len(lines) != 1 or not errors or not any(n in errors[0] for n in names) or OURS.search(errors[0][7:]):
                return verdict_of("unclear", done.text)
            return verdict_of("error", errors[0])
        held = _quarantined(Path(f"{out}.flow") / "quarantine.jsonl")
        for entry in held:
            if not entry["reason"] or "\n" in entry["reason"] or OURS.search(entry["reason"]):
                return verdict_of("unclear", f"{entry['episode']}: {entry['reason']}")
        if hostile and not held:
            return verdict_of("not refused", verdict.change)
        said = "; ".join(f"{entry['episode']}: {entry['reason']}" for entry in held)
        if not (out / "meta/info.json").exists():
            return verdict_of("quarantined" if held else "nothing", said)
        compared = forked(lambda: print(self._compare(root, out, verdict.source, len(held))), out.parent / "log", 60)
        if compared.code:
            return verdict_of("different", f"{compared.code}: {compared.text[-500:]} | {said[:300]}")
        return verdict_of("quarantined" if held else "equal", said)

    def _compare(self, root: Path, out: Path, name: str, held: int) -> int:
        from bench import mutations_hands
        from bench.mutations_oracle import Different, compare, compare_stores, count

        if name == "store":
            return compare_stores(self.clean[name], out)
        if name in ("ego", "egodex"):
            return mutations_hands.compare(root, out)
        found = compare(root, out)
        format = {"zarr": "zarr_replay", "lero": f"lerobot_v{name[-2:-1]}"}.get(name[:4], "")
        there = count(format, root)
        if there is not None and there != found + held:
            raise Different(f"{there} episodes in the source, {found} in the store, {held} in quarantine")
        return found


def _quarantined(path: Path) -> list[dict[str, Any]]:
    """The last word on each episode, where that is a reason."""
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [line for line in {line["key"]: line for line in lines}.values() if not line.get("released")]


def convert(root: Path, out: Path) -> Done:
    """`dataengine convert` of a source, once more with patience where the machine may have been the slow one."""
    done = forked(lambda: _command_line(root, out), out.parent / "log", SECONDS + USUAL)
    if done.late:
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(f"{out}.flow", ignore_errors=True)
        done = forked(lambda: _command_line(root, out), out.parent / "log", SECONDS + USUAL)
    return done


def _command_line(root: Path, out: Path) -> None:
    from bench.mutations_hands import Blind
    from collectors.egocentric import videos
    from dataengine.cli import main

    videos._tracker = lambda settings: Blind()  # what is damaged here is videos; a model would take its time
    sys.argv = ["dataengine", "convert", str(root), str(out), "--scheduler", "inprocess", "--json"]
    shown = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    try:
        main()
    finally:
        sys.stdout.flush()
        os.dup2(shown, 1)


def warm(folder: Path) -> None:
    """Import what conversions and readers import, as those of clean sources tell, before anything is forked."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    bench = Bench(folder)
    for name in ("aloha_jpeg", "zarr_zip", "lerobot_v30", "egodex", "ego"):
        told = forked(lambda name=name: _imports(bench, name), folder / "imports", 120)
        for module in told.text.split("IMPORTED ")[-1].split():
            with suppress(ImportError):
                importlib.import_module(module)


def _imports(bench: Bench, name: str) -> None:
    """Convert and compare a clean source, and print the modules that are imported then."""
    root, out = bench.source(name), bench.folder / f"warm_{name}"
    with suppress(SystemExit):
        _command_line(root, out)
    bench._compare(root, out, name, 0)
    print("IMPORTED", *(m for m in sys.modules if m.partition(".")[0] not in ("__main__", "bench")))


def judge(numbers: list[int], folder: Path) -> Iterator[Verdict]:
    """One after the other, in this process and those it forks."""
    bench = Bench(folder)
    for number in numbers:
        yield bench.run(number)


def run(count: int, first: int) -> list[Verdict]:
    """Mutations `first` to `first + count`, in as many processes as there are cores. One that dies leaves a gap."""
    workers = min(len(os.sched_getaffinity(0)), count)
    with tempfile.TemporaryDirectory() as name:
        (place := Path(name) / "warm").mkdir()
        warm(place)
        children = []
        for worker in range(workers):
            (folder := Path(name) / str(worker)).mkdir()
            if (child := os.fork()) == 0:
                with (folder / "verdicts").open("w") as file:
                    for verdict in judge(list(range(first + worker, first + count, workers)), folder):
                        print(json.dumps(asdict(verdict)), file=file, flush=True)
                        if not verdict.good or count < 1000:
                            print(json.dumps(asdict(verdict), ensure_ascii=False), flush=True)
                os._exit(0)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)
        lines = [line for path in Path(name).glob("*/verdicts") for line in path.read_text().splitlines()]
    return sorted((Verdict(**json.loads(line)) for line in lines), key=lambda v: v.number)


def main() -> None:
    count, first = (int(sys.argv[1]) if sys.argv[1:] else 1000), (int(sys.argv[2]) if sys.argv[2:] else 0)
    os.environ["OMP_NUM_THREADS"] = "1"
    verdicts = run(count, first)
    bad = [v for v in verdicts if not v.good]
    figures = {
        "mutations": len(verdicts),
        "outcomes": dict(Counter(v.kind for v in verdicts).most_common()),
        "by_source": {s: dict(Counter(v.kind for v in verdicts if v.source == s)) for s in SOURCES},
        "by_change": {
            c: dict(Counter(v.kind for v in verdicts if v.change == c)) for c in sorted({v.change for v in verdicts})
        },
        "most_seconds": round(max(v.seconds for v in verdicts), 1),
        "most_mib": round(max(v.mib for v in verdicts)),
        "failures": [asdict(v) for v in bad][:50],
    }
    good = len(verdicts) == count and not bad
    if count >= 1000:
        record("mutations", figures, met=good)
    else:
        print(json.dumps(figures, ensure_ascii=False))
    sys.exit(not good)


if __name__ == "__main__":
    main()
