"""The report: everything escaped, nothing loaded, the right figures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
from page_read import HOSTILE, Reader

from dataengine.episode import Label
from dataengine.flow.report import charts
from dataengine.flow.report.samples import _track
from dataengine.flow.report.write import view


def test_hostile_text_stays_text_and_nothing_is_loaded(toy, go, tmp_path: Path) -> None:
    episodes = [
        {"name": f"a{HOSTILE}", "length": 24, "task": HOSTILE},
        {"name": "short", "length": 3, "task": HOSTILE},
        {"name": "bad", "length": 9, "problem": HOSTILE},
    ]
    stages = [{"toy_filter": {"at_least": 5}}, {"toy_label": {"word": HOSTILE}}, {"toy_note": {"text": HOSTILE}}]
    result = go(toy(episodes, camera=True, licence=HOSTILE), stages, then=[{"toy_job": {"text": HOSTILE}}])
    page = Path(result.report or "").read_text("utf-8")
    seen = Reader(page)
    assert set(seen.tags).isdisjoint({"script", "iframe", "object", "embed", "form", "link", "base"})
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    assert all(value.startswith("data:image/") for name, value in seen.attributes if name in ("src", "href", "action"))
    assert seen.text.count("alert('x')") >= 5 and seen.text.count("{{ 7*7 }}") == seen.text.count("alert('x')")
    assert "@import" not in page and "url(" not in page
    assert "default-src 'none'" in page


def test_the_page_tells_what_happened(toy, go) -> None:
    episodes = [{"name": f"e{n}", "length": 20} for n in range(3)] + [{"name": "short", "length": 2}]
    result = go(toy(episodes, camera=True), ["toy_filter", "toy_label"], then=[{"toy_job": {"fail": True}}])
    text = " ".join(Reader(Path(result.report or "").read_text("utf-8")).text.split())
    assert "3 episodes with 60 frames (6.0 s) are in the store; 1 was dropped by a rule." in text
    assert "shorter than 5 frames" in text and "toy.json:short" in text
    assert "Assumed task = 'move': the file names none" in text and "Not used: temperature" in text
    assert "<b>the job</b> broke" in text
    assert "reach" in text and "$0.75" in text
    assert len(re.findall(r'src="data:image/jpeg', Path(result.report or "").read_text("utf-8"))) == 3


def test_a_damaged_store_is_reported_and_not_fatal(toy, go, tmp_path: Path) -> None:
    go(toy(2))
    (tmp_path / "out" / "meta" / "stats.json").write_text("{")
    from dataengine.flow.folder import FlowFolder
    from dataengine.flow.report import write_report

    record = json.loads(next((tmp_path / "out.flow" / "work" / "runs").iterdir()).read_text())
    page = write_report(record, FlowFolder(tmp_path / "out")).read_text("utf-8")
    assert "What came out" in page


def test_a_jobs_report_is_shown_by_its_shape(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "job").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "job" / "a.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    kinds = {
        "picture": "a.png",
        "text": "../secret.png",
        "curve": list(range(20)),
        "table": [{"a": 1}, {"a": 2, "b": None}],
        "list": ["x", "y"],
        "pairs": {"k": 1.5},
    }
    for kind, value in kinds.items():
        assert view(value, tmp_path / "job")["kind"] == kind
    assert view(str(tmp_path / "job" / "a.png"), tmp_path / "job")["kind"] == "picture"
    assert view(float("nan"), tmp_path)["text"] == "nan"


def test_drawings_hold_numbers_and_escaped_words() -> None:
    stage = {"name": "<b>", "into": 10, "out": 7, "dropped": 2, "quarantined": 1}
    drawn = charts.river([stage, {**stage, "into": 7, "dropped": 0, "quarantined": 0}], 7)
    assert "<b>" not in drawn and "&lt;b&gt;" in drawn and "2 dropped" in drawn and "1 quarantined" in drawn
    assert "NaN" not in charts.river([{**stage, "into": 0, "out": 0, "dropped": 0, "quarantined": 0}], 0)
    flat = charts.lines(np.zeros((5, 2)), np.zeros(2), np.zeros(2))
    assert flat.count("<polyline") == 2 and "nan" not in flat
    assert charts.histogram([], "s") == ""
    assert charts.histogram([3.0, 3.0], "s").count("<rect") == 1


def test_what_cannot_be_seen_is_written_out_and_long_text_is_cut(toy, go) -> None:
    task = "put \u202eelbat\u202c it\x1b[31m down\x00 \u200bhere " + "a" * 5000
    result = go(toy([{"name": "a", "length": 6, "task": task}]))
    page = Path(result.report or "").read_text("utf-8")
    assert "\\u202eelbat\\u202c it\\u001b[31m down\\u0000 \\u200bhere" in page
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u200b]", page)
    assert "a" * 500 not in page


def test_lists_along_names_are_a_table_of_elements(tmp_path: Path) -> None:
    errors = {"policy": [0.1, 0.2], "mean_action": [0.3, 0.4]}
    report = {"names": ["x", "y"], "units": ["m", None], "errors": errors, "score": {"policy": 0.5}, "frames": 7}
    shown = view({"held_out": report}, tmp_path)["items"][0][1]
    assert [name for name, _ in shown["items"]] == ["score", "frames", "each"]
    table = shown["items"][-1][1]
    assert table["head"] == ["names", "units", "policy", "mean_action"]
    assert [[cell["text"] for cell in row] for row in table["rows"]] == [
        ["x", "m", "0.1", "0.3"],
        ["y", "–", "0.2", "0.4"],
    ]
    other = {"names": ["x", "y"], "losses": [3.0, 2.0, 1.0]}
    assert [name for name, _ in view(other, tmp_path)["items"]] == ["names", "losses"]


def test_what_is_said_of_the_whole_episode_hides_no_place() -> None:
    rows = [(0, 50, f"not assessed {n}") for n in range(8)] + [(30, 35, "jump")] * 7
    table = pa.table({"start": [r[0] for r in rows], "stop": [r[1] for r in rows], "check": [r[2] for r in rows]})
    track = _track("quality", Label("span", table), 50)
    assert track is not None and len(track.whole) == 8
    assert {text for *_, text, _ in track.pieces} == {"jump"} and (track.lanes, track.more) == (5, 2)
