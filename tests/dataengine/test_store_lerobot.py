"""Stock LeRobot 0.6.1 on our stores: the only module here that imports it (seconds), so all of it is in one place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from store_damage import cut, data, flip, flip_page, video
from store_killed import labelled
from store_made import DEPTH, FEATURES, FPS, FRONT, PNG, episode, store_of

from conftest import shared_data
from dataengine.store import Edit, FrameReader, Store, one_byte
from dataengine.store.repair import repair

pytest.importorskip("lerobot")
WINDOWS = {"action": [-0.1, 0, 0.1, 0.4], FRONT: [-0.2, 0], "observation.state": [0, 0.1]}


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Runs beside the import of LeRobot."""
    folder = tmp_path_factory.mktemp("killed")
    program = Path(__file__).parents[1] / "store_killed.py"
    command = [sys.executable, "-W", "ignore", str(program), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield folder, process
        process.kill()


@pytest.fixture(scope="module")
def stock(killed: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """LeRobot, with the `datasets` cache in a folder of this test run."""
    cache = tmp_path_factory.mktemp("hf")
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(cache)}
    import datasets
    from lerobot.datasets.lerobot_dataset import LeRobotDataset
    from lerobot.utils.feature_utils import dataset_to_policy_features

    datasets.config.HF_DATASETS_CACHE = cache

    def load(root: Path, **options: Any) -> LeRobotDataset:
        return LeRobotDataset("made/here", root=root, video_backend="pyav", **options)

    return SimpleNamespace(load=load, policy_features=dataset_to_policy_features)


def assert_same(theirs: dict[str, Any], ours: dict[str, Any], cameras: dict[str, str]) -> None:
    """One item of both readers: tables equal, pixels equal."""
    assert set(theirs) - set(ours) <= {"language_persistent", "language_events"}
    for key, value in ours.items():
        other = theirs[key].numpy() if hasattr(theirs[key], "numpy") else theirs[key]
        if isinstance(other, str):
            assert other == value, key
        elif cameras.get(key) == "depth":  # theirs in whole millimetres
            np.testing.assert_allclose(other, np.moveaxis(value, -1, -3) * 1000, atol=0.51, err_msg=key)
        elif key in cameras:
            np.testing.assert_array_equal(np.round(other * 255), np.moveaxis(value, -1, -3), err_msg=key)
        else:  # torch has no float64 of its own accord
            np.testing.assert_array_equal(other, np.asarray(value).astype(other.dtype), err_msg=key)
            assert other.shape == np.shape(value), key


def test_opens_and_agrees_after_every_append(stock: Any, tmp_path: Path) -> None:
    store = Store.create(tmp_path / "s", fps=FPS, features=FEATURES, embodiment="arm")
    cameras = {FRONT: "rgb", DEPTH: "depth", PNG: "rgb"}
    for seed in range(3):
        with store.writer() as writer:
            writer.append(episode(seed, 5 + seed))
        dataset, reader = stock.load(store.root, delta_timestamps=WINDOWS), FrameReader(store, WINDOWS)
        assert (len(dataset), dataset.num_episodes) == (len(reader), seed + 1)
        for index in range(len(reader)) if seed == 2 else (0, len(reader) - 1):
            assert_same(dataset[index], reader[index], cameras)
    assert dataset.meta.robot_type == "arm"
    assert [row["success"] for row in dataset.meta.episodes] == [False, True, False]
    selected = stock.load(store.root, episodes=[2], delta_timestamps=WINDOWS)
    ours = FrameReader(store, WINDOWS, episodes=[2])
    for index in range(len(ours)):
        assert_same(selected[index], ours[index], cameras)

    before = stock.policy_features(dataset.meta.features)
    store.materialize()
    store.compact(join_videos=True)
    dataset, reader = stock.load(store.root, delta_timestamps=WINDOWS), FrameReader(store, WINDOWS)
    assert {"label.grade", "label.phase", "label.contact", "collect.grid"} <= set(dataset.meta.features)
    assert stock.policy_features(dataset.meta.features) == before
    for index in (0, 4, 5, 11, 17):
        assert_same(dataset[index], reader[index], cameras)
    said = dataset[5]["language_persistent"]
    assert [(row["style"], row["content"], row["timestamp"]) for row in said] == [
        ("subtask", "reach", 0.0),
        ("subtask", "grasp", pytest.approx(0.3)),
    ]


def test_agrees_after_edits(stock: Any, tmp_path: Path) -> None:
    store = Store.create(tmp_path / "s", fps=FPS, features=FEATURES)
    with store.writer() as writer:
        for seed in range(5):
            writer.append(episode(seed, 9 + seed))
    store.compact(join_videos=True)
    edit = Edit(store).delete([1]).trim(0, 2, 8).split(3, [5]).reorder([4]).task("wait", episodes=[2])
    edit.rename(PNG, "observation.images.hand").drop(["collect.note"]).commit()
    cameras = {FRONT: "rgb", DEPTH: "depth", "observation.images.hand": "rgb"}
    dataset, reader = stock.load(store.root, delta_timestamps=WINDOWS), FrameReader(store, WINDOWS)
    assert len(dataset) == len(reader) == store.frames and dataset.num_episodes == 5
    assert set(dataset.meta.tasks.index) == set(store.tasks)
    for index in range(len(reader)):
        assert_same(dataset[index], reader[index], cameras)


def test_reads_what_verify_says_and_all_of_a_repaired_store(
    stock: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_byte, "EFFORT", 0)
    store = Store.create(tmp_path / "s", fps=FPS, features=FEATURES)
    with store.writer() as writer:
        for seed in range(4):
            writer.append(episode(seed, 5 + seed))
    before = [np.asarray(item["action"]) for item in FrameReader(store)]
    flip_page(data(store.root, 1), "action")
    assert "LeRobot reads wrong values of 'action' without noticing (episodes 1)" in str(store.verify())
    dataset = stock.load(store.root)
    wrong = [k for k in range(len(dataset)) if not np.array_equal(dataset[k]["action"], before[k])]
    assert wrong and set(wrong) <= set(range(5, 11))
    cut(data(store.root, 2), 400)
    assert "LeRobot cannot open the dataset" in str(store.verify())
    with pytest.raises(Exception, match=r"parquet|dataset|generat"):
        stock.load(store.root)
    flip(video(store.root, 3), 0.9)
    repair(store.root)
    repaired = Store.open(store.root)
    dataset, reader = stock.load(store.root, delta_timestamps=WINDOWS), FrameReader(repaired, WINDOWS)
    assert len(dataset) == len(reader) == repaired.frames == 5 and repaired.ids == ("episode0000",)
    for index in range(len(reader)):
        assert_same(dataset[index], reader[index], {FRONT: "rgb", DEPTH: "depth", PNG: "rgb"})


def test_statistics_are_lerobots(stock: Any, tmp_path: Path) -> None:
    """Exact moments equal theirs; our quantiles are those of all frames."""
    from lerobot.datasets.compute_stats import get_feature_stats

    store = Store.create(tmp_path / "s", fps=FPS, features=FEATURES)
    with store.writer() as writer:
        for seed in range(3):
            writer.append(episode(seed, 40))
    stats, table = store.stats(), FrameReader(store, columns=["observation.state", "next.done", "collect.grid"])
    for key in ("observation.state", "collect.grid", "next.done"):
        values = np.stack([item[key] for item in table]).astype(np.float64)
        theirs = get_feature_stats(values, axis=0, keepdims=values.ndim == 1)
        for name in ("min", "max", "mean", "std"):
            np.testing.assert_allclose(stats[key][name], theirs[name], atol=1e-6, err_msg=f"{key} {name}")
        span = values.max() - values.min()
        want = np.quantile(values.reshape(-1, values.shape[-1] if values.ndim > 1 else 1), 0.9, axis=0)
        np.testing.assert_allclose(stats[key]["q90"], want, atol=0.05 * span)
    # LeRobot samples pictures of videos before encoding too; ours see every frame.
    pixels = np.concatenate([episode(seed, 40).clips[PNG].array for seed in range(3)])
    theirs = get_feature_stats(np.moveaxis(pixels, -1, 1), axis=(0, 2, 3), keepdims=True)
    for name in ("min", "max", "mean", "std", "q01", "q50", "q99"):
        np.testing.assert_allclose(stats[PNG][name], theirs[name][0] / 255, atol=2 / 255, err_msg=name)
    assert stats[PNG]["count"].tolist() == [120]
    assert set(stock.load(store.root).meta.stats) == {*stats}


def files_of(root: Path) -> set[str]:
    return {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file() and ".dataengine" not in p.parts}


def test_survives_a_kill_at_every_step(killed: Any, stock: Any) -> None:
    """SIGKILL before each rename, link and removal of a commit: what was acknowledged is there for both readers."""
    tmp_path, process = killed
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    rounds = [json.loads(line) for line in out.splitlines()]
    assert len(rounds) > 12 and rounds[-1]["acknowledged"] and not rounds[0]["acknowledged"]
    want = {n: Store.open(tmp_path / ("base" if n == 2 else str(len(rounds) - 1))).digest() for n in (2, 3)}
    for line in rounds:
        root = tmp_path / str(line["n"])
        store = Store.open(root)
        assert len(store) >= 2 + len(line["acknowledged"]) and store.verify().ok
        assert store.digest() == want[len(store)]
        dataset = stock.load(root)
        assert dataset.num_episodes >= 2 + len(line["acknowledged"])
        assert len(dataset) == sum((4, 5, 6)[: dataset.num_episodes])
        reader = FrameReader(store)
        for index in (0, len(dataset) - 1):
            assert_same(dataset[index], reader[index], {FRONT: "rgb"})
        with store.writer():
            pass
        assert files_of(root) == files_of(tmp_path / ("base" if len(store) == 2 else str(len(rounds) - 1)))
        assert store.verify().ok and store.digest() == want[len(store)]
        with store.writer() as writer:
            assert writer.append(labelled(2)) == 2
        assert store.digest() == want[3] and store.verify().ok


def test_trains_a_tiny_act(stock: Any, tmp_path: Path) -> None:
    import torch
    from lerobot.configs.types import FeatureType
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.act.modeling_act import ACTPolicy
    from lerobot.policies.act.processor_act import make_act_pre_post_processors

    store = store_of(tmp_path / "s", [12] * 2)
    chunk = 4
    dataset = stock.load(store.root, delta_timestamps={"action": [k / FPS for k in range(chunk)]})
    features = stock.policy_features(dataset.meta.features)
    outputs = {key: f for key, f in features.items() if f.type is FeatureType.ACTION}
    config = ACTConfig(
        input_features={key: f for key, f in features.items() if key not in outputs},
        output_features=outputs,
        chunk_size=chunk,
        n_action_steps=chunk,
        dim_model=32,
        n_heads=2,
        dim_feedforward=32,
        n_encoder_layers=1,
        n_vae_encoder_layers=1,
        latent_dim=4,
        pretrained_backbone_weights=None,
        device="cpu",
    )
    torch.manual_seed(0)
    policy = ACTPolicy(config)
    prepare, _ = make_act_pre_post_processors(config, dataset_stats=dataset.meta.stats)
    optimizer = torch.optim.AdamW(policy.parameters(), 1e-3)
    losses = []
    for batch in torch.utils.data.DataLoader(dataset, batch_size=8, shuffle=True):
        loss, _ = policy.forward(prepare(batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert len(losses) == 3 and np.isfinite(losses).all()


def test_real_language_and_depth_survive_the_way_through_a_store(stock: Any, tmp_path: Path) -> None:
    """LeRobot's own file → our store → materialized → LeRobot: every item as before."""
    source = Store.open(shared_data("lerobot_v30_depth_language"))
    store = Store.create(tmp_path / "s", fps=source.fps, features=source.features, embodiment=source.embodiment)
    with store.writer() as writer:
        for one in source:
            writer.append(one)
    store.materialize()
    before, after = stock.load(source.root), stock.load(store.root)
    windows = {"action": [0, 0.02, 0.5], "observation.images.top": [-0.04, 0]}
    theirs, ours = stock.load(source.root, delta_timestamps=windows), FrameReader(source, windows)
    cameras = {"observation.images.top": "rgb", "observation.images.top_depth": "depth"}
    for index in [*np.random.default_rng(0).integers(0, len(before), 12).tolist(), 15, 20, 78, len(before) - 1]:
        assert_same(theirs[index], ours[index], cameras)
        first, second = before[index], after[index]
        assert set(first) == set(second)
        for key, value in first.items():
            same = second[key] == value
            assert same if isinstance(same, bool) else bool(same.all()), (index, key)
