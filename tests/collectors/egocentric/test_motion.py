"""What an episode says of its camera's motion, and that nobody takes an estimated path for metres."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from rooms_made import FOV, HEIGHT, WIDTH, film, looking, room
from scipy.spatial.transform import Rotation
from video_foreign import moving, write_video

from collectors.egocentric import motion, odometry, videos
from collectors.egocentric.videos import EgoVideos
from dataengine import hands
from dataengine.episode import Episode
from dataengine.errors import ConfigError
from dataengine.plugins import Sighting
from dataengine.store import Store


class Nobody:
    """Sees no hand."""

    version = "nobody 1"

    def track(self, pictures: Iterable[np.ndarray], fps: float) -> Iterator[list[Sighting]]:
        for _ in pictures:
            yield list[Sighting]()


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATAENGINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(videos, "_tracker", lambda settings: Nobody())


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second of going to the side and looking around, 40 pictures a second."""
    time = np.linspace(0, 1, 20)[:, None]
    stands = np.array([0.0, -0.5, 0.9])
    turns = looking(stands, np.array([0.0, 0.8, 0.1])) @ Rotation.from_rotvec(time * [0.05, 0.12, 0.0]).as_matrix()
    pictures = film(room(1), stands + time * [0.2, 0.0, 0.05], turns)
    return write_video(tmp_path_factory.mktemp("films"), pictures, options={"crf": "12"})


def read(path: Path, **mapping: object) -> Episode:
    lens = {"fov": float(np.rad2deg(2 * np.arctan(np.tan(np.deg2rad(FOV / 2)) * WIDTH / HEIGHT)))}
    plan = EgoVideos().plan(path, {"intrinsics": lens, **mapping})
    return EgoVideos().read(plan, plan.episodes[0])


def test_nothing_is_said_where_nothing_is_asked(tmp_path: Path) -> None:
    episode = read(write_video(tmp_path, moving(20)))
    assert hands.CAMERA_POSE not in episode.features and "camera_motion" not in episode.meta.extra
    with pytest.raises(ConfigError, match=r"motion.*'none', 'still', 'estimate'"):
        read(tmp_path / "foreign.mp4", motion="moving")


def test_a_user_who_says_that_it_stands_still_is_believed(tmp_path: Path) -> None:
    episode = read(write_video(tmp_path, moving(20)), motion="still")
    assert (episode.frames[hands.CAMERA_POSE] == [0, 0, 0, 0, 0, 0, 1]).all()
    assert (episode.frames[hands.CAMERA_QUALITY] == 1).all()
    assert episode.features[hands.CAMERA_POSE].unit[:3] == ("m", "m", "m")
    assert episode.meta.extra["camera_motion"] == {"kind": "still", "from": "the user", "scale": "metric"}


def test_an_estimated_path_has_no_metres_and_says_so(filmed: Path, tmp_path: Path) -> None:
    episode = read(filmed, motion="estimate")
    pose, said = episode.frames[hands.CAMERA_POSE], episode.meta.extra["camera_motion"]
    assert said["kind"] == "moves" and said["scale"].startswith("unknown") and said["lost"] == 0
    assert np.rad2deg(Rotation.from_quat(pose[-1, 3:]).magnitude()) == pytest.approx(np.rad2deg(0.13), abs=1)
    assert np.linalg.norm(pose[-1, :3]) > 0.05 and (episode.frames[hands.CAMERA_QUALITY] > 0.7).all()
    assert episode.features[hands.CAMERA_POSE].unit == ("1",) * 7
    assert any(text.startswith("motion = ") and "unknown" in text for text in episode.meta.lineage[0].assumed)
    store = Store.create(tmp_path / "store", fps=episode.fps, features=episode.features)
    with store.writer() as writer:
        writer.append(episode)
    kept = Store.open(tmp_path / "store")[0]
    assert kept.features[hands.CAMERA_POSE].unit == ("1",) * 7
    np.testing.assert_array_equal(kept.frames[hands.CAMERA_POSE], pose)


@pytest.mark.parametrize("damage", [None, b"", b"nonsense"])
def test_a_second_look_is_needed_only_where_what_was_kept_is_damaged(
    filmed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes | None
) -> None:
    looked = []
    real = odometry.camera_motion
    monkeypatch.setattr(odometry, "camera_motion", lambda *given: looked.append(1) or real(*given))
    first = read(filmed, motion="estimate")
    (kept,) = (tmp_path / "cache" / "camera").glob("*.npz")
    if damage is not None:
        kept.write_bytes(damage)
    again = read(filmed, motion="estimate", cutoff=3)
    np.testing.assert_array_equal(first.frames[hands.CAMERA_POSE], again.frames[hands.CAMERA_POSE])
    assert len(looked) == (1 if damage is None else 2)
    assert motion.features("none") == {} and motion.assumptions("none") == ()
