"""Videos as a source: planned without a picture, read by any worker, refused with the file and the reason."""

from __future__ import annotations

import importlib.util
import shutil
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from video_foreign import moving, write_video

from collectors.egocentric import videos
from collectors.egocentric.mediapipe_hands import MediaPipeHands
from collectors.egocentric.videos import EgoVideos
from conftest import shared_data
from dataengine import hands
from dataengine.cli.collect_ego import ego
from dataengine.detect import find_converter
from dataengine.errors import ConfigError, DataEngineError, EpisodeError, SourceError
from dataengine.flow import FlowResult, run_flow
from dataengine.plugins import Drop, Sighting
from dataengine.store import Store
from dataengine.video import VideoClip
from pipelines.egocentric.cuts import CutHands


class Waving:
    """Sees a right hand in every picture, that goes round; in dark pictures none."""

    version = "waving 1"

    def track(self, pictures: Iterable[np.ndarray], fps: float) -> Iterator[list[Sighting]]:
        from hands_made import person

        hand = person(1) * [1.0, -1.0, -1.0]
        for number, picture in enumerate(pictures):
            if picture.mean() < 10:
                yield []
                continue
            place = [0.05 * np.sin(number / fps * 3), 0.04 * np.cos(number / fps * 3), 0.5]
            points = hand + place
            pixels = points[:, :2] / points[:, 2:] * 60 + (31.5, 23.5)
            yield [Sighting(pixels.astype(np.float32), hand.astype(np.float32), True, 0.9)]


@pytest.fixture(autouse=True)
def waving(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("DATAENGINE_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(videos, "_tracker", lambda settings: Waving())


def turned(path: Path) -> Path:
    data = path.read_bytes()
    at = data.index(b"tkhd") + 4 + 40
    path.write_bytes(data[:at] + struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30) + data[at + 36 :])
    return path


def test_a_folder_of_videos_is_a_source(tmp_path: Path) -> None:
    for name in ("take 10.mp4", "take 9.mp4"):
        write_video(tmp_path, moving(60), name=name, sound=True)
    (tmp_path / "take 9.txt").write_text("  pour the tea\nsecond line\n")
    source = find_converter(tmp_path)
    plan = source.plan(tmp_path, {"task": "tidy up", "hand_size": 0.09})
    assert source.name == "ego" and plan.fps == 30 and plan.embodiment == "human_hands"
    assert [ref.name for ref in plan.episodes] == ["take 9.mp4", "take 10.mp4"]
    assert [ref.tasks for ref in plan.episodes] == [("pour the tea",), ("tidy up",)]
    assert [each.key for each in plan.assumptions] == ["intrinsics", "faces"]
    episode = source.read(plan, plan.episodes[0])
    assert isinstance(episode.clips["observation.images.ego"], VideoClip)  # copied, not encoded again
    assert episode.features.keys() == plan.features.keys() and episode.meta.tasks == ("pour the tea",)
    assert (episode.frames[hands.column("right", "tracked")] == hands.SEEN).all()
    assert (episode.frames[hands.column("left", "tracked")] == hands.ABSENT).all()
    assert source.read(plan, plan.episodes[0]).id == episode.id
    assert any("not assessed" in text for text in episode.meta.lineage[0].assumed)  # and so in the card
    again = source.plan(tmp_path, plan.mapping)
    assert again.mapping == plan.mapping and again.features == plan.features


def test_pictures_and_one_file_are_sources_and_datasets_are_not(tmp_path: Path) -> None:
    shots = tmp_path / "shots"
    shots.mkdir()
    for number in range(20):
        Image.fromarray(moving(20)[number]).save(shots / f"{number}.jpg")
    plan = EgoVideos().plan(shots, {"fps": 10})
    assert EgoVideos().sniff(shots) and plan.fps == 10 and len(plan.episodes) == 1
    assert EgoVideos().read(plan, plan.episodes[0]).length == 20
    film = write_video(tmp_path, moving(20), name="film.mov")
    assert EgoVideos().plan(film).episodes[0].name == "film.mov"
    dataset = tmp_path / "dataset"
    (dataset / "meta").mkdir(parents=True)
    shutil.copy(film, dataset / "film.mp4")
    assert not EgoVideos().sniff(dataset)
    (shots / "data.hdf5").touch()
    assert not EgoVideos().sniff(shots) and not EgoVideos().sniff(tmp_path / "nothing")


def test_what_does_not_fit_is_told_video_by_video(tmp_path: Path) -> None:
    for number in range(2):
        write_video(tmp_path, moving(30, seed=number), name=f"good{number}.mp4")
    turned(write_video(tmp_path, moving(30, seed=5), name="upright.mp4"))
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no film at all")
    half = write_video(tmp_path, moving(60, seed=7), name="half.mp4")
    half.write_bytes(half.read_bytes()[: half.stat().st_size // 2])
    plan = EgoVideos().plan(tmp_path)
    problems = {ref.name: ref.problem for ref in plan.episodes}
    assert [name for name, problem in problems.items() if problem is None] == ["good0.mp4", "good1.mp4"]
    assert "48×64" in problems["upright.mp4"] and "own for each size" in problems["upright.mp4"]
    for name in ("empty.mp4", "text.mp4", "half.mp4"):
        assert name in problems[name]
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "a.mp4").write_text("no film")
    with pytest.raises(SourceError, match=r"a\.mp4"):
        EgoVideos().plan(alone)


def test_turned_and_uneven_videos_come_out_upright_and_even(tmp_path: Path) -> None:
    path = turned(write_video(tmp_path, moving(40), name="phone.mp4"))
    plan = EgoVideos().plan(path)
    episode = EgoVideos().read(plan, plan.episodes[0])
    store = Store.create(tmp_path / "store", fps=plan.fps, features=plan.features)
    with store.writer() as writer:
        writer.append(episode)
    stored = Store.open(tmp_path / "store")[0].clips["observation.images.ego"]
    want = list(episode.clips["observation.images.ego"].frames())
    got = list(stored.frames())
    assert got[0].shape == (64, 48, 3) and len(got) == len(want) == 40
    assert np.abs(np.stack(got).astype(int) - np.stack(want)).mean() < 6
    uneven = write_video(tmp_path, moving(20), name="uneven.mp4", times=[n * 2 + (n > 9) * 9 for n in range(20)])
    plan = EgoVideos().plan(uneven, {"fps": 15})
    assert EgoVideos().read(plan, plan.episodes[0]).length == plan.episodes[0].length
    assert any("uneven" in note for note in plan.notes)


def test_a_video_without_a_hand_is_dropped_with_the_reason(tmp_path: Path) -> None:
    path = write_video(tmp_path, np.zeros((40, 48, 64, 3), np.uint8), name="dark.mp4")
    plan = EgoVideos().plan(path)
    episode = EgoVideos().read(plan, plan.episodes[0])
    (dropped,) = CutHands().run(iter([episode]))
    assert isinstance(dropped, Drop) and dropped.reason == "no hand is seen"


def test_a_video_that_changed_since_is_not_read(tmp_path: Path) -> None:
    path = write_video(tmp_path, moving(30))
    plan = EgoVideos().plan(path)
    write_video(tmp_path, moving(30, seed=3))
    with pytest.raises(EpisodeError, match="has changed since"):
        EgoVideos().read(plan, plan.episodes[0])


@pytest.mark.parametrize(
    ("mapping", "why"),
    [
        ({"hand_size": 0.9}, "hand_size"),
        ({"sides": ["both"]}, "sides"),
        ({"camera": "a/b"}, "camera"),
        ({"cutof": 3}, "did you mean 'cutoff'"),
        ({"intrinsics": {"fx": "wide"}}, "camera.fx"),
        ({"format": "aloha"}, "written for 'aloha'"),
        ({"fps": 1000}, "fps"),
    ],
)
def test_a_mapping_that_makes_no_sense(tmp_path: Path, mapping: dict, why: str) -> None:
    path = write_video(tmp_path, moving(10))
    with pytest.raises((ConfigError, SourceError), match=why):
        EgoVideos().plan(path, mapping)


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("pick the cup\r\n".encode("utf-16"), "pick the cup"),
        (b"\xef\xbb\xbfpour\tthe \x1b[31mtea\x07\nsecond", "pour the [31mtea"),
        ("é".encode() * 2000 + b"\n" + "é".encode() * 200, "é" * 2000),  # read to the middle of a letter
        (b"\n \n", ""),
        (b"pi\0ck", None),
        (b"\xffcup", None),
        (b"long " * 1000, None),
    ],
)
def test_a_task_is_a_line_of_text(tmp_path: Path, text: bytes, task: str | None) -> None:
    film = write_video(tmp_path, moving(10), name="a.mp4")
    write_video(tmp_path, moving(10), name="b.mp4")
    (tmp_path / "a.txt").write_bytes(text)
    ref = EgoVideos().plan(tmp_path).episodes[0]
    assert ref.tasks == ((task,) if task is not None else ref.tasks) and (ref.problem is None) is (task is not None)
    if task is None:
        assert "a.txt: " in str(ref.problem) and "text" in str(ref.problem)
        with pytest.raises(SourceError, match=r"a\.txt: .* text"):
            EgoVideos().plan(film)


def test_how_often_the_board_was_seen_is_told(tmp_path: Path) -> None:
    film = write_video(tmp_path, moving(10))
    plan = EgoVideos().plan(film, {"board": "9x6:0.025"})
    assert EgoVideos().read(plan, plan.episodes[0]).meta.extra["board"] == {"said": "9x6:0.025", "frames": 0}
    plan = EgoVideos().plan(film)
    assert "board" not in EgoVideos().read(plan, plan.episodes[0]).meta.extra


@pytest.mark.parametrize("content", [b"no model", b"PK\3\4 cut short"])
def test_a_file_that_is_no_model_is_said_before_a_video_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    pytest.importorskip("mediapipe")
    monkeypatch.undo()
    (tmp_path / "hand.task").write_bytes(content)
    film = write_video(tmp_path, moving(10))
    with pytest.raises(SourceError, match=r"hand\.task: is no hand model, or cut short"):
        EgoVideos().plan(film, {"tracker_params": {"model": str(tmp_path / "hand.task")}})
    with (tmp_path / "hand.task").open("r+b") as file:
        file.truncate(1 << 40)  # is not read
    with pytest.raises(SourceError, match=r"hand\.task: is larger than 64 MiB"):
        EgoVideos().plan(film, {"tracker_params": {"model": str(tmp_path / "hand.task")}})


def test_options_that_say_nothing_or_twice(tmp_path: Path) -> None:
    film, empty = write_video(tmp_path, moving(10)), tmp_path / "lens.yaml"
    empty.write_text("# nothing yet\n")
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match=r"lens\.yaml says nothing of a camera"):
        ego(out, [film], camera=empty)
    with pytest.raises(ConfigError, match="not both"):
        ego(out, [film], camera=empty, fov=60.0)
    with pytest.raises(ConfigError, match="tracker_params"):
        ego(out, [film], set_=["tracker_params=3"], model=empty)


def test_a_list_of_cuts_is_not_taken_for_two_videos_of_one_name(tmp_path: Path) -> None:
    for day in ("monday", "tuesday"):
        (tmp_path / day).mkdir()
        write_video(tmp_path / day, moving(10, seed=len(day)), name="GX01.mp4")
    (tmp_path / "cuts.csv").write_text("video,start,stop,task\nGX01.mp4,0,0.3,wave\n")
    with pytest.raises(ConfigError, match=r"several videos are called GX01\.mp4"):
        ego(tmp_path / "out", [tmp_path / "monday", tmp_path / "tuesday"], cuts=tmp_path / "cuts.csv")
    ego(tmp_path / "out", [tmp_path / "monday"], cuts=tmp_path / "cuts.csv", dry_run=True)
    (tmp_path / "cuts.csv").write_text("video,start,stop,task\nGX10.mp4,0,0.3,wave\n")
    with pytest.raises(ConfigError, match=r"cuts\.csv names GX10\.mp4, which is none of the videos"):
        ego(tmp_path / "out", [tmp_path / "monday"], cuts=tmp_path / "cuts.csv", dry_run=True)


def test_episodes_of_a_video_that_was_changed_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def here(flow: dict, workers: None, **more: bool) -> FlowResult:
        return run_flow(flow, scheduler="inprocess", **more)

    monkeypatch.setattr("dataengine.flow.run_flow", here)
    (tmp_path / "in").mkdir()
    out = tmp_path / "out"
    for seed in (0, 1):
        write_video(tmp_path / "in", moving(60, seed=seed))
        ego(out, [tmp_path / "in"], set_=["task=wave"])
        said = capsys.readouterr().out
        assert ("1 of them are of earlier runs" in said) is (seed == 1)
    ego(out, [tmp_path / "in"], set_=["task=wave"], overwrite=True)
    assert "earlier runs" not in capsys.readouterr().out and len(Store.open(out)) == 1


def test_real_hands_from_a_file_to_robot_actions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One flow, MediaPipe and worker processes included, and stock LeRobot reads what came out."""
    pytest.importorskip("mediapipe")
    monkeypatch.undo()
    monkeypatch.setenv("DATAENGINE_HAND_MODEL", str(shared_data("models/hand_landmarker.task")))
    monkeypatch.setenv("DATAENGINE_CACHE", str(tmp_path / "cache"))
    flow = {
        "name": "hands",
        "source": {"path": str(shared_data("hands/handpose3d_cam0.mp4")), "format": "ego", "mapping": {"task": "play"}},
        "stages": ["cut_hands", {"retarget": {"hand": "right", "rotation": "rotation_6d"}}],
        "out": str(tmp_path / "store"),
        "then": ["hand_report"],
    }
    result = run_flow(flow, workers=1, progress=False)
    assert (result.kept, result.quarantined, result.dropped) == (1, 0, 0) and result.frames > 300
    store = Store.open(tmp_path / "store")
    episode = store[0]
    assert episode.frames["action"].shape == (episode.length, 10) and np.isfinite(episode.frames["action"]).all()
    assert episode.features["action"].names[:3] == ("ee.x", "ee.y", "ee.z")
    assert (episode.frames[hands.column("right", "tracked")] != hands.ABSENT).mean() > 0.98
    assert 0.2 < np.median(episode.frames[hands.column("right", "wrist")][:, 2]) < 1.5
    assert {"retarget_cuts", "grasp"} <= set(episode.labels)
    assert list((tmp_path / "store.flow").rglob("episode-000000.jpg"))
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    theirs = LeRobotDataset("me/hands", root=tmp_path / "store")
    np.testing.assert_allclose(theirs[5]["action"].numpy(), episode.frames["action"][5], rtol=1e-6)
    assert theirs[5]["observation.images.ego"].shape == (3, 720, 720)


def test_the_tracker_that_is_not_installed_is_said_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "mediapipe" else find(name))
    with pytest.raises(DataEngineError, match="pip install --no-deps mediapipe"):
        _ = MediaPipeHands(model=Path(__file__)).version


def test_a_model_that_is_not_there_and_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATAENGINE_HAND_MODEL", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"hand_landmarker\.task.*fetch=true"):
        _ = MediaPipeHands().file
    with pytest.raises(ConfigError, match="is not there"):
        _ = MediaPipeHands(model=tmp_path / "nothing.task").file


def test_the_command_dry_and_with_a_persons_list(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="records nothing"):
        ego(tmp_path / "store", webcam="0", dry_run=True)
    with pytest.raises(ConfigError, match="takes videos, or --webcam"):
        ego(tmp_path / "store")
