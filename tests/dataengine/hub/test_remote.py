"""A published store read from the Hub without downloading it: one commit, whatever happens to branches and tags."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import CommitOperationDelete, HfApi
from store_made import FPS, FRONT, SMALL, episode

from dataengine.errors import ConfigError, StoreError
from dataengine.hub.publish import Publish, plain_uploads
from dataengine.hub.server import serving
from dataengine.remote import http as over_http
from dataengine.store import FrameReader, FrameStream, Store

REPO = "local/cubes"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HfApi]:
    monkeypatch.setenv("DATAENGINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(over_http, "PAUSE", 0.0)
    with serving(tmp_path / "hub", token="hf_rehearsal") as address, plain_uploads(address):
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setenv("HF_TOKEN", "hf_rehearsal")
        yield HfApi(endpoint=address, token="hf_rehearsal")


def publish(hub: HfApi, tmp_path: Path, seeds: range) -> Store:
    """A private data set with a label beside it."""
    store = Store.create(tmp_path / f"s{len(seeds)}", fps=FPS, features=SMALL)
    with store.writer() as writer:
        for seed in seeds:
            writer.append(episode(seed, 9 + seed, SMALL))
    store.write_labels("grade", {i: episode(n, 9 + n).labels["grade"] for n, i in enumerate(store.ids)})
    Publish(REPO, licence="mit", endpoint=hub.endpoint).run(store.root, tmp_path / "out")
    return Store.open(store.root)


def test_it_is_the_same_store(hub: HfApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    near = publish(hub, tmp_path, range(3))
    far = Store.open(f"hf://{REPO}")
    commit = hub.repo_info(REPO, repo_type="dataset").sha
    assert far.address == f"hf://{REPO}@{commit}" and far.ids == near.ids and far.digest() == near.digest()
    windows = {"action": [0, 0.1], FRONT: [-0.1, 0]}
    for one, other in zip(FrameReader(far, windows), FrameReader(near, windows), strict=True):
        assert all(np.array_equal(one[key], other[key]) for key in other)
    for first, second in zip(FrameStream(far, batch=4), FrameStream(near, batch=4), strict=True):
        assert all(np.array_equal(first[key], second[key]) for key in second)
    assert far.labels("grade").keys() == near.labels("grade").keys() == set(near.ids)
    for same in (f"hf://datasets/{REPO}", f"hf://{REPO}@{commit}", f"hf://{REPO}@v3.0"):
        assert Store.open(same).root == far.root
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(over_http, "_client", lambda: pytest.fail("a commit that is here is asked for again"))
    assert FrameReader(Store.open(far.address))[3]["action"].shape == (2,)


def test_a_revision_stays_what_it_was(hub: HfApi, tmp_path: Path) -> None:
    publish(hub, tmp_path, range(2))
    far = Store.open(f"hf://{REPO}@main")
    publish(hub, tmp_path, range(3))  # moves main and v3.0, and every file has another content
    assert len(far.reload()) == 2 and [one.length for one in far] == [9, 10]
    assert FrameReader(far)[18][FRONT].shape == (32, 48, 3)
    tags = sorted(tag.name for tag in hub.list_repo_refs(REPO, repo_type="dataset").tags)
    assert [len(Store.open(f"hf://{REPO}@{name}")) for name in ("main", *tags)] == [3, 3, 2, 3]


def test_errors_name_the_address_and_the_reason(hub: HfApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    near = publish(hub, tmp_path, range(2))
    with pytest.raises(StoreError, match=f"hf://{REPO}@v9: .*[Rr]evision"):
        Store.open(f"hf://{REPO}@v9")
    with pytest.raises(StoreError, match=r"hf://local/none: .*404"):
        Store.open("hf://local/none")
    with pytest.raises(ConfigError, match="hf://owner/name"):
        Store.open("hf://cubes")
    far = Store.open(f"hf://{REPO}")
    video = next(near.root.rglob("*.mp4")).relative_to(near.root)
    hub.create_commit(REPO, [CommitOperationDelete(str(video))], commit_message="one less", repo_type="dataset")
    less = Store.open(f"hf://{REPO}")
    assert [one["index"] for one in FrameReader(less, columns=["action"])] == list(range(19))
    with pytest.raises(StoreError, match=r"file-000.mp4 is missing"):
        FrameReader(less)[0]
    assert FrameReader(far)[0][FRONT].shape == (32, 48, 3)
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    with pytest.raises(StoreError, match=f"hf://{REPO}: .*404"):
        Store.open(f"hf://{REPO}")
