"""How far an episode of hands is to be trusted, in figures: how much of it shows a hand, how sure its place [mm] and
the palm's rotation [degrees] are, how smoothly it moves, and what was cut out or dropped, for which reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dataengine import hands
from dataengine.episode import Episode
from dataengine.errors import EpisodeError
from dataengine.flow.folder import FlowFolder, read_lines
from pipelines.egocentric.smoothness import Movement, movements
from pipelines.egocentric.told import film_of, place_of
from pipelines.retarget.cuts import CUTS
from pipelines.retarget.grasp import GRASP
from pipelines.retarget.hand import Poses, poses_of
from pipelines.retarget.placing import camera_poses

ERROR = "retarget_error"
MOST_CUTS = 10_000  # of one episode that are read
MOST_REASONS = 200  # of dropped episodes that are told


def wrist_path(episode: Episode, side: str) -> tuple[np.ndarray, np.ndarray]:
    """The wrist `(T, 3)` in the camera's frame, or in the world where the camera's pose is known, and one standard
    deviation along each axis `(T, 3)`, both [m]: it is the distance from the camera that is unsure."""
    wrist = poses_of(episode.frames[hands.column(side, "wrist")], episode.id, hands.column(side, "wrist"))
    sight = wrist.point / np.maximum(np.linalg.norm(wrist.point, axis=1, keepdims=True), 1e-9)
    placed = camera_poses(episode)
    if placed is not None:
        sight = (placed.turn @ sight[..., None])[..., 0]
        wrist = Poses(wrist.point, wrist.turn).seen_from(placed)
    return wrist.point, np.abs(sight) * sigma_of(episode, side)[:, :1]


def sigma_of(episode: Episode, side: str) -> np.ndarray:
    """`(T, 2)` standard deviation of the wrist's place [m] and of the palm's rotation [rad]."""
    return np.asarray(episode.frames[hands.column(side, "sigma")], np.float64)


def there_of(episode: Episode, side: str) -> np.ndarray:
    """`(T,)` bool: seen, or a gap that was bridged."""
    return np.asarray(episode.frames[hands.column(side, "tracked")]) != hands.ABSENT


def moved(episode: Episode, side: str) -> list[Movement]:
    """The wrist's movements."""
    return movements(wrist_path(episode, side)[0], there_of(episode, side), episode.fps)


def hand_figures(episode: Episode, side: str) -> dict[str, Any] | None:
    """Of one hand; None where the episode does not show it."""
    there = there_of(episode, side)
    if not there.any():
        return None
    tracked = np.asarray(episode.frames[hands.column(side, "tracked")])
    sigma = sigma_of(episode, side)[there] * [1e3, np.rad2deg(1.0)]
    told: dict[str, Any] = {
        "seen": _share(tracked == hands.SEEN),
        "bridged": _share(tracked == hands.FILLED),
        "absent": _share(~there),
        "place_mm": spread(sigma[:, 0]),
        "rotation_deg": spread(sigma[:, 1]),
    }
    if (common := _common(episode, side, there)) is not None:
        told["place_common_mm"] = common
    if found := moved(episode, side):
        told["smoothness"] = {
            "movements": len(found),
            "sparc": spread([one.sparc for one in found]),
            "ldlj": spread([one.ldlj for one in found]),
        }
    if (left := errors_of(episode, side)) is not None:
        told["left_mm"], told["left_deg"] = spread(left[:, 0] * 1e3), spread(np.rad2deg(left[:, 1]))
    return told


def spread(values: Iterable[float]) -> dict[str, float]:
    """Median, 90th percentile and greatest."""
    middle, high, most = np.percentile(np.asarray(list(values), np.float64), [50, 90, 100])
    return {"median": round(float(middle), 3), "p90": round(float(high), 3), "most": round(float(most), 3)}


def errors_of(episode: Episode, side: str) -> np.ndarray | None:
    """`(T, 2)` what inverse kinematics left between tool and hand [m], [rad]; None where no robot followed."""
    label = episode.labels.get(ERROR)
    names = [f"{side}_m", f"{side}_rad"]
    if label is None or not set(names) <= set(label.table.column_names) or label.table.num_rows != episode.length:
        return None
    return np.stack([np.asarray(label.table.column(name).to_numpy(zero_copy_only=False), float) for name in names], 1)


def finger_errors(episode: Episode, side: str) -> np.ndarray | None:
    """`(T,)` how far a robot's fingertips are from the hand's, scaled [m]; None where it has none."""
    label, name = episode.labels.get(ERROR), f"{side}_fingers_m"
    if label is None or name not in label.table.column_names or label.table.num_rows != episode.length:
        return None
    return np.asarray(label.table.column(name).to_numpy(zero_copy_only=False), float)


def cuts_of(episode: Episode) -> list[dict[str, Any]]:
    """Rows of the label `retarget_cuts`, in frames of the uncut episode. Raises `EpisodeError` where they are none."""
    label = episode.labels.get(CUTS)
    if label is None:
        return []
    return _spans(label.table, CUTS, episode)


def grasps_of(episode: Episode, side: str) -> list[dict[str, Any]]:
    """Rows of the label `grasp` of one hand, in frames of the episode. Raises `EpisodeError` where they are none."""
    label = episode.labels.get(GRASP)
    return [] if label is None else [row for row in _spans(label.table, GRASP, episode) if row.get("side") == side]


def lost_by_reason(cuts: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Frames by reason, most first; a frame may have several."""
    lost: Counter[str] = Counter()
    for cut in cuts:
        lost[str(cut["reason"])] += cut["stop"] - cut["start"]
    return dict(lost.most_common())


def lost_frames(cuts: Iterable[Mapping[str, Any]]) -> int:
    """Frames that were cut out for any reason; a leap lies between two frames and costs none."""
    count, until = 0, 0
    for start, stop in sorted((cut["start"], cut["stop"]) for cut in cuts if cut["reason"] != "jump"):
        count += max(0, stop - max(start, until))
        until = max(until, stop)
    return count


def uncut(episode: Episode) -> tuple[Any, ...]:
    """What the pieces of one uncut episode have in common: their cuts are the same and count once."""
    source = episode.meta.source
    whole = film_of(episode)[0] - place_of(episode)[0]
    return source.get("sha256"), source.get("file"), source.get("episode"), whole


class Dropped(NamedTuple):
    """Whole episodes that a flow sorted out. rows: episode, stage and reason of the first of them. total: how many.
    seconds: of what the flow was given, None where nobody says."""

    rows: list[dict[str, Any]]
    total: int
    seconds: float | None


def dropped(store: Path) -> Dropped:
    """What the flow of this store says. A run that goes on where another stopped does not try an episode again, so the
    last that was said of it counts, in whichever run, while its source is one of the flow's."""
    found: dict[str, list[dict[str, Any]]] = {}
    run: dict[str, Any] = {}
    plan: list[Any] = []
    for event in read_lines(FlowFolder(Path(store).absolute()).events):
        if not isinstance(event, dict):
            continue
        kind, episode = event.get("event"), str(event.get("episode", ""))
        if kind == "start":
            plan = [each for each in event.get("plan") or () if isinstance(each, dict)]
            names = tuple(f"{Path(str(each.get('path'))).name}:" for each in plan)
            found = {key: rows for key, rows in found.items() if key.startswith(names)}
        elif kind in ("episode", "drop", "quarantine"):
            if kind != "drop" or run.get(episode) != event.get("run"):
                found.pop(episode, None)
            run[episode] = event.get("run")
            if kind != "episode":
                row = {what: str(event.get(what, ""))[:1000] for what in ("episode", "stage", "reason")}
                found.setdefault(episode, []).append(row)
    rows = [row for each in found.values() for row in each]
    return Dropped(rows[:MOST_REASONS], len(rows), _seconds(plan))


def _common(episode: Episode, side: str, there: np.ndarray) -> float | None:
    """The part of the place's uncertainty [mm] that all frames share, as the size of the hand and the lens are not
    known better: the path may be that much nearer or farther, and has its shape all the same."""
    about = episode.meta.extra.get("hands")
    said = about.get(side) if isinstance(about, Mapping) else None
    part = said.get("distance_spread") if isinstance(said, Mapping) else None
    if not isinstance(part, int | float) or not 0 <= part < 10:
        return None
    far = np.asarray(episode.frames[hands.column(side, "wrist")], np.float64)[there, 2]
    return round(float(1e3 * part * np.median(far)), 1)


def _spans(table: Any, name: str, episode: Episode) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.slice(0, MOST_CUTS).to_pylist()
    for row in rows:
        start, stop = row.get("start"), row.get("stop")
        if not (isinstance(start, int) and isinstance(stop, int) and 0 <= start < stop < 2**40):
            raise EpisodeError(episode.id, f"the label {name} holds a span of {start} to {stop}")
    return rows


def _seconds(plan: list[Any]) -> float | None:
    """Of all sources of a flow together."""
    total = 0.0
    for each in plan:
        frames, fps = each.get("frames"), each.get("fps")
        if not (isinstance(frames, int) and isinstance(fps, int | float) and fps > 0):
            return None
        total += frames / fps
    return total if plan else None


def _share(mask: np.ndarray) -> float:
    return round(float(np.mean(mask)), 4)
