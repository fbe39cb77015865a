"""The kept traces are what the page sends today; what the session makes of them is tested beside the session."""

from __future__ import annotations

import itertools
import json
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Page, browser

from collectors.teleop.messages import Source

HERE = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Callable[[], Page]]:
    with browser() as new:
        yield new


SLOWLY = [pytest.param(source, marks=pytest.mark.slow) for source in ("pointer", "gamepad", "phone")]


@pytest.mark.parametrize("source", ["keyboard", "touch", *SLOWLY])
def test_traces_are_what_the_page_sends_today(chromium: Callable[[], Page], source: Source) -> None:
    record = runpy.run_path(str(HERE / "record_traces.py"))["record"]

    def shape(lines: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
        """Which keys were down at all, and which buttons together: how keys overlap is a matter of milliseconds."""
        pressed = {tuple(value > 0.3 for value in line.get("buttons", ())) for line in lines}
        return {(key,) for line in lines for key in line.get("keys", ())} | pressed

    kept = [json.loads(line) for line in (HERE / "traces" / f"{source}.jsonl").read_text().splitlines()][1:]
    now = record(source, chromium)
    assert shape(now) == shape(kept)
    if source in ("pointer", "touch", "phone"):
        assert now[-1]["axes"] == pytest.approx(kept[-1]["axes"], abs=0.03)
    for one, other in itertools.pairwise(kept):  # while anything is held, at least every 100 ms
        held = [value for n, value in enumerate(one.get("buttons", ())) if (source, n) != ("phone", 1)]
        assert not any((*held, *one.get("keys", ()))) or other["time"] - one["time"] < 0.1
