"""Whole episodes arrive once, whatever is interrupted: every request fails in every way, on both sides."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from fleet_made import FEATURES, Lost, local, made, same_frames, service
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectors.fleet import push as pushing
from collectors.fleet.content import content_of
from collectors.fleet.offer import Limits
from collectors.fleet.packing import outgoing, pack, recorder_of
from dataengine.errors import StoreError
from dataengine.store import Edit, Store


def test_an_episode_arrives_as_it_is_and_says_who_recorded_it(tmp_path: Path) -> None:
    store = local(tmp_path / "local", [1, 2, 3])
    with service(tmp_path / "fleet") as fleet:
        report = fleet.push(store.root, "station 7").once()
        assert report.sent == list(store.ids) and not report.refused
        again = fleet.push(store.root, "station 7").once()
        assert again.there == list(store.ids) and not again.sent
        assert not fleet.waiting
    got = Store.open(tmp_path / "fleet")
    for one, other in zip(store, got, strict=True):
        same_frames(one, other)
        assert other.meta.extra["recorder"] == "station 7" and other.meta.operator == one.meta.operator
        assert other.frames["intervention"].any() and set(other.frames["collect.actor"]) == {"policy", "person"}
    assert (got.embodiment, got.licence, got.codec) == ("arm", "mit", store.codec)
    assert got.verify(deep=True).ok
    assert got.stats()[f"{next(iter(store.cameras))}"]["count"] == 18  # every picture was looked at


def test_every_request_may_be_lost_before_or_after_it_arrived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorder gives up at the n-th request, for every n, and a new one goes on; so the service is not reached, or
    its answer is not heard, at every byte range once."""
    monkeypatch.setattr(pushing, "_PIECE", 1500)
    store = local(tmp_path / "local", [1])
    for how in ("before", "after"):
        with service(tmp_path / how) as fleet:
            pieces = 0
            for n in range(200):
                fleet.requests = 0

                def lose(number: int, last: int = n) -> None:
                    if number == last:
                        raise Lost("gone")

                setattr(fleet, how, lose)
                try:
                    fleet.push(store.root).once()
                    break
                except StoreError as error:
                    assert "gone" in str(error)
                    pieces += 1
                    if how == "before":
                        assert len(fleet.store) == 0 if (tmp_path / how / "meta").exists() else True
            assert pieces > 3 and len(fleet.store) == 1 and not fleet.waiting
            same_frames(store[0], fleet.store[0])


def test_a_service_that_starts_anew_before_every_request_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushing, "_PIECE", 4000)
    store = local(tmp_path / "local", [1, 2])
    with service(tmp_path / "fleet") as fleet:
        fleet.before = lambda number: fleet.restart()
        assert fleet.push(store.root).once().sent == list(store.ids)
        sizes = sum(path.stat().st_size for path in store.root.glob("videos/*/*/*.mp4"))
        assert fleet.requests < 30 + 2 * sizes / 4000  # no byte range came twice
        assert len(fleet.store) == 2 and fleet.store.verify().ok


def test_a_service_that_is_away_for_a_while_is_waited_for(tmp_path: Path) -> None:
    store = local(tmp_path / "local", [1])
    with service(tmp_path / "fleet") as fleet:

        def lose(number: int) -> None:
            if number % 3:
                raise Lost("away")

        fleet.before = lose
        assert fleet.push(store.root, patience=20).once().sent == list(store.ids)


_SOME = st.lists(st.tuples(st.integers(0, 1), st.sets(st.integers(0, 3), min_size=1)), min_size=1, max_size=4)
BARE = {key: feature for key, feature in FEATURES.items() if not feature.is_camera}


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(pushes=_SOME, seed=st.integers(0, 999))
def test_whoever_pushes_what_how_often_every_episode_is_there_once(
    tmp_path_factory: pytest.TempPathFactory, pushes: list[tuple[int, set[int]]], seed: int
) -> None:
    """Recorders with overlapping stores push in any order, with requests lost at random."""
    folder, chance = tmp_path_factory.mktemp("some"), random.Random(seed)
    with service(folder / "fleet") as fleet:

        def lose(number: int) -> None:
            if chance.random() < 0.1:
                raise Lost("gone")

        fleet.before = fleet.after = lose
        for number, (who, seeds) in enumerate(pushes):
            store = local(folder / f"local{number}", sorted(seeds), BARE)
            report = fleet.push(store.root, f"recorder {who}", patience=60).once()
            assert {*report.sent, *report.there} == set(store.ids)
        wanted = {f"episode-{seed}" for _, seeds in pushes for seed in seeds}
        assert sorted(fleet.store.ids) == sorted(wanted) and not fleet.waiting
        for one in fleet.store:
            assert (one.frames["action"] == int(one.id.rpartition("-")[2])).all()


def test_what_an_edit_took_out_of_the_fleets_store_does_not_come_again(tmp_path: Path) -> None:
    store = local(tmp_path / "local", [1, 2])
    with service(tmp_path / "fleet") as fleet:
        fleet.push(store.root).once()
    Edit(Store.open(tmp_path / "fleet")).delete([0]).commit()
    with service(tmp_path / "fleet") as fleet:
        report = fleet.push(store.root).once()
        assert report.gone == ["episode-1"] and report.there == ["episode-2"] and len(fleet.store) == 1


def test_a_local_store_may_be_repacked_and_corrected_without_becoming_another(tmp_path: Path) -> None:
    store = local(tmp_path / "local", [1, 2, 3])
    with service(tmp_path / "fleet") as fleet:
        fleet.push(store.root).once()
        store.compact(join_videos=True)
        store.materialize()
        Edit(store).task("say it otherwise").commit()
        name = recorder_of(store.root)
        with store.writer() as writer:
            writer.append(made(4))
        assert recorder_of(store.root) == name and name.startswith("recorder-")
        report = fleet.push(store.root).once()
        assert report.there == list(store.ids[:3]) and report.sent == ["episode-4"]


def test_what_waits_is_committed_together(tmp_path: Path) -> None:
    store = local(tmp_path / "local", range(4))
    with service(tmp_path / "fleet") as fleet:
        committer, inbox = fleet.committer, fleet.committer.inbox
        jobs = []
        for index in range(len(store)):
            packed = pack(store, index, content_of(store, index), "one", tmp_path / f"shard{index}")
            key = inbox.open(packed.offer)
            for sha256, path in packed.files.items():
                inbox.append(key, sha256, 0, path.read_bytes())
            jobs.append(key)
        assert sorted(job.result(60) for job in [committer.submit(key) for key in jobs]) == [0, 1, 2, 3]
        assert fleet.store.commit is not None and fleet.store.commit.generation <= 2


def test_an_episode_that_is_damaged_here_does_not_keep_the_others_back(tmp_path: Path) -> None:
    store = local(tmp_path / "local", [1, 2])
    video = sorted(store.root.glob("videos/*/*/*.mp4"))[0]
    video.write_bytes(video.read_bytes()[:300])
    with service(tmp_path / "fleet") as fleet:
        report = fleet.push(store.root).once()
        assert report.sent == ["episode-2"] and list(report.refused) == ["episode-1"]


def test_following_sends_what_is_appended_while_it_runs(tmp_path: Path) -> None:
    store = local(tmp_path / "local", [1])
    with service(tmp_path / "fleet") as fleet:
        following = fleet.push(store.root).follow()
        assert next(following).sent == ["episode-1"]
        with store.writer() as writer:
            writer.append(made(2))
        assert next(following).sent == ["episode-1", "episode-2"] and len(fleet.store) == 2


def test_uploads_that_nobody_goes_on_with_are_removed(tmp_path: Path) -> None:
    store = local(tmp_path / "local", [1])
    with service(tmp_path / "fleet", Limits(waiting_seconds=3600)) as fleet:

        def lose(number: int) -> None:
            if number == 3:
                raise Lost("gone")

        fleet.before = lose
        with pytest.raises(StoreError, match="gone"):
            fleet.push(store.root).once()
        assert fleet.waiting
        fleet.restart()
        assert fleet.waiting
        for path in (tmp_path / ".fleet.incoming").rglob("*"):
            os.utime(path, (time.time() - 4000,) * 2)
        fleet.restart()
        assert not fleet.waiting


def test_room_is_made_by_the_oldest_and_else_one_waits(tmp_path: Path) -> None:
    store = local(tmp_path / "local", [1, 2])
    with service(tmp_path / "fleet", Limits(waiting_offers=1)) as fleet:

        def lose(number: int) -> None:
            if number == 2:
                raise Lost("gone")

        fleet.before = lose
        with pytest.raises(StoreError, match="gone"):
            fleet.push(store.root).once()
        fleet.before = lambda number: None
        other = local(tmp_path / "other", [3])
        with pytest.raises(StoreError, match=r"1 uploads of .* are under way"):
            fleet.push(other.root).once()
        for path in (tmp_path / ".fleet.incoming").rglob("*"):
            os.utime(path, (time.time() - 1000,) * 2)
        assert fleet.push(other.root).once().sent == ["episode-3"]


def test_a_dry_run_sends_nothing(tmp_path: Path) -> None:
    store = local(tmp_path / "local", [1, 2])
    with service(tmp_path / "fleet") as fleet:
        work = fleet.push(store.root)
        assert work.lacking() == list(store.ids) and pushing.bytes_of(store, store.ids) > 1000
        assert not (tmp_path / "fleet").exists() and not fleet.waiting


def test_what_a_killed_recorder_left_is_removed_by_the_next(tmp_path: Path) -> None:
    store = local(tmp_path / "local", [])
    with outgoing(store.root) as folder:
        left = folder.with_name("killed")
        left.mkdir()
        left.with_suffix(".lock").touch()
        with outgoing(store.root):
            assert folder.exists() and not left.exists()
    assert not list(folder.parent.iterdir())
