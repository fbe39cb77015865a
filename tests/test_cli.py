"""The command line at its edges: one line that says what is wrong, and an exit code, never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


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
    done = dataengine("convert", "a", "b", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2 and "vla-dataengine[convert]" in done.stderr


def test_doctor_is_for_programs_too() -> None:
    checks = {c["name"]: c for c in json.loads(dataengine("doctor", "--json").stdout)}
    assert {"python", "convert", "flow", "sim", "hub", "train", "opencv", "disk"} <= set(checks)
    assert all(c["state"] in ("ok", "missing", "broken") for c in checks.values())
