"""What may be wrong with a hand's track, or with an arm or fingers that follow it, frame by frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipelines.retarget.arm import COLLISION, REACH, SPEED, Followed, Tolerance
from pipelines.retarget.cuts import Fault
from pipelines.retarget.hand import Hand

if TYPE_CHECKING:
    from pipelines.retarget.fingers import Fingered


class Trust(NamedTuple):
    """How far a track is believed; None: any. sigma: most standard deviation of the wrist's place [m]. turn_sigma: of
    its rotation [rad]. jump: most speed of the tool [m/s]."""

    sigma: float | None
    turn_sigma: float | None
    jump: float | None


def track_faults(hand: Hand, point: np.ndarray, fps: float, trust: Trust) -> list[Fault]:
    """Of the track itself. point: `(T, 3)` of what is made of it [m]. A leap from or to a frame without a hand is none:
    its columns only repeat their neighbour's."""
    side, there = hand.side, hand.there
    absent = ~there
    found = [Fault(side, "tracked", absent, absent.astype(float), lambda _: f"no {side} hand was found")]
    place, turn = hand.sigma.T
    if trust.sigma is not None:
        most = trust.sigma
        found.append(
            Fault(
                side,
                "sigma",
                there & (place > most),
                place,
                lambda t: f"the wrist's place is sure to {1e3 * place[t]:.0f} mm, asked for are {1e3 * most:.0f} mm",
            )
        )
    if trust.turn_sigma is not None:
        turn_most = trust.turn_sigma
        degrees = np.rad2deg(turn)
        found.append(
            Fault(
                side,
                "turn_sigma",
                there & (turn > turn_most),
                turn,
                lambda t: (
                    f"the palm's rotation is sure to {degrees[t]:.1f}°, asked for are {np.rad2deg(turn_most):.1f}°"
                ),
            )
        )
    if trust.jump is not None:
        fastest = trust.jump
        speed = np.zeros(len(point))
        speed[1:] = np.linalg.norm(np.diff(point, axis=0), axis=1) * fps
        linked = there & np.concatenate([[False], there[:-1]])
        found.append(
            Fault(
                side,
                "jump",
                linked & (speed > fastest),
                speed,
                lambda t: f"the hand leaps at {speed[t]:.1f} m/s, at most {fastest:g} m/s are believed",
                between=True,
            )
        )
    return found


def camera_fault(hand: Hand, lost: np.ndarray) -> Fault:
    """Where a hand is seen from a place that nobody knows. lost: `(T,)` bool."""
    bad = hand.there & lost
    return Fault(hand.side, "camera", bad, bad.astype(float), lambda _: "nothing says where the camera was")


def arm_faults(side: str, followed: Followed, tolerance: Tolerance) -> list[Fault]:
    """Of the arm that follows a hand. A value is what is left over at the tool, place and turn, or how deep it reaches
    into something, as a multiple of what may be."""
    over = (followed.error / [tolerance.place, tolerance.turn]).max(1)
    deep = _depths(followed.touches, len(over)) / tolerance.place
    allowed = f"allowed are {1e3 * tolerance.place:g} mm and {np.rad2deg(tolerance.turn):.3g}°"

    def left(t: int) -> str:
        place, turn = followed.error[t]
        return f"{1e3 * place:.1f} mm and {np.rad2deg(turn):.1f}° are left at the tool, {allowed}"

    return [
        Fault(side, "reach", followed.reason == REACH, over, lambda t: f"no posture reaches it: {left(t)}"),
        Fault(side, "speed", followed.reason == SPEED, over, lambda t: f"the joints are not that fast: {left(t)}"),
        Fault(
            side,
            "collision",
            followed.reason == COLLISION,
            deep,
            lambda t: _into(followed.touches[t]),
        ),
    ]


def finger_faults(
    side: str, fingered: Fingered, apart: float | None, latest: float, depth: float | None
) -> list[Fault]:
    """Of a robot's fingers. apart: most that the fingertips may be from where the scaled hand has them, None: any;
    latest: most that they may be behind. Both the mean over fingers [m], as the values are. depth: most that they may
    reach into one another [m], None: any."""
    late, residual = np.nan_to_num(fingered.late), np.nan_to_num(fingered.residual)
    found = [
        Fault(
            side,
            "finger_speed",
            late > latest,
            late,
            lambda t: (
                f"the fingers are not that fast: tips {1e3 * late[t]:.0f} mm late, allowed are {1e3 * latest:g} mm"
            ),
        )
    ]
    if apart is not None:
        most = apart
        found.append(
            Fault(
                side,
                "finger_reach",
                residual > most,
                residual,
                lambda t: f"the fingertips are {1e3 * residual[t]:.0f} mm off, allowed are {1e3 * most:g} mm",
            )
        )
    if depth is not None:
        deep = _depths(fingered.touches, len(late))
        found.append(
            Fault(
                side,
                "finger_collision",
                deep > depth,
                deep,
                lambda t: f"{_into(fingered.touches[t])}, allowed are {1e3 * depth:g} mm",
            )
        )
    return found


def _depths(touches: Mapping[int, tuple[float, str]], frames: int) -> np.ndarray:
    """`(T,)` [m]."""
    deep = np.zeros(frames)
    deep[list(touches)] = [depth for depth, _ in touches.values()]
    return deep


def _into(touch: tuple[float, str]) -> str:
    return f"{touch[1]} would reach {1e3 * touch[0]:.0f} mm into one another"
