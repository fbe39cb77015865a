"""What the files of an episode must hold, and what becomes of it when the machine fails."""

from __future__ import annotations

import copy
import errno
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from fleet_made import FEATURES, SIDE, Service, contents, local, made, send, service
from store_made import FPS, FRONT

from collectors.fleet import inbox
from collectors.fleet.content import content_of
from collectors.fleet.packing import Packed, pack
from dataengine.episode import Feature, Label
from dataengine.errors import StoreError
from dataengine.store import Store, files, labels


def replaced(offer: dict[str, Any], place: tuple[str, ...], data: bytes, files: dict[str, bytes]) -> None:
    """Put other bytes in the place of one file, honestly announced."""
    entry = offer
    for name in place:
        entry = entry[name]
    entry |= {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    files[entry["sha256"]] = data


# -- what the files must hold -----------------------------------------------------------------------------------


def test_bytes_that_are_not_those_that_were_offered_come_again(tmp_path: Path, packed: Packed) -> None:
    files = contents(packed)
    sha256 = packed.offer.videos[FRONT].sha256
    damaged = files | {sha256: files[sha256][:-1] + bytes([files[sha256][-1] ^ 1])}
    with service(tmp_path / "fleet") as fleet:
        code, answer = send(fleet, packed.offer.to_json(), damaged)
        assert (code, answer["missing"]) == (409, {sha256: 0}) and not (tmp_path / "fleet").exists()
        assert send(fleet, packed.offer.to_json(), files) == (200, {"state": "same", "index": 0})


def _table(edit: Callable[[pa.Table], pa.Table]) -> Callable[[dict[str, Any], dict[str, bytes], Path], None]:
    def change(offer: dict[str, Any], content: dict[str, bytes], folder: Path) -> None:
        (folder / "t").write_bytes(content[offer["data"]["sha256"]])
        files.write_arrow(folder / "u", edit(files.read_arrow(folder / "t")))
        replaced(offer, ("data",), (folder / "u").read_bytes(), content)

    return change


def _column(name: str, values: Any) -> Callable[[dict[str, Any], dict[str, bytes], Path], None]:
    def edit(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index(name)
        return table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type))

    return _table(edit)


def _bytes(place: tuple[str, ...], edit: Callable[[bytes], bytes]) -> Callable[[dict[str, Any], dict, Path], None]:
    def change(offer: dict[str, Any], content: dict[str, bytes], folder: Path) -> None:
        entry = offer
        for name in place:
            entry = entry[name]
        replaced(offer, place, edit(content[entry["sha256"]]), content)

    return change


def _swapped(offer: dict[str, Any], content: dict[str, bytes], folder: Path) -> None:
    offer["videos"] = {FRONT: offer["videos"][SIDE], SIDE: offer["videos"][FRONT]}


def _span(offer: dict[str, Any], content: dict[str, bytes], folder: Path) -> None:
    said = Label("span", pa.table({"start": [0], "stop": [31]}), {})
    table, groups = labels.pack("subtask", {offer["episode_id"]: said})
    files.write_table(folder / "label", table, row_groups=groups)
    replaced(offer, ("labels", "subtask"), (folder / "label").read_bytes(), content)


BAD: dict[str, tuple[str, Callable[[dict[str, Any], dict[str, bytes], Path], None]]] = {
    "NaN": ("holds NaN or Inf", _column("action", [[0.0, float("nan")]] * 30)),
    "null": ("holds nulls", _column("intervention", [None] * 30)),
    "task": ("frame_tasks", _column("task", [9] * 30)),
    "other values": ("not those it was offered with", _column("action", [[0.0, 1.0]] * 30)),
    "rows": ("has 29 rows", _table(lambda table: table.slice(0, 29))),
    "columns": ("lacks, or has of another type: action", _table(lambda table: table.drop_columns(["action"]))),
    "column twice": ("of another type", _table(lambda table: table.append_column("task", table.column("task")))),
    "no table": ("cannot be read", _bytes(("data",), lambda data: b"x" * 100)),
    "half a table": ("cannot be read", _bytes(("data",), lambda data: data[:-200])),
    "truncated video": (":", _bytes(("videos", FRONT), lambda data: data[: len(data) * 2 // 3])),
    "no video": (":", _bytes(("videos", FRONT), lambda data: b"#EXTM3U\nhttp://127.0.0.1/x" * 9)),
    "damaged video": (":", _bytes(("videos", FRONT), lambda data: data[:200] + bytes(900) + data[1100:])),
    "videos in each other's place": ("not those it was offered with", _swapped),
    "no label": ("is not a label file", _bytes(("labels", "subtask"), lambda data: data[:-9])),
    "label outside": ("points outside", _span),
    "rate": ("frames", lambda offer, content, folder: offer.update(fps=25.0)),
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A service that has one episode already."""
    folder = tmp_path_factory.mktemp("running")
    with service(folder / "fleet") as fleet:
        fleet.push(local(folder / "local", [2]).root).once()
        yield fleet


@pytest.mark.parametrize("what", BAD)
def test_a_bad_episode_is_refused_with_its_reason(running: Service, packed: Packed, tmp_path: Path, what: str) -> None:
    reason, change = BAD[what]
    offer, content = copy.deepcopy(packed.offer.to_json()), contents(packed)
    change(offer, content, tmp_path)
    before = running.store.digest()
    code, answer = send(running, offer, content)
    assert code == 422 and reason in answer["error"] and str(running.root.parent) not in answer["error"], answer
    assert not running.waiting and running.store.digest() == before and running.store.verify().ok


def test_features_that_are_not_the_stores(running: Service, tmp_path: Path) -> None:
    for number, features in enumerate(
        (
            {key: feature for key, feature in FEATURES.items() if key != SIDE},
            FEATURES | {"action": Feature("float32", (2,), ("c", "d"), role="action")},
        )
    ):
        store = local(tmp_path / f"local{number}", [5], features)
        report = running.push(store.root).once()
        assert "its features are not the store's" in report.refused["episode-5"]
    assert len(running.store) == 1 and not running.waiting


def test_one_id_is_one_recording(running: Service, tmp_path: Path) -> None:
    same = local(tmp_path / "same", [2])
    assert running.push(same.root, "another").once().there == ["episode-2"]
    other = local(tmp_path / "other", [2], length=7)
    assert "other frames under this id" in running.push(other.root).once().refused["episode-2"]
    packed = pack(other, 0, content_of(other, 0), "x", tmp_path / "shard")
    code, answer = running.ask("POST", "/v1/offers", json=packed.offer.to_json())
    assert code == 422 and "an id belongs to one recording" in answer["error"] and len(running.store) == 1


def test_two_recorders_with_one_episode_at_the_same_time(tmp_path: Path) -> None:
    """Both have uploaded all of it; the first to ask gets it in, the second is told that it is there."""
    stores = [local(tmp_path / name, [1]) for name in "ab"]
    both = [pack(store, 0, content_of(store, 0), store.root.name, tmp_path / f"x{store.root.name}") for store in stores]
    with service(tmp_path / "fleet") as fleet:
        keys = []
        for packed in both:
            key = fleet.ask("POST", "/v1/offers", json=packed.offer.to_json())[1]["key"]
            keys.append(key)
            for sha256, data in contents(packed).items():
                said = {"Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}"}
                fleet.ask("PUT", f"/v1/offers/{key}/blobs/{sha256}", content=data, headers=said)
        assert [fleet.ask("POST", f"/v1/offers/{key}/commit", json={}) for key in keys] == [
            (200, {"state": "same", "index": 0})
        ] * 2
        assert fleet.store.ids == ("episode-1",) and not fleet.waiting


# -- the machine ----------------------------------------------------------------------------------------------


def test_a_full_disk_is_said_and_everything_committed_stays(
    tmp_path: Path, packed: Packed, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with service(tmp_path / "fleet") as fleet:
        fleet.push(local(tmp_path / "local", [2]).root).once()
        with monkeypatch.context() as patch:
            patch.setattr(inbox.Inbox, "append", lambda *_: (_ for _ in ()).throw(full))
            with pytest.raises(AssertionError, match="disk is full"):
                send(fleet, packed.offer.to_json(), contents(packed))
        with monkeypatch.context() as patch:
            patch.setattr(files, "write_json", lambda *_, **__: (_ for _ in ()).throw(full))
            code, answer = fleet.ask("POST", "/v1/offers", json=packed.offer.to_json() | {"licence": "x"})
            assert code == 507
        with monkeypatch.context() as patch:
            patch.setattr("dataengine.store.writer.hashes", lambda *_: (_ for _ in ()).throw(full))
            code, answer = send(fleet, packed.offer.to_json(), contents(packed))
            assert code == 507 and "full" in answer["error"]
        assert fleet.store.ids == ("episode-2",) and fleet.store.verify().ok
        assert send(fleet, packed.offer.to_json(), contents(packed))[0] == 200
        assert len(fleet.store) == 2 and fleet.store.verify().ok


def test_a_folder_that_is_no_store_or_has_a_writer_is_not_served(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    with pytest.raises(StoreError, match="holds something that is no store"), service(tmp_path / "full"):
        pass
    store = local(tmp_path / "local", [1])
    with store.writer(), pytest.raises(StoreError, match="being written by"), service(store.root):
        pass
    with service(tmp_path / "fleet"), pytest.raises(StoreError, match="being written by"), service(tmp_path / "fleet"):
        pass
    (tmp_path / "empty").mkdir()
    with service(tmp_path / "empty") as fleet:
        assert fleet.push(store.root).once().sent and Store.open(tmp_path / "empty").fps == FPS
    assert np.array_equal(made(1).frames["action"], fleet.store[0].frames["action"])
