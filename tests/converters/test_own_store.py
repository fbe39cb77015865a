"""Stores of ours as a source: what a mapping leaves alone stays the same episode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from lerobot_folders import TASKS, TOP, Folder, write_v2, write_v3

from conftest import shared_data
from converters.base import Converter, detect
from converters.lerobot_v2 import LeRobotV2
from converters.lerobot_v3 import LeRobotV3
from converters.own_store import OwnStore
from dataengine.episode import Label
from dataengine.store import Store


def make_store(source: Path, target: Path, mapping: dict | None = None) -> Store:
    converter: Converter = detect(source)
    plan = converter.plan(source, mapping)
    store = Store.create(target, fps=plan.fps, features=plan.features, embodiment=plan.embodiment, licence=plan.licence)
    with store.writer() as writer:
        for ref in plan.episodes:
            writer.append(converter.read(plan, ref))
    return Store.open(target)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    write_v2(tmp_path / "source", Folder(licence="mit"))
    store = make_store(tmp_path / "source", tmp_path / "store", {"features": {"action": {"unit": "rad"}}})
    spans = pa.table({"start": [0, 4], "stop": [4, 9], "text": ["reach", "grasp"]})
    store.write_labels("subtask", {store.ids[0]: Label("span", spans, {"name": "somebody"})})
    return store


def test_a_copy_is_the_same_store(store: Store, tmp_path: Path) -> None:
    assert isinstance(detect(store.root), OwnStore) and not LeRobotV3().sniff(store.root)
    copy = make_store(store.root, tmp_path / "copy")
    assert copy.ids == store.ids
    assert (copy.embodiment, copy.licence, copy.fps) == (store.embodiment, store.licence, store.fps)
    assert copy.features["action"].unit == "rad"
    for one, other in zip(copy, store, strict=True):
        assert one.meta == other.meta
        assert one.hashes() == other.hashes()
    assert copy.labels("subtask")[store.ids[0]].table.column("text").to_pylist() == ["reach", "grasp"]
    assert copy.digest() == store.digest()


def test_a_changed_episode_is_a_variant(store: Store) -> None:
    converter = OwnStore()
    plan = converter.plan(store.root, {"cameras": {TOP: {"flip": "vertical"}}, "features": {"next.done": None}})
    episode = converter.read(plan, plan.episodes[0])
    assert episode.id != store.ids[0] and episode.meta.parent == store.ids[0]
    assert [step.params.get("format") for step in episode.meta.lineage] == ["lerobot_v2", "store"]
    assert np.array_equal(episode.clips[TOP].frame(3), store[0].clips[TOP].frame(3)[::-1])
    assert "next.done" not in episode.features and "subtask" in episode.labels


def test_a_licence_given_later_does_not_make_another_episode(store: Store) -> None:
    converter = OwnStore()
    plan = converter.plan(store.root, {"licence": "apache-2.0"})
    episode = converter.read(plan, plan.episodes[0])
    assert (episode.id, episode.meta.licence, episode.meta.tasks) == (store.ids[0], "apache-2.0", (TASKS[0],))


def test_changing_tasks_survive(tmp_path: Path) -> None:
    rollouts = write_v3(tmp_path / "source")
    plan = LeRobotV3().plan(tmp_path / "source")
    assert plan.frames == sum(map(len, rollouts))
    store = make_store(tmp_path / "source", tmp_path / "store")
    assert [e.meta.tasks for e in store] == [(TASKS[0],), (TASKS[1],), (TASKS[0],)]


def test_depth_is_copied_with_its_coding(tmp_path: Path) -> None:
    source = shared_data("lerobot_v30_depth_language")
    store = make_store(source, tmp_path / "store")
    plan = LeRobotV3().plan(source)
    key = "observation.images.top_depth"
    assert store.features[key].info["depth_unit"] == "mm"
    for ref, kept in zip(plan.episodes, store, strict=True):
        read = LeRobotV3().read(plan, ref)
        assert all(
            np.array_equal(a, b) for a, b in zip(read.clips[key].frames(), kept.clips[key].frames(), strict=True)
        )
        assert {n: label.table.to_pylist() for n, label in read.labels.items()} == {
            n: label.table.to_pylist() for n, label in kept.labels.items()
        }
    again = make_store(store.root, tmp_path / "again")
    assert again.ids == store.ids


def test_labels_of_groot_go_into_the_store(tmp_path: Path) -> None:
    store = make_store(shared_data("groot_lerobot/robot_sim.PickNPlace"), tmp_path / "store")
    assert {"human.validity", "human.action.task_description"} <= set(store.label_names())
    assert [t for t in store.tasks if "valid" in t] == []
    assert LeRobotV2().name in str(store[0].meta.source)
