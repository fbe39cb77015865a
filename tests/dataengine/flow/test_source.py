from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dataengine.errors import ConfigError, SourceError
from dataengine.flow.source import find_converter, licence_of, open_sources
from dataengine.flow.spec import source_spec


def names(source, **choice) -> list[str]:
    (planned,) = open_sources([source_spec({"path": str(source), **choice})])
    return [ref.name for ref in planned.refs]


def test_a_format_is_found_by_content(toy, tmp_path: Path) -> None:
    assert find_converter(toy(2)).name == "toy"
    other = tmp_path / "x.json"
    other.write_text("[]")
    with pytest.raises(SourceError, match=r"x\.json.*supported: .*toy"):
        find_converter(other)
    with pytest.raises(SourceError, match="no such file"):
        find_converter(tmp_path / "absent")
    other.write_text("")
    with pytest.raises(SourceError, match="empty"):
        find_converter(other)


def test_episodes_are_chosen_by_name_position_and_range(toy) -> None:
    source = toy(6)
    assert names(source, limit=2) == ["e0", "e1"]
    assert names(source, episodes=["4:", 0, "e2"]) == ["e0", "e2", "e4", "e5"]
    with pytest.raises(ConfigError, match="no episode 'e9'"):
        names(source, episodes=["e9"])
    with pytest.raises(ConfigError, match="position 6; it holds 6"):
        names(source, episodes=[6])


def test_patterns_and_a_limit_over_all_sources(toy) -> None:
    toy(3, name="b.json"), toy(3, name="a.json")
    planned = open_sources([source_spec(str(toy(1, name="z.json").parent / "*.json"))], limit=5)
    assert [(Path(p.plan.path).name, len(p.refs)) for p in planned] == [("a.json", 3), ("b.json", 2)]
    with pytest.raises(SourceError, match="no file matches"):
        open_sources([source_spec("/nowhere/*.json")])


def test_licences_are_merged_or_refused_and_never_invented(toy) -> None:
    def of(*licences):
        return licence_of(
            open_sources([source_spec(str(toy(1, f"{n}.json", licence=x))) for n, x in enumerate(licences)])
        )

    assert of("MIT", "MIT") == "MIT"
    assert of("MIT", "Apache-2.0") == "Apache-2.0 AND MIT"
    assert of(None, None) is None
    with pytest.raises(ConfigError, match=r"1\.json: says none"):
        of("MIT", None)
    with pytest.raises(ConfigError, match="non-commercial"):
        of("MIT", "CC-BY-NC-4.0")


def test_what_an_episode_as_read_depends_on(toy) -> None:
    (source,) = open_sources([source_spec(str(toy(2)))])
    first, second = source.refs
    key = source.key(first)
    plan = source.plan
    others = (
        replace(source, version="2"),
        replace(source, plan=replace(plan, format="other")),
        replace(source, plan=replace(plan, fps=plan.fps + 1)),
        replace(source, plan=replace(plan, mapping={"fps": 3})),
        replace(source, plan=replace(plan, sha256="0" * 64)),
    )
    assert len({key, source.key(second), *(other.key(first) for other in others)}) == 7
    assert replace(source, plan=replace(plan, path="/elsewhere")).key(first) == key
    # A folder grew: the file of this episode is what it was.
    known = replace(first, extra={"sha256": "f" * 64, "place": 0})
    assert source.key(known) == others[-1].key(known) != key
