"""What tracking made of a store of hands, for a person: pictures with the landmarks on them, how sure every episode is,
what was cut out and why, and, if it is asked for, the robot over the video and the motion in the embedded world."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dataengine import faces, hands
from dataengine.episode import Clip, Episode
from dataengine.errors import ConfigError, DataEngineError
from dataengine.flow.report.samples import data_uri
from dataengine.flow.report.write import pages
from dataengine.store import Store
from dataengine.video import encode
from pipelines.egocentric import trust, views
from pipelines.egocentric.everything import Everything
from pipelines.egocentric.overlay import Beside, Drawn, strip
from pipelines.egocentric.told import Told, film_of, retargeted, step_of, told
from pipelines.retarget.placing import camera_poses

PICTURES = 5
MOST = 100  # episodes that are shown: each makes the page up to half a megabyte larger
ROWS, TOLD, WORDED = 60, 5000, 40  # of the page's table, episodes in report.json, and cuts of an episode in words
FILES = ("picture", "film")  # of an episode, beside the page


@dataclass(frozen=True)
class HandReport:
    """episodes: how many are shown, spread over the store and the least sure among them, at most 100. height: of the
    pictures [px]. videos: also write a video of what is drawn for each of them. robot: also draw the robot over the
    pictures; model: its file, where the stage `retarget` was given one. world: also let the embedded world's arm do
    what the hand did. opacity: of the robot."""

    episodes: int = 8
    height: int = 280
    videos: bool = False
    robot: bool = False
    model: Path | None = None
    world: bool = False
    opacity: float = 0.85

    name: ClassVar[str] = "hand_report"
    version: ClassVar[str] = "3"

    def __post_init__(self) -> None:
        if not 1 <= self.episodes <= MOST or not 64 <= self.height <= 2160:
            raise ConfigError(f"hand_report: episodes={self.episodes} is 1 to {MOST}, height={self.height} 64 to 2160")
        if self.height % 2:
            raise ConfigError(f"hand_report: height={self.height} is even, as videos want it")
        if self.world and self.height > 640:
            raise ConfigError(f"hand_report: height={self.height}, and the embedded world draws at most 640")
        if not 0 < self.opacity <= 1:
            raise ConfigError(f"hand_report: opacity={self.opacity} is above 0, at most 1")
        if self.model is not None and not self.model.is_file():
            raise ConfigError(f"hand_report.model: there is no file {self.model}")

    def also(self, store: Path) -> Any:
        """What was left out on the way into the store."""
        left = trust.dropped(store)
        return [left.rows, left.total]

    def run(self, store: Path, out: Path) -> Mapping[str, Any]:
        opened = Store.open(store)
        lacking = [hands.column(s, "tracked") for s in hands.SIDES if hands.column(s, "tracked") not in opened.features]
        if lacking:
            raise ConfigError(f"hand_report: {store} has no {lacking[0]}: it holds no hands")
        out.mkdir(parents=True, exist_ok=True)
        every = Everything(opened)
        places = _places(len(opened), self.episodes, every.by_trust)
        shown = [self._shown(opened[place], place, out) for place in places]
        drops, count, given = trust.dropped(Path(store))
        told = {"episodes": len(opened), "frames": every.counts, "uncertainty": every.uncertainty, "cut": every.cuts}
        table = opened.table_of_episodes
        told["faces"] = faces.told(table.meta(place) for place in range(len(opened)))
        told["seconds"] = {"given": given, "kept": every.seconds}
        whole = {**told, "dropped": drops, "dropped_count": count, "each": every.rows[:TOLD]}
        seen = [{key: s[key] for key in ("episode", "video", *FILES, "world", "problems")} for s in shown]
        (out / "report.json").write_text(json.dumps({**whole, "shown": seen}, indent=1, ensure_ascii=False), "utf-8")
        page = (
            pages(Path(__file__).parent)
            .get_template("hands.html")
            .render(
                name=Path(store).name,
                verdict=_verdict(every, count, given),
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
        return {**told, "dropped": count, "page": f"{out.name}/report.html", "shown": brief}

    def _shown(self, episode: Episode, place: int, out: Path) -> dict[str, Any]:
        at, unsure = _moments(episode)
        drawn, problems = self._drawn(episode)
        strips, clips = [], []
        for words, clip in drawn:
            try:
                strips.append((words, strip(_pictures(clip, at))))
                clips.append(clip)
            except DataEngineError as error:
                problems.append(f"{words}: {error}")
        files = self._files(out / f"episode-{place:06d}", strips, clips, problems)
        gripper = _told(episode, self.model, problems)
        figures = {side: found for side in hands.SIDES if (found := trust.hand_figures(episode, side))}
        worlds: list[Any] = [clip for clip in clips if hasattr(clip, "replayed")]
        played = {clip.side: clip.replayed() for clip in worlds}
        step, cuts, begin = retargeted(episode), trust.cuts_of(episode), film_of(episode)[0]
        return {
            **files,
            "episode": place,
            "id": episode.id,
            "video": str(episode.meta.source.get("file", "")),
            "tasks": episode.meta.tasks,
            "frames": episode.length,
            "seconds": episode.length / episode.fps,
            "begin": begin / episode.fps,
            "moments": ", ".join(_moment(frame, episode.fps, frame == unsure) for frame in at),
            "made": "" if step is None else f"retargeted to {_elements(episode)}",
            "strips": [{"words": words, "uri": data_uri(jpeg, "image/jpeg")} for words, jpeg in strips],
            "problems": problems,
            "hands": figures,
            "world": {side: _reached(*each) for side, each in played.items()},
            "facts": _facts(episode),
            "cuts": [{**cut, "begin": cut["start"] / episode.fps} for cut in cuts[:WORDED]],
            "more_cuts": max(0, len(cuts) - WORDED),
            "ways": views.paths(episode),
            "spans": views.spans(episode, {side: each.reached for side, each in played.items()}),
            "curves": views.over_time(episode, gripper, _limits(step.params if step else {})),
            "frame": "In the world" if camera_poses(episode) is not None else "In the camera's frame",
            "gripper": any(each.closed is not None for each in gripper.values()),
            "brief": {side: _brief(found) for side, found in figures.items()},
        }

    def _files(
        self, stem: Path, strips: list[tuple[str, bytes]], clips: list[Clip], problems: list[str]
    ) -> dict[str, str]:
        """What stands beside the page, by name; nothing where nothing could be drawn."""
        made = dict.fromkeys(FILES, "")
        if strips:
            made["picture"] = f"{stem.name}.jpg"
            stem.with_suffix(".jpg").write_bytes(strips[0][1])
        if clips and self.videos:
            try:
                encode(Beside(tuple(clips)), stem.with_suffix(".mp4"))
                made["film"] = f"{stem.name}.mp4"
            except DataEngineError as error:
                problems.append(f"the video: {error}")
        return made

    def _drawn(self, episode: Episode) -> tuple[list[tuple[str, Clip]], list[str]]:
        """What is drawn of an episode, with words; and why something is not."""
        found: list[tuple[str, Clip]] = [("Landmarks, axes of the palm, distance ± σ", Drawn(episode, self.height))]
        if not self.robot and not self.world:
            return found, []
        if step_of(episode) is None:
            step = retargeted(episode)
            what = "not retargeted" if step is None else f"retargeted to the space {step.params.get('space')}"
            return found, [f"It was {what}, so no robot is drawn: there is one for a gripper or an arm."]
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


def _reached(off: np.ndarray, reached: np.ndarray) -> dict[str, Any]:
    """How well the embedded world's arm could do it."""
    within = trust.spread(1e3 * off[reached]) if reached.any() else None
    return {"reached": round(float(reached.mean()), 4), "off_mm": within}


def _places(count: int, wanted: int, by_trust: list[dict[str, Any]]) -> list[int]:
    """Which episodes are shown: spread over the store, the least sure in the place of its neighbour."""
    spread = np.unique(np.linspace(0, count - 1, min(wanted, count)).astype(int))
    if by_trust and len(spread):
        spread[np.abs(spread - by_trust[0]["episode"]).argmin()] = by_trust[0]["episode"]
    return spread.tolist()


def _moments(episode: Episode) -> tuple[list[int], int | None]:
    """Frames to show, in order: spread over the episode, and the one whose hand's place is least sure."""
    at = set(np.linspace(0, episode.length - 1, min(PICTURES, episode.length)).astype(int).tolist())
    sigma = np.max([np.where(trust.there_of(episode, s), trust.sigma_of(episode, s)[:, 0], -1) for s in hands.SIDES], 0)
    unsure = int(sigma.argmax()) if sigma.max(initial=-1) >= 0 else None
    return sorted(at | ({unsure} if unsure is not None else set())), unsure


def _moment(frame: int, fps: float, unsure: bool) -> str:
    return f"{frame / fps:.1f} s{' (least sure)' * unsure}"


def _pictures(clip: Clip, at: list[int]) -> list[np.ndarray]:
    """Some frames, in order: of a motion that is played all in one go."""
    if hasattr(clip, "some"):
        return list(clip.some(at))
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
    if step := retargeted(episode):
        found["taken for true"] = "; ".join(step.assumed)
    return found


def _elements(episode: Episode) -> str:
    action = episode.features.get("action")
    said = ", ".join((action.names if action is not None else None) or ()) or "actions without names"
    return said if len(said) <= 120 else f"{said[:119]}…"


def _brief(figures: Mapping[str, Any]) -> str:
    place, turn = figures["place_mm"]["median"], figures["rotation_deg"]["median"]
    return f"{1 - figures['absent']:.0%} of frames, ± {place:.0f} mm, ± {turn:.1f}°"


def _verdict(every: Everything, dropped: int, given: float | None) -> str:
    """given: length of all that the flow was given [s], where it is known."""
    if every.uncertainty is None:
        return "No frame of this dataset shows a hand."
    place, turn = every.uncertainty["place_mm"], every.uncertainty["rotation_deg"]
    said = (
        f"Half of the frames that show a hand know its place to ± {place['median']:.0f} mm and its rotation to "
        f"± {turn['median']:.1f}°; nine in ten to ± {place['p90']:.0f} mm and ± {turn['p90']:.1f}°."
    )
    lost = [f"{every.lost:,} frames were cut out by retargeting"] * bool(every.lost)
    lost += [f"{dropped:,} whole episode{'s were' if dropped > 1 else ' was'} sorted out"] * bool(dropped)
    said += f" {' and '.join(lost)}." if lost else " Retargeting cut no frame out, and no whole episode was sorted out."
    if given is not None and every.seconds < given + 0.05:
        said += f" Of {given:,.1f} s that were read, {every.seconds:,.1f} s are in episodes."
    return said


def _tiles(every: Everything) -> list[tuple[str, str]]:
    total = {name: sum(side[name] for side in every.counts.values()) for name in ("seen", "bridged")}
    some = max(sum(total.values()), 1)
    sure = every.uncertainty
    return [
        (f"{every.episodes:,}", f"episode{'s' * (every.episodes != 1)}, {every.seconds:,.0f} s"),
        (f"{total['seen'] / some:.1%}", f"seen of {some:,} hands in pictures; the rest is bridged"),
        ("–" if sure is None else f"± {sure['place_mm']['median']:.0f} mm", "place of the wrist, median σ"),
        ("–" if sure is None else f"± {sure['rotation_deg']['median']:.1f}°", "rotation of the palm, median σ"),
    ]
