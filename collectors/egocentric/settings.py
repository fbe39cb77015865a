"""What can be said of videos of hands: the fields of a mapping file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collectors.egocentric.board import FORMS, Board
from collectors.egocentric.faces import settings_of
from collectors.egocentric.motion import Motion
from collectors.egocentric.stereo import beside, stereo_of
from dataengine import hands
from dataengine.errors import ConfigError

SIZES = (0.05, 0.14)  # [m]


@dataclass(frozen=True, kw_only=True)
class EgoSettings:
    """tracker: a hand tracker by name, its parameters, and which version of it must be there. fps: of the episodes; the
    videos' own, or the commonest of several, by default. camera: the name of the picture's feature. intrinsics: of all
    videos: the fields of `camera.Camera`, or `fov`, degrees along the longer side. hand_size: from the wrist to the
    knuckle of the middle finger [m], where it was measured; an average adult's otherwise, and the distances are less
    sure. depth: instead, the name of a folder of distances beside each video (`depth.py`), `{stem}` for the video's
    name without its ending. stereo: or the fields of `stereo.Stereo`, a second camera. board: or a board that lies in
    the scene (`board.FORMS`), beside which a hand lies flat and at rest for a second; it says `motion` too. sides: the
    hands there may be. bridge: gaps of a track that are filled, at most [s]. cutoff: of the smoothing [Hz]; 0 is none.
    motion: of the camera, "still", "estimate" from the background, or "board", over that; nothing is said of it by
    default. faces: the fields of `faces.FaceSettings`; nobody looks for them by default. task: of every video that no
    text file beside it (`<video>.txt`, its first line) says the task of.
    """

    tracker: str = "mediapipe"
    tracker_params: Mapping[str, Any] = field(default_factory=dict)
    tracker_version: str | None = None
    fps: float | None = None
    camera: str = "ego"
    intrinsics: Mapping[str, Any] | None = None
    hand_size: float | None = None
    depth: str | None = None
    stereo: Mapping[str, Any] | None = None
    board: str | None = None
    sides: tuple[str, ...] = hands.SIDES
    bridge: float = 0.25
    cutoff: float = 6.0
    motion: Motion = "none"
    faces: Mapping[str, Any] | None = None
    task: str | None = None
    operator: str | None = None
    licence: str | None = None

    @property
    def sized(self) -> bool:
        """Whether something other than a board says how large a hand is."""
        return any(each is not None for each in (self.hand_size, self.depth, self.stereo))

    def __post_init__(self) -> None:
        if self.hand_size is not None and not SIZES[0] <= self.hand_size <= SIZES[1]:
            raise ConfigError(
                f"hand_size is from wrist to middle knuckle [m], {SIZES[0]} to {SIZES[1]}, not {self.hand_size}"
            )
        if sum(each is not None for each in (self.hand_size, self.depth, self.stereo)) > 1:
            raise ConfigError("one of hand_size, depth and stereo says how large a hand is, not several")
        if self.stereo is not None:
            stereo_of(self.stereo)
        if self.board is not None and Board.said(self.board).square is None:
            raise ConfigError(f"board: {self.board} says no size of its squares, in m: {self.board}:0.025")
        if self.motion == "board" and self.board is None:
            raise ConfigError(f"motion: board needs the board: {FORMS}")
        if self.depth is not None:
            beside(Path("video.mp4"), self.depth, "depth")
        if not self.sides or len(set(self.sides)) < len(self.sides) or set(self.sides) - set(hands.SIDES):
            raise ConfigError(f"sides are of {', '.join(hands.SIDES)}, not {', '.join(self.sides) or 'none'}")
        if not 0 <= self.bridge <= 5 or not 0 <= self.cutoff <= 120:
            raise ConfigError(f"bridge={self.bridge} s is 0 to 5, cutoff={self.cutoff} Hz 0 to 120")
        if not self.camera.isidentifier():
            raise ConfigError(f"camera {self.camera!r} is no name of letters, digits and _")
        if self.faces is not None:
            settings_of(self.faces)
