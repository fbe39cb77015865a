"""What a store refuses, and that it is as before afterwards."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from store_made import DEPTH, FEATURES, FPS, FRONT, SMALL, episode

from dataengine.episode import ArrayClip, Episode, Feature
from dataengine.errors import ConfigError, EpisodeError, StoreError, StoreLocked
from dataengine.store import Shard, Store, seal
from dataengine.store.schema import as_stored


def made(root: Path, count: int, features: dict[str, Feature]) -> Store:
    store = Store.create(root, fps=FPS, features=features)
    with store.writer() as writer:
        for seed in range(count):
            writer.append(episode(seed, 5 + seed, features))
    return store


def test_what_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    store = made(tmp_path / "s", 1, SMALL)
    before, digest = sorted(p for p in store.root.rglob("*")), store.digest()
    good = episode(5, 6, SMALL)
    bad = good.frames["action"].copy()
    bad[3, 1] = np.nan
    wrong = {**SMALL, "action": replace(SMALL["action"], names=("b", "a"))}
    thin = {**SMALL, "action": Feature("float32", (1, 1))}
    cases: list[tuple[Episode, str]] = [
        (replace(good, frames={**good.frames, "action": bad}), "'action', frame 3.*NaN"),
        (replace(good, frames={**good.frames, "action": bad[:, :1]}), "'action'.*shape"),
        (replace(good, frames={**good.frames, "action": bad.astype(np.float64)}), "'action'.*float64"),
        (good.select(["action", FRONT]), "observation.state: the store has it, the episode does not"),
        (replace(good, features=wrong), "action: names b, a, the store has a, b"),
        (
            replace(good, features=thin, frames={**good.frames, "action": np.ones((6, 1, 1), np.float32)}),
            r"\(1, 1\), the store",
        ),
        (replace(good, fps=20.0), "20 frames a second"),
        (replace(good, meta=replace(good.meta, extra={"force": float("nan")})), "cannot be written as JSON.*nan"),
        (replace(good, meta=replace(good.meta, operator="\ud800")), "cannot be written as JSON.*surrogates"),
        (good.with_meta(tasks=()), "no task"),
        (good.with_meta(tasks=("a", "a")), "not unique"),
        (replace(good, clips={FRONT: ArrayClip(good.clips[FRONT].array[:4], FPS)}), "4 frames, the table 6"),
    ]
    with store.writer() as writer:
        for made_, message in cases:
            with pytest.raises(EpisodeError, match=message):
                writer.append(made_)
        assert writer.append(good) == 1
    assert before != sorted(p for p in store.root.rglob("*")) and digest != store.digest()
    assert store.verify().ok


def test_shards_of_another_store_or_damaged_are_refused(tmp_path: Path) -> None:
    plain = Store.create(tmp_path / "plain", fps=FPS, features=SMALL)
    depth = Store.create(tmp_path / "depth", fps=FPS, features={**SMALL, DEPTH: FEATURES[DEPTH]})
    one = episode(3, 6, SMALL)

    def sealed(name: str, features: dict[str, Feature], made_: Episode) -> Shard:
        return seal(made_, tmp_path / name, features={key: as_stored(f) for key, f in features.items()})

    wide = {**SMALL, "action": Feature("float64", (2,))}
    numbers = {key: feature for key, feature in SMALL.items() if not feature.is_camera}
    near = {**SMALL, DEPTH: replace(FEATURES[DEPTH], info={"is_depth_map": True, "video.depth_max": 3.0})}
    doubles = {**one.frames, "action": one.frames["action"].astype(np.float64)}
    slow = {FRONT: replace(one.clips[FRONT], fps=20.0)}
    damaged = sealed("damaged", SMALL, one)
    video = damaged.file(damaged.manifest["videos"][FRONT]["file"])
    video.write_bytes(video.read_bytes()[:-1] + b"x")
    for store, shard, message in (
        (plain, sealed("wide", wide, replace(one, features=wide, frames=doubles)), "with other action"),
        (plain, sealed("numbers", numbers, one.select(list(numbers))), f"with other {FRONT}"),
        (depth, sealed("near", near, episode(3, 6, near)), f"with other {DEPTH}"),
        (plain, sealed("slow", SMALL, replace(one, fps=20.0, clips=slow)), "20 frames a second"),
        (plain, replace(damaged, process="another"), "is not what was sealed"),
    ):
        with store.writer() as writer, pytest.raises((EpisodeError, StoreError), match=message):
            writer.commit(shard)
        assert store.verify().ok and len(store) == 0


@pytest.mark.parametrize(
    ("key", "feature", "message"),
    [
        ("a/b", Feature("float32", (2,)), "file or column name"),
        ("timestamp", Feature("float32", (1,)), "column of the format"),
        ("x", Feature("complex64", (2,)), "complex64"),
        ("x", Feature("float32", (0,)), "at least 1"),
        ("x", Feature("string", (2,)), "of strings"),
        ("x", Feature("float32", (1, 1, 1, 1, 1, 1)), "one to five"),
        ("observation.images.x", Feature("video", (4, 4, 2)), "height, width, 3"),
    ],
)
def test_features_lerobot_cannot_hold(tmp_path: Path, key: str, feature: Feature, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Store.create(tmp_path / "s", fps=10, features={key: feature})
    assert not (tmp_path / "s").exists()


def test_second_writer_is_told_who_writes(tmp_path: Path) -> None:
    store = made(tmp_path / "s", 1, SMALL)
    with (
        store.writer(),
        pytest.raises(StoreLocked, match=f"process {os.getpid()} on "),
        Store.open(store.root).writer(),
    ):
        pass
    with Store.open(store.root).writer() as writer:
        writer.append(episode(1, 6, SMALL))
    with pytest.raises(StoreError, match="closed"):
        writer.append(episode(2, 6, SMALL))


def test_a_new_store_wants_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(StoreError, match="not empty"):
        Store.create(tmp_path, fps=10, features=SMALL)
    with pytest.raises(StoreError, match="is not there"):
        Store.open(tmp_path / "nothing")
