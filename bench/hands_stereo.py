"""How far off is a hand that one camera measures? A second, calibrated camera tells.

Both videos of a synchronised pair go through the tracker; landmarks that both see are triangulated, and what one camera
alone makes of them is compared with that, frame by frame. The pair's unit is not a metre; the triangulated hand gives
the scale: it is taken to be of the usual size, once as known, and once as nobody has measured it, when it may be
anything that people's hands are (the truth is scaled through the quantiles of that).

Targets: wrist and fingertips below two baselines, a hand of constant size (its distance from how long it looks) and the
tracker's own landmarks in space put where they fit the picture; intervals of 80 % hold 70 to 90 % of the errors;
without the fifth that is trusted least the median is lower.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from scipy.stats import norm

from bench.results import DATA, record
from collectors.egocentric.camera import Camera
from collectors.egocentric.columns import hand_columns
from collectors.egocentric.footage import open_footage
from collectors.egocentric.identity import Tracks, assign
from collectors.egocentric.mediapipe_hands import MediaPipeHands
from collectors.egocentric.settings import EgoSettings
from collectors.egocentric.sightings import sightings
from dataengine import hands

FOLDER, SIDE = DATA / "hands", "right"
MOST_APART = 0.012  # of a ray: landmarks that the two cameras do not agree on are no truth
HOLDS = 0.8
SIZES = 9  # quantiles of people's sizes


class View(NamedTuple):
    """One camera, how it stands (points of the rig → its frame), and the tracks of its video."""

    camera: Camera
    rotation: np.ndarray
    place: np.ndarray
    tracks: Tracks
    fps: float

    @property
    def pixels(self) -> np.ndarray:
        return self.tracks.pixels[hands.SIDES.index(SIDE)]


def main() -> None:
    views = [view(number) for number in (0, 1)]
    truth, sure = triangulated(views)
    known = [measured(one, truth[n], sure, hands.SIZE) for n, one in enumerate(views)]
    usual = [measured(one, truth[n], sure, None) for n, one in enumerate(views)]
    lines = {
        "size_known": figures(known),
        "size_unknown": figures(usual) | {"holds": round(float(np.mean([unknown_holds(one) for one in usual])), 3)},
        "constant_size": figures([of_constant_size(one, truth[n], sure) for n, one in enumerate(views)]),
        "world_landmarks": figures([of_world_landmarks(one, truth[n], sure) for n, one in enumerate(views)]),
    }
    ours, others = lines["size_known"], (lines["constant_size"], lines["world_landmarks"])
    better = all(ours[what][0] < other[what][0] for other in others for what in ("wrist_mm", "tips_mm"))
    holds = all(0.7 <= lines[which]["holds"] <= 0.9 for which in ("size_known", "size_unknown"))
    trusted = ours["wrist_mm_of_the_surest"] < ours["wrist_mm"][0]
    record(
        "hands_stereo",
        {
            "target": "wrist and tips below both baselines, intervals of 80 % hold 70 to 90 %, the surest are better",
            "frames": int(sum(len(one.wrist) for one in known)),
            "met": {"better": better, "holds": holds, "trusted": trusted},
            **lines,
            "by_camera": [figures([one]) for one in known],
        },
        met=better and holds and trusted,
    )


class Off(NamedTuple):
    """Over the frames that count. wrist, tips: [mm], `(N,)` and `(N, 5)`. along: error along the sight, told and true
    distance and its stated standard deviation `(N,)` [m]; None where none is stated."""

    wrist: np.ndarray
    tips: np.ndarray
    along: np.ndarray | None = None
    distance: np.ndarray | None = None
    sigma: np.ndarray | None = None


def view(number: int) -> View:
    calibration = FOLDER / "handpose3d_calibration"
    inner = (calibration / f"c{number}.dat").read_text().splitlines()
    matrix = np.array([line.split() for line in inner[1:4]], float)
    lens = tuple(float(each) for each in inner[5].split())
    outer = (calibration / f"rot_trans_c{number}.dat").read_text().splitlines()
    rotation = np.array([line.split() for line in outer[1:4]], float)
    place = np.array([float(line) for line in outer[5:8]])
    footage = open_footage(FOLDER / f"handpose3d_cam{number}.mp4")
    model = Path(os.environ.get("DATAENGINE_HAND_MODEL", DATA / "models" / "hand_landmarker.task"))
    tracks = assign(sightings(footage, MediaPipeHands(model=model)), footage.clip.fps, (SIDE,))
    camera = Camera(
        width=footage.clip.width,
        height=footage.clip.height,
        fx=matrix[0, 0],
        fy=matrix[1, 1],
        cx=matrix[0, 2],
        cy=matrix[1, 2],
        distortion=lens,
    )
    return View(camera, rotation, place, tracks, footage.clip.fps)


def triangulated(views: list[View]) -> tuple[list[np.ndarray], np.ndarray]:
    """`(T, 21, 3)` [m] in each camera's frame, and `(T,)` where the cameras agree."""
    rays = [one.camera.rays(one.pixels) for one in views]
    both = np.isfinite(rays[0]).all((1, 2)) & np.isfinite(rays[1]).all((1, 2))
    rig = np.full((len(both), 21, 3), np.nan)
    stand = [np.hstack([one.rotation, one.place[:, None]]) for one in views]
    for frame in np.flatnonzero(both):
        found = cv2.triangulatePoints(*stand, rays[0][frame].T, rays[1][frame].T)
        rig[frame] = (found[:3] / found[3]).T
    seen = [rig @ one.rotation.T + one.place for one in views]
    apart = [np.linalg.norm(s[..., :2] / s[..., 2:] - r, axis=2) for s, r in zip(seen, rays, strict=True)]
    sure = both.copy()
    sure[both] = np.maximum(*(np.median(each[both], 1) for each in apart)) < MOST_APART
    unit = hands.SIZE / np.median(np.linalg.norm(rig[sure, hands.MIDDLE_KNUCKLE] - rig[sure, hands.WRIST], axis=1))
    return [each * unit for each in seen], sure


def off(points: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    apart = np.linalg.norm(points - truth, axis=2) * 1000
    return apart[:, hands.WRIST], apart[:, list(hands.TIPS)]


def measured(one: View, truth: np.ndarray, sure: np.ndarray, size: float | None) -> Off:
    made = hand_columns(one.tracks, one.camera, EgoSettings(hand_size=size, sides=(SIDE,)), one.fps).columns
    frames = sure & (made[hands.column(SIDE, "tracked")] == hands.SEEN)
    points = made[hands.column(SIDE, "landmarks")][frames].astype(float)
    there = truth[frames]
    distance = there[:, 0, 2]
    sigma = made[hands.column(SIDE, "sigma")][frames, 0].astype(float)
    return Off(*off(points, there), points[:, 0, 2] - distance, distance, sigma)


def unknown_holds(one: Off) -> float:
    """How often the interval holds where the true size is anything people have."""
    assert one.along is not None and one.distance is not None and one.sigma is not None
    half = norm.ppf((1 + HOLDS) / 2)
    scales = 1 + hands.SIZE_SPREAD * norm.ppf((np.arange(SIZES) + 0.5) / SIZES)
    told = one.distance + one.along
    return float(np.mean([np.abs(told - scale * one.distance) <= half * one.sigma for scale in scales]))


def of_constant_size(one: View, truth: np.ndarray, sure: np.ndarray) -> Off:
    """Every landmark as far away as a hand of the usual size that looks this long, facing the camera."""
    rays = one.camera.rays(one.pixels)[sure]
    long = np.linalg.norm(rays[:, hands.MIDDLE_KNUCKLE] - rays[:, hands.WRIST], axis=1)
    points = np.concatenate([rays, np.ones((*rays.shape[:2], 1))], 2) * (hands.SIZE / long)[:, None, None]
    return Off(*off(points, truth[sure]))


def of_world_landmarks(one: View, truth: np.ndarray, sure: np.ndarray) -> Off:
    """The tracker's own landmarks in space, where they look as they are seen."""
    rays, world = one.camera.rays(one.pixels)[sure], one.tracks.world[hands.SIDES.index(SIDE)][sure]
    points = np.empty(world.shape)
    for frame, (ray, hand) in enumerate(zip(rays, world, strict=True)):
        _, turn, place = cv2.solvePnP(hand, ray, np.eye(3), None, flags=cv2.SOLVEPNP_SQPNP)
        points[frame] = hand @ cv2.Rodrigues(turn)[0].T + place[:, 0]
    return Off(*off(points, truth[sure]))


def figures(several: list[Off]) -> dict[str, Any]:
    """Medians and 90th percentiles over both cameras."""
    wrist, tips = np.concatenate([o.wrist for o in several]), np.concatenate([o.tips.ravel() for o in several])
    found: dict[str, Any] = {
        "wrist_mm": np.percentile(wrist, [50, 90]).round(1).tolist(),
        "tips_mm": np.percentile(tips, [50, 90]).round(1).tolist(),
    }
    if all(one.sigma is not None for one in several):
        sigma = np.concatenate([one.sigma for one in several if one.sigma is not None])
        along = np.concatenate([one.along for one in several if one.along is not None])
        half = norm.ppf((1 + HOLDS) / 2)
        found["holds"] = round(float((np.abs(along) <= half * sigma).mean()), 3)
        found["wrist_mm_of_the_surest"] = round(float(np.median(wrist[sigma <= np.quantile(sigma, 0.8)])), 1)
    return found


if __name__ == "__main__":
    main()
