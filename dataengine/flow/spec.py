"""What a flow file says: sources, stages, the store to write, and the jobs to run on it.

name: curate
params: {source: ~, out: out/curated}          # defaults; `--set name=value` replaces them
source: ${source}                              # a path, {path, format, mapping, limit, episodes}, or a list
stages: [quality, {motion_language: {}}]       # stages or annotators by name
out: ${out}
then: [{publish: {repo: me/${name}}}]          # jobs on the finished store, in order
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import yaml

from dataengine.errors import ConfigError

KEYS = ("name", "params", "source", "stages", "out", "then", "codec", "timeout")
# Nothing sensible takes a worker this long for one episode.
TIMEOUT = 3600.0
SOURCE_KEYS = ("path", "format", "mapping", "limit", "episodes")
_PARAM = re.compile(r"\$\$\{|\$\{([^{}]*)\}")


@dataclass(frozen=True)
class SourceSpec:
    """Where episodes come from. format: a converter's name, else found by content.

    mapping: a YAML file's path or its content. limit: the first N episodes. episodes: names, positions or
    `"start:stop"` ranges of positions.
    """

    path: str
    format: str | None = None
    mapping: Mapping[str, Any] | str | None = None
    limit: int | None = None
    episodes: tuple[str | int, ...] | None = None


@dataclass(frozen=True)
class PartSpec:
    """A stage or job by name, with its parameters as written."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FlowSpec:
    """A whole flow, parameters filled in, all paths absolute.

    codec: fields of the store's video codec. timeout: [s] after which an episode is given up; None: never.
    """

    name: str
    sources: tuple[SourceSpec, ...]
    out: Path
    stages: tuple[PartSpec, ...] = ()
    then: tuple[PartSpec, ...] = ()
    codec: Mapping[str, Any] = field(default_factory=dict)
    timeout: float | None = TIMEOUT


def load_flow(flow: str | Path | Mapping[str, Any] | FlowSpec, params: Mapping[str, Any] | None = None) -> FlowSpec:
    """A flow file (or its content) with `${param}` filled in; `ConfigError` names what it cannot use."""
    if isinstance(flow, FlowSpec):
        if params:
            raise ConfigError(f"a finished FlowSpec takes no parameters, got {', '.join(params)}")
        return flow
    if isinstance(flow, Mapping):
        return parse_flow(flow, params, where="flow")
    from dataengine.guard import read_yaml

    path = Path(flow)
    if not path.is_file():
        raise ConfigError(f"there is no flow file {path}")
    return parse_flow(read_yaml(path), params, where=str(path))


def parse_flow(raw: Any, params: Mapping[str, Any] | None, where: str) -> FlowSpec:
    """Validate the content of a flow file. `where` begins every message."""
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{where}: a flow is a mapping with the keys {', '.join(KEYS)}")
    _known(raw, KEYS, where)
    written, raw = raw, fill(raw, _parameters(raw, params or {}, where), where)
    for key in ("source", "out"):
        if not raw.get(key):
            wanted = " ".join(f"--set {name}=…" for name in sorted(set(names_in(written.get(key)))))
            hint = f"; give it with {wanted}" if wanted else ""
            raise ConfigError(f"{where}: {key!r} is missing{hint}")
    if not isinstance(raw["out"], str | Path):
        raise ConfigError(f"{where}: 'out' is the path of one store, not {raw['out']!r}")
    out = Path(os.path.abspath(Path(raw["out"]).expanduser()))  # noqa: PTH100 - resolve() would follow a version link
    name = raw.get("name") or out.name
    if not isinstance(name, str):
        raise ConfigError(f"{where}: 'name' is text, not {name!r}")
    codec = raw.get("codec") or {}
    if not isinstance(codec, Mapping):
        raise ConfigError(f"{where}: 'codec' is a mapping of codec fields, not {codec!r}")
    return FlowSpec(
        name=name,
        sources=tuple(source_spec(s, f"{where}: source") for s in _listed(raw["source"])),
        out=out,
        stages=tuple(_part(p, f"{where}: stages") for p in _listed(raw.get("stages"))),
        then=tuple(_part(p, f"{where}: then") for p in _listed(raw.get("then"))),
        codec=dict(codec),
        timeout=_timeout(raw.get("timeout", TIMEOUT), where),
    )


def _timeout(raw: Any, where: str) -> float | None:
    if raw is None:
        return None
    if not isinstance(raw, int | float) or isinstance(raw, bool) or not 0 < raw < float("inf"):
        raise ConfigError(f"{where}: 'timeout' is seconds for one episode (null: no limit), not {raw!r}")
    return float(raw)


def source_spec(raw: Any, where: str = "source") -> SourceSpec:
    """One entry under `source`: a path, or a mapping with a path in it."""
    if isinstance(raw, SourceSpec):
        return raw
    if isinstance(raw, str | Path):
        raw = {"path": str(raw)}
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{where}: expected a path or a mapping with {', '.join(SOURCE_KEYS)}, got {raw!r}")
    _known(raw, SOURCE_KEYS, where)
    if not isinstance(raw.get("path"), str | Path) or not str(raw["path"]):
        raise ConfigError(f"{where}: 'path' is missing")
    limit, episodes = raw.get("limit"), raw.get("episodes")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise ConfigError(f"{where}.limit: expected a count of at least 1, got {limit!r}")
    if episodes is not None:
        episodes = tuple(_listed(episodes))
        if bad := [e for e in episodes if not isinstance(e, str | int) or isinstance(e, bool)]:
            raise ConfigError(f"{where}.episodes: expected names, positions or 'start:stop', got {bad[0]!r}")
    mapping = raw.get("mapping")
    if mapping is not None and not isinstance(mapping, str | Path | Mapping):
        raise ConfigError(f"{where}.mapping: expected a file or its content, got {mapping!r}")
    format_ = raw.get("format")
    if format_ is not None and not isinstance(format_, str):
        raise ConfigError(f"{where}.format: expected a converter's name, got {format_!r}")
    return SourceSpec(
        path=str(Path(raw["path"]).expanduser().absolute()),
        format=format_,
        mapping=str(Path(mapping).expanduser().absolute()) if isinstance(mapping, str | Path) else mapping,
        limit=limit,
        episodes=episodes,
    )


def fill(value: Any, params: Mapping[str, Any], where: str) -> Any:
    """Replace `${name}` in all texts of a tree; a text that is nothing else takes the value with its type.

    Values are put into the parsed tree, never into YAML text, so no value can add keys. `$${` is a literal
    `${`. Names of later things (`jobs.<name>`) are left for the moment they exist.
    """
    if isinstance(value, Mapping):
        return {k: v if k == "params" else fill(v, params, where) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [fill(v, params, where) for v in value]
    if isinstance(value, PurePath):
        return fill(str(value), params, where)
    if not isinstance(value, str):
        return value

    def one(match: re.Match[str]) -> Any:
        name = match.group(1)
        if name is None:
            return "${"
        if name.startswith("jobs.") and name not in params:
            return match.group(0)
        if name not in params:
            near = difflib.get_close_matches(name, params, n=1)
            raise ConfigError(
                f"{where}: ${{{name}}} has no value"
                + (f"; did you mean ${{{near[0]}}}?" if near else "")
                + f" Give it with --set {name}=…"
            )
        return params[name]

    whole = _PARAM.fullmatch(value)
    return one(whole) if whole else _PARAM.sub(lambda m: str(one(m)), value)


def _parameters(raw: Mapping[str, Any], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Defaults of the file under what was given; text given on a command line is read as YAML."""
    defaults = raw.get("params") or {}
    if not isinstance(defaults, Mapping):
        raise ConfigError(f"{where}: 'params' is a mapping of names to default values")
    used = set(names_in({k: v for k, v in raw.items() if k != "params"}))
    known = sorted(used | {str(k) for k in defaults} | {"name"})
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ConfigError(
                f"{where}: this flow has no parameter {name!r}"
                + (f"; did you mean {near[0]!r}?" if near else "")
                + f" It has: {', '.join(k for k in known if k != 'name') or 'none'}"
            )
    values = {str(k): v for k, v in defaults.items()} | {k: _typed(v) for k, v in given.items()}
    if isinstance(raw.get("name"), str) and "name" not in values:
        values["name"] = raw["name"]
    return values


def _typed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        read = yaml.safe_load(value)
    except yaml.YAMLError:
        return value
    # Dates and the like would not survive JSON; what a person typed stays text then.
    return read if isinstance(read, bool | int | float | str | list | dict | None) else value


def names_in(value: Any) -> Iterable[str]:
    """Every `${name}` in the texts of a tree."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from names_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from names_in(item)
    elif isinstance(value, str | PurePath):
        value = str(value)
        yield from (m.group(1) for m in _PARAM.finditer(value) if m.group(1))


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _part(raw: Any, where: str) -> PartSpec:
    if isinstance(raw, PartSpec):
        return raw
    if isinstance(raw, str):
        return PartSpec(raw)
    if isinstance(raw, Mapping) and len(raw) == 1:
        ((name, params),) = raw.items()
        if isinstance(name, str) and (params is None or isinstance(params, Mapping)):
            return PartSpec(name, dict(params or {}))
    raise ConfigError(f"{where}: an entry is a name or one 'name: {{parameters}}', got {raw!r}")


def _known(raw: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    for key in raw:
        if key not in keys:
            near = difflib.get_close_matches(str(key), keys, n=1)
            raise ConfigError(
                f"{where}: unknown key {key!r}"
                + (f"; did you mean {near[0]!r}?" if near else "")
                + f" Known: {', '.join(keys)}"
            )
