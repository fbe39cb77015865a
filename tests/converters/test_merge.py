"""Several datasets into one, or a clear no."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lerobot_folders import TASKS, TOP, Folder, write_v2, write_v3

from conftest import shared_data
from converters.merge import MergeSource, plan_merge
from dataengine.errors import ConfigError
from dataengine.store import Store


def two(tmp_path: Path, first: Folder | None = None, second: Folder | None = None) -> list[Path]:
    write_v2(tmp_path / "old", first or Folder())
    write_v3(tmp_path / "new", second or Folder(lengths=(8, 5), robot_type="leg"))
    return [tmp_path / "old", tmp_path / "new"]


def test_two_versions_into_one_store(tmp_path: Path) -> None:
    merge = plan_merge(two(tmp_path))
    assert merge.fps == 20 and merge.embodiment is None and merge.licence is None
    assert merge.tasks == TASKS
    assert any("embodiments differ" in note for note in merge.notes)
    store = Store.create(tmp_path / "store", fps=merge.fps, features=merge.features)
    with store.writer() as writer:
        for episode in merge.episodes():
            writer.append(episode)
    store = Store.open(tmp_path / "store")
    assert [len(e) for e in store] == [9, 12, 7, 8, 5]
    assert [e.meta.embodiment for e in store] == ["arm"] * 3 + ["leg"] * 2
    assert store.tasks == TASKS
    assert store.verify().problems in ([], ())


def test_rates_must_agree(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"old: 20 Hz, new: 30 Hz"):
        plan_merge(two(tmp_path, Folder(fps=20), Folder(fps=30)))


def test_features_must_agree_or_be_mapped(tmp_path: Path) -> None:
    wrist = "observation.images.wrist"
    folders = two(tmp_path, Folder(cameras={TOP: "video", wrist: "video"}), Folder(names=["a", "b", "c"]))
    with pytest.raises(ConfigError) as caught:
        plan_merge(folders)
    assert f"{wrist}: old has it, new does not" in str(caught.value) and "action: names a, b, c" in str(caught.value)
    rules = {key: {"names": ["x", "y", "z"]} for key in ("action", "observation.state")}
    merge = plan_merge(
        [MergeSource(folders[0], {"cameras": {wrist: None}}), MergeSource(folders[1], {"features": rules})]
    )
    assert set(merge.features) == {"observation.state", "action", "next.reward", "next.done", TOP}
    common = plan_merge([folders[0], MergeSource(folders[1], {"features": rules})], features="common")
    assert set(common.features) == set(merge.features)
    assert any(note == f"{wrist} is left out: 1 of 2 sources have it" for note in common.notes)
    assert all(wrist not in source["mapping"]["cameras"] for source in common.sources())


def test_an_episode_that_stands_twice_is_taken_once(tmp_path: Path) -> None:
    write_v2(tmp_path / "a", Folder(lengths=(9, 12)))
    write_v2(tmp_path / "b", Folder(lengths=(9, 12, 7)))
    merge = plan_merge([tmp_path / "a", tmp_path / "b"])
    assert merge.notes == ("2 episodes of a stand in b too and are taken once",)
    assert [len(episode) for episode in merge.episodes()] == [9, 12, 7]


def test_one_source_is_no_merge(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two sources"):
        plan_merge([tmp_path])


@pytest.mark.parametrize(
    ("first", "second", "licence"),
    [
        ("mit", "mit", "mit"),
        ("apache-2.0", "mit", "Apache-2.0 AND MIT"),
        ("cc-by-nc-4.0", "cc-by-nc-4.0", "cc-by-nc-4.0"),
    ],
)
def test_licences_that_go_together(tmp_path: Path, first: str, second: str, licence: str) -> None:
    merge = plan_merge(two(tmp_path, Folder(licence=first), Folder(licence=second)))
    assert merge.licence == licence
    assert {episode.meta.licence for episode in merge.episodes()} == {first, second}


@pytest.mark.parametrize("other", ["cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-sa-4.0", None, "other"])
def test_licences_that_do_not(tmp_path: Path, other: str | None) -> None:
    folders = two(tmp_path, Folder(licence="mit"), Folder(licence=other))
    with pytest.raises(ConfigError, match=r"set `licence` in each source's mapping"):
        plan_merge(folders)
    given = plan_merge([folders[0], MergeSource(folders[1], {"licence": "mit"})])
    assert given.licence == "mit"


def test_the_same_rollouts_from_two_real_sets() -> None:
    sets = [shared_data("lerobot_v21"), shared_data("lerobot_v20")]
    angle = "observation.images.angle"
    merge = plan_merge(sets, features="common")
    assert angle in merge.features and merge.embodiment == "aloha_sim"
    episodes = list(merge.episodes())
    assert len(episodes) == 8
    for one, other in zip(episodes[:4], episodes[4:], strict=True):
        assert np.array_equal(one.frames["action"], other.frames["action"])
