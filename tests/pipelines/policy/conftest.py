"""A world small enough to learn in seconds: go to the red or to the blue square, whichever is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from dataengine.episode import ArrayClip, Episode, Feature, Meta

NAMES = ("ee.x", "ee.y", "gripper.pos")
FRONT = "observation.images.front"
SIDE = 32


def features() -> dict[str, Feature]:
    units = ("m", "m", "1")
    return {
        "observation.state": Feature("float32", (3,), NAMES, "state", units),
        FRONT: Feature("video", (SIDE, SIDE, 3), ("height", "width", "channels"), "image"),
        "action": Feature("float32", (3,), NAMES, "action", units),
    }


def episode(seed: int, length: int = 12) -> Episode:
    rng = np.random.default_rng(seed)
    squares = rng.uniform([[0.1, 0.1], [0.1, 0.6]], [[0.9, 0.4], [0.9, 0.9]])
    which, tool = int(rng.integers(2)), rng.uniform(0.3, 0.7, 2)
    background = np.full((SIDE, SIDE, 3), 128, np.uint8)
    for (x, y), colour in zip((squares * (SIDE - 1)).astype(int), ((220, 30, 30), (30, 30, 220)), strict=True):
        background[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4] = colour
    state, action = [], []
    for _ in range(length):
        way = squares[which] - tool
        near = float(np.linalg.norm(way) < 0.05)
        goal = tool + way * min(1.0, 0.08 / max(float(np.linalg.norm(way)), 1e-9))
        state.append([*tool, near])
        action.append([*goal, near])
        tool = goal
    return Episode(
        id=f"toy{seed:05d}",
        fps=10.0,
        features=features(),
        frames={"observation.state": np.float32(state), "action": np.float32(action)},
        clips={FRONT: ArrayClip(np.repeat(background[None], length, 0), 10.0)},
        meta=Meta(tasks=(f"go to the {('red', 'blue')[which]} square",), success=True),
    )


@dataclass(frozen=True)
class Source:
    """What `gather` needs of a store, over episodes in memory."""

    listed: tuple[Episode, ...]
    fps: float = 10.0

    @property
    def features(self) -> dict[str, Feature]:
        return dict(self.listed[0].features)

    def __len__(self) -> int:
        return len(self.listed)

    def episodes(self) -> list[Episode]:
        return list(self.listed)

    def map(self, change: Callable[[Episode], Episode]) -> Source:
        return replace(self, listed=tuple(change(e) for e in self.listed))


@pytest.fixture(scope="session")
def toy() -> Source:
    return Source(tuple(episode(seed) for seed in range(24)))


@pytest.fixture(scope="session")
def toy_store(tmp_path_factory: pytest.TempPathFactory, toy: Source) -> Path:
    """The same episodes on disk."""
    from dataengine.store import Store

    root = tmp_path_factory.mktemp("toy") / "store"
    store = Store.create(root, fps=10, features=features())
    with store.writer() as writer:
        for each in toy.episodes():
            writer.append(each)
    return root
