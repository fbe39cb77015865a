from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from dataengine.episode import ArrayClip, Episode, Feature, Meta
from dataengine.errors import ConfigError, EpisodeError
from dataengine.store import Store
from dataengine.store.gather import append_all
from pipelines.common_space import ACTION, ANGLES, STATE, CommonSpace

ARM = ("joint.pos", "ee.x", "ee.y", "grip")
ELEMENTS = ("ee.y", "ee.x", "gripper.pos")
STAGE = CommonSpace(
    elements=ELEMENTS,
    rename={"grip": "gripper.pos"},
    cameras={"observation.images.scene": ["observation.images.ego", "observation.images.top"]},
)


def arm(seed: int = 0, size: int = 64, **info: str) -> Episode:
    rng = np.random.default_rng(seed)
    about = {"frame": "base", **info}
    columns = {STATE: rng.normal(size=(6, 4)).astype(np.float32), ACTION: rng.normal(size=(6, 4)).astype(np.float32)}
    pictures = rng.integers(0, 256, (6, size, size, 3), np.uint8)
    features = {
        STATE: Feature("float32", (4,), ARM, "state", ("rad", "m", "m", "1"), info=about),
        ACTION: Feature("float32", (4,), ARM, "action", ("rad", "m", "m", "1"), info={**about, "kind": "absolute"}),
        "observation.images.top": Feature("video", (size, size, 3), ("height", "width", "channels"), "image"),
        "other": Feature("float32", (1,)),
    }
    frames = {**columns, "other": np.zeros(6, np.float32)}
    clips = {"observation.images.top": ArrayClip(pictures, 10.0)}
    return Episode(f"arm{seed}", 10.0, features, frames, clips, meta=Meta(tasks=("lift",), embodiment="an_arm"))


def brought(episode: Episode, stage: CommonSpace = STAGE) -> Episode:
    (found,) = stage.run(iter([episode]))
    assert isinstance(found, Episode)
    return found


def test_elements_are_chosen_by_name_and_the_rest_stays_behind():
    episode = arm()
    found = brought(episode)
    np.testing.assert_array_equal(found.frames[STATE], episode.frames[STATE][:, [2, 1, 3]])
    np.testing.assert_array_equal(found.frames[ACTION], episode.frames[ACTION][:, [2, 1, 3]])
    assert found.features[ACTION].names == ELEMENTS and found.features[ACTION].unit == ("m", "m", "1")
    assert set(found.features) == {STATE, ACTION, "observation.images.scene"} and set(found.frames) == {STATE, ACTION}
    assert found.clips["observation.images.scene"] is episode.clips["observation.images.top"]
    assert (found.meta.embodiment, found.meta.lineage[-1].name) == ("an_arm", "common_space")


def test_pictures_come_to_one_size():
    episode = arm(size=64)
    found = brought(episode, replace(STAGE, size=(32, 16)))
    clip = found.clips["observation.images.scene"]
    assert found.features["observation.images.scene"].shape == (32, 16, 3) == clip.frame(2).shape
    theirs = cv2.resize(episode.clips["observation.images.top"].frame(2), (16, 32), interpolation=cv2.INTER_AREA)
    assert np.abs(clip.frame(2).astype(int) - theirs).mean() < 3  # through libswscale's 8-bit chroma
    part = clip.slice(2, 4)
    assert part.length == 2 and np.array_equal(part.frame(0), clip.frame(2))
    assert part.fingerprint != clip.fingerprint != episode.clips["observation.images.top"].fingerprint


def test_two_embodiments_make_one_dataset(tmp_path):
    person = replace(arm(1, size=48), id="person").with_meta(embodiment="person")
    person = replace(person, features={**person.features, "extra": Feature("float32", (1,))},
                     frames={**person.frames, "extra": np.ones(6, np.float32)})  # fmt: skip
    stage = replace(STAGE, size=(32, 32))
    append_all(stage.run(iter([arm(), person])), tmp_path / "both")
    store = Store.open(tmp_path / "both")
    assert [episode.meta.embodiment for episode in store.episodes()] == ["an_arm", "person"]
    np.testing.assert_array_equal(store[1].frames[ACTION], person.frames[ACTION][:, [2, 1, 3]])


@pytest.mark.parametrize(
    ("episode", "stage", "says"),
    [
        (arm(), replace(STAGE, elements=("ee.x", "ee.yaw")), "has no ee.yaw; it has joint.pos, ee.x, ee.y, grip"),
        (arm(), replace(STAGE, rename=None), "has no gripper.pos"),
        (arm(), replace(STAGE, cameras={"x": ["observation.images.left"]}), "no camera of observation.images.left"),
        (arm(frame="camera"), STAGE, "has the frame 'camera', not 'base'"),
        (arm(rotation="euler"), replace(STAGE, rotation="rotation_6d"), "has the rotation 'euler', not 'rotation_6d'"),
        (arm(rotation="euler"), STAGE, "has the rotation 'euler', not 'extrinsic xyz angles relative to the tool"),
        (arm(kind="delta"), STAGE, None),
        (arm().select([ACTION]), STAGE, "is missing"),
        (arm(), replace(STAGE, rename={"grip": "gripper.pos", "joint.pos": "ee.x"}), "two elements of one name"),
    ],
)  # fmt: skip
def test_what_does_not_mean_the_same_is_refused(episode: Episode, stage: CommonSpace, says: str | None):
    if says is None:  # a delta
        told = episode.features[ACTION]
        episode = replace(
            episode, features={**episode.features, ACTION: replace(told, info={**told.info, "kind": "delta"})}
        )
        says = "is delta; a common space wants where to be"
    with pytest.raises(EpisodeError) as caught:
        brought(episode, stage)
    assert says in str(caught.value)


def test_what_a_dataset_does_not_say_is_noted_and_what_is_not_asked_for_is_not():
    silent = arm()
    silent = replace(silent, features={key: replace(f, info={**f.info, "frame": None}) if key == STATE else f
                                       for key, f in silent.features.items()})  # fmt: skip
    frame = f"frame of {STATE} = 'base': the dataset does not say it"
    turn = f"rotation of {STATE} and {ACTION} = {ANGLES!r}: the dataset does not say it"
    assert brought(silent).meta.lineage[-1].assumed == (frame, turn)
    assert brought(arm(rotation=ANGLES)).meta.lineage[-1].assumed == ()
    free = replace(STAGE, frame=None, rotation=None)
    assert brought(arm(frame="camera", rotation="euler"), free).meta.lineage[-1].assumed == ()


def test_two_ways_to_write_angles_do_not_become_one_dataset(tmp_path):
    """A store keeps the words of its first episode; the second's numbers would be read by them."""
    other = replace(arm(1, rotation="relative to the camera"), id="person")
    with pytest.raises(EpisodeError, match="has the rotation 'relative to the camera'"):
        append_all(STAGE.run(iter([arm(rotation=ANGLES), other])), tmp_path / "both")


def test_wrong_parameters_are_said_at_once():
    for wrong in (
        {"elements": ()},
        {"elements": ("a", "a")},
        {"cameras": {"a": "x"}},
        {"cameras": {ACTION: ["x"]}},
        {"size": (8, 32)},
    ):
        with pytest.raises(ConfigError, match="common_space"):
            CommonSpace(**wrong)  # type: ignore[arg-type]
