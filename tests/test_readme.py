"""Every command the README shows is run here, in order, in an empty folder, as a newcomer would."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line for block in re.findall(r"```bash\n(.*?)```", README, re.S) for line in block.splitlines() if line.strip()
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("newcomer")
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


def test_there_is_a_command_for_every_kind_of_user() -> None:
    verbs = {shlex.split(command)[1] for command in COMMANDS}
    assert {"collect", "inspect", "verify", "convert", "edit", "run", "publish", "train", "evaluate"} <= verbs


@pytest.mark.parametrize("command", COMMANDS)
def test_it_works_as_shown(folder: Path, command: str) -> None:
    words = shlex.split(command)
    assert words[0] == "dataengine"
    environment = {**os.environ, "COLUMNS": "120"}
    environment.pop("HF_ENDPOINT", None)
    done = subprocess.run(
        [sys.executable, "-m", "dataengine", *words[1:]],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
    )
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-3000:]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.S))
def test_its_python_runs(folder: Path, code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stdout, done.stderr[-3000:]


@pytest.mark.parametrize(
    "verb", sorted({shlex.split(c)[1] for c in COMMANDS} | {"status", "cancel", "doctor", "tokenizer"})
)
def test_every_verb_explains_itself(verb: str) -> None:
    done = subprocess.run([sys.executable, "-m", "dataengine", verb, "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "Usage" in done.stdout


def test_files_it_points_to_exist() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
