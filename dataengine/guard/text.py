"""JSON, JSON lines and YAML from strangers: bounded, without code, and errors that name the line."""

from __future__ import annotations

import json
import math
import stat
from pathlib import Path
from typing import Any, NoReturn

from dataengine.errors import SourceError, UnsafeSource

MIB = 1 << 20


def read_json(path: str | Path, limit: int = 64 * MIB, *, allow_nan: bool = False) -> Any:
    """A JSON file of at most `limit` bytes. NaN and Infinity (also as 1e999) only where `allow_nan`.

    Raises `SourceError` naming line and column, `UnsafeSource` when it is too large or too deep.
    """
    return parse_json(read_text(path, limit), path, allow_nan=allow_nan)


def read_jsonl(path: str | Path, limit: int = 1024 * MIB, *, allow_nan: bool = False) -> list[Any]:
    """A JSON value from every line that is not blank. Raises as `read_json`."""
    lines = read_text(path, limit).split("\n")
    return [parse_json(line, path, line=n, allow_nan=allow_nan) for n, line in enumerate(lines, 1) if line.strip()]


def read_yaml(path: str | Path, limit: int = 4 * MIB) -> Any:
    """A YAML file of plain values: no tags, no keys given twice, no aliases that explode. Raises as `read_json`."""
    return parse_yaml(read_text(path, limit), path)


def parse_json(text: str, path: str | Path, *, line: int = 1, allow_nan: bool = False) -> Any:
    """`read_json` for text that is already here; `path` and `line` say where it came from."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not a JSON number")

    def finite(number: str) -> float:
        value = float(number)
        return value if math.isfinite(value) else refuse(number)

    hooks: dict[str, Any] = {} if allow_nan else {"parse_constant": refuse, "parse_float": finite}
    try:
        value = json.loads(text, **hooks)
        return _whole(value) if "\\ud" in text.lower() else value
    except json.JSONDecodeError as error:
        place = f"line {line + error.lineno - 1}, column {error.colno}"
        raise SourceError(path, f"{place}: not valid JSON: {error.msg}") from error
    except RecursionError as error:
        raise UnsafeSource(path, f"line {line}: JSON nested too deeply") from error
    except ValueError as error:
        raise SourceError(path, f"line {line} or below: not valid JSON: {error}") from error


def parse_yaml(text: str, path: str | Path) -> Any:
    """`read_yaml` for text that is already here."""
    from dataengine.guard.yaml_text import parse

    return parse(text, path)


def whole_text(text: str) -> str:
    """`text` with what UTF-8 cannot hold (halves of surrogate pairs) replaced by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _whole(value: Any) -> Any:
    """A JSON value with whole texts: `\\ud800` alone is valid JSON, and no file or terminal takes it."""
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, list):
        return [_whole(v) for v in value]
    return {_whole(k): _whole(v) for k, v in value.items()} if isinstance(value, dict) else value


def read_text(path: str | Path, limit: int = 4 * MIB) -> str:
    try:
        status = Path(path).stat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):  # a pipe would be waited for
            raise SourceError(path, "is no file but a pipe, socket or device")
        with Path(path).open("rb") as file:
            data = file.read(min(limit, status.st_size) + 1)  # the buffer is taken at once: no larger than the file
    except OSError as error:
        raise SourceError(path, error.strerror or str(error)) from error
    if len(data) > limit:
        raise UnsafeSource(path, f"is larger than {limit / MIB:g} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise SourceError(path, f"line {line}: not UTF-8 text (byte {error.start})") from error
