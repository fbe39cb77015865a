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
        _lens(store, list(videos or []), board, dry_run, json)
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
    if cuts is not None:
        from collectors.egocentric.videos import names_of
        from pipelines.egocentric.cuts import read_cuts

        (name, count), *_ = (names := names_of(sources)).most_common(1)
        if count > 1:
            raise ConfigError(f"--cuts goes by names, and several videos are called {name}: rename all but one")
        if lost := set(read_cuts(cuts)) - set(names):
            raise ConfigError(f"{cuts} names {min(lost)}, which is none of the videos")
    if camera is not None and fov is not None:
        raise ConfigError("--camera or --fov says what lens it is, not both")
    intrinsics = read_yaml(camera) if camera else {"fov": fov} if fov is not None else None
    if camera is not None and not intrinsics:
        raise ConfigError(f"{camera} says nothing of a camera: fx, fy, cx, cy, width, height, distortion")
    named: dict[str, Any] = {"task": task, "hand_size": hand_size, "intrinsics": intrinsics, "board": board}
    mapping = {key: value for key, value in named.items() if value is not None} | typed(set_)
    params = mapping.get("tracker_params", {})
    if model is not None and isinstance(params, dict):  # what is none is said where the mapping is read
        mapping["tracker_params"] = {**params, "model": str(model.absolute())}
    stages: list[Any] = [{"cut_hands": {"cuts": str(cuts)} if cuts else {}}]
    report: dict[str, Any] = {}
    if retarget is not None:
        wanted = read_yaml(retarget) or {}
        stages.append({"retarget": wanted})
        report = {"robot": True, **{key: wanted[key] for key in ("model",) if key in wanted}}
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
            if count > result.kept:
                older = f"{count - result.kept} of them are of earlier runs, of videos changed or not given now"
                console.print(f"  {older}; --overwrite leaves them out", markup=False)
    finish(result, json)


def _lens(path: Path, videos: list[Path], board: str, dry_run: bool, json: bool) -> None:
    """Write the lens of the camera that filmed a board."""
    from collectors.egocentric.board import Board
    from collectors.egocentric.board_lens import lens_of, write_lens
    from collectors.egocentric.footage import open_footage
    from dataengine.errors import ConfigError, SourceError

    if len(videos) != 1:
        raise ConfigError(f"a lens is found from one video: collect ego {path.name} board.mp4 --board 9x6")
    if path.exists():  # said before minutes of looking
        raise SourceError(path, "is there already", hint="remove it, or name another")
    lens = lens_of(open_footage(videos[0]), Board.said(board))
    if not dry_run:
        write_lens(lens, path)
    if json:
        show_json({"lens": lens.camera.to_json(), "error_px": lens.error, "views": lens.views})
        return
    said = f"{lens.views} views, corners {lens.error:.2f} px off, fx {lens.camera.fx:.1f} ±{lens.camera.spread:.2%}"
    console.print(f"{path}: {said}; use it with --camera {path}", markup=False)
