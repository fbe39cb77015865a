"""The kept traces are what the page sends today; what the session makes of them is tested beside the session."""

from __future__ import annotations

import itertools
import json
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser import Page, browser

from collectors.teleop.messages import Source

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def chromium() -> Iterator[Callable[[], Page]]:
    with browser() as new:
        yield new


@pytest.mark.parametrize("source", ["keyboard", "pointer", "touch", "gamepad", "phone"])
def test_traces_are_what_the_page_sends_today(chromium: Callable[[], Page], source: Source) -> None:
    record = runpy.run_path(str(HERE / "record_traces.py"))["record"]

    def shape(lines: list[dict[str, object]]) -> set[tuple[object, ...]]:
        buttons = [line.get("buttons", []) for line in lines]
        pressed = {tuple(value > 0.3 for value in each) for each in buttons}  # type: ignore[attr-defined]
        return {tuple(line.get("keys", ())) for line in lines} | pressed  # type: ignore[arg-type]

    kept = [json.loads(line) for line in (HERE / "traces" / f"{source}.jsonl").read_text().splitlines()][1:]
    now = record(source, chromium)
    assert shape(now) == shape(kept)
    if source in ("pointer", "touch", "phone"):
        assert now[-1]["axes"] == pytest.approx(kept[-1]["axes"], abs=0.03)
    gaps = [b["time"] - a["time"] for a, b in itertools.pairwise(kept) if any(a.get("buttons", a.get("keys", ())))]
    assert max(gaps) < 0.1
