"""How large a hand is: by a depth camera that MuJoCo draws, by a second camera, and by a real pair of them."""

from __future__ import annotations

import dataengine.sim.model  # noqa: F401 – says how MuJoCo shall draw and warn

# isort: split
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import mujoco
import numpy as np
import pytest
from hands_made import FOCAL, person, seen
from PIL import Image
from scipy.spatial.transform import Rotation
from video_foreign import write_video

from collectors.egocentric import videos
from collectors.egocentric.camera import Camera
from collectors.egocentric.columns import hand_columns
from collectors.egocentric.depth import palm_depths
from collectors.egocentric.footage import Footage, open_footage
from collectors.egocentric.identity import Tracks, assign
from collectors.egocentric.mediapipe_hands import MediaPipeHands
from collectors.egocentric.scale import sized, sizes
from collectors.egocentric.settings import EgoSettings
from collectors.egocentric.sightings import sightings
from collectors.egocentric.stereo import Stereo, triangulated, without_others
from collectors.egocentric.videos import EgoVideos
from conftest import shared_data
from dataengine import hands
from dataengine.episode import ArrayClip
from dataengine.errors import ConfigError, SourceError
from dataengine.plugins import Sighting
from dataengine.sim.human_hand import HumanHand, before
from dataengine.sim.human_hand import project as in_picture

LARGE = 0.104  # [m]: a hand that is 15 % larger than usual
WIDTH, HEIGHT = 320, 240


class Filmed(NamedTuple):
    footage: Footage
    tracks: Tracks
    camera: Camera
    points: np.ndarray


def tracks_of(pixels: np.ndarray, points: np.ndarray) -> Tracks:
    """Of a right hand, as a tracker sees it: its own hand is 20 % too small."""
    both = np.full((2, len(pixels), 21, 2), np.nan), np.full((2, len(pixels), 21, 3), np.nan)
    both[0][1], both[1][1] = pixels, 0.8 * (points - points.mean(1, keepdims=True))
    return Tracks(*both, np.ones((2, len(pixels))), 0)


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Filmed:
    """A large hand that opens and closes, its pictures of distances beside `film`; two of them are missing."""
    folder = tmp_path_factory.mktemp("film")
    (folder / "film.depth").mkdir()
    with HumanHand("right", size=LARGE, person=3) as hand:
        move = hand.move("rotate", 1, frames=40, fps=10.0)
        view = hand.camera("ego", WIDTH, HEIGHT)
        points = hand.pose(move.angles, move.place, move.rotation)
        with mujoco.Renderer(hand.model, HEIGHT, WIDTH) as eye:
            eye.enable_depth_rendering()
            for number, pose in enumerate(zip(move.angles, move.place, move.rotation, strict=True)):
                hand.render(*pose, "ego", width=16, height=16)  # puts it there
                eye.update_scene(hand.data, camera="ego")
                if number not in (4, 5):
                    millimetres = (eye.render() * 1000).clip(0, 65535).astype(np.uint16)
                    Image.fromarray(millimetres).save(folder / "film.depth" / f"{number:06d}.png")
    pixels = in_picture(view, points) - 0.5 + np.random.default_rng(0).normal(0, 0.7, (*points.shape[:2], 2))
    f = float(view.matrix[0, 0])
    camera = Camera(width=WIDTH, height=HEIGHT, fx=f, fy=f, cx=WIDTH / 2 - 0.5, cy=HEIGHT / 2 - 0.5)
    clip = ArrayClip(np.zeros((len(points), HEIGHT, WIDTH, 3), np.uint8), 10.0)
    seen_so = before(view, points)
    return Filmed(Footage(folder / "film.mp4", clip, "abc", ()), tracks_of(pixels, seen_so), camera, seen_so)


def wrists_off(filmed: Filmed, settings: EgoSettings, **given: object) -> np.ndarray:
    """[mm]"""
    columns = hand_columns(filmed.tracks, filmed.camera, settings, 10.0, **given).columns
    wrist = columns[hands.column("right", "wrist")][:, :3]
    return 1000 * np.linalg.norm(wrist - filmed.points[:, hands.WRIST], axis=1)


def test_a_depth_camera_says_how_large_a_hand_is(filmed: Filmed) -> None:
    settings = EgoSettings(depth="{stem}.depth", cutoff=0)
    found = sizes(filmed.footage, filmed.tracks, filmed.camera, settings, None)["right"]
    assert found.size == pytest.approx(LARGE, rel=0.04) and abs(found.size - LARGE) < 2 * found.sigma
    assert 0.002 < found.sigma < 0.008 and found.frames >= 30 and found.source == "depth"
    made = hand_columns(filmed.tracks, filmed.camera, settings, 10.0, {"right": found})
    about = made.about["right"]
    assert about["distance_spread"] == pytest.approx(np.hypot(found.spread, filmed.camera.spread), abs=0.001)
    assert about["hand_size"] == found.to_json() and about["hand_size_m"] == round(found.size, 4)
    measured, unknown = wrists_off(filmed, settings, sizes={"right": found}), wrists_off(filmed, settings)
    assert np.median(measured) < 15 and np.median(measured) < 0.4 * np.median(unknown)
    sigma = made.columns[hands.column("right", "sigma")][:, 0]
    off = made.columns[hands.column("right", "wrist")][:, 2] - filmed.points[:, hands.WRIST, 2]
    assert (np.abs(off) < 1.2816 * sigma).mean() > 0.6


def test_distances_are_those_of_the_joints_and_smaller_pictures_say_them_too(filmed: Filmed, tmp_path: Path) -> None:
    pixels, frames = filmed.tracks.pixels[1], np.arange(0, 40, 4)
    full = palm_depths(filmed.footage.path.with_name("film.depth"), filmed.footage, pixels, frames)
    assert np.isnan(full[4]).all() and np.isnan(full[1]).all()  # missing, not asked for
    off = (full - filmed.points[:, list(hands.PALM), 2])[frames]
    assert abs(np.nanmedian(off)) < 0.006 and np.isfinite(off).mean() > 0.6
    for number in frames.tolist():
        path = filmed.footage.path.with_name("film.depth") / f"{number:06d}.png"
        if path.exists():
            Image.fromarray(np.asarray(Image.open(path))[::2, ::2]).save(tmp_path / path.name)
    half = palm_depths(tmp_path, filmed.footage, pixels, frames)
    assert abs(np.nanmedian(half - full)) < 0.003


def test_a_thing_before_the_palm_is_not_the_palm(filmed: Filmed, tmp_path: Path) -> None:
    """In a third of the pictures something 20 cm before the camera hides half of it."""
    for path in filmed.footage.path.with_name("film.depth").iterdir():
        picture = np.array(Image.open(path))
        if int(path.stem) % 3 == 0:
            picture[:, : WIDTH // 2] = 200
        Image.fromarray(picture).save(tmp_path / path.name)
    frames = np.arange(40)
    measured = palm_depths(tmp_path, filmed.footage, filmed.tracks.pixels[1], frames)
    found = sized(filmed.tracks, "right", filmed.camera, measured, "depth")
    assert found is not None and found.size == pytest.approx(LARGE, rel=0.05)
    stripes = np.where(np.arange(WIDTH) % 2, 300, 600).astype(np.uint16) * np.ones((HEIGHT, 1), np.uint16)
    Image.fromarray(stripes).save(tmp_path / "000000.png")
    edges = palm_depths(tmp_path, filmed.footage, filmed.tracks.pixels[1], frames[:1])
    assert np.isnan(edges).all()  # neither of both, nor between them


def test_what_is_no_distance_says_so(filmed: Filmed, tmp_path: Path) -> None:
    def look(folder: Path) -> None:
        palm_depths(folder, filmed.footage, filmed.tracks.pixels[1], np.arange(3))

    with pytest.raises(SourceError, match=r"is not there.*000000\.png"):
        look(tmp_path / "nothing")
    with pytest.raises(SourceError, match="none of the 3 pictures"):
        look(tmp_path)
    (tmp_path / "000000.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(SourceError, match="no picture that can be read"):
        look(tmp_path)
    Image.fromarray(np.zeros((240, 320), np.uint8)).save(tmp_path / "000000.png")
    with pytest.raises(SourceError, match=r"not numbers of 16 bits"):
        look(tmp_path)
    (tmp_path / "000000.png").unlink()
    (tmp_path / "000000.png").symlink_to(filmed.footage.path.with_name("film.depth") / "000000.png")
    with pytest.raises(SourceError, match="leads out"):
        look(tmp_path)


def test_two_cameras_measure_a_hand_of_any_size() -> None:
    """Rays of both with a pixel of noise, the other 20 cm to the right and turned in."""
    turn, shift = Rotation.from_euler("y", 20, degrees=True).as_matrix(), np.array([-0.2, 0.01, 0.04])
    points, rays, _ = seen(person(2) * (LARGE / hands.SIZE), 60, noise=1.0)
    there = points @ turn.T + shift
    others = there[..., :2] / there[..., 2:] + np.random.default_rng(1).normal(0, 1 / FOCAL, rays.shape)
    others[7, 3] = np.nan
    found, apart = triangulated(rays, others, turn, shift)
    assert np.isnan(found[7, 3]).all() and np.median(np.linalg.norm(found - points, axis=2)[:7]) < 0.01
    assert np.nanmedian(apart) < 2 / FOCAL
    camera = Camera(width=1280, height=720, fx=FOCAL, fy=FOCAL, cx=639.5, cy=359.5)
    tracks = tracks_of(rays * FOCAL + (639.5, 359.5), points)
    size = sized(tracks, "right", camera, found[:, list(hands.PALM), 2], "stereo")
    assert size is not None and size.size == pytest.approx(LARGE, rel=0.04) and abs(size.size - LARGE) < size.sigma
    few = np.full((60, 6), np.nan)
    few[:5] = found[:5, list(hands.PALM), 2]
    assert sized(tracks, "right", camera, few, "stereo") is None


def test_the_real_pair_agrees_with_what_it_triangulates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rig's unit is chosen so that the triangulated hand has 100 mm: nobody's usual hand."""
    pytest.importorskip("mediapipe")
    if "DATAENGINE_CACHE" not in os.environ:
        monkeypatch.setenv("DATAENGINE_CACHE", str(tmp_path))
    folder, size = shared_data("hands/handpose3d_calibration").parent, 0.100
    tracker = MediaPipeHands(model=shared_data("models/hand_landmarker.task"))
    lenses, stands = zip(*(_calibration(folder / "handpose3d_calibration", n) for n in (0, 1)), strict=True)
    for name in ("handpose3d_cam0.mp4", "handpose3d_cam1.mp4"):
        (tmp_path / name).symlink_to(folder / name)
    footage = open_footage(tmp_path / "handpose3d_cam0.mp4")
    footage = footage._replace(clip=footage.clip.slice(0, 48))
    tracks = assign(sightings(footage, tracker), footage.clip.fps, ("right",))
    turn = stands[1][0] @ stands[0][0].T
    shift = stands[1][1] - turn @ stands[0][1]
    other = open_footage(tmp_path / "handpose3d_cam1.mp4")
    theirs = assign(sightings(other._replace(clip=other.clip.slice(0, 48)), tracker), other.clip.fps, ("right",))
    rays = [lens.rays(t.pixels[1].astype(float)) for lens, t in zip(lenses, (tracks, theirs), strict=True)]
    points, apart = triangulated(*rays, turn, shift)
    sure = np.median(np.nan_to_num(apart, nan=1.0), axis=1) < 0.012
    length = np.median(np.linalg.norm(points[sure, hands.MIDDLE_KNUCKLE] - points[sure, hands.WRIST], axis=1))
    palm = np.where(apart < 0.012, points[..., 2], np.nan)[:, list(hands.PALM)] * (size / length)
    found = sized(tracks, "right", lenses[0], palm, "stereo")
    assert found is not None and found.size == pytest.approx(size, rel=0.06)
    assert abs(found.size - size) < 2 * found.sigma
    truth = points[sure, hands.WRIST] * (size / length)

    def off(**given: object) -> float:
        made = hand_columns(tracks, lenses[0], EgoSettings(sides=("right",)), footage.clip.fps, **given).columns
        return float(np.median(np.linalg.norm(made[hands.column("right", "wrist")][sure, :3] - truth, axis=1)))

    assert off(sizes={"right": found}) < 0.6 * off()


def _calibration(folder: Path, number: int) -> tuple[Camera, tuple[np.ndarray, np.ndarray]]:
    inner = (folder / f"c{number}.dat").read_text().splitlines()
    matrix = np.array([line.split() for line in inner[1:4]], float)
    lens = tuple(float(each) for each in inner[5].split())
    outer = (folder / f"rot_trans_c{number}.dat").read_text().splitlines()
    stand = np.array([line.split() for line in outer[1:4]], float), np.array([float(line) for line in outer[5:8]])
    fx, fy, cx, cy = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
    return Camera(width=720, height=720, fx=fx, fy=fy, cx=cx, cy=cy, distortion=lens), stand


NINE = [1.0, 0, 0, 0, 1, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"depth": "x", "hand_size": 0.09}, "one of hand_size, depth and stereo"),
        ({"depth": "../elsewhere"}, "depth: .*beside"),
        ({"stereo": {"other": "{stem}_r.mp4", "rotation": NINE, "translation": [0, 0, 0]}}, "a baseline"),
        ({"stereo": {"other": "{stem}_r.mp4", "rotation": [1, 2], "translation": [0.1, 0, 0]}}, "no rotation"),
        ({"stereo": {"other": "/a/b.mp4", "rotation": NINE, "translation": [0.1, 0, 0]}}, "beside"),
        ({"stereo": {"other": "{stem}.mp4", "rotation": NINE, "translation": [0.1, 0, 0]}}, "nothing else"),
    ],
)
def test_settings_that_make_no_sense(given: dict, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        EgoSettings(**given)


TURNED, SHIFTED = Rotation.from_euler("y", 20, degrees=True), np.array([-0.2, 0.01, 0.04])


class Both:
    """A tracker that sees one waving hand from the first camera in dark pictures, from the second in bright ones."""

    version = "both 1"

    def track(self, pictures: Iterable[np.ndarray], fps: float) -> Iterator[list[Sighting]]:
        hand = person(2) * (LARGE / hands.SIZE) * [1.0, -1.0, -1.0]
        for number, picture in enumerate(pictures):
            tilt = Rotation.from_euler("xy", [0.3 * np.sin(number / 7), 0.4 * np.cos(number / 5)])
            points = tilt.apply(hand) + np.array([0.05 * np.sin(number / 9), 0.0, 0.5])
            points = TURNED.apply(points) + SHIFTED if picture.mean() > 125 else points
            pixels = points[:, :2] / points[:, 2:] * 600 + 31.5
            world = 0.8 * (points - points.mean(0))
            yield [Sighting(pixels.astype(np.float32), world.astype(np.float32), True, 0.9)]


def test_a_second_video_measures_the_hand_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAENGINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(videos, "_tracker", lambda settings: Both())
    for name, level in (("a.mp4", 60), ("a_right.mp4", 200)):
        write_video(tmp_path, np.full((30, 64, 64, 3), level, np.uint8), name=name)
    rig = {"other": "{stem}_right.mp4", "rotation": TURNED.as_matrix().tolist(), "translation": SHIFTED.tolist()}
    lens = {"fx": 600.0, "cx": 31.5, "cy": 31.5}
    plan = EgoVideos().plan(tmp_path, {"stereo": rig, "intrinsics": lens})
    assert [ref.name for ref in plan.episodes] == ["a.mp4"]
    assert any(each.key == "hand_size" and "second camera" in each.why for each in plan.assumptions)
    about = EgoVideos().read(plan, plan.episodes[0]).meta.extra["hands"]["right"]
    assert about["hand_size"]["from"] == "stereo" and about["hand_size_m"] == pytest.approx(LARGE, rel=0.04)
    write_video(tmp_path, np.full((20, 64, 64, 3), 200, np.uint8), name="a_right.mp4")
    with pytest.raises(SourceError, match=r"a_right\.mp4.*20 pictures.*a\.mp4 30"):
        EgoVideos().read(plan, plan.episodes[0])


def test_the_second_cameras_videos_are_no_episodes(tmp_path: Path) -> None:
    stereo = Stereo(other="{stem}_right.mp4", rotation=(*NINE,), translation=(-0.1, 0.0, 0.0))
    videos = [tmp_path / name for name in ("a.mp4", "a_right.mp4", "b.mp4", "b_right.mp4")]
    assert [each.name for each in without_others(videos, stereo)] == ["a.mp4", "b.mp4"]
    assert stereo.turn.shape == (3, 3) and stereo.video(videos[0]) == videos[1]
