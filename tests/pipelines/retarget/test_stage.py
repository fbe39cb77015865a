"""The stage `retarget`: what it writes, what it cuts, what it drops, and what it says of that."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dataengine import hands
from dataengine.episode import ArrayClip, Episode, Feature
from dataengine.errors import ConfigError
from dataengine.flow.cache import ResultCache
from dataengine.plugins import Drop, Stage, build
from dataengine.store import Store
from pipelines.retarget.rotations import NAMES
from pipelines.retarget.stage import Retarget


def stage(**params: object) -> Retarget:
    """As a flow makes it."""
    return build(Retarget, params, "stage 'retarget'", "retarget")


def only(results: list[Episode | Drop]) -> Episode:
    (result,) = results
    assert isinstance(result, Episode), result
    return result.check()


def rows(episode: Episode, label: str) -> list[dict]:
    return episode.labels[label].table.to_pylist()


def test_it_is_a_stage_that_reads_only_what_it_needs() -> None:
    assert isinstance(stage(), Stage)
    assert stage(hand="left").reads == (
        *(f"observation.hands.left.{part}" for part in ("landmarks", "wrist", "sigma", "tracked")),
        "observation.camera.pose",
        "observation.camera.quality",
        "label:pinch",
    )
    assert len(stage(hand="both").reads) == 11


def test_a_hand_becomes_a_gripper(made: SimpleNamespace) -> None:
    tool, camera = made.tool_path(), made.some_pose(1)
    distance = np.concatenate([np.full(45, 0.08), np.linspace(0.08, 0.02, 10), np.full(35, 0.02)])
    episode = made.episode_of(tool, distance, camera=camera)
    found = only(list(stage(camera=made.pose_numbers(camera), embodiment="arm").run(iter([episode]))))
    state = found.frames["observation.state"]
    assert found.features["action"].names == ("ee.x", "ee.y", "ee.z", "ee.qx", "ee.qy", "ee.qz", "ee.qw", "gripper.pos")
    assert found.features["action"].info["frame"] == "base" and found.features["action"].control == "absolute"
    assert np.abs(state[:, :3] - tool.point).max() < 1e-5
    assert state[0, -1] == pytest.approx(1) and state[-1, -1] == pytest.approx(0, abs=1e-5)
    assert found.id == episode.id and found.meta.embodiment == "arm"
    (step,) = found.meta.lineage
    assert step.name == "retarget" and "the camera stands still" in step.assumed
    assert "right gripper closed at 20 mm between the tips, from the clip" in step.assumed


def test_a_binary_gripper_is_told_and_the_real_one_is_sensed(made: SimpleNamespace) -> None:
    distance = np.concatenate([np.full(40, 0.08), np.linspace(0.08, 0.02, 20), np.full(30, 0.02)])
    found = only(list(stage(binary=True).run(iter([made.episode_of(made.tool_path(), distance)]))))
    told, sensed = found.frames["action"][:, -1], found.frames["observation.state"][:, -1]
    assert set(told.tolist()) == {0.0, 1.0} and told[0] == 1 and len(np.unique(sensed)) > 10
    (closes,) = np.flatnonzero(np.diff(told))
    edge = (Retarget.close_below + Retarget.open_above) / 2
    assert sensed[closes + 1] > edge > sensed[closes + 2]  # told to close where it goes through the middle


def test_without_a_calibration_poses_are_the_cameras(made: SimpleNamespace) -> None:
    found = only(list(stage().run(iter([made.episode_of(made.tool_path())]))))
    assert found.features["action"].info["frame"] == "camera"
    assert any("frame of reference" in each for each in found.meta.lineage[-1].assumed)


@pytest.mark.parametrize("rotation", sorted(NAMES))
@pytest.mark.parametrize("space", ["gripper", "hand"])
def test_both_hands_stand_side_by_side(made: SimpleNamespace, space: str, rotation: str) -> None:
    episode = made.episode_of(made.tool_path(), sides=("left", "right"))
    found = only(list(stage(hand="both", space=space, rotation=rotation).run(iter([episode]))))
    names = found.features["action"].names or ()
    assert len(set(names)) == len(names) == 2 * (3 + len(NAMES[rotation]) + (1 if space == "gripper" else 60))
    assert all(name.startswith("left_") for name in names[: len(names) // 2])
    assert all(name.startswith("right_") for name in names[len(names) // 2 :])
    for place in found.features["action"].info.get("rotations", ()):
        stems = [name.rpartition(".")[2] for name in names[place["start"] : place["stop"]]]
        assert tuple(stems) == NAMES[rotation] and place["convention"] == rotation


def test_a_hand_as_its_own_action_space(made: SimpleNamespace) -> None:
    episode = made.episode_of(made.tool_path())
    found = only(list(stage(space="hand").run(iter([episode]))))
    state = found.frames["observation.state"].astype(float)
    wrist, landmarks = (episode.frames[hands.column("right", part)] for part in ("wrist", "landmarks"))
    assert np.allclose(state[:, :3], wrist[:, :3], atol=1e-6)
    names = list(found.features["action"].names or ())
    assert names[7] == "thumb_cmc.x" and names[-1] == "little_tip.z" and len(names) == 67
    far = np.linalg.norm(state[:, 7:].reshape(-1, 20, 3), axis=-1)
    assert np.allclose(far, np.linalg.norm(landmarks[:, 1:] - landmarks[:, :1], axis=-1), atol=1e-5)
    assert np.ptp(state[:, 7:], axis=0).max() < 1e-5  # fingers that do not move in the palm


def test_an_episode_with_little_hand_is_dropped(made: SimpleNamespace) -> None:
    tracked = np.where(np.arange(90) < 36, hands.SEEN, hands.ABSENT)
    (dropped,) = stage().run(iter([made.episode_of(made.tool_path(), tracked=tracked)]))
    assert isinstance(dropped, Drop)
    assert dropped.reason == "the right hand is tracked in 40% of the frames; asked for are 50%"
    assert dropped.evidence == {"tracked": {"right": 0.4}, "frames": 90}


def test_a_lost_hand_cuts_the_episode_in_two(made: SimpleNamespace) -> None:
    tracked = np.full(90, hands.SEEN)
    tracked[40:50], tracked[20:22] = hands.ABSENT, hands.FILLED
    tool = made.tool_path()
    tool.point[45:] += [0.4, 0.0, 0.0]  # it comes back elsewhere, which is no leap
    episode = made.episode_of(tool, tracked=tracked)
    first, second = stage(shortest=0.2).run(iter([episode]))
    assert isinstance(first, Episode) and isinstance(second, Episode)
    assert (len(first.check()), len(second.check())) == (40, 40) and first.id != second.id
    assert first.meta.parent == second.meta.parent == episode.id
    for piece, start in ((first, 0), (second, 50)):  # an action never says what is cut out
        assert np.allclose(piece.frames["observation.state"][:, :3], tool.point[start : start + 40], atol=1e-5)
        assert np.allclose(piece.frames["action"][-1], piece.frames["observation.state"][-1])
        (cut,) = rows(piece, "retarget_cuts")
        assert (cut["start"], cut["stop"], cut["reason"]) == (40, 50, "tracked")


def test_a_leap_is_cut_apart_and_loses_no_frame(made: SimpleNamespace) -> None:
    tool = made.tool_path()
    tool.point[50:] += [0.3, 0.0, 0.0]
    first, second = stage().run(iter([made.episode_of(tool)]))
    assert isinstance(first, Episode) and isinstance(second, Episode)
    assert (len(first), len(second)) == (50, 40)
    (cut,) = rows(first, "retarget_cuts")
    assert (cut["start"], cut["stop"], cut["reason"]) == (49, 51, "jump") and 8.5 < cut["value"] < 9.5
    assert "at most 4 m/s are believed" in cut["text"]
    assert len(only(list(stage(jump=None).run(iter([made.episode_of(tool)]))))) == 90


def test_frames_that_are_unsure_are_cut(made: SimpleNamespace) -> None:
    sigma = np.where(np.arange(90) < 30, 0.04, 0.01)
    found = only(list(stage(sigma=0.02).run(iter([made.episode_of(made.tool_path(), sigma=sigma)]))))
    assert len(found) == 60
    assert rows(found, "retarget_cuts")[0]["text"] == "the wrist's place is sure to 40 mm, asked for are 20 mm"
    (dropped,) = stage(sigma=0.005).run(iter([made.episode_of(made.tool_path(), sigma=sigma)]))
    assert isinstance(dropped, Drop)
    assert dropped.reason == "no stretch of 0.5 s is left of 90 frames: sigma in 90"
    assert dropped.evidence["cuts"][0]["reason"] == "sigma"


def test_stretches_that_are_too_short_are_left_out_and_told(made: SimpleNamespace) -> None:
    tracked = np.full(90, hands.SEEN)
    tracked[10:12] = hands.ABSENT
    found = only(list(stage().run(iter([made.episode_of(made.tool_path(), tracked=tracked)]))))
    assert len(found) == 78
    assert [(r["start"], r["stop"], r["reason"]) for r in rows(found, "retarget_cuts")] == [
        (0, 10, "shortest"),
        (10, 12, "tracked"),
    ]


def test_a_closed_hand_that_carries_is_a_grasp(made: SimpleNamespace) -> None:
    frames = np.arange(120)
    tool = made.tool_path(120)
    tool.point[:] = [0.3, 0.0, 0.2]
    tool.point[50:90, 1] = np.linspace(0, 0.2, 40)  # carried
    tool.point[90:, 1] = 0.2
    closed = ((frames >= 40) & (frames < 95)) | (frames >= 110)  # the second time it stays where it is
    found = only(list(stage().run(iter([made.episode_of(tool, np.where(closed, 0.02, 0.08))]))))
    (grasp,) = rows(found, "grasp")
    assert (grasp["start"], grasp["stop"], grasp["side"]) == (40, 95, "right")
    assert grasp["travel"] == pytest.approx(0.2, abs=0.001)
    unsure = made.episode_of(tool, np.where(closed, 0.02, 0.08), sigma=0.25)
    assert rows(only(list(stage().run(iter([unsure])))), "grasp") == []  # a way that may be none
    tracked = np.where((frames >= 60) & (frames < 75), hands.ABSENT, hands.SEEN)
    episode = made.episode_of(tool, np.where(closed, 0.02, 0.08), tracked=tracked)
    pieces = list(stage().run(iter([episode])))
    assert [[(r["start"], r["stop"]) for r in rows(p, "grasp")] for p in pieces] == [[(40, 60)], [(0, 20)]]
    assert rows(pieces[1], "grasp")[0]["travel"] < 0.1  # of its own, not from where the hand was lost


def test_a_workspace_is_scaled_and_shifted(made: SimpleNamespace) -> None:
    tool = made.tool_path()
    found = only(list(stage(scale=1.5, shift=[0.0, 0.1, 0.0]).run(iter([made.episode_of(tool)]))))
    assert np.allclose(found.frames["observation.state"][:, :3], 1.5 * tool.point + [0, 0.1, 0], atol=1e-5)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"hand": "third"}, "'third' is not one of"),
        ({"camera": [0, 0, 0, 0, 0, 0, 0]}, "a pose is x, y, z"),
        ({"camera": [0] * 6 + [1], "world": [0] * 6 + [1]}, "not both"),
        ({"model": "arm.xml"}, "one of them is missing"),
        ({"model": "arm.xml", "arm": {"tool": "ee", "joints": ["a"]}}, "an arm needs camera or world"),
        ({"tracked": 1.5}, "not between 0 and 1"),
        ({"jump": 0.0}, "retarget.jump: 0.0 is not above 0"),
        ({"shortest": -1.0}, "negative"),
        ({"close_below": 0.8}, "lie in this order"),
        ({"closed_at": 0.9, "open_at": 0.2}, "is below"),
        ({"scale": 0.0}, "not above 0"),
        ({"offset": [1, 2]}, "three numbers"),
        ({"hnad": "right"}, "did you mean 'hand'"),
        ({"tolerance": 2.0}, "in metres, not in mm"),
        ({"sigma": 50.0}, "in metres, not in mm"),
        ({"finger_depth": 10.0}, "in metres, not in mm"),
        ({"turn_tolerance": 10.0}, "in rad, not in degrees"),
        ({"turn_sigma": 15.0}, "in rad, not in degrees"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(params: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        stage(**params)


def test_the_pieces_can_be_stored_and_cached(made: SimpleNamespace, tmp_path: Path) -> None:
    tracked = np.full(90, hands.SEEN)
    tracked[40:50] = hands.ABSENT
    episode = made.episode_of(made.tool_path(), tracked=tracked)
    picture = Feature("video", (32, 48, 3), ("height", "width", "channels"), "image")
    clip = ArrayClip(np.zeros((90, 32, 48, 3), np.uint8), 30.0)
    episode = Episode(
        episode.id,
        30.0,
        {**episode.features, "observation.images.ego": picture},
        episode.frames,
        {"observation.images.ego": clip},
        meta=episode.meta,
    )
    made_by = stage()
    pieces = list(made_by.run(iter([episode])))
    cache = ResultCache(tmp_path / "cache")
    assert cache.keep("aa", episode, pieces, made_by.reads)
    recalled = cache.recall("aa", episode)
    assert recalled is not None and [r.hashes() for r in recalled] == [p.hashes() for p in pieces]
    store = Store.create(tmp_path / "store", fps=30.0, features=pieces[0].features)
    with store.writer() as writer:
        for piece in pieces:
            writer.append(piece)
    kept = list(Store.open(tmp_path / "store").episodes())
    assert [e.id for e in kept] == [p.id for p in pieces]
    assert np.array_equal(kept[1].frames["action"], pieces[1].frames["action"])
    assert kept[0].meta.lineage[-1].name == "retarget"
    assert rows(kept[0], "retarget_cuts") == rows(pieces[0], "retarget_cuts") != []


def test_one_frame_is_an_episode_too(made: SimpleNamespace) -> None:
    for rotation in sorted(NAMES):
        for action in ("absolute", "delta"):
            one = made.episode_of(made.tool_path(2)).slice(0, 1)
            found = only(list(stage(shortest=0.0, rotation=rotation, action=action).run(iter([one]))))
            assert np.isfinite(found.frames["action"]).all()
