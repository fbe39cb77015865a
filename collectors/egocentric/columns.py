"""From tracks in the picture to columns of an episode: gaps bridged, smoothed, in metres, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from collectors.egocentric.camera import Camera
from collectors.egocentric.identity import Tracks
from collectors.egocentric.metric import FEWEST, Lifted, calibrate, lift, usual
from collectors.egocentric.scale import Sized
from collectors.egocentric.settings import EgoSettings
from collectors.egocentric.signal import fill, smooth
from dataengine import hands

DRIFT = 0.15  # [m/s] by which a bridged gap grows less sure, away from the nearest frame that was seen
TURNING = 1.0  # [rad/s]


@dataclass(frozen=True)
class HandColumns:
    """columns: by feature key. about: by side, what was found of the hand (JSON-able); empty where there was none."""

    columns: Mapping[str, np.ndarray]
    about: Mapping[str, Mapping[str, Any]]


def hand_columns(
    tracks: Tracks, camera: Camera, settings: EgoSettings, fps: float, sizes: Mapping[str, Sized] | None = None
) -> HandColumns:
    """The columns of both hands, those of `hands.features`. sizes: by side, of hands that something measured."""
    columns: dict[str, np.ndarray] = {}
    about: dict[str, dict[str, Any]] = {}
    for place, side in enumerate(hands.SIDES):
        found, about[side] = _hand(tracks, place, side, camera, settings, fps, (sizes or {}).get(side))
        columns |= {hands.column(side, what): values for what, values in found.items()}
    return HandColumns(columns, about)


def _hand(
    tracks: Tracks,
    place: int,
    side: str,
    camera: Camera,
    settings: EgoSettings,
    fps: float,
    sized: Sized | None,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    raw = np.concatenate([tracks.pixels[place], tracks.world[place]], 2, dtype=np.float64)
    pixels, world, score = raw[..., :2], raw[..., 2:], tracks.score[place]
    seen = np.asarray(np.isfinite(pixels).all((1, 2)))
    if not seen.any():
        return _absent(len(seen)), {}
    right, size = side == "right", sized.size if sized is not None else settings.hand_size
    learnt = seen.sum() >= FEWEST
    palm = calibrate(camera.rays(pixels), world, right=right, size=size) if learnt else usual(right=right, size=size)
    spread = sized.spread if sized is not None and learnt else palm.spread
    palm = palm._replace(spread=float(np.hypot(spread, camera.spread)))
    filled, bridged = fill(raw, round(settings.bridge * fps))
    steady = smooth(filled, fps, settings.cutoff)
    del raw, pixels, world, filled  # of a long video they are much
    lifted = lift(camera.rays(steady[..., :2]), steady[..., 2:], palm)
    there = seen | bridged
    wait = _nearest_seen(seen) / fps
    found = {
        "pixels": steady[..., :2],
        "landmarks": smooth(lifted.points, fps, settings.cutoff),
        "wrist": _wrist(lifted, fps, settings.cutoff),
        "confidence": fill(np.where(seen, score, np.nan), len(score))[0] * np.where(bridged, 0.5, 1.0),
        "sigma": np.stack([np.hypot(lifted.sigma, DRIFT * wait), np.hypot(lifted.turn, TURNING * wait)], 1),
    }
    held = {what: _held(values, there).astype(np.float32) for what, values in found.items()}
    held["confidence"] = np.where(there, held["confidence"], 0).astype(np.float32)
    held["tracked"] = np.where(seen, hands.SEEN, np.where(bridged, hands.FILLED, hands.ABSENT)).astype(np.int64)
    return held, {
        "frames": int(seen.sum()),
        "bridged": int(bridged.sum()),
        "palm_learnt": bool(learnt),
        "hand_size_m": round(palm.size, 4),
        "hand_size": sized.to_json() if sized is not None else _said(settings.hand_size),
        "palm_m": np.round(palm.points, 4).tolist(),
        "distance_spread": round(palm.spread, 3),
        "landmark_noise_px": round(palm.noise * camera.fx, 2),
    }


def _said(size: float | None) -> dict[str, Any]:
    if size is not None:
        return {"from": "the user"}
    return {"from": "an average adult", "sigma_m": round(hands.SIZE * hands.SIZE_SPREAD, 4)}


def _wrist(lifted: Lifted, fps: float, cutoff: float) -> np.ndarray:
    """`(T, 7)`: place and quaternion x, y, z, w, the latter without a jump of sign inside a run."""
    found = np.full((len(lifted.points), 7), np.nan)
    there = np.isfinite(lifted.rotation).all((1, 2))
    if there.any():
        quaternions = Rotation.from_matrix(lifted.rotation[there]).as_quat()
        flips = np.sign((quaternions[1:] * quaternions[:-1]).sum(1))
        quaternions[1:] *= np.cumprod(np.where(flips == 0, 1, flips))[:, None]
        found[there, 3:] = quaternions
    found[:, :3] = lifted.points[:, hands.WRIST]
    steady = smooth(found, fps, cutoff)
    steady[:, 3:] /= np.linalg.norm(steady[:, 3:], axis=1, keepdims=True)
    return steady


def _nearest_seen(seen: np.ndarray) -> np.ndarray:
    """`(T,)` how many frames the nearest seen one is away."""
    at, known = np.arange(len(seen)), np.flatnonzero(seen)
    after = np.clip(np.searchsorted(known, at), 0, len(known) - 1)
    return np.minimum(abs(known[after] - at), abs(known[np.maximum(after - 1, 0)] - at))


def _held(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Where there is nothing, the nearest frame that has something: a store takes no NaN."""
    known = np.flatnonzero(there)
    at = np.arange(len(values))
    after = np.clip(np.searchsorted(known, at), 0, len(known) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(abs(known[before] - at) <= abs(known[after] - at), known[before], known[after])
    return values[np.where(there, at, nearest)]


def _absent(length: int) -> dict[str, np.ndarray]:
    """A hand that no frame shows."""
    shapes = {"pixels": (21, 2), "landmarks": (21, 3), "wrist": (7,), "confidence": (), "sigma": (2,)}
    found = {what: np.zeros((length, *shape), np.float32) for what, shape in shapes.items()}
    found["wrist"][:, 6] = 1
    return found | {"tracked": np.full(length, hands.ABSENT, np.int64)}
