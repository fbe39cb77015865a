"""Where a measurement is written down: the figures, the command that gave them, the day and the kind of machine."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
DATA = Path(os.environ.get("DATAENGINE_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")).resolve()


def record(name: str, figures: Mapping[str, Any], *, met: bool | None, module: str | None = None) -> None:
    """Write the result of `python -m bench.<module>` (by default, of that name) as `<name>.json`.

    met: was the stated target reached (None: no target).
    """
    result = {
        "name": name,
        "met": met,
        "figures": figures,
        "command": "python -m " + " ".join(["bench." + (module or name), *sys.argv[1:]]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine(),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    verdict = {True: "reached", False: "NOT reached", None: "measured"}[met]
    print(f"{name}: {verdict}  {json.dumps(figures, ensure_ascii=False)[:400]}", flush=True)


def machine() -> str:
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{cores} cores, {memory:.0f} GiB, {platform.machine()}, Python {platform.python_version()}, no GPU used"
