"""Statistics against numpy on all values at once, and merging in any order."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from store_made import FPS, FRONT, SMALL, episode, store_of

from dataengine.episode import Feature
from dataengine.errors import ConfigError
from dataengine.store import Edit, Store, camera_stats, history, stats
from dataengine.store.gather import append_all
from dataengine.store.picture_stats import PictureStats
from dataengine.store.stats import ALPHA, QUANTILES, Sketch, sketch_column

FEATURE = Feature("float64", (3,))
VALUES = npst.arrays(
    np.float64, st.tuples(st.integers(2, 60), st.just(3)), elements=st.floats(-1e6, 1e6, allow_subnormal=False)
)


def merged(parts: list[np.ndarray], centre: np.ndarray) -> Sketch:
    whole = sketch_column(parts[0], FEATURE, centre)
    for part in parts[1:]:
        whole.merge(sketch_column(part, FEATURE, centre))
    return whole


@settings(max_examples=60, deadline=None)
@given(VALUES, st.lists(st.integers(1, 59), max_size=4))
def test_merging_is_exact(values: np.ndarray, cuts: list[int]) -> None:
    parts = [part for part in np.split(values, sorted({c for c in cuts if c < len(values)})) if len(part)]
    centre = values[0]
    found, scale = merged(parts, centre).summary(), np.abs(values).max() + 1e-9
    assert found["count"].tolist() == [len(values)]
    np.testing.assert_array_equal(found["min"], values.min(0))
    np.testing.assert_array_equal(found["max"], values.max(0))
    np.testing.assert_allclose(found["mean"], values.mean(0), atol=1e-12 * scale)
    np.testing.assert_allclose(found["std"], values.std(0), atol=1e-7 * scale)
    other = merged(parts[::-1], centre)
    for name, q in QUANTILES.items():
        np.testing.assert_array_equal(found[name], other.quantiles([q])[0])  # bins know no order
        exact = np.sort(values, axis=0)[int(q * (len(values) - 1) + 0.5)]
        assert (np.abs(found[name] - exact) <= 1.01 * ALPHA * np.abs(exact - centre) + 1e-9).all()


def test_quantiles_are_those_of_all_frames_not_of_episodes() -> None:
    """Twenty episodes at different poses: LeRobot's mean of quantiles leaves most frames outside of q01..q99."""
    random = np.random.default_rng(0)
    parts = [pose + 0.01 * random.normal(size=(100, 3)) for pose in np.linspace(-2, 2, 20)]
    found, values = merged(parts, parts[0][0]).summary(), np.concatenate(parts)
    inside = (values >= found["q01"]) & (values <= found["q99"])
    assert inside.mean() > 0.97
    averaged = [np.mean([np.quantile(part, q, axis=0) for part in parts], axis=0) for q in (0.01, 0.99)]
    assert ((values >= averaged[0]) & (values <= averaged[1])).mean() < 0.1


def test_a_joint_that_moves_little_far_from_zero_is_resolved() -> None:
    values = 3.0 + 1e-3 * np.random.default_rng(0).normal(size=(5000, 3))
    found = sketch_column(values, FEATURE).summary()
    for name, q in QUANTILES.items():
        np.testing.assert_allclose(found[name], np.quantile(values, q, axis=0), atol=3e-5)


def test_huge_and_constant_values_stay_finite() -> None:
    found = sketch_column(np.full((4, 3), 1e300), FEATURE).summary()
    assert all(np.isfinite(value).all() for value in found.values())
    still = sketch_column(np.zeros((4, 3)), FEATURE).summary()
    assert not any(still[name].any() for name in stats.NAMES if name != "count")


@pytest.mark.parametrize("opencv", [True, False])
@pytest.mark.parametrize("side", [16, 640])
def test_pictures_are_counted_exactly(side: int, opencv: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not opencv:
        monkeypatch.setitem(sys.modules, "cv2", None)
    pixels = np.random.default_rng(1).integers(3, 250, (5, side, side, 3)).astype(np.uint8)
    seen = PictureStats(Feature("video", (side, side, 3)))
    for picture in pixels:
        seen.update(picture)
    found = seen.sketch().summary()
    step = 1 if side == 16 else 2
    looked_at = pixels[:, ::step, ::step].reshape(-1, 3) / 255
    np.testing.assert_array_equal(found["min"], looked_at.min(0))
    np.testing.assert_allclose(found["mean"], looked_at.mean(0))
    np.testing.assert_allclose(found["std"], looked_at.std(0))
    for name, q in QUANTILES.items():
        np.testing.assert_allclose(found[name], np.quantile(looked_at, q, axis=0), atol=1 / 255)
    assert found["count"].tolist() == [5]


def test_depth_is_in_its_unit() -> None:
    metres = np.full((8, 8, 1), 1.5, np.float32)
    for unit, want in (("m", 1.5), ("mm", 1500)):
        seen = PictureStats(Feature("video", (8, 8, 1), info={"is_depth_map": True, "depth_unit": unit}))
        seen.update(metres)
        np.testing.assert_allclose(seen.sketch().summary()["q50"], [want], rtol=2 * ALPHA)


def test_kept_and_read_again() -> None:
    values = np.random.default_rng(2).normal(size=(50, 3))
    pictures = PictureStats(Feature("video", (4, 4, 3)))
    pictures.update(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    before = {"action": sketch_column(values, FEATURE), "camera": pictures.sketch()}
    after = stats.from_table(stats.to_table(before))
    for key, sketch in before.items():
        for name, value in sketch.summary().items():
            np.testing.assert_array_equal(value, after[key].summary()[name])
    with pytest.raises(ValueError, match="different centres"):
        after["action"].merge(sketch_column(values[5:], FEATURE))


def test_pictures_of_episodes_that_were_committed_together_stay_apart(tmp_path: Path) -> None:
    """Each keeps its own statistics, so that those of the store stay right when one goes."""
    append_all([episode(seed, 10 + seed, SMALL) for seed in range(3)], tmp_path / "s")
    together = Store.open(tmp_path / "s")
    said = camera_stats.sketches(camera_stats.read(together, together.ids))
    assert [said[identity][FRONT].frames for identity in together.ids] == [10, 11, 12]
    Edit(together).delete([1]).commit()
    shown = np.concatenate([np.stack(list(episode(n, 10 + n, SMALL).clips[FRONT].frames())) / 255 for n in (0, 2)])
    check_pictures(together.reload().stats()[FRONT], shown)


def test_an_episode_that_others_were_added_to_is_named_and_counted_anew(tmp_path: Path) -> None:
    """As engines left the first episode of a store when several were committed together."""
    store = store_of(tmp_path / "s", [10, 11, 12])
    first, *_ = camera_stats.paths(store.root)
    sketch = camera_stats.sketches(camera_stats.load(first))
    sketch[store.ids[0]][FRONT].merge(sketch_of(store, 1))
    first.unlink()
    camera_stats.write(store.root, 1, camera_stats.to_table(sketch))
    assert f"nothing right about the pictures of {store.ids[0]!r}" in str(store.verify())
    Edit(store).delete([2]).commit()
    shown = np.concatenate([np.stack(list(store.clip(n, FRONT).frames())) / 255 for n in range(2)])
    assert store.reload().verify().ok
    np.testing.assert_allclose(np.ravel(store.stats()[FRONT]["mean"]), shown.mean((0, 1, 2)), atol=2 / 255)
    assert store.stats()[FRONT]["count"] == 21


def sketch_of(store: Store, index: int) -> Sketch:
    """Of the pictures of one episode's camera."""
    return camera_stats.sketches(camera_stats.read(store, [store.ids[index]]))[store.ids[index]][FRONT]


def test_copied_videos_are_counted_whole_when_asked(tmp_path: Path) -> None:
    """A copied video is sampled, and says so; after `recount` the statistics are numpy's over every picture."""
    first = store_of(tmp_path / "first", [30, 40])
    copied = Store.create(tmp_path / "copied", fps=FPS, features=SMALL)
    with copied.writer() as writer:
        for one in first:
            writer.append(one)
    assert copied.stats()[FRONT]["count"] < 70
    entry = Edit(copied).recount().commit()
    assert entry.what == "count every picture" and copied.verify(deep=True).ok
    assert Edit(copied).outcome() == (2, 70)
    for store in (first, copied):
        with pytest.raises(ConfigError, match="every picture"):
            Edit(store).recount()
    pictures = [np.stack(list(copied.clip(n, FRONT).frames())) / 255 for n in range(2)]
    check_pictures(copied.stats()[FRONT], np.concatenate(pictures))
    for n, shown in enumerate(pictures):
        table = pq.read_table(next((copied.root / "meta/episodes").rglob("*.parquet"))).to_pylist()
        said = {name: np.array(table[n][f"stats/{FRONT}/{name}"]) for name in stats.NAMES}
        check_pictures(said, shown)
    Edit(copied).delete([1]).commit()
    check_pictures(copied.stats()[FRONT], pictures[0])
    history.undo(copied)
    history.undo(copied)
    assert copied.stats()[FRONT]["count"] < 70


def test_a_camera_is_renamed_and_counted_in_one_edit(tmp_path: Path) -> None:
    copied = Store.create(tmp_path / "copied", fps=FPS, features=SMALL)
    with copied.writer() as writer:
        writer.append(store_of(tmp_path / "first", [30])[0])
    Edit(copied).rename(FRONT, "observation.images.new").recount().commit()
    (row,) = pq.read_table(next((copied.root / "meta/episodes").rglob("*.parquet"))).to_pylist()
    shown = np.stack(list(copied.clip(0, "observation.images.new").frames())) / 255
    check_pictures({name: np.array(row[f"stats/observation.images.new/{name}"]) for name in stats.NAMES}, shown)
    assert copied.verify(deep=True).ok


def check_pictures(said: Mapping[str, np.ndarray], shown: np.ndarray) -> None:
    """shown: `(T, H, W, 3)` in 0..1."""
    assert np.ravel(said["count"]).tolist() == [len(shown)]
    axes = (0, 1, 2)
    wanted = {"mean": shown.mean(axes), "std": shown.std(axes), "min": shown.min(axes), "max": shown.max(axes)}
    for name, want in wanted.items():
        np.testing.assert_allclose(np.ravel(said[name]), want, rtol=1e-9, atol=1e-12, err_msg=name)
    for name, share in QUANTILES.items():
        np.testing.assert_allclose(np.ravel(said[name]), np.quantile(shown, share, axes), atol=1.01 / 255, err_msg=name)


@pytest.mark.parametrize("dims", [1, 3])
def test_histograms_merge_as_if_counted_at_once(dims: int) -> None:
    """Far apart, alike and of both signs: as many in every bin as numpy counts, whatever came together with what."""
    rng = np.random.default_rng(dims)
    parts = [rng.normal(size=(n, dims)) * 10.0 ** rng.integers(-14, 15, (n, dims)) for n in (1, 40, 700)]
    parts += [np.zeros((5, dims)), np.full((3, dims), 1e300), np.full((3, dims), -1e300)]
    feature, centre = Feature("float64", (dims,)), np.zeros(dims)
    merged = Sketch(False, centre)
    for part in parts:
        merged.merge(sketch_column(part, feature, centre))
    keys = stats._bins(stats.column_values(np.concatenate(parts), feature))
    assert 2 * np.abs(keys).max() < stats._ELEMENT
    for d in range(dims):
        bins, counts = np.unique(keys[:, d], return_counts=True)
        np.testing.assert_array_equal(merged.histograms()[d], (bins, counts))
