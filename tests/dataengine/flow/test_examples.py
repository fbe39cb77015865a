"""The example flows are read, and every part and parameter in them exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from video_foreign import moving, write_video

from dataengine.episode import Episode
from dataengine.flow import plan_flow
from dataengine.flow.spec import names_in, parse_flow
from dataengine.guard import parse_yaml, read_yaml
from dataengine.plugins import Drop, Stage

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_can_be_planned(path: Path, toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = read_yaml(path)
    needed = [name for name, value in raw.get("params", {}).items() if value is None]
    sources = [name for name in needed if f"${{{name}}}" in str(raw["source"]) and "mapping" not in name]
    given = {name: str(toy(2, name=f"{name}.json")) for name in sources} | {"out": str(tmp_path / "out")}
    if isinstance(raw["source"], dict) and raw["source"].get("format") == "ego":
        model, films = tmp_path / "hand_landmarker.task", tmp_path / "films"
        model.write_bytes(b"PK\5\6" + bytes(18))  # an empty archive: planning looks at no more
        monkeypatch.setenv("DATAENGINE_HAND_MODEL", str(model))
        films.mkdir()
        for number in range(2):
            write_video(films, moving(10, seed=number), name=f"{number}.mp4")
        given["source"] = str(films)
    plan = plan_flow(path, given)
    assert plan.episodes == 2 * len(sources) and plan.stages is not None
    assert set(needed) <= set(names_in({k: v for k, v in raw.items() if k != "params"})), "a parameter nobody uses"
    assert f"dataengine run examples/{path.name}" in path.read_text(), "the file says how it is run"


def test_the_page_on_flows_is_true(toy) -> None:
    page = (Path(__file__).parents[3] / "docs" / "flows.md").read_text("utf-8")
    flow, stage = (re.search(rf"```{kind}\n(.*?)```", page, re.DOTALL).group(1) for kind in ("yaml", "python"))  # type: ignore[union-attr]
    read = parse_flow(parse_yaml(flow, "docs/flows.md"), {"source": "x"}, "docs/flows.md")
    assert [s.name for s in read.stages] == ["quality", "motion_language"] and read.codec == {"crf": 23}
    names = {"dataclass": dataclass, "Iterator": Iterator, "Episode": Episode, "Drop": Drop}
    exec(compile(stage, "docs/flows.md", "exec"), names)
    from flow_parts import ToyConverter

    shorten = names["Shorten"](seconds=1.0)
    assert isinstance(shorten, Stage)
    source = toy([{"name": "long", "length": 20}, {"name": "short", "length": 4}])
    plan = ToyConverter().plan(source)
    kept, dropped = shorten.run(ToyConverter().read(plan, ref) for ref in plan.episodes)
    assert kept.length == 10 and dropped.reason == "too short"


def test_there_is_the_one_committed_flow() -> None:
    raw = read_yaml(next(path for path in EXAMPLES if path.stem == "curate"))
    assert raw["stages"] == ["quality", "motion_language"]
    assert [next(iter(j)) if isinstance(j, dict) else j for j in raw["then"]] == [
        "fast_tokenizer",
        "publish",
        "reload",
        "train_lerobot",
    ]
