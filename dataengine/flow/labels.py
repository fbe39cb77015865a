"""Labels on their way from a worker to the store: one small Arrow file each, named by its content."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa

from dataengine.episode import Label
from dataengine.flow.fingerprint import plain
from dataengine.flow.folder import FlowFolder


def label_file(folder: FlowFolder, name: str) -> Path:
    return folder.root / "labels" / name[:2] / f"{name}.arrow"


def write_label(path: Path, label: Label) -> None:
    about = json.dumps({"kind": label.kind, "source": dict(label.source)}, default=plain, ensure_ascii=False)
    table = label.table.replace_schema_metadata({b"label": about.encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}.tmp")
    with pa.OSFile(str(fresh), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    fresh.replace(path)


def read_label(path: Path) -> Label:
    """Raises `OSError` or `pa.ArrowInvalid` where the file is gone or damaged."""
    with pa.OSFile(str(path), "rb") as source:
        table = pa.ipc.open_file(source).read_all()
    about = json.loads(table.schema.metadata[b"label"])
    return Label(about["kind"], table.replace_schema_metadata(None), about["source"])
