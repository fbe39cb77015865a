"""A toy format and toy stages, installed as a third party would install its own, for driver and workers alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dataengine.flow import FlowResult, run_flow

PARTS = Path(__file__).parent / "parts"


@pytest.fixture(scope="module", autouse=True)
def parts_installed() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PARTS))
        yield


@pytest.fixture
def toy(tmp_path: Path) -> Callable[..., Path]:
    """Write a toy source: `toy(5, camera=True, long=3)` has five episodes of twenty frames, the last of three."""

    def make(episodes: int | list[dict[str, Any]] = 4, name: str = "toy.json", **more: Any) -> Path:
        if isinstance(episodes, int):
            episodes = [{"name": f"e{n}", "length": 20 + n} for n in range(episodes)]
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps({"toy": 1, "episodes": episodes} | more))
        return folder / name

    return make


@pytest.fixture
def go(tmp_path: Path) -> Callable[..., FlowResult]:
    """Run a flow in this process: `go(source, ["toy_scale"])`."""

    def run(source: Any, stages: Any = (), *, out: str = "out", then: Any = (), **options: Any) -> FlowResult:
        source = str(source) if isinstance(source, Path) else source
        flow = {
            "name": "test",
            "source": source,
            "stages": list(stages),
            "out": str(tmp_path / out),
            "then": list(then),
        }
        return run_flow(flow, **{"scheduler": "inprocess", "progress": False} | options)

    return run


def reads(tmp_path: Path) -> list[str]:
    """Names of the episodes that were read from the toy source, in order, each time."""
    log = tmp_path / "in" / "reads.log"
    return log.read_text().split() if log.exists() else []


@pytest.fixture
def read_names(tmp_path: Path) -> Callable[[], list[str]]:
    return lambda: reads(tmp_path)
