"""Columns of hands: finite everywhere, true where a hand is, and honest about where it was not."""

from __future__ import annotations

import numpy as np
import pytest
from hands_made import FOCAL, person
from scipy.spatial.transform import Rotation

from collectors.egocentric.camera import Camera
from collectors.egocentric.columns import hand_columns
from collectors.egocentric.identity import Tracks
from collectors.egocentric.settings import EgoSettings
from dataengine import hands

CAMERA = Camera(width=1280, height=720, fx=FOCAL, fy=FOCAL, cx=639.5, cy=359.5)
FPS = 30.0


def moving(count: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A right hand that wanders smoothly: `(T, 21, 3)` points [m], its rotations, and what a tracker calls world."""
    time = np.arange(count) / FPS
    turn = Rotation.from_euler("xyz", 0.4 * np.sin(np.outer(time, [1.1, 0.7, 0.9]))) * Rotation.from_matrix(
        np.diag([1.0, -1.0, -1.0])
    )
    place = np.stack([0.1 * np.sin(time), 0.08 * np.cos(0.7 * time), 0.5 + 0.1 * np.sin(0.5 * time)], 1)
    about = person(seed) @ turn.as_matrix().transpose(0, 2, 1)
    return about + place[:, None], turn.as_matrix(), about - about.mean(1, keepdims=True)


def tracks(gone: list[range], noise: float = 0.7) -> tuple[Tracks, np.ndarray, np.ndarray]:
    points, turn, world = moving()
    pixels = points[..., :2] / points[..., 2:] * FOCAL + (639.5, 359.5)
    pixels += np.random.default_rng(1).normal(0, noise, pixels.shape)
    for span in gone:
        pixels[list(span)] = world[list(span)] = np.nan
    both = np.full((2, *pixels.shape), np.nan), np.full((2, *world.shape), np.nan)
    both[0][1], both[1][1] = pixels, world
    score = np.stack([np.zeros(len(pixels)), np.where(np.isfinite(pixels[:, 0, 0]), 0.9, 0)])
    return Tracks(*both, score, 0), points, turn


def test_hands_are_where_they_are_and_gaps_say_what_they_are() -> None:
    found, points, turn = tracks([range(0, 5), range(40, 45), range(80, 95)])
    made = hand_columns(found, CAMERA, EgoSettings(hand_size=hands.SIZE), FPS)
    columns = {key.rsplit(".", 1)[1]: value for key, value in made.columns.items() if ".right." in key}
    want = np.full(120, hands.SEEN)
    want[:5] = want[80:95] = hands.ABSENT
    want[40:45] = hands.FILLED
    np.testing.assert_array_equal(columns["tracked"], want)
    there = want != hands.ABSENT
    off = np.linalg.norm(columns["landmarks"] - points, axis=2)[there] * 1000
    assert np.median(off) < 20
    assert np.median(np.linalg.norm(columns["wrist"][there, :3] - points[there, 0], axis=1)) < 0.02
    apart = (Rotation.from_quat(columns["wrist"][there, 3:]).inv() * Rotation.from_matrix(turn[there])).magnitude()
    assert np.degrees(np.median(apart)) < 12
    assert (np.abs(np.diff(columns["wrist"][5:80, 3:], axis=0)).max(1) < 0.1).all()  # no quaternion jumps to its twin
    assert columns["sigma"][42, 0] > columns["sigma"][38, 0] and columns["sigma"][42, 1] > columns["sigma"][38, 1]
    assert (columns["confidence"][~there] == 0).all() and columns["confidence"][42] == pytest.approx(0.45)
    for what, value in columns.items():
        np.testing.assert_array_equal(value[0], value[0] if what in ("confidence", "tracked") else value[5])
        assert np.isfinite(value).all()
    about = made.about["right"]
    assert (about["frames"], about["bridged"]) == (100 - 5, 5) and about["distance_spread"] < 0.06


@pytest.mark.parametrize("seen", [0, 1, 5])
def test_the_columns_are_those_of_the_contract_also_for_a_photograph_and_without_a_hand(seen: int) -> None:
    found, points, _ = tracks([range(seen, 120)])  # too few to learn a palm from
    made = hand_columns(found, CAMERA, EgoSettings(), FPS)
    features = {key: feature for side in hands.SIDES for key, feature in hands.features(side).items()}
    assert made.columns.keys() == features.keys()
    for key, feature in features.items():
        shape = () if feature.shape == (1,) else feature.shape
        assert made.columns[key].shape == (120, *shape) and str(made.columns[key].dtype) == feature.dtype, key
        assert np.isfinite(made.columns[key]).all()
    assert (made.columns[hands.column("right", "tracked")] == hands.SEEN).sum() == seen
    assert (made.columns[hands.column("left", "wrist")] == [0, 0, 0, 0, 0, 0, 1]).all()
    assert made.about["left"] == {}
    if seen:
        said = made.about["right"]
        assert not said["palm_learnt"] and said["distance_spread"] > 0.09 and said["frames"] == seen
        assert np.linalg.norm(made.columns[hands.column("right", "wrist")][0, :3] - points[0, 0]) < 0.1


def test_what_is_not_known_makes_distances_less_sure() -> None:
    found, *_ = tracks([])
    sure = hand_columns(found, CAMERA, EgoSettings(hand_size=0.09), FPS).about["right"]["distance_spread"]
    size = hand_columns(found, CAMERA, EgoSettings(), FPS).about["right"]["distance_spread"]
    lens = Camera(**{**CAMERA.to_json(), "spread": 0.15})
    neither = hand_columns(found, lens, EgoSettings(), FPS).about["right"]["distance_spread"]
    assert sure < size < neither and neither > 0.15
