"""From a run's record and its store to the page."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from dataengine import faces
from dataengine.errors import DataEngineError
from dataengine.flow.estimate import folder_bytes, human_bytes, human_time
from dataengine.flow.folder import FlowFolder
from dataengine.flow.report import charts
from dataengine.flow.report.samples import choose, data_uri, sample

if TYPE_CHECKING:
    from jinja2 import Environment

_PICTURE_LIMIT = 3 << 20
_WORDS = {"seal": "write"}
# Control characters, and marks that reverse the direction of text after them.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_KINDS = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp"}


def write_report(record: Mapping[str, Any], folder: FlowFolder) -> Path:
    """Write `report.html` of a run; gives its path. record: what `run.py` keeps of the run."""
    path = folder.beside / "report.html"
    fresh = path.with_name(".report.html.tmp")
    fresh.write_text(render(record, folder), "utf-8")
    fresh.replace(path)
    return path


def pages(folder: Path = Path(__file__).parent) -> Environment:
    """Templates of a folder, and after them those of this one: all text is escaped, and what hides in it is shown."""
    from jinja2 import Environment, FileSystemLoader

    found = Environment(
        loader=FileSystemLoader([folder, Path(__file__).parent]), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    found.finalize = _seen
    found.filters |= {"bytes": human_bytes, "time": human_time, "number": lambda n: f"{n:,}", "brief": _brief}
    return found


def render(record: Mapping[str, Any], folder: FlowFolder) -> str:
    """The whole page as text."""
    tally = record["tally"]
    return (
        pages()
        .get_template("page.html")
        .render(
            record=record,
            tally=tally,
            plan=record["plan"],
            verdict=_verdict(record),
            river=charts.river(_passages(tally), tally["kept"]),
            times=_times(tally),
            store=_store(folder),
            jobs=[_job(job) for job in record["jobs"]],
        )
    )


def _verdict(record: Mapping[str, Any]) -> str:
    """The run in one sentence."""
    tally = record["tally"]
    words = {"finished": "finished", "cancelled": "was cancelled", "failed": "failed"}
    said = (
        f"{tally['kept']:,} episodes with {tally['frames']:,} frames ({human_time(tally['duration'])}) are in the store"
    )
    lost = []
    if tally["dropped"]:
        lost.append(f"{tally['dropped']:,} {'was' if tally['dropped'] == 1 else 'were'} dropped by a rule")
    if tally["quarantined"]:
        lost.append(f"{tally['quarantined']:,} could not be used")
    said += "; " + " and ".join(lost) if lost else "; nothing was left out"
    if record["state"] != "finished":
        said += f". The run {words.get(record['state'], record['state'])}" + (
            f": {record['error']}" if record["error"] else ""
        )
    return said + "."


def _passages(tally: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The stages for the river: an episode that failed in one had passed all before it."""
    stages = [{**stage, "name": _WORDS.get(stage["name"], stage["name"])} for stage in tally["stages"]]
    elsewhere = tally["quarantined"] - sum(stage["quarantined"] for stage in stages)
    stages[0]["quarantined"] += elsewhere  # known before reading, or found at the commit
    stages[-1]["dropped"] += tally["left"]
    came, failing = tally["done"], tally["quarantined"]
    for stage in stages:
        failing -= stage["quarantined"]
        stage["into"], stage["out"] = came, stage["out"] + failing
        came = stage["out"]
    return stages


def _times(tally: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Time of every stage, and its share of the whole."""
    whole = sum(stage["seconds"] for stage in tally["stages"]) or 1.0
    return [
        {
            **stage,
            "name": _WORDS.get(stage["name"], stage["name"]),
            "share": 100 * stage["seconds"] / whole,
            "each": stage["seconds"] / done if (done := max(stage["into"] - stage["reused"], 0)) else None,
        }
        for stage in tally["stages"]
    ]


def _store(folder: FlowFolder) -> dict[str, Any] | None:
    """What came out, as it lies on the disk; None where nothing did."""
    if not (folder.out / "meta" / "info.json").exists():
        return None
    from dataengine.store import Store

    try:
        store = Store.open(folder.out)
        stats = store.stats()
        lengths = [int(n) / store.fps for n in store.table_of_episodes.length] if len(store) else []
        metas = [store.table_of_episodes.meta(place) for place in range(len(store))]
        return {
            "name": folder.out.name,
            "episodes": len(store),
            "frames": store.frames,
            "fps": store.fps,
            "embodiment": store.embodiment,
            "licence": store.licence,
            "bytes": folder_bytes(folder.out),
            "features": [_feature(key, feature, stats.get(key)) for key, feature in store.features.items()],
            "tasks": Counter(task for meta in metas for task in meta.tasks).most_common(12),
            "more_tasks": max(0, len(store.tasks) - 12),
            "success": Counter("yes" if m.success else "no" for m in metas if m.success is not None),
            "lengths": charts.histogram(lengths, "s"),
            "labels": store.label_names(),
            "faces": faces.told(metas),
            "samples": [sample(store, place, stats) for place in choose(len(store))],
        }
    except DataEngineError as error:
        return {"problem": str(error)}


def _feature(key: str, feature: Any, stats: Mapping[str, np.ndarray] | None) -> dict[str, Any]:
    drawn = charts.ranges(stats) if stats and not feature.is_camera and feature.dtype != "string" else ""
    units = feature.unit if isinstance(feature.unit, str) else ", ".join(dict.fromkeys(feature.unit or ()))
    shape = "×".join(map(str, feature.shape))
    return {
        "key": key,
        "role": feature.role,
        "dtype": feature.dtype,
        "shape": shape,
        "unit": units,
        "names": "" if feature.is_camera else _few(feature.names or ()),
        "codec": feature.info.get("video.codec", ""),
        "ranges": drawn,
    }


def _few(names: Sequence[str], most: int = 16) -> str:
    return ", ".join(names[:most]) + (f" … and {len(names) - most} more" if len(names) > most else "")


def _job(job: Mapping[str, Any]) -> dict[str, Any]:
    return {**job, "view": view(job["report"], Path(job["folder"])) if job["report"] else None}


def _seen(value: Any) -> Any:
    """Text with what would not be seen, or would turn the line around, written out."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _UNSEEN.sub(lambda found: f"\\u{ord(found.group()):04x}", value)


def view(value: Any, folder: Path, depth: int = 0) -> dict[str, Any]:
    """A job's report as something to show: `pairs`, `table`, `curve`, `picture`, `list` or `text`.

    Pictures are files in the job's own folder, by path; nothing outside of it is read.
    """
    if isinstance(value, Mapping) and depth < 4:
        if (side_by_side := _side_by_side(value)) is not None:
            rest, head, elements = side_by_side
            table = {
                "kind": "table",
                "head": head,
                "rows": [[view(v, folder, 4) for v in row] for row in elements],
                "more": 0,
            }
            named = [(str(k), view(v, folder, depth + 1)) for k, v in rest.items()]
            return {"kind": "pairs", "items": [*named, ("each", table)]}
        return {"kind": "pairs", "items": [(str(k), view(v, folder, depth + 1)) for k, v in list(value.items())[:60]]}
    if isinstance(value, list) and value:
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) and np.isfinite(v) for v in value)
        if numbers and len(value) > 7:
            return {"kind": "curve", "drawing": charts.curve(value)}
        if all(isinstance(v, Mapping) for v in value):
            head = list(dict.fromkeys(str(k) for row in value[:40] for k in row))[:12]
            rows = [[view(row.get(k, ""), folder, 4) for k in head] for row in value[:40]]
            return {"kind": "table", "head": head, "rows": rows, "more": len(value) - len(rows)}
        if not numbers and depth < 4:
            return {"kind": "list", "items": [view(v, folder, depth + 1) for v in value[:20]], "more": len(value) - 20}
    if isinstance(value, str) and (picture := _picture(value, folder)):
        return {"kind": "picture", "uri": picture}
    return {"kind": "text", "text": _brief(value), "number": isinstance(value, int | float)}


def _side_by_side(value: Mapping[str, Any]) -> tuple[dict[str, Any], list[str], list[tuple[Any, ...]]] | None:
    """Lists that run along a list of `names` as one table: what is left, its head and its rows."""
    names = value.get("names")
    if not isinstance(names, list) or not 0 < len(names) <= 128:
        return None

    def runs_along(v: Any) -> bool:
        return isinstance(v, list) and len(v) == len(names)

    columns: dict[str, list[Any]] = {}
    rest: dict[str, Any] = {}
    for key, v in value.items():
        if runs_along(v):
            columns[str(key)] = v
        elif isinstance(v, Mapping) and v and all(map(runs_along, v.values())):
            columns |= {str(k): inner for k, inner in v.items()}
        else:
            rest[key] = v
    return (rest, list(columns), list(zip(*columns.values(), strict=True))) if len(columns) > 1 else None


def _picture(text: str, folder: Path) -> str | None:
    if "\n" in text or len(text) > 1000 or Path(text).suffix.lower() not in _KINDS:
        return None
    path, root = (folder / text).resolve(), folder.resolve()
    if root not in path.parents or not path.is_file() or path.stat().st_size > _PICTURE_LIMIT:
        return None
    return data_uri(path.read_bytes(), _KINDS[path.suffix.lower()])


def _brief(value: Any, most: int = 400) -> str:
    """Any value as short text."""
    if value is None or value in ("", [], {}):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= most else text[: most - 1] + "…"
