"""Faces in videos: hidden in what is stored, counted, and said with how sure that is, only where the user asks."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from face_made import install, place, scene
from PIL import Image
from video_foreign import by_hand, packet_hashes, write_video

from collectors.egocentric.videos import EgoVideos
from dataengine import hands
from dataengine.episode import Episode
from dataengine.errors import ConfigError, SourceError
from dataengine.flow import run_flow
from dataengine.hub.card import make_card
from dataengine.source import Plan
from dataengine.store import Store
from dataengine.video import VideoClip

CAMERA = "observation.images.ego"
PLAIN = {"tracker": "idle", "task": "tidy up"}
RED = {**PLAIN, "faces": {"detector": "red"}}


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("DATAENGINE_CACHE", str(tmp_path_factory.mktemp("cache")))
    folder = install(tmp_path_factory.mktemp("plugin"))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(Path(__file__).parents[2])]))


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Ninety pictures, the face in 30 to 59."""
    return write_video(tmp_path, scene(90, 30, 60), name="film.mp4", options={"crf": "8", "g": "15"})


def read(path: Path, mapping: dict) -> tuple[Plan, Episode]:
    plan = EgoVideos().plan(path, mapping)
    return plan, EgoVideos().read(plan, plan.episodes[0])


def stored(folder: Path, plan: Plan, *episodes: Episode) -> Store:
    store = Store.create(folder, fps=plan.fps, features=plan.features)
    with store.writer() as writer:
        for episode in episodes:
            writer.append(episode)
    return Store.open(folder)


def stripe(picture: np.ndarray, frame: int) -> float:
    """How much the stripe across the face stands out, in grey levels."""
    rows, columns = place(frame, 30)
    face = picture[rows, columns][:, 5:11, 1].astype(float)
    return float(face[7:9].mean() - face[4:6].mean())


def test_what_is_stored_has_no_face_and_is_no_copy(film: Path, tmp_path: Path) -> None:
    plan, episode = read(
        film, {**RED, "tracker": "waving", "faces": {"detector": "red", "params": {"every": 3}, "hold": 0.2}}
    )
    _, plain = read(film, {**PLAIN, "tracker": "waving"})
    assert episode.id != plain.id and episode.hashes()[CAMERA] != plain.hashes()[CAMERA]
    for side in hands.SIDES:  # tracked in the pictures as they were filmed
        column = hands.column(side, "pixels")
        np.testing.assert_array_equal(episode.frames[column], plain.frames[column])
    store = stored(tmp_path / "store", plan, episode)
    clip = store[0].clips[CAMERA]
    assert isinstance(clip, VideoClip)
    got, was = np.stack(list(clip.frames())), by_hand(film)
    assert not set(packet_hashes(clip.path)) & set(packet_hashes(film))
    assert min(stripe(was[frame], frame) for frame in range(30, 60)) > 60
    for frame in range(30, 60):  # the pictures between, in which it was missed, as well
        assert abs(stripe(got[frame], frame)) < 6, frame
    away = np.r_[0:20, 70:90]
    assert np.abs(got[away].astype(int) - was[away]).mean() < 3
    assert not list((tmp_path / "store").rglob("*.tmp")) and len(list((tmp_path / "store").rglob("*.mp4"))) == 1
    assert stored(tmp_path / "again", plan, read(film, dict(plan.mapping))[1])[0].id == episode.id


def test_what_was_found_is_counted_and_cut_with_the_episode(film: Path) -> None:
    _, episode = read(film, RED)
    said = episode.meta.extra["faces"]
    assert said["detector"] == "red 1.0 1" and said["measured"] is None and said["blurred"] is True
    assert said["video"] == {"frames": 90, "frames_with": 30, "most_at_once": 1, "faces": 1}
    assert episode.labels["faces"].table.to_pylist() == [
        {"start": 15, "stop": 75, "hidden": True}
    ]  # held half a second
    assert episode.slice(60, 90).labels["faces"].table.to_pylist() == [{"start": 0, "stop": 15, "hidden": True}]
    assert episode.slice(80, 90).labels["faces"].table.num_rows == 0
    part = np.stack(list(episode.slice(40, 50).clips[CAMERA].frames()))
    np.testing.assert_array_equal(part, np.stack(list(episode.clips[CAMERA].frames(40, 50))))


def test_counting_alone_and_a_video_without_a_face_leave_the_pictures(film: Path, tmp_path: Path) -> None:
    plan, episode = read(film, {**RED, "faces": {"detector": "red", "blur": False}})
    assert isinstance(episode.clips[CAMERA], VideoClip) and episode.meta.extra["faces"]["video"]["faces"] == 1
    assert episode.labels["faces"].table.to_pylist() == [{"start": 15, "stop": 75, "hidden": False}]
    assert any("counted, not blurred" in text for text in episode.meta.lineage[0].assumed)
    assert stored(tmp_path / "counted", plan, episode)[0].clips[CAMERA].length == 90
    empty = write_video(tmp_path, scene(40, 40, 40), name="empty.mp4")
    plan, episode = read(empty, RED)
    assert isinstance(episode.clips[CAMERA], VideoClip) and episode.labels["faces"].table.num_rows == 0
    clip = stored(tmp_path / "empty", plan, episode)[0].clips[CAMERA]
    assert isinstance(clip, VideoClip) and packet_hashes(clip.path) == packet_hashes(empty)


def test_a_flow_says_it_in_the_report_and_the_card_and_the_recall_is_the_samples(film: Path, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    film.rename(tmp_path / "videos" / "film.mp4")
    write_video(tmp_path / "videos", scene(60, 60, 60), name="nobody.mp4")
    sample = tmp_path / "sample"
    sample.mkdir()
    for number, picture in enumerate(scene(4, 0, 4)):
        Image.fromarray(picture).save(sample / f"{number}.png")
    rows = [f"{n}.png,{30 + n},40,{46 + n},56" for n in range(4)] + ["0.png,90,60,120,90"]  # the last is not red
    (sample / "faces.csv").write_text("\n".join(["picture,left,top,right,bottom", *rows]))
    mapping = {**RED, "tracker": "waving", "faces": {"detector": "red", "sample": str(sample)}}
    flow = {
        "name": "faces",
        "source": {"path": str(tmp_path / "videos"), "format": "ego", "mapping": mapping},
        "stages": ["cut_hands"],
        "out": str(tmp_path / "store"),
        "then": ["hand_report"],
    }
    result = run_flow(flow, scheduler="inprocess", progress=False)
    assert (result.kept, result.quarantined) == (2, 0)
    store = Store.open(tmp_path / "store")
    said = (
        "red 1.0 1, recall 0.80 [0.38, 0.96] and precision 1.00 [0.51, 1.00] on 5 labelled faces; "
        "1 face in 1 of 2 videos; blurred"
    )
    page = (tmp_path / "store.flow" / "report.html").read_text()
    assert f"Faces: {said}." in page and "blurred where they are found" in page
    card = make_card(store, "me/faces", licence="mit").text.replace("\\", "")
    assert f"| Faces | {said} |" in card and "sound and tags are left out" in card
    films = [path for path in tmp_path.rglob("*.mp4") if path.parent.name != "videos"]
    assert sum(map(shows_face, films)) == 0 < len(films)  # neither in the store nor left behind by the flow
    assert shows_face(tmp_path / "videos" / "film.mp4")


def shows_face(path: Path) -> bool:
    """Whether the stripe is white in any picture."""
    return bool((by_hand(path).min(3) > 190).any())


def test_nobody_asked_and_no_sample(film: Path, tmp_path: Path) -> None:
    plan, episode = read(film, PLAIN)
    assert episode.meta.extra["faces"] == {"detector": None} and "faces" not in episode.labels
    assert any(str(each).startswith("faces = 'not assessed'") for each in plan.assumptions)
    card = make_card(stored(tmp_path / "store", plan, episode), "me/faces", licence="mit").text
    assert "| Faces | not assessed in 1 video |" in card
    plan, _ = read(film, RED)
    (said,) = (str(each) for each in plan.assumptions if each.key == "faces")
    assert "red 1.0 1, recall not known: give faces.sample" in said


def test_the_mapping_is_complete_and_another_detector_is_not_taken_for_it(film: Path) -> None:
    plan, episode = read(film, RED)
    again, same = read(film, dict(plan.mapping))
    assert again.mapping == plan.mapping and same.id == episode.id
    other = {**plan.mapping, "faces": {**plan.mapping["faces"], "params": {"every": 2}}}
    with pytest.raises(ConfigError, match=r"wants the face detector 'red 1\.0 1'; here it is 'red 1\.0 2'"):
        EgoVideos().plan(film, other)
    made_up = {**RED, "faces": {"detector": "red", "measured": {"recall": 1.0}}}
    assert EgoVideos().plan(film, made_up).mapping["faces"]["measured"] is None
    with pytest.raises(ConfigError, match="wants the face detector"):
        EgoVideos().read(replace(plan, mapping=other), plan.episodes[0])


@pytest.mark.parametrize(
    ("faces", "why"),
    [
        ({}, "needs detector"),
        ({"detector": "mtcnn"}, "no face_detector 'mtcnn'.*haar.*red.*yunet"),
        ({"detector": "red", "blurr": True}, "did you mean 'blur'"),
        ({"detector": "red", "cells": 40}, "cells=40 1 to 8"),
        ({"detector": "red", "hold": -1}, "hold=-1"),
        ({"detector": "red", "model": "x.onnx"}, "no parameter 'model'"),
        ({"detector": "haar", "model": "x.xml", "params": {"model": "y.xml"}}, "given twice"),
        ({"detector": "haar"}, r"cv2\.data\.haarcascades"),
        ({"detector": "red", "sample": "nowhere"}, r"faces\.csv: is not there"),
    ],
)
def test_settings_that_make_no_sense(film: Path, faces: dict, why: str) -> None:
    with pytest.raises((ConfigError, SourceError), match=why):
        EgoVideos().plan(film, {**RED, "faces": faces})
