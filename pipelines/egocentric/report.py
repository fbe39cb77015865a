"""What tracking made of a store of hands, for a person: pictures with the landmarks on them, and figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dataengine import hands
from dataengine.episode import Episode
from dataengine.errors import ConfigError
from dataengine.pictures import filmstrip
from dataengine.store import Store
from dataengine.video import encode
from pipelines.egocentric.overlay import Drawn

PICTURES = 5


@dataclass(frozen=True)
class HandReport:
    """episodes: how many are shown, spread over the store. height: of the pictures [px]. videos: also write a video
    with the hands drawn on it for each of them."""

    episodes: int = 8
    height: int = 280
    videos: bool = False

    name: ClassVar[str] = "hand_report"
    version: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        if not 1 <= self.episodes <= 1000 or not 64 <= self.height <= 2160:
            raise ConfigError(f"hand_report: episodes={self.episodes} is 1 to 1000, height={self.height} 64 to 2160")
        if self.height % 2:
            raise ConfigError(f"hand_report: height={self.height} is even, as videos want it")

    def run(self, store: Path, out: Path) -> Mapping[str, Any]:
        opened = Store.open(store)
        lacking = [hands.column(s, "tracked") for s in hands.SIDES if hands.column(s, "tracked") not in opened.features]
        if lacking:
            raise ConfigError(f"hand_report: {store} has no {lacking[0]}: it holds no hands")
        out.mkdir(parents=True, exist_ok=True)
        places = np.unique(np.linspace(0, len(opened) - 1, min(self.episodes, len(opened))).astype(int))
        shown = [self._shown(opened[int(place)], int(place), out) for place in places]
        return {"episodes": len(opened), "frames": _counts(opened), "shown": shown}

    def _shown(self, episode: Episode, place: int, out: Path) -> dict[str, Any]:
        at = np.unique(np.linspace(0, episode.length - 1, min(PICTURES, episode.length)).astype(int)).tolist()
        drawn = Drawn(episode, self.height)
        picture = f"episode-{place:06d}.png"
        (out / picture).write_bytes(filmstrip([drawn.frame(frame) for frame in at], self.height))
        said: dict[str, Any] = {"episode": place, "video": str(episode.meta.source.get("file", "")), "hands": picture}
        for side in hands.SIDES:
            there = episode.frames[hands.column(side, "tracked")] != hands.ABSENT
            if there.any():
                sigma = np.median(episode.frames[hands.column(side, "sigma")][there], axis=0)
                said[side] = f"{there.mean():.0%} of frames, ± {1000 * sigma[0]:.0f} mm, ± {np.degrees(sigma[1]):.1f}°"
        if self.videos:
            encode(drawn, out / f"episode-{place:06d}.mp4")
        return said


def _counts(store: Store) -> dict[str, dict[str, int]]:
    """Frames by hand, seen, bridged and without it."""
    counts = {side: np.zeros(3, np.int64) for side in hands.SIDES}
    for episode in store.episodes():
        for side in hands.SIDES:
            counts[side] += np.bincount(episode.frames[hands.column(side, "tracked")], minlength=3)[:3]
    return {side: {"seen": int(c[1]), "bridged": int(c[2]), "absent": int(c[0])} for side, c in counts.items()}
