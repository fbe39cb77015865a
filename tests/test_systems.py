"""docs/systems.md, row by row: the product is read back from a published dataset."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from collectors.fleet.service import serving as collecting
from dataengine.cli import app
from dataengine.episode import Episode, Feature, Meta
from dataengine.hub.publish import Publish
from dataengine.hub.server import serving
from dataengine.store import FrameReader, FrameStream, Store
from pipelines.tokenizers.bins import Bins
from pipelines.tokenizers.chunks import windows
from pipelines.tokenizers.fast import Fast
from pipelines.tokenizers.jobs import FitBins, FitFast

ROOT = Path(__file__).resolve().parents[1]
FEATURES = {
    "observation.state": Feature("float32", (3,), ("x", "y", "z"), "state", "m"),
    "action": Feature("float32", (3,), ("x", "y", "z"), "action", "m"),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("systems") / "store"
    opened = Store.create(path, fps=10.0, features=FEATURES)
    rng = np.random.default_rng(0)
    with opened.writer() as writer:
        for number in range(12):
            t = np.linspace(0, 1, 25 + number)[:, None]
            state = (rng.normal(size=(1, 3)) * t + rng.normal(size=(1, 3)) * np.sin(3 * t)).astype(np.float32)
            frames = {"observation.state": state, "action": np.roll(state, -1, 0)}
            writer.append(Episode(f"e{number}", 10.0, FEATURES, frames, meta=Meta(tasks=("reach",))))
    return path


def published(store: Path, folder: Path) -> Store:
    """The store as somebody else gets it from a Hub."""
    from huggingface_hub import snapshot_download

    with serving(folder / "hub") as hub:
        Publish("local/reach", licence="mit", endpoint=hub).run(store, folder / "out")
        return Store.open(snapshot_download("local/reach", repo_type="dataset", endpoint=hub, cache_dir=folder / "c"))


def test_5_fast_tokens_of_every_frame_decode_to_the_frames_chunk(store: Path, tmp_path: Path) -> None:
    report = FitFast(label=True).run(store, tmp_path / "fast")
    assert report["compression"] > 3 and report["chunk"] == [10, 3]
    fast = Fast.load(tmp_path / "fast")
    got = published(store, tmp_path)
    for identity, label in got.labels("fast_tokens").items():
        actions = got.get(identity).frames["action"].astype(float)
        tokens = label.table.column("tokens").to_pylist()
        assert tokens == fast.encode(windows(actions, 10, 1))
        inside = np.clip(windows(actions, 10, 1), fast.bounds.low, fast.bounds.high)
        assert np.abs(fast.decode(tokens) - inside).max() < 0.16 * (fast.bounds.high - fast.bounds.low).max()


def test_13_the_text_of_every_action_is_rt2s(store: Path, tmp_path: Path) -> None:
    FitBins().run(store, tmp_path / "bins")
    bins = Bins.load(tmp_path / "bins")
    got = published(store, tmp_path)
    half = (bins.bounds.high - bins.bounds.low) / 256 / 2
    for identity, label in got.labels("action_tokens").items():
        actions = got.get(identity).frames["action"].astype(float)
        texts = label.table.column("text").to_pylist()
        assert all(re.fullmatch(r"\d{1,3} \d{1,3} \d{1,3}", text) for text in texts)
        decoded = bins.decode([[int(n) for n in text.split()] for text in texts])[:, 0]
        assert (np.abs(decoded - np.clip(actions, bins.bounds.low, bins.bounds.high)) <= half + 1e-9).all()


def test_14_interventions_of_a_fleet_grow_one_store_while_a_learner_reads(tmp_path: Path) -> None:
    features = FEATURES | {"intervention": Feature("bool", (1,)), "collect.actor": Feature("string", (1,))}
    token, learner, seen = "a token for this test", None, []
    with collecting(tmp_path / "fleet", token) as url:
        for robot in ("left", "right"):
            opened = Store.create(tmp_path / robot, fps=10.0, features=features)
            with opened.writer() as writer:
                for number in range(2):
                    taken = np.arange(20) >= 12 + number
                    columns = {key: np.full((20, 3), number, np.float32) for key in FEATURES}
                    columns |= {"intervention": taken, "collect.actor": np.where(taken, "person", "policy")}
                    writer.append(Episode(f"{robot}{number}", 10.0, features, columns, meta=Meta(tasks=("reach",))))
            words = ["collect", "push", str(opened.root), url, "--token", token, "--recorder", robot]
            done = CliRunner().invoke(app, words, catch_exceptions=False)
            assert done.exit_code == 0 and "2 sent" in done.output
            learner = learner.reload() if learner else Store.open(tmp_path / "fleet")
            batches = list(FrameStream(learner, batch=16))
            seen.append((len(learner), sum(int(batch["intervention"].sum()) for batch in batches)))
    assert seen == [(2, 15), (4, 30)]
    got = published(tmp_path / "fleet", tmp_path)
    assert [one.meta.extra["recorder"] for one in got] == ["left", "left", "right", "right"]
    for one in got:
        assert (one.frames["intervention"] == (one.frames["collect.actor"] == "person")).all()
        assert int(one.frames["intervention"].argmax()) == 12 + int(one.id[-1])


def test_42_chunks_end_with_their_episode(store: Path) -> None:
    reader = FrameReader(Store.open(store), {"action": [k / 10 for k in range(8)]})
    first = len(Store.open(store)[0])
    chunk = reader[first - 3]
    assert chunk["action"].shape == (8, 3) and chunk["action_is_pad"].tolist() == [False] * 3 + [True] * 5
    np.testing.assert_array_equal(chunk["action"][2:], np.repeat(chunk["action"][2:3], 6, axis=0))


def test_every_row_names_a_test_that_exists() -> None:
    rows = re.findall(r"^\| (\d+) \|.*\| `([^`]+)` \|$", (ROOT / "docs" / "systems.md").read_text(), re.M)
    assert {int(number) for number, _ in rows} >= {5, 13, 14, 42, 62, 76}
    for _, test in rows:
        assert (ROOT / test.split("::")[0]).exists(), test
