"""A third party's format: installed as a distribution of its own, used from the command line, nothing else touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "dataengine-csv"
version = "0.1"
[project.entry-points."dataengine.converters"]
csv = "dataengine_csv:Csv"
[project.entry-points."dataengine.stages"]
keep_long = "dataengine_csv:KeepLong"
[tool.setuptools]
py-modules = ["dataengine_csv"]
"""

PLUGIN = '''
"""Reads one episode per CSV file: columns x, y, and the action dx, dy."""
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataengine.episode import Episode, Feature, Meta, Step, episode_id
from dataengine.guard import sha256_file
from dataengine.plugins import Drop
from dataengine.source import EpisodeRef, Plan

FEATURES = {
    "observation.state": Feature("float32", (2,), ("x", "y"), "state", "m"),
    "action": Feature("float32", (2,), ("dx", "dy"), "action", "m"),
}


class Csv:
    name = "csv"

    def sniff(self, path: Path) -> bool:
        files = [path] if path.is_file() else sorted(path.glob("*.csv"))
        return bool(files) and all(f.open("rb").read(10) == b"x,y,dx,dy\\n" for f in files)

    def plan(self, path, mapping=None):
        files = [path] if path.is_file() else sorted(path.glob("*.csv"))
        refs = tuple(EpisodeRef(f.name, len(f.read_text().splitlines()) - 1) for f in files)
        return Plan(str(path), self.name, 10.0, FEATURES, refs, {"fps": 10.0})

    def read(self, plan, ref):
        file = Path(plan.path) / ref.name if Path(plan.path).is_dir() else Path(plan.path)
        rows = np.loadtxt(file, delimiter=",", skiprows=1, dtype=np.float32, ndmin=2)
        sha = sha256_file(file)
        meta = Meta(tasks=("push",), source={"format": self.name, "file": ref.name, "sha256": sha},
                    lineage=(Step("convert", "1"),))
        frames = {"observation.state": rows[:, :2].copy(), "action": rows[:, 2:].copy()}
        return Episode(episode_id(sha, 0), 10.0, FEATURES, frames, meta=meta)


@dataclass(frozen=True)
class KeepLong:
    least: int = 5
    name = "keep_long"
    version = "1"
    reads = ("action",)

    def run(self, episodes: Iterator[Episode]) -> Iterator[Episode | Drop]:
        for episode in episodes:
            yield episode if len(episode) >= self.least else Drop(episode.id, "too short", {"length": len(episode)})
'''


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugin, built and installed into a folder of its own."""
    source = tmp_path_factory.mktemp("plugin")
    (source / "pyproject.toml").write_text(PYPROJECT)
    (source / "dataengine_csv.py").write_text(PLUGIN)
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True, capture_output=True)
    return target


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for name, length in (("a", 8), ("b", 3), ("c", 12)):
        rows = "".join(f"{t},{t / 2},1,0.5\n" for t in range(length))
        (folder / f"{name}.csv").write_text("x,y,dx,dy\n" + rows)
    return folder


def dataengine(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "dataengine", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def test_the_plugin_is_listed_beside_built_in_parts(site: Path) -> None:
    listed = json.loads(dataengine(site, "plugins", "--json").stdout)
    assert {"kind": "converters", "name": "csv", "from": "dataengine_csv:Csv"} in listed


def test_convert_finds_the_format_by_content_and_writes_a_sound_store(
    site: Path, recordings: Path, tmp_path: Path
) -> None:
    done = dataengine(site, "convert", str(recordings), str(tmp_path / "store"), "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert dataengine(site, "verify", str(tmp_path / "store")).returncode == 0
    shown = json.loads(dataengine(site, "inspect", str(tmp_path / "store"), "--json").stdout)
    assert shown["episodes"] == 3 and shown["frames"] == 23 and shown["fps"] == 10


def test_a_dry_run_and_inspect_describe_what_the_plugin_reads(site: Path, recordings: Path, tmp_path: Path) -> None:
    for arguments in (("convert", str(recordings), str(tmp_path / "store"), "--dry-run"), ("inspect", str(recordings))):
        done = dataengine(site, *arguments)
        assert done.returncode == 0, done.stderr
        assert "csv, 3 episodes, 23 frames at 10 Hz" in done.stdout
    assert not (tmp_path / "store").exists()


def test_a_flow_uses_the_plugins_stage_by_name(site: Path, recordings: Path, tmp_path: Path) -> None:
    flow = tmp_path / "flow.yaml"
    flow.write_text(f"name: long\nsource: {recordings}\nstages: [keep_long: {{least: 5}}]\nout: {tmp_path / 'store'}\n")
    done = dataengine(site, "run", str(flow), "--workers", "1")
    assert done.returncode == 0, done.stderr
    shown = json.loads(dataengine(site, "inspect", str(tmp_path / "store"), "--json").stdout)
    assert shown["episodes"] == 2 and shown["frames"] == 20
