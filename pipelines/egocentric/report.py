"""What tracking made of a store of hands, for a person: pictures with the landmarks on them, how sure every episode is,
what was cut out and why, and, if it is asked for, the robot over the video and the motion in the embedded world."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dataengine import faces, hands
from dataengine.episode import Clip, Episode
from dataengine.errors import ConfigError, DataEngineError
from dataengine.flow.report.samples import data_uri
from dataengine.flow.report.write import pages
from dataengine.pictures import filmstrip
from dataengine.store import Store
from dataengine.video import encode
from pipelines.egocentric import trust, views
from pipelines.egocentric.overlay import Beside, Drawn
from pipelines.egocentric.told import Told, step_of, told
from pipelines.retarget.placing import camera_poses

PICTURES = 5
ROWS, TOLD = 60, 5000  # of the page's table, and episodes in report.json


@dataclass(frozen=True)
class HandReport:
    """episodes: how many are shown, spread over the store. height: of the pictures [px]. videos: also write a video of
    what is drawn for each of them. robot: also draw the robot over the pictures; model: its file, where the stage
    `retarget` was given one. world: also let the embedded world's arm do what the hand did. opacity: of the robot."""

    episodes: int = 8
    height: int = 280
    videos: bool = False
    robot: bool = False
    model: Path | None = None
    world: bool = False
    opacity: float = 0.85

    name: ClassVar[str] = "hand_report"
    version: ClassVar[str] = "2"

    def __post_init__(self) -> None:
        if not 1 <= self.episodes <= 1000 or not 64 <= self.height <= 2160:
            raise ConfigError(f"hand_report: episodes={self.episodes} is 1 to 1000, height={self.height} 64 to 2160")
        if self.height % 2:
            raise ConfigError(f"hand_report: height={self.height} is even, as videos want it")
        if self.world and self.height > 640:
            raise ConfigError(f"hand_report: height={self.height}, and the embedded world draws at most 640")
        if not 0 < self.opacity <= 1:
            raise ConfigError(f"hand_report: opacity={self.opacity} is above 0, at most 1")
        if self.model is not None and not self.model.is_file():
            raise ConfigError(f"hand_report.model: there is no file {self.model}")

    def run(self, store: Path, out: Path) -> Mapping[str, Any]:
        opened = Store.open(store)
        lacking = [hands.column(s, "tracked") for s in hands.SIDES if hands.column(s, "tracked") not in opened.features]
        if lacking:
            raise ConfigError(f"hand_report: {store} has no {lacking[0]}: it holds no hands")
        out.mkdir(parents=True, exist_ok=True)
        every = _Everything(opened)
        places = np.unique(np.linspace(0, len(opened) - 1, min(self.episodes, len(opened))).astype(int))
        shown = [self._shown(opened[int(place)], int(place), out) for place in places]
        drops, count = trust.dropped(Path(store))
        told = {"episodes": len(opened), "frames": every.counts, "uncertainty": every.uncertainty, "cut": every.cuts}
        table = opened.table_of_episodes
        told["faces"] = faces.told(table.meta(place) for place in range(len(opened)))
        whole = {**told, "dropped": drops, "dropped_count": count, "each": every.rows[:TOLD]}
        seen = [{key: s[key] for key in ("episode", "video", "picture", "film", "world", "problems")} for s in shown]
        (out / "report.json").write_text(json.dumps({**whole, "shown": seen}, indent=1, ensure_ascii=False), "utf-8")
        page = (
            pages(Path(__file__).parent)
            .get_template("hands.html")
            .render(
                name=Path(store).name,
                verdict=_verdict(every, count),
                tiles=_tiles(every),
                faces=told["faces"],
                cuts=every.cuts,
                drops=drops,
                dropped=count,
                rows=every.by_trust[:ROWS],
                more=max(0, len(every.rows) - ROWS),
                shown=shown,
            )
        )
        (out / "report.html").write_text(page, "utf-8")
        brief = [{"episode": s["episode"], "video": s["video"], "hands": s["picture"], **s["brief"]} for s in shown]
        return {**told, "dropped": count, "page": "report.html", "shown": brief}

    def _shown(self, episode: Episode, place: int, out: Path) -> dict[str, Any]:
        at = np.unique(np.linspace(0, episode.length - 1, min(PICTURES, episode.length)).astype(int)).tolist()
        drawn, problems = self._drawn(episode)
        strips, clips = [], []
        for words, clip in drawn:
            try:
                strips.append((words, filmstrip(_pictures(clip, at), self.height)))
                clips.append(clip)
            except DataEngineError as error:
                problems.append(f"{words}: {error}")
        picture = f"episode-{place:06d}.png"
        (out / picture).write_bytes(strips[0][1])
        film = f"episode-{place:06d}.mp4" if self.videos else ""
        if film:
            encode(Beside(tuple(clips)), out / film)
        gripper = _told(episode, self.model, problems)
        figures = {side: found for side in hands.SIDES if (found := trust.hand_figures(episode, side))}
        step = step_of(episode)
        return {
            "episode": place,
            "id": episode.id,
            "video": str(episode.meta.source.get("file", "")),
            "tasks": episode.meta.tasks,
            "frames": episode.length,
            "seconds": episode.length / episode.fps,
            "made": "" if step is None else f"retargeted to {', '.join(episode.features['action'].names or ())}"[:120],
            "picture": picture,
            "film": film,
            "strips": [{"words": words, "uri": data_uri(png, "image/png")} for words, png in strips],
            "problems": problems,
            "hands": figures,
            "world": self._world([clip for clip in clips if hasattr(clip, "replayed")], problems),
            "facts": _facts(episode),
            "ways": views.paths(episode),
            "spans": views.spans(episode),
            "curves": views.over_time(episode, gripper, _limits(step.params if step else {})),
            "frame": "In the world" if camera_poses(episode) is not None else "In the camera's frame",
            "gripper": any(each.closed is not None for each in gripper.values()),
            "brief": {side: _brief(found) for side, found in figures.items()},
        }

    def _drawn(self, episode: Episode) -> tuple[list[tuple[str, Clip]], list[str]]:
        """What is drawn of an episode, with words; and why something is not."""
        found: list[tuple[str, Clip]] = [("Landmarks, axes of the palm, distance ± σ", Drawn(episode, self.height))]
        if not self.robot and not self.world:
            return found, []
        if step_of(episode) is None:
            return found, ["It was not retargeted to a gripper or an arm, so no robot is drawn."]
        if self.robot:
            from pipelines.egocentric.robot_overlay import RobotDrawn

            found.append(("The robot where the hand is", RobotDrawn(episode, self.model, self.height, self.opacity)))
        if self.world:
            from pipelines.egocentric.embedded import Played

            both = step_of(episode).params.get("hand", "right")  # type: ignore[union-attr]
            for side in hands.SIDES if both == "both" else (str(both),):
                words = f"The same motion in the embedded world, {side} hand"
                found.append((words, Played(episode, side, self.model, self.height)))
        return found, []

    def _world(self, played: list[Any], problems: list[str]) -> dict[str, Any]:
        """How well the embedded world's arm could do it."""
        found = {}
        for clip in played:
            off, reached = clip.replayed()
            within = trust.spread(1e3 * off[reached]) if reached.any() else None
            found[clip.side] = {"reached": round(float(reached.mean()), 4), "off_mm": within}
        return found


class _Everything:
    """Figures of all episodes of a store, gathered in one pass.

    rows: of each hand of each episode. counts: frames by hand. uncertainty: over all frames that show a hand. cuts: by
    reason, each uncut episode counted once; lost: frames, whatever the reason.
    """

    def __init__(self, store: Store) -> None:
        counts = {side: np.zeros(3, np.int64) for side in hands.SIDES}
        sigmas: list[np.ndarray] = []
        self.rows: list[dict[str, Any]] = []
        cut: dict[str, dict[str, Any]] = {}
        known: set[Any] = set()
        self.lost = 0
        for place, episode in enumerate(store.episodes()):
            for side in hands.SIDES:
                counts[side] += np.bincount(episode.frames[hands.column(side, "tracked")], minlength=3)[:3]
                sigmas.append(trust.sigma_of(episode, side)[trust.there_of(episode, side)].astype(np.float32))
            self.rows += _rows(episode, place)
            if (whole := trust.uncut(episode)) not in known:
                known.add(whole)
                cuts = trust.cuts_of(episode)
                self.lost += trust.lost_frames(cuts)
                _add(cut, cuts)
        self.counts = {s: {"seen": int(c[1]), "bridged": int(c[2]), "absent": int(c[0])} for s, c in counts.items()}
        sigma = np.concatenate(sigmas)
        self.uncertainty = (
            {"place_mm": trust.spread(sigma[:, 0] * 1e3), "rotation_deg": trust.spread(np.rad2deg(sigma[:, 1]))}
            if len(sigma)
            else None
        )
        self.cuts = sorted(cut.values(), key=lambda each: -each["frames"])
        self.seconds = store.frames / store.fps
        self.episodes = len(store)

    @property
    def by_trust(self) -> list[dict[str, Any]]:
        """The least sure first."""
        return sorted(self.rows, key=lambda row: -row["place_mm"]["p90"])


def _rows(episode: Episode, place: int) -> Iterator[dict[str, Any]]:
    about = {"episode": place, "id": episode.id, "video": str(episode.meta.source.get("file", ""))}
    for side in hands.SIDES:
        if (found := trust.hand_figures(episode, side)) is not None:
            yield {**about, "seconds": round(episode.length / episode.fps, 3), "side": side, **found}


def _add(cut: dict[str, dict[str, Any]], cuts: list[dict[str, Any]]) -> None:
    for one in cuts:
        reason, value = str(one["reason"]), float(one.get("value") or 0)
        mine = cut.setdefault(reason, {"reason": reason, "frames": 0, "spans": 0, "value": -np.inf, "text": ""})
        mine["frames"] += one["stop"] - one["start"]
        mine["spans"] += 1
        if value > mine["value"]:
            mine["value"], mine["text"] = value, str(one.get("text") or "")[:300]


def _pictures(clip: Clip, at: list[int]) -> list[np.ndarray]:
    """Some frames, in order: of a motion that is played all in one go."""
    if not hasattr(clip, "replayed"):
        return [clip.frame(frame) for frame in at]
    return [picture for frame, picture in enumerate(clip.frames(0, at[-1] + 1)) if frame in at]


def _told(episode: Episode, model: Path | None, problems: list[str]) -> dict[str, Told]:
    if step_of(episode) is None:
        return {}
    try:
        if model is None:
            return told(episode)
        from pipelines.egocentric.robot_overlay import robot_of

        return told(episode, robot_of(episode, model))
    except DataEngineError as error:
        problems.append(str(error))
        return {}


def _limits(params: Mapping[str, Any]) -> dict[str, float | None]:
    """Thresholds of the stage `retarget` as `views.over_time` wants them."""
    millimetres, degrees = 1e3, float(np.rad2deg(1.0))
    known = {
        "place": ("sigma", millimetres),
        "rotation": ("turn_sigma", degrees),
        "arm": ("tolerance", millimetres),
        "fingertips": ("finger_tolerance", millimetres),
    }
    given = {name: (params.get(key), times) for name, (key, times) in known.items()}
    return {name: times * value if isinstance(value, int | float) else None for name, (value, times) in given.items()}


def _facts(episode: Episode) -> dict[str, str]:
    found = {}
    if cuts := trust.cuts_of(episode):
        said = ", ".join(f"{reason} {frames}" for reason, frames in trust.lost_by_reason(cuts).items())
        found["cut from its clip"] = f"frames by reason: {said}"
    if step := step_of(episode):
        found["taken for true"] = "; ".join(step.assumed)
    return found


def _brief(figures: Mapping[str, Any]) -> str:
    place, turn = figures["place_mm"]["median"], figures["rotation_deg"]["median"]
    return f"{1 - figures['absent']:.0%} of frames, ± {place:.0f} mm, ± {turn:.1f}°"


def _verdict(every: _Everything, dropped: int) -> str:
    if every.uncertainty is None:
        return "No frame of this dataset shows a hand."
    place, turn = every.uncertainty["place_mm"], every.uncertainty["rotation_deg"]
    said = (
        f"Half of the frames that show a hand know its place to ± {place['median']:.0f} mm and its rotation to "
        f"± {turn['median']:.1f}°; nine in ten to ± {place['p90']:.0f} mm and ± {turn['p90']:.1f}°."
    )
    lost = [f"{every.lost:,} frames were cut out"] * bool(every.lost) + [
        f"{dropped:,} whole episodes sorted out"
    ] * bool(dropped)
    return f"{said} {' and '.join(lost)}." if lost else f"{said} Nothing was left out."


def _tiles(every: _Everything) -> list[tuple[str, str]]:
    total = {name: sum(side[name] for side in every.counts.values()) for name in ("seen", "bridged")}
    some = max(sum(total.values()), 1)
    sure = every.uncertainty
    return [
        (f"{every.episodes:,}", f"episode{'s' * (every.episodes != 1)}, {every.seconds:,.0f} s"),
        (f"{total['seen'] / some:.1%}", f"seen of {some:,} hands in pictures; the rest is bridged"),
        ("–" if sure is None else f"± {sure['place_mm']['median']:.0f} mm", "place of the wrist, median σ"),
        ("–" if sure is None else f"± {sure['rotation_deg']['median']:.1f}°", "rotation of the palm, median σ"),
    ]
