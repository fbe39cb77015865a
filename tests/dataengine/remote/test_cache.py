"""Blocks on disk: never more than the bound, never half of one, the least recently read go first."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from dataengine.errors import MachineError
from dataengine.remote.cache import Blocks

ROOT = Path(__file__).resolve().parents[3]


def key(number: int) -> str:
    return f"{number:040x}"


def taken(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*/*") if path.exists())


def test_the_least_recently_read_go_first(tmp_path: Path) -> None:
    blocks = Blocks(tmp_path, 10 * 104)
    for number in range(10):
        blocks.put(key(number), bytes([number]) * 100)
    assert taken(tmp_path) == 1040
    assert blocks.get(key(0), 100) == bytes(100)
    blocks.put(key(10), bytes([10]) * 100)
    have = [number for number in range(11) if blocks.get(key(number), 100) == bytes([number]) * 100]
    assert 0 in have and 10 in have and 1 not in have and have[1:] == list(range(have[1], 11))
    for number in range(11, 200):
        blocks.put(key(number), bytes([number]) * 100)
        assert taken(tmp_path) <= 1040
    blocks.put(key(999), bytes(2000))
    assert not blocks.has(key(999)) and blocks.has(key(199))


@pytest.mark.parametrize("damage", [b"", b"\0" * 50, b"\0" * 104, b"\0" * 105, b"x" * 100 + bytes(4)], ids=range(5))
def test_what_is_not_whole_is_not_there(tmp_path: Path, damage: bytes) -> None:
    blocks = Blocks(tmp_path, 10_000)
    blocks.put(key(1), b"x" * 100)
    assert blocks.get(key(1), 100) == b"x" * 100 and blocks.get(key(2), 100) is None
    next(tmp_path.glob("*/*")).write_bytes(damage)
    assert blocks.get(key(1), 100) is None and not blocks.has(key(1))
    blocks.put(key(1), b"x" * 100)
    assert blocks.get(key(1), 99) is None  # of another length than the file has now


KILLED = """
import os, sys
from pathlib import Path
from dataengine.remote.cache import Blocks
replace = Path.replace
left = int(sys.argv[2])
def die(self, target):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)
    return replace(self, target)
Path.replace = die
blocks = Blocks(Path(sys.argv[1]), 5_200)
for number in range(100):
    blocks.put(f"{number:040x}", bytes([number]) * 100)
"""


def test_a_writer_that_is_killed_leaves_nothing_half_and_no_space_lost(tmp_path: Path) -> None:
    """Killed before a block gets its name, again and again, in a cache that others go on using."""
    for survived in (0, 3, 20, 60):
        done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(survived)], cwd=ROOT)
        assert done.returncode == -9
        assert taken(tmp_path) <= 5_200 + 104
    blocks = Blocks(tmp_path, 5_200)
    for number in range(1000, 1200):
        blocks.put(key(number), b"y" * 100)
        assert taken(tmp_path) <= 5_200
    assert not list(tmp_path.glob("*/*.tmp"))
    assert sum(blocks.get(key(number), 100) == b"y" * 100 for number in range(1000, 1200)) >= 40


SHARED = """
import sys
from pathlib import Path
from dataengine.remote.cache import Blocks
blocks, me = Blocks(Path(sys.argv[1]), 20_800), int(sys.argv[2])
for number in range(150):
    own = bytes([me]) * 100
    blocks.put(f"{1000 * me + number:040x}", own)
    assert blocks.get(f"{1000 * me + number:040x}", 100) in (own, None)
"""


def test_processes_share_one_bound(tmp_path: Path) -> None:
    blocks = Blocks(tmp_path, 20_800)
    blocks.put(key(0), b"")
    others = [subprocess.Popen([sys.executable, "-c", SHARED, str(tmp_path), str(me)], cwd=ROOT) for me in (1, 2, 3)]
    while any(other.poll() is None for other in others):
        time.sleep(0.02)
        with blocks._counted():  # nobody writes now
            assert taken(tmp_path) <= 20_800
    assert [other.wait() for other in others] == [0, 0, 0] and taken(tmp_path) > 10_000


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MachineError, match="cannot be written"):
        Blocks(tmp_path / "file", 1000).put(key(1), b"x")
