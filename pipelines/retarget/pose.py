"""Where a parallel gripper would be that does what a hand does.

The tool's frame is that of the engine's arms: origin between the finger pads, x where the fingers point, y the
direction in which they open. On a hand the origin is the middle of thumb tip and index tip, y goes from thumb to index
and x from between the roots of both to the origin. Where the tips touch, y is lost in noise; then, and smoothly on the
way there, the tool stands in the palm as it does on average in the frames of the clip that show it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from dataengine import hands
from pipelines.retarget.hand import Hand, Poses
from pipelines.retarget.rotations import closest

Place = Literal["pinch", "wrist"]
Orientation = Literal["pinch", "palm"]

THUMB_TIP, INDEX_TIP = hands.TIPS[:2]
THUMB_ROOT, INDEX_ROOT = 2, 5  # the joints between which a pinch lies open
# Distance of the tips over the size of the hand: below the first the direction between them says nothing, above the
# second it says all. A tip is uncertain by some 4 mm, which is 11° at 3 cm and 6° at 6 cm; the palm is surer than that.
TOUCHING, APART = 0.15, 0.60
LEAN = np.deg2rad(35.0)  # of the fingers out of the palm's plane in a pinch
# The tool's axes in the palm's frame, as columns, for hands that the clip does not show pinching; the same for either
# hand, since only the palm's x is mirrored.
USUAL = np.array(
    [
        [0.0, 0.0, -1.0],
        [np.cos(LEAN), np.sin(LEAN), 0.0],
        [np.sin(LEAN), -np.cos(LEAN), 0.0],
    ]
)
USUAL_FRAMES = 5.0  # how many frames the usual attitude weighs
LEAST = 1e-3  # what the palm weighs where the pinch is clear: with it no frame is without a rotation


def tool_poses(
    hand: Hand,
    place: Place = "pinch",
    orientation: Orientation = "pinch",
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Poses:
    """Poses of the tool in the camera's frame.

    place: the pinch's centre or the wrist. offset: moves the tool from there, in its own axes [m]. orientation: of the
    pinch, or constant in the palm, for tracks whose fingers are too uncertain.
    """
    thumb, index = hand.landmarks[:, THUMB_TIP], hand.landmarks[:, INDEX_TIP]
    centre = (thumb + index) / 2
    root = (hand.landmarks[:, THUMB_ROOT] + hand.landmarks[:, INDEX_ROOT]) / 2
    jaw, approach = index - thumb, centre - root
    clear = clearness(np.linalg.norm(jaw, axis=-1) / hand.size)
    pinched = _pinched(jaw, approach)
    in_palm = _usual(hand.wrist.turn.swapaxes(-1, -2) @ pinched, clear * hand.seen)
    weight = (clear if orientation == "pinch" else np.zeros_like(clear))[:, None, None]
    turn = closest(weight * pinched + (1 - weight + LEAST) * (hand.wrist.turn @ in_palm))
    start = centre if place == "pinch" else hand.wrist.point
    return Poses(start + turn @ np.asarray(offset, np.float64), turn)


def clearness(ratio: np.ndarray) -> np.ndarray:
    """How much the direction between the tips is worth, 0 to 1 with continuous slope, by their distance over the size
    of the hand."""
    share = np.clip((ratio - TOUCHING) / (APART - TOUCHING), 0.0, 1.0)
    return share * share * (3 - 2 * share)


def _pinched(jaw: np.ndarray, approach: np.ndarray) -> np.ndarray:
    """`(T, 3, 3)` attitude profiles (Wahba 1965) of the pinch alone: the jaw exactly, the approach by as much of it as
    stands across the jaw; zero columns where there is nothing to see."""
    y = _unit(jaw)
    x = _unit(approach)
    x = x - (x * y).sum(-1, keepdims=True) * y
    return np.stack([x, y, np.cross(x, y)], -1)


def _usual(in_palm: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """`(3, 3)`: the mean attitude of the tool in the palm (chordal mean), the usual one counted in. in_palm:
    `(T, 3, 3)`; weight: `(T,)`."""
    return closest((weight[:, None, None] * in_palm).sum(0) + USUAL_FRAMES * USUAL)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Zero stays zero."""
    norm = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, norm, out=np.zeros_like(vectors), where=norm > 1e-9)
