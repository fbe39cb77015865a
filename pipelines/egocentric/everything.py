"""Figures of all episodes of a store of hands, for its report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from dataengine import hands
from dataengine.episode import Episode
from dataengine.store import Store
from pipelines.egocentric import trust


class Everything:
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
