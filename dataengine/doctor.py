"""What this machine must have, checked by trying it, and what to install where it is missing."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from dataengine.errors import DataEngineError

State = Literal["ok", "missing", "broken"]

# What each part of the engine needs beside the base install: module, and the extra that brings it.
NEEDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "convert": (("h5py", "zarr", "numcodecs", "imagecodecs", "cv2"), ()),
    "flow": (("dask", "distributed", "PIL"), ()),
    "tokenizer": (("tokenizers", "scipy"), ()),
    "sim": (("mujoco", "gymnasium", "PIL"), ("libEGL.so.1", "libGLESv2.so.2")),
    "hub": (("huggingface_hub", "starlette", "uvicorn", "PIL"), ()),
    "collect": (("mcap", "mink", "daqp", "mujoco", "starlette", "uvicorn", "websockets", "cryptography", "segno"), ()),
    "hands": (("mediapipe", "cv2", "scipy"), ("libEGL.so.1", "libGLESv2.so.2")),
    "vlm": (("openai",), ()),
    "train": (("torch", "safetensors"), ()),
    "lerobot": (("lerobot",), ()),
}
# Asks for an OpenCV that would replace the one that is here.
ALONE = {"mediapipe": "pip install --no-deps mediapipe"}
PACKAGE_OF = {"libEGL.so.1": "libegl1", "libGLESv2.so.2": "libgles2"}
OPENCV_BUILDS = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)


@dataclass(frozen=True)
class Check:
    """One thing looked at: what was found, and the one line that mends it."""

    name: str
    state: State
    found: str
    mend: str = ""


def examine(folder: Path | None = None) -> Iterator[Check]:
    """Every check, in the order a person would read them."""
    yield _python()
    for part in NEEDS:
        yield check_part(part)
    yield _one_opencv()
    yield _disk(folder or Path.cwd())
    yield _threads()


def require(part: str) -> None:
    """Raise `DataEngineError` with the line that installs what `part` of the engine lacks."""
    if (lack := _lack(part)) is not None:
        raise DataEngineError(f"this needs {lack.found}. Install with:  {lack.mend}")


def check_part(part: str) -> Check:
    return _lack(part) or Check(part, "ok", ", ".join(f"{m} {_version(m)}".strip() for m in NEEDS[part][0]))


def _lack(part: str) -> Check | None:
    modules, libraries = NEEDS[part]
    absent = [m for m in modules if importlib.util.find_spec(m) is None]
    missing = [lib for lib in libraries if not _loads(lib)]
    mend = " && ".join(
        ([f"pip install 'vla-dataengine[{part}]'"] if absent else [])
        + [ALONE[m] for m in absent if m in ALONE]
        + ([f"sudo apt-get install -y {' '.join(PACKAGE_OF[lib] for lib in missing)}"] if missing else [])
    )
    return Check(part, "missing", ", ".join(absent + missing), mend) if absent or missing else None


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] == (3, 12):
        return Check("python", "ok", found)
    return Check("python", "broken", found, "make setup PYTHON=/path/to/python3.12")


def _one_opencv() -> Check:
    """Several OpenCV distributions share one folder: the last one wins and removing any breaks all."""
    builds = [name for name in OPENCV_BUILDS if _installed(name)]
    if len(builds) <= 1:
        return Check("opencv", "ok", builds[0] if builds else "none")
    mend = f"pip uninstall -y {' '.join(builds)} && pip install opencv-python-headless"
    return Check("opencv", "broken", f"{len(builds)} builds share one folder: {', '.join(builds)}", mend)


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free / 2**30
    if free < 2:
        return Check(
            "disk", "broken", f"{free:.1f} GiB free", "free some space; a flow checks its own need before it starts"
        )
    return Check("disk", "ok", f"{free:.0f} GiB free")


def _threads() -> Check:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Check("cores", "ok", f"{cores}; flows use one worker process on each")


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _version(module: str) -> str:
    for name in _distributions().get(module, []):
        return importlib.metadata.version(name)
    return ""


@lru_cache(maxsize=1)
def _distributions() -> Mapping[str, list[str]]:
    """Which distributions bring a module; reads what every installed one says, half a second here."""
    return importlib.metadata.packages_distributions()
