"""Nothing of a face is left but a few means, and nothing else is touched."""

from __future__ import annotations

import numpy as np
import pytest

from collectors.egocentric.blur import Blurred, blurred, grown
from collectors.egocentric.face_tracks import Boxes
from dataengine.episode import ArrayClip

RNG = np.random.default_rng(0)


def grain(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, (*shape, 3), np.uint8)


@pytest.mark.parametrize("box", [(20, 10, 50, 40), (-8, -3, 9, 14), (50.5, 40.2, 70, 60), (0, 0, 64, 48)])
def test_patches_are_means_of_what_they_cover(box: tuple[float, ...]) -> None:
    cv2 = pytest.importorskip("cv2")
    picture = grain(48, 64)
    before = picture.copy()
    found = blurred(picture, np.array([box], np.float32), 0.1, 3)
    left, top, right, bottom = grown(np.array([box], np.float32), 0.1, 48, 64)[0]
    assert left <= max(box[0], 0) and right >= min(box[2], 64) and top <= max(box[1], 0) and bottom >= min(box[3], 48)
    inside = found[top:bottom, left:right]
    assert 1 <= len(np.unique(inside.reshape(-1, 3), axis=0)) <= 9
    if not ((bottom - top) % 3 or (right - left) % 3):  # areas of whole pixels, as OpenCV's average has them
        theirs = cv2.resize(before[top:bottom, left:right], (3, 3), interpolation=cv2.INTER_AREA)
        np.testing.assert_allclose(inside[:: (bottom - top) // 3, :: (right - left) // 3], theirs, atol=1)
    outside = np.ones((48, 64), bool)
    outside[top:bottom, left:right] = False
    np.testing.assert_array_equal(found[outside], before[outside])
    np.testing.assert_array_equal(picture, before)  # the source's own picture stays


def test_two_faces_with_the_same_means_cannot_be_told_apart() -> None:
    one = grain(40, 40)
    other = one.copy()
    area = other[8:32, 8:32].reshape(3, 8, 3, 8, 3).transpose(0, 2, 1, 3, 4).reshape(9, 64, 3)
    mixed = np.stack([RNG.permutation(patch) for patch in area])
    other[8:32, 8:32] = mixed.reshape(3, 3, 8, 8, 3).transpose(0, 2, 1, 3, 4).reshape(24, 24, 3)
    assert (one != other).any()
    box = np.array([[8, 8, 32, 32]], np.float32)
    np.testing.assert_array_equal(blurred(one, box, 0.0, 3), blurred(other, box, 0.0, 3))


def test_a_small_face_has_fewer_patches_and_what_lies_outside_does_no_harm() -> None:
    picture = grain(48, 64)
    small = blurred(picture, np.array([[10, 10, 16, 16]], np.float32), 0.0, 8)[10:16, 10:16]
    assert len(np.unique(small.reshape(-1, 3), axis=0)) == 1
    away = np.array([[-90, -90, -50, -50], [1e30, 0, 2e30, 9], [5, 5, 5, 5]], np.float32)
    np.testing.assert_array_equal(blurred(picture, away, 0.3, 3), picture)


def test_a_clip_is_hidden_frame_by_frame_wherever_it_is_cut() -> None:
    pictures = grain(12, 48, 64)
    first = np.array([0, 0, 0, 1, 2, 4, 4, 4, 4, 5, 5, 5, 5])
    boxes = np.array([[9, 9, 30, 30], [10, 9, 31, 30], [11, 9, 32, 30], [40, 20, 60, 40], [2, 2, 20, 20]], np.float32)
    clip = Blurred(ArrayClip(pictures, 10.0), Boxes(first, boxes), 0.2, 3)
    whole = np.stack(list(clip.frames()))
    changed = (whole != pictures).any((1, 2, 3))
    assert np.flatnonzero(changed).tolist() == [2, 3, 4, 8]
    np.testing.assert_array_equal(np.stack(list(clip.frames(3, 9))), whole[3:9])
    part = clip.slice(3, 10)
    assert part.length == 7 and part.fingerprint != clip.fingerprint != clip.source.fingerprint
    np.testing.assert_array_equal(np.stack(list(part.frames())), whole[3:10])
    np.testing.assert_array_equal(np.stack(list(part.slice(1, 6).frames(1))), whole[5:9])
    assert clip.fingerprint != Blurred(clip.source, clip.boxes, 0.2, 2).fingerprint
