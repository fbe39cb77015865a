"""JSON and text from strangers: bounded, finite, and errors that name the line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from dataengine.errors import SourceError, UnsafeSource
from dataengine.guard import (
    read_json,
    read_jsonl,
    read_yaml,
)


def test_json_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"a": 1,\n "b": }')
    with pytest.raises(SourceError, match="line 2, column 7"):
        read_json(path)
    lines = tmp_path / "x.jsonl"
    lines.write_text('{"a": 1}\n\n{"a": NaN}\n')
    with pytest.raises(SourceError, match="line 3"):
        read_jsonl(lines)
    assert np.isnan(read_jsonl(lines, allow_nan=True)[1]["a"])


@pytest.mark.parametrize("text", ["NaN", "[1e999]", "[Infinity]", "[" * 100_000, "1" * 5000, "", "\x00"])
def test_json_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(SourceError):
        read_json(path)


def test_text_is_bounded_and_utf8(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b'"' + b"a" * 2000 + b'"')
    assert len(read_json(path)) == 2000
    for read in (read_json, read_yaml, read_jsonl):
        with pytest.raises(UnsafeSource, match="larger"):
            read(path, limit=1000)
    path.write_bytes(b"a: 1\nb: \xff")
    with pytest.raises(SourceError, match="line 2"):
        read_yaml(path)
    with pytest.raises(SourceError):
        read_yaml(tmp_path)


def test_half_a_surrogate_pair_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(r'{"a\uD800": ["b\udc00c", "\ud83d\ude00", {"d": 1}]}')
    found = read_json(path)
    assert found == {"a\ufffd": ["b\ufffdc", "\U0001f600", {"d": 1}]}
    json.dumps(found, ensure_ascii=False).encode()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.json")
    with pytest.raises(SourceError, match="pipe"):
        read_json(tmp_path / "x.json")


def test_json_round_trip(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("\ufeff" + json.dumps({"a": [1, 2.5, None]}))
    assert read_json(tmp_path / "x.json") == {"a": [1, 2.5, None]}
