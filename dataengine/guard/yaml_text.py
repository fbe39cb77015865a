"""YAML from strangers: aliases are counted as often as they repeat, cycles and doubled keys are refused.

Apart from `text.py`, so that reading a dataset does not need the yaml package.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from dataengine.errors import SourceError, UnsafeSource

# A document may repeat itself by aliases, but not grow to this many nodes by doing so (a "billion laughs" has 1e9).
MAX_YAML_NODES = 200_000


def parse(text: str, path: str | Path) -> Any:
    """The value of one document; `SourceError` with line and column, `UnsafeSource` for what explodes."""
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
