"""Sound, places and devices that a phone put into a video are in no file that comes of it, copied or encoded."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from face_made import install, scene
from PIL import Image
from video_foreign import packet_hashes, with_message, write_video

from collectors.egocentric.footage import Seen
from collectors.egocentric.videos import EgoVideos
from dataengine.flow import run_flow
from dataengine.store import Store
from dataengine.video import VideoClip

CAMERA = "observation.images.ego"
PLACE, MAKER, MODEL = "+48.1173+011.5167/", "Fictional Phones", "Pocket Nine"
TAGS = {"location": PLACE, "make": MAKER, "model": MODEL, "com.apple.quicktime.location.ISO6709": PLACE}
SECRETS = (
    b"48.1173",
    b"011.5167",
    MAKER.encode(),
    MODEL.encode(),
    b"\xa9xyz",
    b"com.apple.quicktime",
    b"smhd",
    b"mp4a",
)
VOICE = (np.sin(np.arange(32000) * 0.2) * 0.5).astype(np.float32)
Change = Callable[[Path], Path]


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("DATAENGINE_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.syspath_prepend(str(install(tmp_path_factory.mktemp("plugin"))))


def phone(folder: Path, **about: object) -> Path:
    """A video with a voice, its place in both of the forms that phones use, maker and model."""
    folder.mkdir(exist_ok=True)
    silent = write_video(folder, scene(40, 0, 40), name="silent.mp4", **about)  # type: ignore[arg-type]
    path = folder / "phone.mp4"
    with av.open(str(silent)) as source, av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as target:
        target.metadata.update(TAGS)
        video = target.add_stream_from_template(source.streams.video[0])
        audio = target.add_stream("aac", 16000)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                target.mux(packet)
        for part in np.split(VOICE, 32):
            sound = av.AudioFrame.from_ndarray(part[None], "fltp", "mono")
            sound.sample_rate = 16000
            target.mux(audio.encode(sound))
        target.mux(audio.encode(None))
    silent.unlink()
    return with_xyz(path)


def with_xyz(path: Path) -> Path:
    """The file with the atom in which Android writes a place, at the end of `moov`, which is the last of the file."""
    data = path.read_bytes()
    at = data.rindex(b"moov") - 4
    text = PLACE.encode()
    xyz = struct.pack(">I4sHH", 12 + len(text), b"\xa9xyz", len(text), 0x15C7) + text
    more = struct.pack(">I4s", 8 + len(xyz), b"udta") + xyz
    (size,) = struct.unpack(">I", data[at : at + 4])
    assert at + size == len(data)
    path.write_bytes(data[:at] + struct.pack(">I", size + len(more)) + data[at + 4 :] + more)
    return path


def turned(path: Path) -> Path:
    data = path.read_bytes()
    at = data.index(b"tkhd") + 4 + 40
    path.write_bytes(data[:at] + struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30) + data[at + 36 :])
    return path


def dashcam(path: Path) -> Path:
    """The same film; it says between its pictures too where it is, and has its sound and tags beside it."""
    stream = with_message(write_video(path.parent, scene(40, 0, 40), name="plain.mp4"), PLACE, "stream.mp4")
    target = path.with_name("dashcam.mp4")
    with (
        av.open(str(stream)) as pictures,
        av.open(str(path)) as rest,
        av.open(str(target), "w", options={"movflags": "use_metadata_tags"}) as made,
    ):
        made.metadata.update(TAGS)
        parts = [(pictures, pictures.streams.video[0]), (rest, rest.streams.audio[0])]
        copies = [made.add_stream_from_template(given) for _, given in parts]
        for (source, given), copy in zip(parts, copies, strict=True):
            for packet in source.demux(given):
                if packet.dts is not None:
                    packet.stream = copy
                    made.mux(packet)
    return target


def tells(path: Path) -> list[bytes]:
    return [secret for secret in SECRETS if secret in path.read_bytes()]


def check(root: Path) -> None:
    """No file below holds any of it, as text or as a stream, nor what is said of an episode."""
    films = 0
    table = Store.open(root).table_of_episodes
    said = "".join(map(repr, (table.meta(place) for place in range(len(table.length))))).encode()
    assert not [secret for secret in SECRETS[:4] if secret in said]
    for path in (each for each in root.rglob("*") if each.is_file()):
        assert not tells(path), path
        if path.suffix == ".mp4":
            films += 1
            with av.open(str(path)) as found:
                assert [stream.type for stream in found.streams] == ["video"]
                named = {**found.metadata, **found.streams[0].metadata}
                assert not {name for name in named if "location" in name.lower() or "make" in name.lower()}
    assert films


def test_the_phones_video_does_tell(tmp_path: Path) -> None:
    path = phone(tmp_path / "videos")
    assert tells(path) == list(SECRETS)
    with av.open(str(path)) as found:
        assert [stream.type for stream in found.streams] == ["video", "audio"]
        assert PLACE in found.metadata.values() and MODEL in found.metadata.values()


@pytest.mark.parametrize(
    ("change", "mapping", "kind"),
    [
        (lambda path: path, {}, VideoClip),
        (turned, {}, Seen),
        (dashcam, {}, Seen),
        (lambda path: path, {"fps": 15}, Seen),
        (lambda path: path, {"faces": {"detector": "red"}}, None),
    ],
    ids=["copied", "turned", "between the pictures", "another rate", "faces hidden"],
)
def test_nothing_of_it_is_stored(tmp_path: Path, change: Change, mapping: dict, kind: type | None) -> None:
    path = change(phone(tmp_path / "videos"))
    plan = EgoVideos().plan(path, {"tracker": "idle", "task": "tidy up", **mapping})
    assert any("its sound was left out" in note for note in plan.notes)
    assert any("location" in note and "make" in note for note in plan.notes)
    episode = EgoVideos().read(plan, plan.episodes[0])
    assert kind is None or isinstance(episode.clips[CAMERA], kind)
    store = Store.create(tmp_path / "store", fps=plan.fps, features=plan.features)
    with store.writer() as writer:
        writer.append(episode)
    check(tmp_path / "store")
    if kind is VideoClip:
        (stored,) = (tmp_path / "store").rglob("*.mp4")
        assert packet_hashes(stored) == packet_hashes(path)  # and still it is the same pictures, untouched


def test_nor_by_a_flow_that_cuts_inside_a_group_of_pictures(tmp_path: Path) -> None:
    phone(tmp_path / "videos", options={"g": "250"}, rate=Fraction(10))
    (tmp_path / "cuts.csv").write_text("video,start,stop,task\nphone.mp4,0.5,2.5,pour\nphone.mp4,0,0.4,wait\n")
    flow = {
        "name": "phone",
        "source": {"path": str(tmp_path / "videos"), "format": "ego", "mapping": {"tracker": "idle", "task": "x"}},
        "stages": [{"cut_hands": {"cuts": str(tmp_path / "cuts.csv")}}],
        "out": str(tmp_path / "store"),
    }
    assert run_flow(flow, scheduler="inprocess", progress=False).kept == 2
    check(tmp_path / "store")
    for path in (each for each in (tmp_path / "store.flow").rglob("*") if each.is_file()):
        assert not set(tells(path)) & set(SECRETS[:4]), path


def test_pictures_that_say_where_they_were_taken(tmp_path: Path) -> None:
    shots = tmp_path / "shots"
    shots.mkdir()
    for number, picture in enumerate(scene(8, 0, 8)):
        image = Image.fromarray(picture)
        exif = image.getexif()
        exif[0x010F], exif[0x0110] = MAKER, MODEL
        exif.get_ifd(0x8825)[29] = "48.1173 011.5167"
        image.save(shots / f"{number}.jpg", exif=exif)
    assert tells(shots / "0.jpg")
    plan = EgoVideos().plan(shots, {"tracker": "idle", "task": "x"})
    store = Store.create(tmp_path / "store", fps=plan.fps, features=plan.features)
    with store.writer() as writer:
        writer.append(EgoVideos().read(plan, plan.episodes[0]))
    check(tmp_path / "store")
