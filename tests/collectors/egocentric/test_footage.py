"""Videos as phones and cameras leave them: upright and even afterwards, and what can be copied is not touched."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from video_foreign import by_hand, moving, write_video

from collectors.egocentric.footage import Seen, open_footage
from dataengine.errors import SourceError
from dataengine.video import VideoClip


def corner(frames: np.ndarray) -> np.ndarray:
    """The number that `moving` wrote into each frame."""
    return np.round(frames[:, 2:14, 2:14].mean((1, 2, 3)) / 7).astype(int)


def all_of(clip) -> np.ndarray:
    return np.stack(list(clip.frames()))


def test_an_even_video_is_itself(tmp_path: Path) -> None:
    path = write_video(tmp_path, moving(30), rate=25, sound=True, tags={"location": "+48.1+011.5/"})
    footage = open_footage(path)
    assert isinstance(footage.clip, VideoClip) and footage.clip.fps == 25 and footage.clip.length == 30
    assert footage.notes[0] == "its sound was left out" and "location" in footage.notes[1]
    assert len(footage.sha256) == 64


@pytest.mark.parametrize("name", ["film.mkv", "film.webm", "film.mov"])
def test_clocks_of_a_millisecond_are_even_enough(tmp_path: Path, name: str) -> None:
    encoder = "libvpx-vp9" if name.endswith("webm") else "libx264"
    ticks = [round(n * 1000 / 29.97) for n in range(20)]
    path = write_video(
        tmp_path, moving(20), encoder, name=name, rate=Fraction(2997, 100), time_base=Fraction(1, 1000), times=ticks
    )
    clip = open_footage(path).clip
    assert isinstance(clip, VideoClip) and clip.length == 20 and clip.fps == pytest.approx(29.97, rel=0.005)


# The matrix of the header that turns a picture a quarter with the clock, by half, and a quarter against it.
TURNS = {
    90: (0, 1 << 16, 0, -(1 << 16), 0, 0),
    180: (-(1 << 16), 0, 0, 0, -(1 << 16), 0),
    270: (0, -(1 << 16), 0, 1 << 16, 0, 0),
}


@pytest.mark.parametrize("degrees", TURNS)
def test_a_phone_held_upright_is_seen_upright(tmp_path: Path, degrees: int) -> None:
    cv2 = pytest.importorskip("cv2")
    path = write_video(tmp_path, moving(6))
    data = path.read_bytes()
    at = data.index(b"tkhd") + 4 + 40
    path.write_bytes(data[:at] + struct.pack(">9i", *TURNS[degrees], 0, 0, 1 << 30) + data[at + 36 :])
    footage = open_footage(path)
    found = all_of(footage.clip)
    film = cv2.VideoCapture(str(path))  # turns pictures by itself
    theirs = np.stack([film.read()[1][..., ::-1] for _ in range(6)])
    assert found.shape == theirs.shape == ((6, 48, 64, 3) if degrees == 180 else (6, 64, 48, 3))
    assert (footage.clip.height, footage.clip.width) == found.shape[1:3]
    assert np.abs(found.astype(int) - theirs).mean() < 3
    assert any("turned by" in note for note in footage.notes)


def test_uneven_times_show_what_was_on_the_screen(tmp_path: Path) -> None:
    steps = np.array([33, 33, 66, 33, 100, 17, 16, 33, 33, 200, 33, 33])
    ticks = np.concatenate([[0], np.cumsum(steps)])
    path = write_video(tmp_path, moving(13), time_base=Fraction(1, 1000), times=ticks.tolist())
    footage = open_footage(path, fps=30)
    clip = footage.clip
    seconds = (ticks[-1] + 33) / 1000
    assert isinstance(clip, Seen) and clip.length == round(seconds * 30)
    instants = (np.arange(clip.length) + 0.5) / 30 * 1000
    want = np.searchsorted(ticks, instants, side="right") - 1
    np.testing.assert_array_equal(corner(all_of(clip)), want)
    np.testing.assert_array_equal(corner(all_of(clip.slice(5, 12))), want[5:12])
    np.testing.assert_array_equal(corner(np.stack(list(clip.frames(3, 6)))), want[3:6])
    assert "uneven" in footage.notes[0] and clip.fingerprint != clip.slice(5, 12).fingerprint


def test_another_rate_is_taken_from_the_nearest_instants(tmp_path: Path) -> None:
    path = write_video(tmp_path, moving(36), rate=30)
    clip = open_footage(path, fps=10).clip
    np.testing.assert_array_equal(corner(all_of(clip)), np.arange(12) * 3 + 1)


def test_pictures_in_a_folder_are_counted_as_people_do(tmp_path: Path) -> None:
    frames = moving(12)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"shot {number}.png")
    footage = open_footage(tmp_path)
    assert footage.clip.fps == 30 and footage.clip.length == 12
    np.testing.assert_array_equal(all_of(footage.clip), frames)
    again = open_footage(tmp_path, fps=5)
    assert again.clip.fps == 5 and again.sha256 == footage.sha256
    Image.fromarray(frames[0][:, :32]).save(tmp_path / "shot 12.png")
    with pytest.raises(SourceError, match=r"shot 12\.png.*32×48, the first picture 64×48"):
        all_of(open_footage(tmp_path).clip)


def test_what_is_no_footage_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no pictures"):
        open_footage(tmp_path / "empty")
    with pytest.raises(SourceError, match="is not there"):
        open_footage(tmp_path / "nothing.mp4")
    text = tmp_path / "film.mp4"
    text.write_text("no film")
    with pytest.raises(SourceError, match=r"film\.mp4"):
        open_footage(text)
    shots = tmp_path / "shots"
    shots.mkdir()
    (shots / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(SourceError, match=r"a\.png.*no picture"):
        open_footage(shots)
    (shots / "a.png").unlink()
    Image.fromarray(moving(1)[0]).save(tmp_path / "elsewhere.png")
    (shots / "a.png").symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(SourceError, match="leads out"):
        open_footage(shots)
    with pytest.raises(SourceError, match="fps is 1 to 240"):
        open_footage(tmp_path, fps=0.1)


def test_frames_are_decoded_once_and_in_order(tmp_path: Path) -> None:
    path = write_video(tmp_path, moving(24))
    clip = Seen(VideoClip.from_file(path), (0, 0, 3, 3, 7, 20))
    assert corner(all_of(clip)).tolist() == [0, 0, 3, 3, 7, 20]
    np.testing.assert_array_equal(all_of(clip)[4], by_hand(path)[7])
    assert list(clip.frames(2, 2)) == []
