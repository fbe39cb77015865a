"""`dataengine demo`: the main job on an embedded default, as one flow with one report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shutil import copyfile
from typing import Annotated, Any

import typer
from rich.console import Console

from dataengine.cli.output import JsonFlag, console, errors, finish


def demo(
    out: Annotated[Path, typer.Option(help="Everything goes here.")] = Path("out/demo"),
    episodes: Annotated[int, typer.Option(min=4, help="Demonstrations of the scripted expert.")] = 200,
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 600,
    json: JsonFlag = False,
) -> None:
    """Record, convert, check, label, tokenize, publish, reload with stock LeRobot, train, evaluate, report."""
    from dataengine.doctor import NEEDS, require

    for part in NEEDS:
        require(part)
    say = errors if json else console  # with --json only the result is on stdout
    from dataengine.flow import run_flow
    from dataengine.hub.server import serving

    sources = _sources(out.absolute(), episodes, say)
    with serving(out.absolute() / "hub") as hub:
        say.print(f"a Hub for rehearsals runs at {hub} while the demo does", markup=False)
        result = run_flow(_flow(out.absolute(), sources, hub, steps), progress=not json)
    if result.report is not None:
        result = replace(result, report=str(copyfile(result.report, out / "report.html")))
    finish(result, json)


def _sources(out: Path, episodes: int, say: Console) -> list[str]:
    """The expert's demonstrations, an eighth of them by way of ALOHA HDF5 files."""
    from converters.base import detect
    from dataengine.plugins import make
    from dataengine.progress import track
    from dataengine.store import Store
    from dataengine.store.gather import append_all

    foreign = max(2, episodes // 8)
    aloha = out / "recorded_as_aloha"
    for store, count, first in ((out / "recorded", episodes - foreign, foreign), (out / "elsewhere", foreign, 0)):
        expert = make("collectors", "expert", {"episodes": count, "first": first, "image_size": 64})
        append_all(track(expert.collect(), total=count, what="recording"), store)
    if not aloha.exists():
        other = out / "elsewhere"
        make("converters", "aloha").write(detect(other).read_all(other), aloha)
    say.print(f"recorded {len(Store.open(out / 'recorded'))} episodes, {foreign} more as ALOHA HDF5", markup=False)
    return [str(out / "recorded"), str(aloha)]


def _flow(out: Path, sources: list[str], hub: str, steps: int) -> dict[str, Any]:
    repo = {"repo_id": "local/cubes", "endpoint": hub}
    return {
        "name": "demo",
        "source": sources,
        "stages": ["quality", "motion_language"],
        "out": str(out / "cubes"),
        "then": [
            "fast_tokenizer",
            {"publish": {**repo, "licence": "apache-2.0"}},
            {"reload": repo},
            {"train": {"steps": steps}},
            {"evaluate": {"checkpoint": "${jobs.train}", "episodes": 60, "workers": 2}},
        ],
    }
