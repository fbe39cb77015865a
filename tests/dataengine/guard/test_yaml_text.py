"""YAML from strangers: no tags, no explosions, no keys twice."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dataengine.errors import SourceError
from dataengine.guard import (
    read_yaml,
)


def test_yaml(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("base: &b {x: 1}\nmore: {<<: *b, y: [1, 2.5, yes]}\n")
    assert read_yaml(path) == {"base": {"x": 1}, "more": {"x": 1, "y": [1, 2.5, True]}}
    path.write_text("")
    assert read_yaml(path) is None


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system [id]",
        "a: &x [*x]",
        "a: 1\na: 2",
        "a: [1, 2",
        "[" * 20_000,
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(
            f"{c}: &{c} [{','.join('*' + p for _ in range(9))}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
        ),
    ],
    ids=["object", "cycle", "twice", "torn", "deep", "laughs"],
)
def test_yaml_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    started = time.monotonic()
    with pytest.raises(SourceError):
        read_yaml(path)
    assert time.monotonic() - started < 5
