"""A damaged store after `repair`: what is sound is as it was, what is lost is named, a second time changes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_damage import column, cut, data, flip, flip_page, rewrite, video
from store_made import FPS, FRONT, SMALL, episode

from dataengine.episode import ArrayClip, Feature, Label
from dataengine.errors import StoreError
from dataengine.guard import sha256_file
from dataengine.store import Edit, Store, history, one_byte
from dataengine.store.repair import repair

SIDE = "observation.images.side"
FEATURES = {**SMALL, SIDE: Feature("video", (32, 48, 3), role="image")}
EPISODES = "meta/episodes/chunk-000/file-000.parquet"


def filled(root: Path, count: int = 4) -> Store:
    store = Store.create(root, fps=FPS, features=FEATURES, embodiment="arm", licence="mit")
    with store.writer() as writer:
        for seed in range(count):
            one = episode(seed, 5 + seed, FEATURES)
            side = ArrayClip(one.clips[FRONT].array[:, :, ::-1].copy(), FPS)
            writer.append(episode(seed, 5 + seed, FEATURES, clips={**one.clips, SIDE: side}))
    score = {i: Label("frame", pa.table({"v": np.arange(5 + n)})) for n, i in enumerate(store.ids)}
    store.write_labels("score", score)
    return store


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("whole") / "s").root


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "s")
    return tmp_path / "s"


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changed bytes are not searched for, as in files that are too large for it."""
    monkeypatch.setattr(one_byte, "EFFORT", 0)


def state(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): sha256_file(path) for path in root.rglob("*") if path.is_file()}


def repaired(root: Path) -> tuple[Store, tuple[str, ...], tuple[str, ...]]:
    """What is left, what was mended and what was lost. A second time changes nothing."""
    done = repair(root)
    store = Store.open(root)
    report = store.verify()
    assert report.ok, str(report)
    assert (done.done, done.episodes, done.frames) == (True, len(store), store.frames)
    after = state(root)
    assert not repair(root).done and state(root) == after
    return store, done.mended, done.lost


def assert_kept(store: Store, whole: Path, places: list[int], keys: list[str] | None = None) -> None:
    """These episodes of the undamaged store, and no others, are there as they were."""
    before = Store.open(whole)
    assert store.ids == tuple(before.ids[place] for place in places)
    for one, place in zip(store, places, strict=True):
        other = before[place]
        assert one.meta == other.meta
        for key in other.frames:
            np.testing.assert_array_equal(one.frames[key], other.frames[key])
        for key in keys or other.clips:
            for first, second in zip(one.clips[key].frames(), other.clips[key].frames(), strict=True):
                np.testing.assert_array_equal(first, second)


LOST: dict[str, tuple[Callable[[Path], object], str]] = {
    "values of one episode": (lambda r: flip_page(data(r, 1), "action"), "page_ordinal"),
    "a data file": (lambda r: data(r, 1).unlink(), "is missing"),
    "half a data file": (lambda r: cut(data(r, 1), 900), "magic bytes"),
    "a video": (lambda r: video(r, 1).unlink(), "video of camera"),
    "pictures of one video": (lambda r: flip(video(r, 1), 0.9), "packets of camera"),
    "other values": (
        lambda r: rewrite(data(r, 1), lambda t: column(t, "action", lambda a: a + 1)),
        "the values of 'action' are not those that were written",
    ),
    "rows of another": (lambda r: shutil.copyfile(data(r, 0), data(r, 1)), "5 rows"),
}


@pytest.mark.parametrize("name", LOST)
def test_what_is_damaged_is_left_out_and_the_version_before_is_kept(
    root: Path, whole: Path, blind: None, name: str
) -> None:
    damage, reason = LOST[name]
    damage(root)
    before = state(root)
    said = repair(root, dry_run=True)
    assert state(root) == before and not said.done
    store, mended, lost = repaired(root)
    assert (said.mended, said.lost, said.episodes, said.frames) == (mended, lost, len(store), store.frames)
    assert_kept(store, whole, [0, 2, 3])
    assert len(lost) == 1 and lost[0].startswith("episode 1 (episode0001): ") and reason in lost[0]
    (entry,) = history.log(store)
    assert entry.what == "repair: 1 episodes left out" and entry.kept
    assert "episode0001" not in store.labels("score")
    with store.writer() as writer:  # an episode that was lost may come again from where it came
        assert writer.append(Store.open(whole)[1]) == 3
    assert len(store.labels("score")) == 4 and store.verify().ok


def test_the_version_before_can_be_brought_back_as_it_was(root: Path, blind: None) -> None:
    flip(video(root, 1), 0.9)
    before = [problem.place for problem in Store.open(root).verify().problems]
    store, _, _ = repaired(root)
    kept = root / ".dataengine/history/00000004" / video(root, 2).relative_to(root)
    flip(kept, 0.5)  # known damage excuses no other
    assert [p.place for p in store.verify().problems] == [kept.relative_to(root).as_posix()]
    repair(root)
    assert Store.open(root).verify().ok
    history.undo(store)
    assert [p.place for p in store.verify().problems] == before and len(store) == 4


def test_of_a_shared_file_only_the_damaged_episode_goes(tmp_path: Path, blind: None) -> None:
    before = filled(tmp_path / "whole")
    before.compact(join_videos=True)
    assert (
        len(list((before.root / "videos").rglob("*.mp4"))) == 2 and len(list((before.root / "data").rglob("*.*"))) == 1
    )
    for name, where in {"data": "data", "video": f"videos/{FRONT}"}.items():
        root = tmp_path / name
        shutil.copytree(before.root, root)
        (path,) = (root / where).rglob("*.*t" if name == "data" else "*.mp4")
        flip_page(path, "action") if name == "data" else flip(path, 0.99)
        store, mended, lost = repaired(root)
        (gone,) = [place for place, identity in enumerate(before.ids) if identity not in store.ids]
        assert_kept(store, before.root, [place for place in range(4) if place != gone])
        assert len(lost) == 1 and any("its sound episodes were written anew" in text for text in mended)


def test_a_camera_without_any_sound_video_goes_alone(root: Path, whole: Path) -> None:
    shutil.rmtree(root / f"videos/{SIDE}")
    store, _, lost = repaired(root)
    assert lost == (f"camera {SIDE!r}: none of its videos is sound",)
    assert store.cameras == [FRONT]
    assert_kept(store, whole, [0, 1, 2, 3], [FRONT])


def named(root: Path, pattern: str) -> Path:
    return sorted(root.glob(pattern))[0]


MENDED: dict[str, tuple[Callable[[Path], object], str]] = {
    "info": (lambda r: (r / "meta/info.json").write_text("{"), "meta/info.json: written anew"),
    "no info": (lambda r: (r / "meta/info.json").unlink(), "meta/info.json: written anew"),
    "statistics": (lambda r: flip(r / "meta/stats.json", 0.5), "meta/stats.json: written anew"),
    "no statistics": (lambda r: (r / "meta/stats.json").unlink(), "meta/stats.json: written anew"),
    "histograms": (lambda r: flip(named(r, "meta/dataengine/sketch-*"), 0.5), "its histograms: taken anew"),
    "tasks": (lambda r: flip(r / "meta/tasks.parquet", 0.5), "meta/tasks.parquet: written anew"),
    "no tasks": (lambda r: (r / "meta/tasks.parquet").unlink(), "meta/tasks.parquet: written anew"),
    "pictures' statistics": (lambda r: flip(named(r, "meta/dataengine/cameras/*"), 0.5), "taken anew by decoding"),
    "a statistic of episodes": (lambda r: flip_page(r / EPISODES, "stats/action/mean"), "damaged columns were derived"),
    "a camera's statistic": (lambda r: flip_page(r / EPISODES, f"stats/{FRONT}/mean"), "were derived"),
    "where rows begin": (lambda r: flip_page(r / EPISODES, "dataset_from_index"), "were derived"),
    "where pictures begin": (lambda r: flip_page(r / EPISODES, f"videos/{FRONT}/from_timestamp"), "were derived"),
    "which video": (lambda r: flip_page(r / EPISODES, f"videos/{SIDE}/file_index"), "were derived"),
    "which packets": (lambda r: flip_page(r / EPISODES, f"packets/{FRONT}"), "were derived"),
    "the front of a table": (lambda r: flip(data(r, 1), 0.0), "its sound episodes were written anew"),
    "the front of a video": (lambda r: flip(video(r, 1), 13.5 / 1600), "its sound episodes were written anew"),
    "a stray table": (lambda r: shutil.copyfile(data(r, 0), data(r, 0).with_name("copy.parquet")), "put aside"),
}


@pytest.mark.parametrize("name", MENDED)
def test_what_follows_from_the_rest_is_written_anew(root: Path, whole: Path, blind: None, name: str) -> None:
    damage, told = MENDED[name]
    damage(root)
    store, mended, lost = repaired(root)
    assert_kept(store, whole, [0, 1, 2, 3])
    assert any(told in text for text in mended) and not lost
    ours, theirs = store.stats(), Store.open(whole).stats()
    for key in theirs:
        for statistic, value in theirs[key].items():  # of pictures: decoded ones, off by a grey level or two
            np.testing.assert_allclose(ours[key][statistic], value, rtol=1e-9, atol=0.03 if "images" in key else 1e-9)


def test_what_cannot_be_derived_is_said(root: Path, blind: None) -> None:
    flip(root / "meta/dataengine/features.json", 0.5)
    _, _, lost = repaired(root)
    assert len(lost) == 1 and "units, rates, licence and the codec for new episodes are lost" in lost[0]
    flip_page(root / EPISODES, "operator")
    store, _, lost = repaired(root)
    assert lost[0].startswith(f"{EPISODES}: 'operator' of 'episode0000', 'episode0001'")
    assert store[0].meta.operator is None and store[1].meta.success is True
    flip_page(root / EPISODES, "episode_id")
    with pytest.raises(StoreError, match=r"ids of the episodes .* --out"):
        repair(root)


def test_a_record_that_cannot_be_restored_leaves_the_way_out(root: Path, whole: Path, tmp_path: Path) -> None:
    record = root / "meta/dataengine/commit.json"
    record.write_text(record.read_text().replace('"generation": 4', '"generation": 77'))
    with pytest.raises(StoreError, match=r"commit.json is damaged.*--out"):
        repair(root)
    done = repair(root, out=tmp_path / "out")
    store = Store.open(tmp_path / "out")
    assert store.verify(deep=True).ok and done.episodes == 4
    assert store.ids == Store.open(whole).ids and len(store.labels("score")) == 4


def test_one_changed_byte_is_found_and_put_right(root: Path, whole: Path) -> None:
    """Everything but what is derived anyway: the record, labels, statistics of pictures, data and videos."""
    for pattern in ("meta/dataengine/commit.json", "labels/score/*", "meta/tasks.parquet", f"videos/{FRONT}/*/*"):
        path = named(root, pattern)
        flip(path, 0.7)
        done = repair(root)
        assert done.mended == (f"{path.relative_to(root)}: one byte had changed and was put right",) and not done.lost
    assert state(root) == state(whole)
    for place in (b"seal", b'"}\n'):  # the seal of the record itself
        record = root / "meta/dataengine/commit.json"
        raw = bytearray(record.read_bytes())
        raw[raw.rindex(place)] ^= 4
        record.write_bytes(raw)
        assert repair(root).done and state(root) == state(whole)


def test_a_kept_version_has_what_the_present_one_lost(root: Path, whole: Path, blind: None) -> None:
    store = Store.open(root)
    Edit(store).delete([3]).commit()
    data(root, 0).unlink()
    (root / "meta/tasks.parquet").unlink()
    flip(video(root, 1), 0.9)
    flip(root / ".dataengine/history/00000004" / video(root, 2).relative_to(root), 0.9)
    store, mended, lost = repaired(root)
    assert_kept(store, whole, [0, 1, 2])
    assert not lost and sum("put back from the kept version 4" in text for text in mended) == 3
    assert sum("put back from the present version" in text for text in mended) == 1
    flip(root / ".dataengine/history/00000004" / video(root, 3).relative_to(root), 0.9)
    store, _, lost = repaired(root)
    assert lost == ("state 4, kept for undo: it is damaged and was put aside",)
    assert (root / ".dataengine/history/damaged/.dataengine/history/00000004").is_dir()


def test_labels_are_saved_as_far_as_they_can_be_read(root: Path, whole: Path, blind: None) -> None:
    path = named(root, "labels/score/*")
    flip(path, 0.0)  # the magic number in front, which nobody reads
    store, mended, lost = repaired(root)
    assert not lost and "was saved" in mended[0] and len(store.labels("score")) == 4
    assert [one.labels["score"].table for one in store] == [one.labels["score"].table for one in Store.open(whole)]
    path = named(root, "labels/score/*")
    cut(path, 20)
    store, _, lost = repaired(root)
    assert lost == (f"{path.relative_to(root)}: all that it says (the file was put aside)",)
    assert store.label_names() == [] and list((root / ".dataengine/history/damaged/labels/score").iterdir())


def test_nothing_left_is_an_error_and_nothing_is_done(root: Path, blind: None) -> None:
    for number in range(4):
        data(root, number).unlink()
    before = state(root)
    with pytest.raises(StoreError, match=r"no episode can be saved; episode 0: .* is missing"):
        repair(root)
    assert {k: v for k, v in state(root).items() if ".dataengine" not in k} == {
        k: v for k, v in before.items() if ".dataengine" not in k
    }


# -- other people's datasets -----------------------------------------------------------------------------------


@pytest.fixture
def foreign(root: Path) -> Path:
    shutil.rmtree(root / "meta/dataengine")
    shutil.rmtree(root / ".dataengine")
    shutil.rmtree(root / "labels")
    own = [n for n in pq.read_schema(root / EPISODES).names if n.startswith(("sha256", "packets")) or n == "episode_id"]
    rewrite(root / EPISODES, lambda t: t.drop_columns(own))
    return root


def test_sound_episodes_of_a_foreign_dataset_go_into_a_new_store(foreign: Path, whole: Path, tmp_path: Path) -> None:
    data_of = data(foreign, 0)
    rewrite(data_of, lambda t: column(t, "timestamp", lambda a: a + 0.05))
    video(foreign, 1).unlink()
    rewrite(data(foreign, 3), lambda t: column(t, "action", lambda a: np.where(np.arange(8)[:, None] == 4, np.nan, a)))
    before = state(foreign)
    with pytest.raises(StoreError, match="read only; --out"):
        repair(foreign)
    out = tmp_path / "out"
    said = repair(foreign, out=out, dry_run=True)
    assert not out.exists() and not said.done and said.episodes == 2
    done = repair(foreign, out=out)
    assert state(foreign) == before and done.episodes == 2
    assert [text.split(":")[0] for text in done.lost] == ["episode 1", "episode 3"] and "NaN" in done.lost[1]
    store = Store.open(out)
    assert store.verify(deep=True).ok and store.frames == 5 + 7
    for one, other in zip(store, (Store.open(whole)[n] for n in (0, 2)), strict=True):
        np.testing.assert_array_equal(one.frames["action"], other.frames["action"])
        np.testing.assert_array_equal(one.clips[FRONT].frame(3), other.clips[FRONT].frame(3))
        assert one.meta.lineage[-1].name == "repair" and any("timestamp" in t for t in one.meta.lineage[-1].assumed)
    with pytest.raises(StoreError, match="not empty"):
        repair(foreign, out=out)


def test_wrong_counts_of_a_foreign_dataset_are_made_right(foreign: Path, tmp_path: Path) -> None:
    text = (foreign / "meta/info.json").read_text()
    (foreign / "meta/info.json").write_text(text.replace('"total_episodes": 4', '"total_episodes": 9'))
    repair(foreign, out=tmp_path / "out")
    assert len(Store.open(tmp_path / "out")) == 4
