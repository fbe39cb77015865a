"""Which installed converter reads a path, judged by its content."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dataengine import plugins
from dataengine.errors import MissingDependency, SourceError
from dataengine.source import Plan


def find_converter(path: Path, name: str | None = None) -> Any:
    """The one converter that recognises `path` by its content, or the one of that name."""
    if not path.exists():
        raise SourceError(path, "there is no such file or folder")
    if not (path.is_file() or path.is_dir()):  # a pipe would be waited for, a device has no end
        raise SourceError(path, "is a pipe, socket or device; a file or a folder is read")
    if path.is_file() and path.stat().st_size == 0:
        raise SourceError(path, "the file is empty (0 bytes)")
    if name is not None:
        return plugins.make("converters", name)
    converters, missing = {}, []
    for each in plugins.parts("converters"):
        try:
            converters[each] = plugins.make("converters", each)
        except (ImportError, MissingDependency) as error:
            missing.append(f"{each} ({error})")
    found = [converter for converter in converters.values() if converter.sniff(path)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(converter.name for converter in found)
        hint = "convert its parts one at a time, or say which with `format`"
        raise SourceError(path, f"holds several formats ({names})", hint=hint)
    for converter in converters.values():
        if hasattr(converter, "refusal") and (refused := converter.refusal(path)) is not None:
            raise refused
    supported = [f"{each} ({getattr(converter, 'reads', 'its files')})" for each, converter in converters.items()]
    hint = f"supported: {'; '.join(supported) or 'nothing is installed'}"
    if missing:
        hint += f"; not usable here: {'; '.join(missing)}"
    raise SourceError(path, "is in no format that can be read", hint=hint)


def plan_with(converter: Any, path: Path, mapping: Mapping[str, Any] | None = None, *, hashed: bool = True) -> Plan:
    """The converter's plan. hashed: False reads no file to its end, where the converter knows how to."""
    cheap = {} if hashed or "hashed" not in inspect.signature(converter.plan).parameters else {"hashed": False}
    return converter.plan(path, mapping, **cheap)
