"""`dataengine collect ego`: videos of a person's hands, or a webcam, into episodes with robot actions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dataengine.cli.collect_any import SetOption, StoreArgument
from dataengine.cli.output import JsonFlag, console, finish, show_json, typed


def ego(
    store: StoreArgument,
    videos: Annotated[
        list[Path] | None, typer.Argument(help="Videos, folders of them, or folders of pictures.")
    ] = None,
    webcam: Annotated[
        str | None, typer.Option(help="Record from this camera first: its number, or an address.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="How long to record from the webcam.")] = 60.0,
    task: Annotated[str | None, typer.Option(help="What is done, where no text file beside a video says it.")] = None,
    model: Annotated[Path | None, typer.Option(help="MediaPipe's hand_landmarker.task.")] = None,
    hand_size: Annotated[float | None, typer.Option(help="Wrist to middle knuckle in m, if measured.")] = None,
    fov: Annotated[float | None, typer.Option(help="Of the lens, degrees along the picture's longer side.")] = None,
    camera: Annotated[Path | None, typer.Option(help="YAML with fx, fy, cx, cy, width, height, distortion.")] = None,
    board: Annotated[
        str | None,
        typer.Option(
            help="A board that the videos show: 9x6:0.025, inner corners and m, or charuco:…. It says how large a hand "
            "is that lies beside it; with STORE.yaml and one video, the lens is written there."
        ),
    ] = None,
    cuts: Annotated[Path | None, typer.Option(help="A list of cuts to take, as this verb writes one.")] = None,
    retarget: Annotated[Path | None, typer.Option(help="YAML with the parameters of the stage `retarget`.")] = None,
    set_: SetOption = [],  # noqa: B006
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one per core by default.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, do nothing.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Build the store anew if something changed.")] = False,
    json: JsonFlag = False,
) -> None:
    """Hands in videos into episodes; run it again to go on. STORE.cuts.csv lists the cuts, for --cuts once edited."""
    from dataengine.doctor import require
    from dataengine.errors import ConfigError

    if board is not None and store.suffix in (".yaml", ".yml"):
        _lens(store, list(videos or []), board)
        return
    require("hands")
    require("flow")
    from dataengine.flow import plan_flow, run_flow
    from dataengine.guard import read_yaml

    sources = list(videos or [])
    if webcam is not None and dry_run:
        raise ConfigError("--dry-run records nothing: leave --webcam out, or try it on a video")
    if webcam is not None:
        from collectors.egocentric.webcam import record

        sources.append(record(webcam, store.with_name(f"{store.name}.webcam"), seconds))
    if not sources:
        raise ConfigError("collect ego takes videos, or --webcam: dataengine collect ego STORE VIDEO...")
    intrinsics = read_yaml(camera) if camera else {"fov": fov} if fov is not None else None
    named: dict[str, Any] = {"task": task, "hand_size": hand_size, "intrinsics": intrinsics, "board": board}
    mapping = {key: value for key, value in named.items() if value is not None} | typed(set_)
    if model is not None:
        mapping["tracker_params"] = {**mapping.get("tracker_params", {}), "model": str(model.absolute())}
    stages: list[Any] = [{"cut_hands": {"cuts": str(cuts)} if cuts else {}}]
    report: dict[str, Any] = {}
    if retarget is not None:
        params = read_yaml(retarget)
        stages.append({"retarget": params})
        report = {"robot": True, **{key: params[key] for key in ("model",) if key in params}}
    flow = {
        "name": store.name,
        "source": [{"path": str(path), "format": "ego", "mapping": mapping} for path in sources],
        "stages": stages,
        "out": str(store),
        "then": [{"hand_report": report}],
    }
    if dry_run:
        show_json(plan_flow(flow).to_json())
        return
    result = run_flow(flow, workers=workers, overwrite=overwrite, progress=not json)
    if result.kept and cuts is None:  # a list that a person edited stays what it is
        from dataengine.store import Store
        from pipelines.egocentric.cuts import write_cuts

        listed = store.with_name(f"{store.name}.cuts.csv")
        count = write_cuts(Store.open(store), listed)
        if not json:
            console.print(f"{count} cuts listed in {listed}", markup=False)
    finish(result, json)


def _lens(path: Path, videos: list[Path], board: str) -> None:
    """Write the lens of the camera that filmed a board."""
    from collectors.egocentric.board import Board
    from collectors.egocentric.board_lens import lens_of, write_lens
    from collectors.egocentric.footage import open_footage
    from dataengine.errors import ConfigError

    if len(videos) != 1:
        raise ConfigError(f"a lens is found from one video: collect ego {path.name} board.mp4 --board 9x6")
    lens = lens_of(open_footage(videos[0]), Board.said(board))
    write_lens(lens, path)
    said = f"{lens.views} views, corners {lens.error:.2f} px off, fx {lens.camera.fx:.1f} ±{lens.camera.spread:.2%}"
    console.print(f"{path}: {said}; use it with --camera {path}", markup=False)
