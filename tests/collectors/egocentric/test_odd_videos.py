"""Odd, broken and hostile footage: each gives what it shows, or one clear error; nothing hangs, nothing is followed out
of its folder."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image
from video_foreign import by_hand, moving, write_video

from collectors.egocentric import footage as footages
from collectors.egocentric import videos
from collectors.egocentric.footage import open_footage
from collectors.egocentric.videos import EgoVideos
from dataengine.errors import SourceError, VideoError
from dataengine.flow import run_flow
from dataengine.store import Store
from dataengine.video import VideoClip

FRAMES = moving(12)


class Blind:
    """Sees no hand, and looks at every picture."""

    version = "blind 1"

    def track(self, pictures: Iterator[np.ndarray], fps: float) -> Iterator[list]:
        for _ in pictures:
            yield []


@pytest.fixture(autouse=True)
def blind(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    monkeypatch.setenv("DATAENGINE_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(videos, "_tracker", lambda settings: Blind())
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(60)  # what hangs ends the tests and is seen
    yield
    signal.alarm(0)


def shown(clip) -> np.ndarray:
    return np.stack(list(clip.frames()))


def with_matrix(path: Path, *numbers: float) -> Path:
    """a, b, c, d of the header's matrix, x' = a x + c y, y' = b x + d y."""
    a, b, c, d = (round(number * 65536) for number in numbers)
    data = path.read_bytes()
    at = data.index(b"tkhd") + 44
    path.write_bytes(data[:at] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[at + 36 :])
    return path


@pytest.mark.parametrize(
    ("matrix", "want"),
    [
        ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
        ((1, 0, 0, -1), lambda p: p[::-1]),
        ((0, 1, 1, 0), lambda p: p.transpose(1, 0, 2)),
        ((0, -1, -1, 0), lambda p: p[::-1, ::-1].transpose(1, 0, 2)),
        ((0, 1, -1, 0), lambda p: p[::-1].transpose(1, 0, 2)),  # a quarter with the clock: the lowest row is left
    ],
)
def test_mirrored_is_shown_as_players_show_it(tmp_path: Path, matrix: tuple, want) -> None:
    path = with_matrix(write_video(tmp_path, FRAMES), *matrix)
    footage = open_footage(path)
    np.testing.assert_array_equal(shown(footage.clip), [want(picture) for picture in by_hand(path)])
    assert ("mirrored" in footage.notes[0]) == (matrix != (0, 1, -1, 0))
    assert footage.clip.fingerprint != open_footage(with_matrix(path, 1, 0, 0, 1)).clip.fingerprint


@pytest.mark.parametrize("matrix", [(0.7071, 0.7071, -0.7071, 0.7071), (0, 0, 0, 0), (1, 0, 0, 0.5), (1, 0.1, 0, 1)])
def test_tilted_is_refused(tmp_path: Path, matrix: tuple) -> None:
    path = with_matrix(write_video(tmp_path, FRAMES), *matrix)
    with pytest.raises(VideoError, match=r"foreign\.mp4: its header tilts"):
        open_footage(path)


@pytest.mark.parametrize(
    ("encoder", "pix_fmt", "name", "size"),
    [
        ("libx264", "yuv444p", "a.mp4", (39, 61)),
        ("libvpx-vp9", "yuv420p", "a.webm", (39, 61)),
        ("mpeg4", "yuv420p", "a.avi", (39, 61)),
        ("libvpx-vp9", "yuva420p", "a.webm", (48, 64)),
        ("libx264", "yuv420p10le", "a.mp4", (48, 64)),
        ("libx264", "gray", "a.mov", (16, 16)),
        ("rawvideo", "rgb24", "a.avi", (2, 2)),
    ],
)
def test_odd_sizes_and_colours_come_out_as_they_are(
    tmp_path: Path, encoder: str, pix_fmt: str, name: str, size: tuple[int, int]
) -> None:
    path = write_video(tmp_path, moving(4, *size), encoder, name=name, pix_fmt=pix_fmt)
    plan = EgoVideos().plan(path)
    store = Store.create(tmp_path / "store", fps=plan.fps, features=plan.features)
    with store.writer() as writer:
        writer.append(EgoVideos().read(plan, plan.episodes[0]))
    stored = shown(Store.open(tmp_path / "store")[0].clips["observation.images.ego"])
    assert stored.shape == (4, *size, 3)
    assert np.abs(stored.astype(int) - by_hand(path)).mean() < 12  # copied, or of a codec no store takes: encoded


def test_8k_is_read_and_more_is_refused_with_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = np.full((2, 4320, 7680, 3), 90, np.uint8)
    wide[:, :2160, :3840] = 200
    path = write_video(tmp_path, wide, options={"preset": "ultrafast"})
    first = next(open_footage(path).clip.frames())
    assert first.shape == (4320, 7680, 3)
    assert np.abs(first[100::1000, 100::1000].astype(int) - wide[0, 100::1000, 100::1000]).max() < 4
    monkeypatch.setattr(footages, "LARGEST", 33_000_000)
    with pytest.raises(VideoError, match=r"foreign\.mp4: has pictures of 7680×4320; 33000000 pixels are the most"):
        open_footage(path)


def test_strange_clocks(tmp_path: Path) -> None:
    def timed(times, base=Fraction(1, 30), name="a.mkv"):
        return write_video(tmp_path, FRAMES, name=name, time_base=base, times=times)

    before = open_footage(timed([n - 20 for n in range(12)])).clip
    late = open_footage(timed([n + 3000 for n in range(12)], name="late.mp4")).clip
    assert all(isinstance(c, VideoClip) and (c.length, round(c.fps, 1)) == (12, 30) for c in (before, late))
    for jump, said in ((108_000, "3,600 s"), (30 * 86400 * 40, "3,456,000 s")):
        with pytest.raises(VideoError, match=rf"a\.mkv: shows one picture for {said}, from 0\.2 s on"):
            open_footage(timed([n + (n > 5) * jump for n in range(12)]))
    rest = open_footage(timed([n + (n > 5) * 300 for n in range(12)])).clip
    assert rest.length == 312
    for rate in (1000, 90_000, Fraction(1, 10)):
        path = write_video(tmp_path, FRAMES, name="rate.mp4", rate=rate)
        with pytest.raises(VideoError, match=r"rate\.mp4: shows .* pictures a second; 1 to 240 are read – give fps"):
            open_footage(path)
    assert open_footage(write_video(tmp_path, moving(40), name="rate.mp4", rate=1000), fps=100).clip.length == 4
    times = [round(n * 600_000 / 240.3) for n in range(40)]  # slow motion of a phone is not 240 to the digit
    slow = write_video(tmp_path, moving(40), name="slow.mp4", rate=240, time_base=Fraction(1, 600_000), times=times)
    assert (open_footage(slow).clip.fps, open_footage(slow).clip.length) == (240, 40)
    one = open_footage(write_video(tmp_path, moving(1), name="one.mp4")).clip
    assert one.length == 1 and shown(one).shape == (1, 48, 64, 3)


def test_what_only_has_the_name_of_a_video(tmp_path: Path) -> None:
    sound = tmp_path / "sound.mp4"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", 16000)
        beep = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        beep.sample_rate = 16000
        container.mux(stream.encode(beep))
        container.mux(stream.encode(None))
    Image.fromarray(FRAMES[0]).save(tmp_path / "x.png")
    (tmp_path / "x.png").rename(tmp_path / "picture.mp4")
    Image.fromarray(FRAMES[0]).save(tmp_path / "x.gif")
    (tmp_path / "x.gif").rename(tmp_path / "gif.mp4")
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
    headless = write_video(tmp_path, moving(40), name="headless.mp4")
    headless.write_bytes(headless.read_bytes()[:-800])
    said = {"sound": "no video", "picture": "not a video", "gif": "not a video", "list": "not a video"}
    for name, why in (said | {"headless": "truncated"}).items():
        with pytest.raises(SourceError, match=rf"{name}\.mp4: .*{why}"):
            open_footage(tmp_path / f"{name}.mp4")


def test_a_folder_of_folders_says_that_they_are_not_looked_into(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"holds no video .*\)$"):
        EgoVideos().plan(tmp_path)
    (tmp_path / "monday").mkdir()
    write_video(tmp_path / "monday", FRAMES)
    with pytest.raises(SourceError, match="folders inside it are not looked into: give them"):
        EgoVideos().plan(tmp_path)


def test_pictures_that_are_too_much_or_none(tmp_path: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    for side in (9_000, 20_000):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
        with pytest.raises(SourceError, match=r"bomb\.png: .*64000000"):
            open_footage(tmp_path / "bomb.png")
    first, *others = (Image.fromarray(frame) for frame in FRAMES[:3])
    for name in ("moving.webp", "moving.png"):
        first.save(tmp_path / name, save_all=True, append_images=others)
        with pytest.raises(SourceError, match=rf"{name}: moves, in 3 pictures"):
            open_footage(tmp_path / name)
    turned = first.getexif()
    turned[0x112] = 6
    first.save(tmp_path / "phone.png", exif=turned)
    np.testing.assert_array_equal(shown(open_footage(tmp_path / "phone.png").clip)[0], np.rot90(FRAMES[0], -1))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_pictures_of_other_kinds_are_as_bright_as_they_are(tmp_path: Path, mode: str) -> None:
    plain = Image.fromarray(FRAMES[0])
    grey = np.asarray(plain.convert("L"))
    deep = mode == "I;16"
    made = Image.fromarray(grey.astype(np.uint16) * 257) if deep else plain.convert(mode)
    path = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    made.save(path)
    found = next(open_footage(path).clip.frames())
    want = np.repeat(grey[..., None], 3, 2) if deep or mode in ("L", "LA") else FRAMES[0]
    assert np.abs(found.astype(int) - want).mean() < (0.01 if deep else 20)


def test_names_links_and_pipes_in_a_folder(tmp_path: Path) -> None:
    folder, outside = tmp_path / "videos", write_video(tmp_path, FRAMES, name="outside.mp4")
    folder.mkdir()
    fine = ["日本語 ☃.mp4", "new\nline.mp4", "²3.mp4", "[a]*?.mp4", "-x.mp4", "a..%2f..%2fx.mp4", "LOUD.MP4"]
    for name in fine:
        shutil.copy(outside, folder / name)
    no_text = os.fsdecode(b"bad\xff.mp4")
    shutil.copy(outside, folder / no_text)
    (folder / "link.mp4").symlink_to(outside)
    shutil.copy(outside, folder / "told.mp4")
    (tmp_path / "secret").write_text("do not read me")
    (folder / "told.txt").symlink_to(tmp_path / "secret")
    for name in ("dir.mp4", "dir.zip"):
        (folder / name).mkdir()
    os.mkfifo(folder / "pipe.mp4")
    os.mkfifo(folder / "-x.txt")
    for name in ("circle.mp4", "LOUD.txt"):
        (folder / name).symlink_to(name)
    (folder / "endless.mp4").symlink_to("/dev/zero")
    plan = EgoVideos().plan(folder, {"task": "wave"})
    assert sorted(ref.name for ref in plan.episodes if ref.problem is None) == sorted(fine)
    problems = {ref.name: ref.problem for ref in plan.episodes if ref.problem is not None}
    assert problems.keys() == {"bad\ufffd.mp4", "link.mp4", "told.mp4"}
    assert "no text in UTF-8" in problems["bad\ufffd.mp4"] and "secret" not in str(plan)
    assert "link.mp4: leads out" in problems["link.mp4"] and "told.txt: leads out" in problems["told.mp4"]
    flow = {"name": "odd", "source": {"path": str(folder), "format": "ego", "mapping": {"task": "wave"}}}
    result = run_flow({**flow, "out": str(tmp_path / "out")}, scheduler="inprocess", progress=False)
    assert (result.kept, result.quarantined, result.state) == (1, 3, "finished")  # all good ones are one and the same


def test_pipes_and_what_may_not_be_read_among_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2):
        Image.fromarray(FRAMES[number]).save(tmp_path / f"{number}.png")
    os.mkfifo(tmp_path / "²a.png")
    (tmp_path / "dir.png").mkdir()
    np.testing.assert_array_equal(shown(open_footage(tmp_path).clip), FRAMES[:2])
    allowed = Path.open

    def denied(path: Path, *args, **kwargs):
        if path.name == "1.png":
            raise PermissionError(13, "Permission denied", str(path))
        return allowed(path, *args, **kwargs)

    monkeypatch.setattr(footages.Path, "open", denied)
    with pytest.raises(SourceError, match=r"1\.png: Permission denied"):
        open_footage(tmp_path)


def with_pixels(path: Path, aspect: Fraction) -> Path:
    """The same film, its pixels said to be so much wider than high."""
    said = path.with_name(f"wide_{path.name}")
    with av.open(str(path)) as source, av.open(str(said), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.codec_context.sample_aspect_ratio = stream.sample_aspect_ratio = aspect
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return said


@pytest.mark.parametrize(
    ("aspect", "turned"), [(Fraction(4, 3), False), (Fraction(1, 2), False), (Fraction(4, 3), True)]
)
def test_pixels_that_are_not_square_are_made_square(tmp_path: Path, aspect: Fraction, turned: bool) -> None:
    plain = write_video(tmp_path, FRAMES)
    path = with_pixels(plain, aspect)
    if turned:
        with_matrix(path, 0, 1, -1, 0)
    footage = open_footage(path)
    wide = 2 * round(32 * aspect)
    assert (footage.clip.height, footage.clip.width) == ((wide, 48) if turned else (48, wide))
    assert any(f"{wide}×48" in note and str(aspect) in note for note in footage.notes)
    found = shown(footage.clip)
    assert found.shape == (12, footage.clip.height, footage.clip.width, 3)
    upright = np.stack([picture.transpose(1, 0, 2)[::-1] for picture in found]) if turned else found
    want = np.stack([Image.fromarray(p).resize((wide, 48), Image.Resampling.BILINEAR) for p in by_hand(plain)])
    assert np.abs(upright.astype(int) - want.astype(int)).mean() < 3
    assert footage.clip.fingerprint != open_footage(plain).clip.fingerprint


@pytest.mark.parametrize("chosen", [0, 1])
def test_of_several_films_the_one_that_players_show_is_read_and_the_rest_is_said(tmp_path: Path, chosen: int) -> None:
    films = [write_video(tmp_path, FRAMES[::step], name=f"{step}.mp4") for step in (1, 2)]
    both = tmp_path / "both.mkv"
    with av.open(str(both), "w") as target:
        opened = [av.open(str(each)) for each in films]
        streams = [target.add_stream_from_template(each.streams.video[0]) for each in opened]
        for number, stream in enumerate(streams):
            stream.disposition = (Disposition.default if number == chosen else Disposition(0)).value
        for source, stream in zip(opened, streams, strict=True):
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
            source.close()
    footage = open_footage(both)
    np.testing.assert_array_equal(shown(footage.clip), by_hand(films[chosen]))
    assert "1 further videos in the file were left out" in footage.notes


def test_a_cover_picture_is_no_film(tmp_path: Path) -> None:
    film = write_video(tmp_path, FRAMES)
    path = tmp_path / "covered.mp4"
    with av.open(str(film)) as source, av.open(str(path), "w") as target:
        cover = target.add_stream("mjpeg", 30, width=16, height=16, pix_fmt="yuvj420p")
        cover.disposition = Disposition.attached_pic.value
        stream = target.add_stream_from_template(source.streams.video[0])
        target.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))))
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    footage = open_footage(path)
    np.testing.assert_array_equal(shown(footage.clip), by_hand(film))
    assert not any("further videos" in note for note in footage.notes)
