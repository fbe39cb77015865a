"""What the card of human video says of the hands: figures of the columns, and a table that can be read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hands_seen import seen

from dataengine import hands
from dataengine.episode import Episode
from dataengine.hub.card import make_card
from dataengine.store import Store
from pipelines.retarget.stage import Retarget


def card_of(path: Path, *episodes: Episode) -> list[str]:
    store = Store.create(path, fps=episodes[0].fps, features=episodes[0].features)
    with store.writer() as writer:
        for episode in episodes:
            writer.append(episode)
    return make_card(Store.open(path), "me/hands", licence="mit", pictures=0).text.splitlines()


def shown(seed: int, there: np.ndarray) -> Episode:
    given = seen(frames=len(there), seed=seed).episode
    rng = np.random.default_rng(seed)
    sigma, tracked = (hands.column("right", part) for part in ("sigma", "tracked"))
    changed = {
        sigma: rng.uniform([0.01, 0.05], [0.1, 0.5], (len(there), 2)).astype(np.float32),
        tracked: there.astype(np.int64),
    }
    return replace(given, id=f"hands{seed}", frames={**given.frames, **changed})


def test_the_card_says_how_sure_the_hands_are_and_how_often_they_are_seen(tmp_path: Path) -> None:
    one, two = shown(1, np.repeat([1, 2, 0], [20, 5, 15])), shown(2, np.repeat([0, 1], [10, 30]))
    text = "\n".join(card_of(tmp_path / "store", one, two)).replace("\\", "")
    there = [e.frames[hands.column("right", "tracked")] > 0 for e in (one, two)]
    sigma = np.concatenate(
        [e.frames[hands.column("right", "sigma")][t] for e, t in zip((one, two), there, strict=True)]
    )
    share = np.mean(np.concatenate(there))
    for part, times, unit, digits in ((0, 1e3, " mm", 0), (1, 180 / np.pi, "°", 1)):
        for level in (0.5, 0.9):
            assert f"± {times * np.quantile(sigma[:, part], level):.{digits}f}{unit}" in text
    assert f"left in 0% of the frames; right in {share:.0%} of the frames" in text


def test_the_card_says_what_the_actions_refer_to(tmp_path: Path) -> None:
    given = seen(frames=30)
    (episode,) = Retarget(camera=given.pose, jump=None, shortest=0, rotation="euler").run(iter([given.episode]))
    assert isinstance(episode, Episode)
    said = "kind absolute; frame base; rotation extrinsic xyz angles relative to the tool pointing down"
    assert f"- action: {said}" in card_of(tmp_path / "store", episode)


def test_hands_that_nobody_sees_have_no_figures(tmp_path: Path) -> None:
    (line,) = (line for line in card_of(tmp_path / "store", shown(1, np.zeros(12))) if line.startswith("| Hands"))
    assert line == "| Hands | left in 0% of the frames; right in 0% of the frames |"


def test_landmarks_have_a_row_for_each_axis_and_no_row_is_empty(tmp_path: Path) -> None:
    """The statistics of a table of points are those of its columns, as LeRobot has them."""
    episode = shown(1, np.ones(12))
    lines = card_of(tmp_path / "store", episode)
    rows = [line for line in lines if line.startswith("| observation.hands.right.landmarks |") and "." in line[40:]]
    points = episode.frames[hands.column("right", "landmarks")]
    assert len(rows) == 3 and not any("– | –" in line for line in lines)
    for axis, row in enumerate(rows):
        mean = float(row.replace("\\", "").split("|")[5])
        assert mean == pytest.approx(points[..., axis].mean(), rel=2e-3, abs=1e-4)
