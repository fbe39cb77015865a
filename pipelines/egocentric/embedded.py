"""The retargeted motion in the embedded world: its arm with six joints does what the hand did, physics included.

A check that does not look at the video: what is out of the arm's reach is drawn in there and told, and where the tool
really was is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from dataengine.episode import Clip, Episode, derived_id, hash_array
from dataengine.errors import ConfigError, EpisodeError
from pipelines.egocentric.robot_overlay import robot_of
from pipelines.egocentric.told import told
from pipelines.retarget.actions import BASE, following
from pipelines.retarget.rotations import encode

if TYPE_CHECKING:
    from dataengine.sim.world import Tabletop

TASK, ARM, SEED = "pick_red", "six", 0  # the scene it is played in
APPROACH = 1.5  # [s] to where the motion begins
NEAR, TURNED = 0.002, np.deg2rad(2.0)  # [m], [rad]: drawn in by more is out of reach
LARGEST = 640  # [px]


class Replayed(NamedTuple):
    """off: `(T,)` from the tool to where it was told to be, after each step [m]. reached: `(T,)` bool, the target lay
    in the arm's reach."""

    off: np.ndarray
    reached: np.ndarray


@dataclass(frozen=True)
class Played(Clip):
    """One side's motion, seen by a camera of the embedded world. model: the robot's, where joints were told. height:
    and width of the pictures [px]."""

    episode: Episode
    side: str
    model: Path | None = None
    height: int = 360  # type: ignore[assignment]
    camera: str = "front"
    kind: Literal["rgb", "depth"] = "rgb"

    def __post_init__(self) -> None:
        if not 16 <= self.height <= LARGEST:
            raise ConfigError(f"pictures of the embedded world are 16 to {LARGEST} px high, not {self.height}")

    @property
    def length(self) -> int:  # type: ignore[override]
        return self.episode.length

    @property
    def width(self) -> int:  # type: ignore[override]
        return self.height

    @property
    def fps(self) -> float:  # type: ignore[override]
        return self.episode.fps

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        last = self.length if stop is None else min(stop, self.length)
        world, actions = self._begun()
        for frame in range(last):
            if frame >= start:
                yield world.render(self.camera, self.height)
            world.advance(actions[frame])

    def replayed(self) -> Replayed:
        """The whole motion, without pictures."""
        world, actions = self._begun()
        off, reached = np.zeros(self.length), np.zeros(self.length, bool)
        for frame, action in enumerate(actions):
            world.advance(action)
            drawn = world.body.reachable(action[:-1]) - action[:-1]
            off[frame] = np.linalg.norm(world.scene.pose[:3] - action[:3])
            reached[frame] = np.abs(drawn[:3]).max() <= NEAR and np.abs(drawn[3:]).max() <= TURNED
        return Replayed(off, reached)

    def slice(self, start: int, stop: int) -> Played:
        return replace(self, episode=self.episode.slice(start, stop))

    @property
    def fingerprint(self) -> str:
        state = hash_array(self.episode.frames["observation.state"])
        return derived_id(self.episode.id, f"played:{self.side}:{self.height}:{self.camera}:{self.model}:{state}")

    def _begun(self) -> tuple[Tabletop, np.ndarray]:
        """The world with the arm where the motion begins, and actions `(T, 7)`: each row's is the next row's pose."""
        from dataengine.sim.world import Tabletop
        from pipelines.egocentric.painter import tool_poses

        robot = robot_of(self.episode, self.model)
        does = told(self.episode, robot)
        if self.side not in does:
            raise EpisodeError(self.episode.id, f"was not retargeted from the {self.side} hand")
        mine = does[self.side]
        if mine.opening is None:
            raise EpisodeError(self.episode.id, "does not say how far its gripper is open")
        tool = tool_poses(mine, robot)
        angles = encode(tool.turn, "euler", BASE.reference)
        rows = np.concatenate([tool.point, angles, mine.opening[:, None]], 1)
        world = Tabletop(tasks=(TASK,), arm=ARM, fps=self.fps, cameras=())
        world.reset(seed=SEED)
        here = world.hold_action().astype(np.float64)
        ways = np.linspace(0, 1, max(2, round(APPROACH * self.fps)))[:, None]
        for target in here + ways * (rows[0] - here):
            world.advance(target)
        return world, following(rows)
