"""`meta/tasks.parquet`: the instructions, in the order of `task_index`, as pandas would have written them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from dataengine.errors import StoreError
from dataengine.store import files, layout

# LeRobot looks a task up by the frame's index, which pandas only restores from this.
_PANDAS = {
    "index_columns": ["task"],
    "column_indexes": [],
    "columns": [
        {
            "name": "task_index",
            "field_name": "task_index",
            "pandas_type": "int64",
            "numpy_type": "int64",
            "metadata": None,
        },
        {"name": "task", "field_name": "task", "pandas_type": "unicode", "numpy_type": "object", "metadata": None},
    ],
    "creator": {"library": "pyarrow", "version": pa.__version__},
    "pandas_version": "2.0.0",
}


def write(root: Path, tasks: Sequence[str]) -> None:
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks, pa.string())})
    files.write_table(root / layout.TASKS, table.replace_schema_metadata({"pandas": json.dumps(_PANDAS)}))


def read(root: Path) -> tuple[str, ...]:
    """Raises `StoreError` unless there is one text for every index from 0 on."""
    path = root / layout.TASKS
    if not path.exists():
        return ()
    try:
        table = files.read_table(path, checked=False)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path} is damaged: {error}") from error
    text = next((n for n in ("task", "__index_level_0__") if n in table.column_names), None)
    if text is None or "task_index" not in table.column_names:
        raise StoreError(f"{path} has the columns {', '.join(table.column_names)}; needed are task and task_index")
    found = dict(zip(table.column("task_index").to_pylist(), table.column(text).to_pylist(), strict=True))
    if sorted(found) != list(range(table.num_rows)) or not all(isinstance(t, str) for t in found.values()):
        raise StoreError(f"{path}: task_index is not 0..{table.num_rows - 1}, each with a text")
    return tuple(found[index] for index in range(len(found)))
