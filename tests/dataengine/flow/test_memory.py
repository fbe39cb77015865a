"""What a process keeps from one episode to the next: speed inside an episode, nothing after it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import store_made

from dataengine.flow import memory
from dataengine.flow.cluster import _local
from dataengine.flow.shards import seal_shard

MEASURED = """
import resource, sys
from dataengine.flow import convert
result = convert(sys.argv[1], sys.argv[2], scheduler="inprocess", progress=False)
assert result.exit_code == 0, result
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


# In a process of its own: one that has run other tests has free memory to take from.
FREED = """
import os
from pathlib import Path
from dataengine.flow import memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

before = resident()
blocks = [bytearray(b"x" * 60_000) for _ in range(2000)]
last = bytearray(b"x" * 60_000)  # above them in the heap: without help nothing below goes back
held = resident()
del blocks
memory.give_back()
print(held - before, resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc is what gives back")
def test_freed_memory_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", FREED], check=True, capture_output=True, text=True)
    held, left = map(int, done.stdout.split())
    assert held > 100 and left < 20


def test_local_workers_keep_the_memory_of_pictures() -> None:
    from distributed import Client

    with _local(1, {}) as cluster, Client(cluster, set_as_default=False) as client:
        (found,) = client.run(lambda: dict(os.environ)).values()
    assert {name: found.get(name) for name in memory.ENVIRON} == {k: str(v) for k, v in memory.ENVIRON.items()}
    assert found["OMP_NUM_THREADS"] == "1"  # what else Dask sets stays


def test_no_video_stays_open_after_its_episode(tmp_path: Path) -> None:
    for number in range(3):
        seal_shard(store_made.episode(number), tmp_path / f"shard-{number}", {})
        assert list((tmp_path / f"shard-{number}").glob("*.mp4"))
        open_files = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        assert not [name for name in open_files if str(tmp_path) in name]


def aloha(folder: Path, episodes: int, frames: int) -> Path:
    folder.mkdir()
    picture = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    for number in range(episodes):
        joints = np.sin(np.arange(frames)[:, None] / 50 * np.linspace(0.3, 1.2, 14) + number).astype(np.float32)
        with h5py.File(folder / f"episode_{number}.hdf5", "w") as file:
            file.attrs["sim"] = True
            file["action"] = file["observations/qpos"] = joints
            images = file.create_dataset(
                "observations/images/top", (frames, 240, 320, 3), "u1", chunks=(1, 240, 320, 3)
            )
            for t in range(frames):
                images[t] = np.roll(picture, 3 * t, axis=1)
    return folder


@pytest.mark.slow
def test_memory_does_not_grow_with_episodes_or_their_length(tmp_path: Path) -> None:
    peaks = []
    for name, episodes, frames in (("base", 2, 40), ("many", 16, 40), ("long", 2, 320)):
        command = [
            sys.executable,
            "-c",
            MEASURED,
            str(aloha(tmp_path / name, episodes, frames)),
            str(tmp_path / f"{name}-out"),
        ]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]))
    base, many, long = peaks
    # One more episode of pictures kept would be 9 MB, one long episode decoded 74 MB.
    assert many < 1.15 * base
    assert long < 1.15 * base
