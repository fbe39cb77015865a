"""A store behind HTTP or on a Hub gives what the folder gives, fetches what it needs, and says what fails."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from remote_served import Served, reply, serving
from store_made import DEPTH, FEATURES, FPS, FRONT, PNG, SMALL, episode
from typer.testing import CliRunner

from dataengine.cli import app
from dataengine.episode import ArrayClip, Episode, Feature, Meta
from dataengine.errors import ConfigError, StoreError
from dataengine.remote import http as over_http
from dataengine.remote import openable
from dataengine.remote.cache import BLOCK
from dataengine.store import FrameReader, FrameStream, Store
from dataengine.store import remote as remote_stores
from dataengine.video import Codec
from dataengine.video.index import index_of

WINDOWS: dict[str, Any] = {"action": [-0.1, 0, 0.3], FRONT: [-0.2, 0, 0.1], PNG: [0, 0.1]}
BIG = {"action": SMALL["action"], FRONT: Feature("video", (96, 128, 3), role="image")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`own`: all kinds of features. `foreign`: the same without our record, one file of each kind. `big`: large."""
    folder = tmp_path_factory.mktemp("served")
    store = Store.create(folder / "own", fps=FPS, features=FEATURES, codec=Codec(gop=4))
    with store.writer() as writer:
        for seed in range(3):
            writer.append(episode(seed, 7 + 4 * seed))
    joined = store.snapshot(folder / "foreign")
    joined.compact(join_videos=True)
    (joined.root / "meta/dataengine/commit.json").unlink()
    big = Store.create(folder / "big", fps=FPS, features=BIG, codec=Codec(crf=4, gop=4, preset="ultrafast"))
    random = np.random.default_rng(0)
    with big.writer() as writer:
        for seed in range(2):
            noise = random.integers(0, 255, (60, 96, 128, 3)).astype(np.uint8)
            numbers = {"action": random.normal(size=(60, 2)).astype(np.float32)}
            writer.append(Episode(f"big{seed}", FPS, BIG, numbers, {FRONT: ArrayClip(noise, FPS)}, meta=Meta(("go",))))
    big.compact(join_videos=True)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATAENGINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(over_http, "PAUSE", 0.0)
    return tmp_path / "cache"


@pytest.fixture
def served(folder: Path) -> Iterator[Served]:
    with serving(folder) as found:
        yield found


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert list(one) == list(other)
    for key in one:
        np.testing.assert_array_equal(one[key], other[key], err_msg=key)
        assert np.asarray(one[key]).dtype == np.asarray(other[key]).dtype, key


def assert_equal(far: Store, near: Store, buffer: int = 256 << 20) -> None:
    """Episodes, random access with windows, and a stream in its order."""
    assert far.ids == near.ids and far.features == near.features and far.tasks == near.tasks and far.fps == near.fps
    there, here = FrameReader(far, WINDOWS), FrameReader(near, WINDOWS)
    for index in range(0, len(here), 5):
        assert_same(there[index], here[index])
    options: dict[str, Any] = {"delta_timestamps": WINDOWS, "batch": 8, "seed": 3, "buffer_bytes": buffer}
    for one, other in zip(FrameStream(far, **options), FrameStream(near, **options), strict=True):
        assert_same(one, other)
    for one, other in zip(far, near, strict=True):
        assert one.meta == other.meta and one.labels.keys() == other.labels.keys()
        assert all(one.labels[name].table.equals(other.labels[name].table) for name in one.labels)
    assert far.stats().keys() == near.stats().keys()


@pytest.mark.parametrize("name", ["own", "foreign"])
def test_over_http_it_is_the_same_store(served: Served, folder: Path, name: str) -> None:
    far, near = Store.open(f"{served.address}/{name}/"), Store.open(folder / name)
    assert (far.commit is None) == (name == "foreign") and far.address == f"{served.address}/{name}"
    assert_equal(far, near)
    if name == "own":
        assert far.digest() == near.digest()
    assert not any(path.stat().st_size for path in far.root.rglob("*.mp4"))
    for path in far.root.rglob("*.mp4"):  # what the header says is what all packets say
        there, here = index_of(path), index_of(near.root / path.relative_to(far.root))
        for name in ("times", "order", "keys", "key_seek", "hidden"):
            np.testing.assert_array_equal(getattr(there, name), getattr(here, name))
        assert (there.coding, there.size) == (here.coding, here.size)


def test_only_what_is_needed_is_fetched_and_only_once(served: Served, folder: Path, cache: Path) -> None:
    video = next((folder / "big").rglob("*.mp4"))
    assert video.stat().st_size > 8 * BLOCK
    far = Store.open(f"{served.address}/big")
    assert not any("data/" in path or "videos/" in path for path in served.paths())
    served.forget()
    reader = FrameReader(far, columns=["action"])
    assert reader[70]["action"].shape == (2,) and not any("videos/" in path for path in served.paths())
    reader = FrameReader(far, columns=[FRONT])
    served.forget()
    item = reader[90]
    assert_same(item, FrameReader(Store.open(folder / "big"), columns=[FRONT])[90])
    first = served.sent
    assert 0 < first <= 3 * BLOCK < video.stat().st_size / 2
    served.forget()
    assert_same(reader[90], item)
    assert served.sent == 0
    # A whole pass asks for the rest of the file once, and the next process for nothing of it.
    list(FrameStream(far, batch=16))
    assert served.sent <= video.stat().st_size - first + 2 * BLOCK
    served.forget()
    script = f"from dataengine.store import *; print(len(list(FrameStream(Store.open({far.address!r}), batch=16))))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=dict(os.environ))
    assert done.stdout == "8\n", done.stderr
    assert served.sent < 100  # a byte of a file says whether it is as it was


def test_what_is_read_from_front_to_back_comes_in_few_pieces(served: Served, folder: Path) -> None:
    far = Store.open(f"{served.address}/big")
    video = next((folder / "big").rglob("*.mp4"))
    served.forget()
    file = openable(far.root / video.relative_to(folder / "big"))
    assert b"".join(iter(lambda: file.read(50_000), b"")) == video.read_bytes()
    spans = [tuple(map(int, wanted[6:].split("-"))) for _, wanted in served.asked if wanted and wanted != "bytes=0-0"]
    assert len(spans) <= 5 and [a for a, _ in spans] == [0, *(b + 1 for _, b in spans[:-1])]
    served.forget()
    assert file.seek(-7, os.SEEK_END) == file.size() - 7 and file.read(100) == video.read_bytes()[-7:]
    file.hollow = [(10, 1_000_000)]
    file.seek(5)
    data = file.read(1_000_005)
    expected = video.read_bytes()
    assert data == expected[5:10] + bytes(999_990) + expected[1_000_000:1_000_010] and served.sent == 0


def test_the_cache_is_bounded(served: Served, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="cache_bytes is 10; a cache needs"):
        Store.open(f"{served.address}/big", cache_bytes=10)
    monkeypatch.setattr(remote_stores, "_LEAST", 0)
    bound = 4 * BLOCK + 100
    far = Store.open(f"{served.address}/big", cache_bytes=bound)
    pictures = [batch[FRONT] for batch in FrameStream(far, batch=16)]
    near = [batch[FRONT] for batch in FrameStream(Store.open(folder / "big"), batch=16)]
    assert all(np.array_equal(one, other) for one, other in zip(pictures, near, strict=True))
    assert 0 < sum(path.stat().st_size for path in (cache / "blocks").glob("*/*")) <= bound
    with pytest.raises(StoreError, match="cache_bytes leaves"):
        Store.open(f"{served.address}/own", cache_bytes=1000)


def test_servers_without_ranges_give_whole_files_where_the_cache_has_room(
    served: Served, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.ranges = False
    assert_equal(Store.open(f"{served.address}/own"), Store.open(folder / "own"))
    monkeypatch.setattr(remote_stores, "_LEAST", 0)
    far = Store.open(f"{served.address}/big", cache_bytes=6 * BLOCK)
    with pytest.raises(StoreError, match=rf"{far.address}/videos/.*range requests.* more than half of the cache"):
        FrameReader(far)[0]


def test_failures_in_the_middle_pass_or_are_said(served: Served, folder: Path, cache: Path) -> None:
    asked: Counter[str] = Counter()

    def failing(handler: Any, path: str) -> bool:
        """Two of three requests for a file: one is refused, one ends without an answer."""
        asked[path] += 1
        handler.close_connection = asked[path] % 3 == 1
        return asked[path] % 3 == 1 or (asked[path] % 3 == 2 and reply(handler, 503, b""))

    served.fault = failing
    assert_equal(Store.open(f"{served.address}/own"), Store.open(folder / "own"))
    shutil.rmtree(cache)
    far = Store.open(f"{served.address}/own")
    served.fault = lambda h, path: reply(h, 500, b"") if path.endswith(".mp4") else False
    reader = FrameReader(far)
    with pytest.raises(StoreError, match=rf"{far.address}/videos/.*mp4: 500 .*tried {over_http.TRIES} times"):
        reader[0]
    with pytest.raises(StoreError, match="mp4: 500"):
        list(FrameStream(far, batch=4))
    served.fault = lambda h, path: reply(h, 404, b"") if path.endswith("file-001.mp4") else False
    assert_same(reader[0], FrameReader(Store.open(folder / "own"))[0])
    with pytest.raises(StoreError, match=r"file-001.mp4: 404 Not Found"):
        reader[8]
    served.fault = None
    assert_same(reader[8], FrameReader(Store.open(folder / "own"))[8])


@pytest.mark.parametrize("marks", [True, False])
def test_what_changes_on_the_server_is_never_mixed(folder: Path, tmp_path: Path, marks: bool) -> None:
    copy = Store.open(folder / "big").snapshot(tmp_path / "copy")
    (copy.root / "meta/dataengine/commit.json").unlink()
    info, video = copy.root / "meta/info.json", next(copy.root.rglob("*.mp4"))
    with serving(tmp_path) as served:
        served.marks = marks
        far = Store.open(f"{served.address}/copy")
        first = FrameReader(far)[0]
        data = video.read_bytes()
        video.unlink()  # a hard link of the original
        video.write_bytes(data[:-5] + bytes(5) if marks else data + b"\0\0\0\x08free")
        with pytest.raises(StoreError, match="mp4: has changed since it was opened"):
            FrameReader(far)[119]
        again = Store.open(f"{served.address}/copy")
        assert_same(FrameReader(again)[0], first)
        text = info.read_text()
        info.unlink()
        info.write_text(text + "\n")
        with pytest.raises(StoreError, match="has changed since it was opened"):  # also before its data are touched
            late = Store.open(f"{served.address}/copy")
            info.write_text(text + "\n\n")
            FrameReader(late)
        assert Store.open(f"{served.address}/copy").root != again.root


def test_a_store_that_changes_while_it_is_opened(folder: Path, tmp_path: Path) -> None:
    store = Store.create(tmp_path / "s", fps=FPS, features=SMALL)
    with store.writer() as writer:
        writer.append(episode(0, 7, SMALL))
    grown = [0]

    def grow(handler: Any, path: str) -> bool:
        if path.endswith("tasks.parquet") and grown[0] < 2:
            grown[0] += 1
            with Store.open(tmp_path / "s").writer() as writer:
                writer.append(episode(grown[0], 7, SMALL))
        return False

    with serving(tmp_path) as served:
        served.fault = grow
        far = Store.open(f"{served.address}/s")
        assert len(far) == 3 and len(list(far)) == 3
        with Store.open(tmp_path / "s").writer() as writer:
            writer.append(episode(9, 7, SMALL))
        assert len(far.reload()) == 3 and far.table(["action"]).num_rows == 21  # it stays what it was
        assert len(Store.open(f"{served.address}/s")) == 4


def test_stores_that_others_open_meanwhile(served: Served, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening forgets which versions were pinned, at any moment of another process that reads."""
    far = Store.open(f"{served.address}/own")
    link = os.link
    monkeypatch.setattr(os, "link", lambda a, b: Store.open(far.address) and link(a, b))
    reader = FrameReader(far, columns=["action"])
    monkeypatch.setattr(os, "link", lambda a, b: link(a, b) or Store.open(far.address))
    assert_same(reader[3], FrameReader(Store.open(folder / "own"), columns=["action"])[3])
    assert FrameReader(far)[3][FRONT].shape == (32, 48, 3)


def share_of(store: Store, rank: int) -> list[int]:
    stream = FrameStream(store, batch=8, columns=["action", FRONT], seed=1, rank=rank, world=2)
    return [int(index) for batch in stream for index in batch["index"]]


def test_other_processes_read_the_same(served: Served, cache: Path) -> None:
    far = Store.open(f"{served.address}/own")
    again = pickle.loads(pickle.dumps(far))
    assert again.root == far.root and again.address == far.address
    sent = pickle.dumps(far)
    script = f"import pickle; print([episode.id for episode in pickle.loads({sent!r})])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=dict(os.environ))
    assert done.stdout == f"{list(far.ids)}\n", done.stderr
    list(FrameStream(far))  # connections and locks are in use when workers are forked
    shutil.rmtree(cache / "blocks")
    with multiprocessing.get_context("fork").Pool(2) as pool:
        shares = pool.starmap(share_of, [(far, rank) for rank in range(2)])
    assert sorted(shares[0] + shares[1]) == list(range(far.frames))
    shutil.rmtree(far.root.parent)  # as on another machine
    assert pickle.loads(sent).ids == far.ids


def test_it_is_read_only_and_says_what_is_no_address(served: Served, tmp_path: Path) -> None:
    far = Store.open(f"{served.address}/own")
    name = far.ids[0]
    for change in (
        far.writer().__enter__,
        far.compact,
        far.verify,
        lambda: far.snapshot(tmp_path / "copy"),
        lambda: far.write_labels("contact", {name: far[0].labels["contact"]}),
        lambda: far.materialize("phase"),
    ):
        with pytest.raises(StoreError, match="remote"):
            change()
    assert not (tmp_path / "copy").exists() and Store.open(Path(far.address)).address == far.address
    served.fault = lambda h, p: reply(h, 206, b"x", Content_Range=f"bytes 0-0/{1 << 50}") if "data/" in p else False
    with pytest.raises(StoreError, match="parquet: is said to have 1,125,899,906,842,624 bytes"):
        FrameReader(far)
    served.fault = None
    for bad in (
        "hf://one",
        "hf://a/b/c",
        "hf://a/../b",
        "http://",
        f"{served.address}/own?x=1",
        "https://u:p@host/own",
    ):
        with pytest.raises(ConfigError, match="is not an address like"):
            Store.open(bad)
    with pytest.raises(StoreError, match=rf"{served.address}/none is not a LeRobotDataset.*info.json: 404"):
        Store.open(f"{served.address}/none")


def test_paths_of_strangers_stay_in_the_cache(folder: Path, tmp_path: Path, cache: Path) -> None:
    copy = Store.open(folder / "big").snapshot(tmp_path / "copy")
    (copy.root / "meta/dataengine/commit.json").unlink()
    info = copy.root / "meta/info.json"
    text = info.read_text()
    with serving(tmp_path) as served:
        for template in ("../../../{video_key}.mp4", "/tmp/{video_key}.mp4", "a/../../{video_key}.mp4"):
            info.write_text(
                text.replace("videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4", template)
            )
            with pytest.raises(StoreError, match="leaves the folder"):
                Store.open(f"{served.address}/copy")
        info.write_text(text.replace('"total_episodes": 2', '"total_episodes": 2000000000'))
        with pytest.raises(StoreError, match="2 rows, but 2000000000"):
            Store.open(f"{served.address}/copy")
        info.write_text("[" * 100_000)
        with pytest.raises(StoreError, match=r"copy: .*info\.json"):
            Store.open(f"{served.address}/copy")
        served.fault = lambda h, p: p.endswith("labels/") and reply(h, 200, b'<a href="../x/"><a href="%2e%2e/">')
        info.write_text(text)
        assert Store.open(f"{served.address}/copy").label_names() == []
    assert {path.name for path in cache.iterdir()} <= {"@remote", "blocks"}
    assert DEPTH not in Store.open(folder / "big").features


def test_the_command_line_looks_at_an_address(served: Served) -> None:
    done = CliRunner().invoke(app, ["inspect", f"{served.address}/own", "--json"])
    assert done.exit_code == 0 and json.loads(done.stdout)["episodes"] == 3
