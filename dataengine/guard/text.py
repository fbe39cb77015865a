"""JSON, JSON lines and YAML from strangers: bounded, without code, and errors that name the line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NoReturn

import yaml

from dataengine.errors import SourceError, UnsafeSource

MIB = 1 << 20

# A document may repeat itself by aliases, but not grow to this many nodes by doing so (a "billion laughs" has 1e9).
MAX_YAML_NODES = 200_000


def read_json(path: str | Path, limit: int = 64 * MIB, *, allow_nan: bool = False) -> Any:
    """A JSON file of at most `limit` bytes. NaN and Infinity (also as 1e999) only where `allow_nan`.

    Raises `SourceError` naming line and column, `UnsafeSource` when it is too large or too deep.
    """
    return parse_json(_read(path, limit), path, allow_nan=allow_nan)


def read_jsonl(path: str | Path, limit: int = 1024 * MIB, *, allow_nan: bool = False) -> list[Any]:
    """A JSON value from every line that is not blank. Raises as `read_json`."""
    lines = _read(path, limit).split("\n")
    return [parse_json(line, path, line=n, allow_nan=allow_nan) for n, line in enumerate(lines, 1) if line.strip()]


def read_yaml(path: str | Path, limit: int = 4 * MIB) -> Any:
    """A YAML file of plain values: no tags, no keys given twice, no aliases that explode. Raises as `read_json`."""
    return parse_yaml(_read(path, limit), path)


def parse_json(text: str, path: str | Path, *, line: int = 1, allow_nan: bool = False) -> Any:
    """`read_json` for text that is already here; `path` and `line` say where it came from."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not a JSON number")

    def finite(number: str) -> float:
        value = float(number)
        return value if math.isfinite(value) else refuse(number)

    hooks: dict[str, Any] = {} if allow_nan else {"parse_constant": refuse, "parse_float": finite}
    try:
        return json.loads(text, **hooks)
    except json.JSONDecodeError as error:
        place = f"line {line + error.lineno - 1}, column {error.colno}"
        raise SourceError(path, f"{place}: not valid JSON: {error.msg}") from error
    except RecursionError as error:
        raise UnsafeSource(path, f"line {line}: JSON nested too deeply") from error
    except ValueError as error:
        raise SourceError(path, f"line {line} or below: not valid JSON: {error}") from error


def parse_yaml(text: str, path: str | Path) -> Any:
    """`read_yaml` for text that is already here."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        _check_nodes(root, path)
        return loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise SourceError(path, f"{place}not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise SourceError(path, f"not valid YAML: {error}") from error
    except RecursionError as error:
        raise UnsafeSource(path, "YAML nested too deeply") from error
    finally:
        loader.dispose()


def _check_nodes(root: yaml.Node, path: str | Path) -> None:
    """Count every node as often as aliases repeat it; refuse cycles, explosions and doubled keys."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node) -> int:
        if isinstance(node, yaml.ScalarNode):
            return 1
        if (known := sizes.get(id(node))) is not None:
            return known
        if id(node) in open_nodes:
            raise UnsafeSource(path, f"line {node.start_mark.line + 1}: a YAML alias that contains itself")
        open_nodes.add(id(node))
        if isinstance(node, yaml.MappingNode):
            _check_keys(node, path)
            total = 1 + sum(size(key) + size(value) for key, value in node.value)
        else:
            total = 1 + sum(size(item) for item in node.value)
        open_nodes.discard(id(node))
        if total > MAX_YAML_NODES:
            raise UnsafeSource(path, f"line {node.start_mark.line + 1}: YAML that expands to more than {total} values")
        sizes[id(node)] = total
        return total

    size(root)


def _check_keys(node: yaml.MappingNode, path: str | Path) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value != "<<":
            if key.value in seen:
                raise SourceError(path, f"line {key.start_mark.line + 1}: the key {key.value!r} is given twice")
            seen.add(key.value)


def _read(path: str | Path, limit: int) -> str:
    try:
        with Path(path).open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise SourceError(path, error.strerror or str(error)) from error
    if len(data) > limit:
        raise UnsafeSource(path, f"is larger than {limit / MIB:g} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise SourceError(path, f"line {line}: not UTF-8 text (byte {error.start})") from error
