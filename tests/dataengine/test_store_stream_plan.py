"""The order of a stream, which needs no file, and the memory of its batches."""

from __future__ import annotations

import numpy as np

from dataengine.store.stream_plan import Plan, cut
from dataengine.store.stream_segment import Memory


def test_memory_is_used_again_only_when_nobody_holds_it() -> None:
    memory = Memory()
    first = memory.empty((4, 1, 5), np.dtype(np.uint8))
    place = first.__array_interface__["data"]
    first[:] = 7
    part = first[2, 0]
    del first
    assert memory.empty((4, 5), np.dtype(np.uint8)).__array_interface__["data"] != place and (part == 7).all()
    del part
    places = [
        array.__array_interface__["data"] for array in [memory.empty((20,), np.dtype(np.uint8)) for _ in range(3)]
    ]
    assert place in places and len(set(places)) == 3


def test_the_order_is_really_shuffled() -> None:
    """10 episodes of 200 frames, two cameras of 256×256 in 256 MB: ranks do not correlate, every batch mixes."""
    cuts = cut(np.full(10, 200), 40, 10)
    for seed in range(20):
        plan = Plan.make(cuts, 1900, seed, 0, 0, 1)
        rows = np.concatenate([step.samples for step in plan.steps()])
        frames = 200 * plan.place[rows[:, 0]] + plan.start[rows[:, 0]] + rows[:, 1]
        assert sorted(frames) == list(range(2000))
        assert abs(np.corrcoef(np.arange(2000), frames)[0, 1]) <= 0.05
        mixed = [len(set(batch // 200)) for batch in frames[:1984].reshape(-1, 32)]
        assert np.mean(mixed) > 9 and min(mixed) >= 4
        assert np.mean(np.diff(frames) == 1) < 0.02


def test_segments_are_whole_groups_of_pictures() -> None:
    lengths = np.array([1, 4, 5, 97, 40, 0, 39])
    place, start, stop = cut(lengths, 12, 4)
    np.testing.assert_array_equal(np.bincount(place, stop - start, len(lengths)), lengths)
    assert (start % 4 == 0).all() and (stop - start <= 12).all() and (stop > start).all()
