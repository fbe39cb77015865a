"""The house as a whole: who may import whom, what reading a dataset needs, and that documents say what is true."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from store_made import store_of

ROOT = Path(__file__).resolve().parents[1]
HEAVY = (
    "torch",
    "lerobot",
    "mujoco",
    "h5py",
    "zarr",
    "dask",
    "distributed",
    "huggingface_hub",
    "pandas",
    "scipy",
    "cv2",
    "PIL",
)
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
POINTS: dict[str, dict[str, str]] = PYPROJECT["project"]["entry-points"]


def test_no_arrow_points_upward() -> None:
    done = subprocess.run([Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def modules_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", code + "\nimport sys; print(*{m.split('.')[0] for m in sys.modules})"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("code", ["import dataengine.cli", "import dataengine.plugins"])
def test_the_command_line_starts_without_heavy_imports(code: str) -> None:
    assert not set(HEAVY) & modules_after(code)


def test_reading_and_writing_a_dataset_needs_numpy_pyarrow_and_av_alone(tmp_path: Path) -> None:
    """Every other third-party package is made unimportable; an episode with a camera goes in and out."""
    code = f"""
import importlib.abc, sys
ALLOWED = {{"numpy", "pyarrow", "av", "dataengine", "yaml"}}
class Wall(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top in {(*HEAVY, "datasets", "rich", "typer", "yaml", "safetensors", "tokenizers")!r}:
            raise ImportError(f"{{name}} must not be needed")
sys.meta_path.insert(0, Wall())
import numpy as np
from dataengine.episode import ArrayClip, Episode, Feature, Meta
from dataengine.store import FrameReader, Store
features = {{
    "action": Feature("float32", (2,), ("x", "y"), "action"),
    "observation.images.front": Feature("video", (32, 48, 3), ("height", "width", "channels"), "image"),
}}
pictures = np.random.default_rng(0).integers(0, 255, (5, 32, 48, 3), dtype=np.uint8)
episode = Episode("e1", 10.0, features, {{"action": np.ones((5, 2), np.float32)}},
                  {{"observation.images.front": ArrayClip(pictures, 10.0)}}, meta=Meta(tasks=("go",)))
store = Store.create({str(tmp_path / "store")!r}, fps=10.0, features=features)
with store.writer() as writer:
    writer.append(episode)
reader = FrameReader(Store.open({str(tmp_path / "store")!r}))
assert reader[4]["observation.images.front"].shape == (32, 48, 3)
print("read")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and "read" in done.stdout, done.stderr[-2000:]


def test_reading_imports_no_pandas_where_that_is_installed(tmp_path: Path) -> None:
    """It takes longer than everything else before the first row, and several calls of pyarrow import it."""
    store = store_of(tmp_path / "store", [4, 3])
    names = modules_after(f"""
from dataengine.store import FrameReader, Store
store = Store.open({str(store.root)!r})
assert FrameReader(store)[5]["observation.state"].shape and store[1].length == 3
""")
    assert "pyarrow" in names and "pandas" not in names


@pytest.mark.parametrize("kind", sorted(POINTS))
def test_every_declared_part_can_be_loaded(kind: str) -> None:
    installed = {point.name: point for point in entry_points(group=kind)}
    for name, value in POINTS[kind].items():
        assert installed[name].value == value, (
            "run make setup: the installed entry points are older than pyproject.toml"
        )
        installed[name].load()


def test_no_address_of_a_registry_and_no_path_of_a_machine_is_committed() -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    hosts = re.compile("py" + r"pi\.org|python" + r"hosted|npm" + r"js\.|(?<![\w.>])/(?:root|work|home/user)/")
    for name in files:
        path = ROOT / name
        if path.suffix in (".py", ".md", ".toml", ".yaml", ".txt", "") and path.is_file():
            assert not hosts.search(path.read_text("utf-8", "replace")), name
