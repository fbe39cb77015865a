"""Rays of a camera, against OpenCV's own projection."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.egocentric.camera import SURE, UNSURE, Camera, camera_of
from dataengine.errors import ConfigError


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.booleans())
def test_a_point_is_on_the_ray_of_its_pixel(seed: int, bent: bool) -> None:
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(seed)
    distortion = tuple(rng.uniform(-1, 1, 5) * (0.2, 0.1, 0.003, 0.003, 0.02)) if bent else ()
    camera = Camera(width=1280, height=720, fx=900, fy=920, cx=650, cy=350, distortion=distortion)
    points = np.stack([*rng.uniform(-0.35, 0.35, (2, 30)), np.ones(30)], 1)
    matrix = np.array([[900, 0, 650], [0, 920, 350], [0, 0, 1.0]])
    seen = cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix, np.array(distortion or (0.0,) * 5))[0]
    pixels = seen.reshape(5, 6, 2)
    pixels[2, 3] = np.nan
    rays = camera.rays(pixels)
    assert np.isnan(rays[2, 3]).all()
    rays[2, 3] = points[2 * 6 + 3, :2]
    np.testing.assert_allclose(rays.reshape(-1, 2), points[:, :2], atol=2e-4)


def test_pictures_of_another_size_have_the_same_rays() -> None:
    camera = Camera(width=1280, height=720, fx=900, fy=900, cx=639.5, cy=359.5)
    half = camera.scaled(640, 360)
    corners = np.array([[-0.5, -0.5], [1279.5, 719.5], [300.5, 20.5]])
    np.testing.assert_allclose(half.rays((corners + 0.5) / 2 - 0.5), camera.rays(corners), atol=1e-12)
    with pytest.raises(ConfigError, match="cut or turned"):
        camera.scaled(720, 1280)


def test_what_is_said_of_a_camera_and_what_is_assumed() -> None:
    said = camera_of({"fov": 90}, 800, 600)
    assert said.fx == pytest.approx(400) and said.spread == SURE
    assumed = camera_of(None, 800, 600)
    assert assumed.spread == UNSURE and 500 < assumed.fx < 800
    full = camera_of({"fx": 1000, "width": 1600, "height": 1200}, 800, 600)
    assert full.fx == full.fy == pytest.approx(500)
    wrongs = (
        {"fov": 200},
        {"cx": 3},
        {"fx": -1},
        {"fx": float("nan")},
        {"fx": 500, "distortion": [1]},
        {"fx": 5, "f": 1},
        {"fov": 60, "spread": "small"},
        {"fx": 500, "cx": 960},  # of other pictures
        {"fx": 500, "cy": -1},
    )
    for wrong in wrongs:
        with pytest.raises(ConfigError):
            camera_of(wrong, 800, 600)
