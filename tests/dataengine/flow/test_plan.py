"""What is known to be wrong before the first episode: where a store may lie, and a folder that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataengine.errors import ConfigError
from dataengine.flow import convert, status
from dataengine.flow.convert import plan_conversion


def test_a_store_may_not_lie_around_its_source(toy, go, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "in")
    for out in ("in", "link"):
        with pytest.raises(ConfigError, match="holds the source"):
            go(toy(1), out=out)
    assert [p.name for p in (tmp_path / "in").iterdir()] == ["toy.json"]


def test_a_store_may_not_lie_inside_its_source(toy, go, tmp_path: Path) -> None:
    go(toy(1))
    (tmp_path / "link").symlink_to(tmp_path / "out")
    for source, out in (("out", "out/sub"), ("link", "out/sub"), ("out", "link/sub")):
        with pytest.raises(ConfigError, match="inside the source"):
            plan_conversion(tmp_path / source, tmp_path / out)


def test_a_folder_with_something_else_in_it_is_left_alone(toy, go, tmp_path: Path, read_names) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "diary.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty and no store"):
        go(toy(2))
    assert read_names() == [] and not (tmp_path / "out.flow").exists()
    (tmp_path / "out" / "diary.txt").unlink()
    assert go(toy(2)).kept == 2


@pytest.mark.parametrize("text", ["[1]", "{}", '{"run": "a", "name": "b", "state": "asleep"}', "null!"])
def test_a_damaged_status_is_said(toy, go, tmp_path: Path, text: str) -> None:
    go(toy(1))
    (tmp_path / "out.flow" / "work" / "status.json").write_text(text)
    with pytest.raises(ConfigError, match=r"is damaged|no flow has run"):
        status(tmp_path / "out")


def test_another_codec_makes_other_episodes(toy, tmp_path: Path) -> None:
    source, options = toy(1, camera=True), {"scheduler": "inprocess", "progress": False}
    convert(source, tmp_path / "out", codec={"crf": 20}, **options)
    with pytest.raises(ConfigError, match="makes it differently"):
        convert(source, tmp_path / "out", codec={"crf": 40}, **options)


def test_a_quarantined_episode_is_tried_anew_when_the_flow_changes(toy, go, tmp_path: Path) -> None:
    source, bad = toy(2), tmp_path / "in" / "bad-e1"
    bad.touch()
    assert go(source, ["toy_scale"]).quarantined == 1
    bad.unlink()
    assert go(source, ["toy_scale"]).quarantined == 1, "the same work is not tried again unasked"
    assert go(source, ["toy_scale", "toy_label"]).quarantined == 0
