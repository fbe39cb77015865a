"""What may crash runs in a process of its own, and only that one ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dataengine.errors import SourceError, UnsafeSource
from dataengine.guard import process, run_guarded, safe_join


def test_guarded_gives_results_and_our_errors() -> None:
    assert run_guarded(divmod, 7, 2) == (3, 1)
    with pytest.raises(UnsafeSource, match="leaves"):
        run_guarded(safe_join, "/tmp", "../x")
    with pytest.raises(SourceError, match="ZeroDivisionError"):
        run_guarded(divmod, 1, 0)


def test_a_process_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_worker", None)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(SourceError, match="the guarded process: does not start"):
        run_guarded(divmod, 7, 2)


def test_guarded_survives_everything() -> None:
    for function, args, reason in [
        (os.abort, (), "stopped"),
        (os.kill, (0, 11), "SIGSEGV"),
        (os._exit, (3,), "exit code 3"),
        (time.sleep, (30,), "more than 0.5 s"),
        (bytearray, (1 << 33,), "needs more than 100 MiB"),
        (np.zeros, (1 << 33, "u1"), "needs more than 100 MiB"),
        (open, (os.devnull,), "cannot be sent"),
    ]:
        started = time.monotonic()
        with pytest.raises(SourceError, match=reason):
            run_guarded(function, *args, seconds=0.5 if function is time.sleep else 10, memory=100 << 20)
        assert time.monotonic() - started < 20
        assert run_guarded(abs, -1) == 1


def test_guarded_reuses_its_process() -> None:
    first = run_guarded(os.getpid)
    assert first != os.getpid()
    assert run_guarded(os.getpid) == first


def test_guarded_from_a_script_without_main(tmp_path: Path) -> None:
    """multiprocessing would run such a script twice; and the process ends with the script."""
    script = tmp_path / "script.py"
    script.write_text("import os\nfrom dataengine.guard import run_guarded\nprint(run_guarded(os.getpid))\n")
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert done.returncode == 0, done.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)
