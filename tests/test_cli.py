"""The command line at its edges: one line that says what is wrong, and an exit code, never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from lerobot_folders import Folder, write_v2, write_v3


def dataengine(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dataengine", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


@pytest.fixture
def text_as_hdf5(tmp_path: Path) -> Path:
    path = tmp_path / "demo.hdf5"
    path.write_text("not at all")
    return path


def wrong(tmp_path: Path, text_as_hdf5: Path) -> dict[str, tuple[list[str], str]]:
    """Commands that cannot be carried out, and what their one line must name."""
    flow = tmp_path / "flow.yaml"
    flow.write_text(f"name: x\nsource: {text_as_hdf5}\nout: {tmp_path / 'o'}\nstagse: []\n")
    return {
        "no such source": (["convert", str(tmp_path / "nothing"), str(tmp_path / "o")], "nothing"),
        "mislabelled": (["convert", str(text_as_hdf5), str(tmp_path / "o")], "demo.hdf5"),
        "one path": (["convert", str(text_as_hdf5)], "SOURCE STORE"),
        "no store": (["verify", str(tmp_path / "nothing")], "nothing"),
        "inspect": (["inspect", str(text_as_hdf5)], "demo.hdf5"),
        "typo in a flow": (["run", str(flow)], "stages"),
        "no flow": (["run", str(tmp_path / "none.yaml")], "none.yaml"),
        "no value": (["run", str(flow), "--set", "source"], "NAME=VALUE"),
        "unknown collector": (["collect", "exprt", str(tmp_path / "o")], "expert"),
        "unknown parameter": (["collect", "expert", str(tmp_path / "o"), "--set", "episode=3"], "episodes"),
        "not owner/name": (["publish", str(tmp_path), "cubes"], "owner/name"),
        "no flow ran": (["status", str(tmp_path)], "no flow"),
        "no checkpoint": (["evaluate", str(tmp_path / "none")], "checkpoint"),
        "no such policy": (["train", str(tmp_path), str(tmp_path / "o"), "--policy", "smolvla"], "lerobot:act"),
        "half a list": (["collect", "expert", str(tmp_path / "o"), "--set", "tasks=[a"], "--set tasks"),
    }


CASES = (
    "no such source",
    "mislabelled",
    "one path",
    "no store",
    "inspect",
    "typo in a flow",
    "no flow",
    "no value",
    "unknown collector",
    "unknown parameter",
    "not owner/name",
    "no flow ran",
    "no checkpoint",
    "no such policy",
    "half a list",
)


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text_as_hdf5: Path, case: str) -> None:
    arguments, named = wrong(tmp_path, text_as_hdf5)[case]
    done = dataengine(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert named in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")


def test_a_missing_package_is_named_with_what_installs_it(tmp_path: Path) -> None:
    """A `sitecustomize` that hides h5py stands for a machine without the extra."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nreal = u.find_spec\n"
        "u.find_spec = lambda name, package=None: None if name == 'h5py' else real(name, package)\n"
    )
    source = tmp_path / "a.hdf5"
    source.write_bytes(b"x")
    for command in (("convert", "a", "b"), ("inspect", str(source))):
        done = dataengine(*command, PYTHONPATH=str(tmp_path))
        assert done.returncode == 2 and "vla-dataengine[convert]" in done.stderr, done.stderr


def test_a_file_where_a_folder_should_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = dataengine("collect", "expert", str(tmp_path / "file" / "store"), "--set", "episodes=1")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith(f"error: {tmp_path / 'file'}")


def test_only_a_tokenizer_is_fitted_as_one(tmp_path: Path) -> None:
    done = dataengine("tokenizer", str(tmp_path), str(tmp_path / "o"), "--kind", "publish")
    assert done.returncode == 2 and "'fast_tokenizer', 'action_bins'" in done.stderr


def test_a_conversion_prints_nothing_but_json_where_a_program_reads(tmp_path: Path) -> None:
    write_v2(tmp_path / "old", Folder())
    write_v3(tmp_path / "new", Folder(lengths=(8, 5), robot_type="leg"))
    old, new, out = str(tmp_path / "old"), str(tmp_path / "new"), str(tmp_path / "out")
    merged = dataengine("convert", old, new, out, "--json", "--workers", "1")
    assert json.loads(merged.stdout)["kept"] == len(Folder().lengths) + 2
    assert "note: embodiments differ" in merged.stderr
    written = dataengine("convert", out, str(tmp_path / "aloha"), "--to", "aloha", "--limit", "1", "--json")
    assert len(json.loads(written.stdout)["files"]) == 1
    assert len(list((tmp_path / "aloha").glob("*.hdf5"))) == 1


DEMO = """
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
import dataengine.doctor, dataengine.flow
from dataengine.cli import demo

@dataclass
class Result:
    report: str
    exit_code: int = 0

    def to_json(self):
        return asdict(self)

def run(flow, **_):
    report = Path(flow["out"] + ".html")
    report.write_text("what a person reads")
    return Result(str(report))

dataengine.flow.run_flow = run
dataengine.doctor.require = lambda part: None
demo.demo(Path(sys.argv[1]), episodes=4, steps=1, json=True)
"""


def test_the_demo_prints_nothing_but_json_where_a_program_reads(tmp_path: Path) -> None:
    command = [sys.executable, "-c", DEMO, str(tmp_path / "demo")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    report = tmp_path / "demo" / "report.html"  # where the README says it is
    assert json.loads(done.stdout) == {"report": str(report), "exit_code": 0}
    assert report.read_text() == "what a person reads" and "recorded 2 episodes" in done.stderr


def test_numbers_are_read_as_people_write_them() -> None:
    from dataengine.cli.output import typed
    from dataengine.plugins import make

    assert make("jobs", "train", typed(["learning_rate=1e-4", "channels=[8, 8]"])).learning_rate == 1e-4


def test_doctor_is_for_programs_too() -> None:
    checks = {c["name"]: c for c in json.loads(dataengine("doctor", "--json").stdout)}
    assert {"python", "convert", "flow", "sim", "hub", "train", "opencv", "disk"} <= set(checks)
    assert all(c["state"] in ("ok", "missing", "broken") for c in checks.values())


def test_who_ran_a_flow_is_told_where_its_pages_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from dataengine.cli.output import finish
    from dataengine.flow.jobs import JobResult

    folder = tmp_path / "out.flow" / "01-hand_report"
    jobs = (
        JobResult("hand_report", "cached", str(folder), report={"page": "01-hand_report/report.html"}),
        JobResult("count", "done", str(folder), report={"episodes": 3}),
        JobResult("publish", "failed", str(folder), error="no network"),
    )
    refused = [{"episode": f"{n}.mp4", "reason": f"it is\x1b[31m\n broken {n}"} for n in range(5)]
    counts = {
        "record": {"quarantined": refused},
        "kept": 3,
        "frames": 60,
        "reused": 0,
        "dropped": 0,
        "quarantined": 0,
        "seconds": 1.0,
    }
    finish(SimpleNamespace(state="done", out="out", jobs=jobs, error="", report="", exit_code=0, **counts), False)  # type: ignore[arg-type]
    lines = "".join(capsys.readouterr().out.splitlines())  # a terminal breaks long ones
    assert f"hand_report: cached – {folder / 'report.html'}" in lines
    assert "0.mp4: it is [31m broken 0" in lines and "broken 2" in lines and "broken 3" not in lines
    assert "count: done" in lines and "publish: failed – no network" in lines
