"""Pictures in the table against Pillow, which LeRobot reads and writes them with."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dataengine.errors import StoreError
from dataengine.store.pictures import decode, encode_png

RANDOM = np.random.default_rng(0)
COLOUR = RANDOM.integers(0, 255, (7, 10, 3)).astype(np.uint8)


def written(picture: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


@pytest.mark.parametrize("shape", [(1, 1), (7, 10), (33, 17), (480, 640)])
def test_ours_is_theirs(shape: tuple[int, int]) -> None:
    pixels = RANDOM.integers(0, 255, (*shape, 3)).astype(np.uint8)
    data = encode_png(pixels)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)
    np.testing.assert_array_equal(decode(data, "here"), pixels)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1"])
def test_theirs_is_read(mode: str) -> None:
    picture = Image.fromarray(COLOUR).convert(mode)
    np.testing.assert_array_equal(decode(written(picture, format="PNG"), "here"), np.asarray(picture.convert("RGB")))


def test_jpeg_is_read() -> None:
    smooth = np.broadcast_to(np.linspace(0, 255, 32, dtype=np.uint8)[None, :, None], (16, 32, 3))
    data = written(Image.fromarray(np.ascontiguousarray(smooth)), format="JPEG", quality=95)
    theirs = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert np.abs(decode(data, "here") - theirs).max() <= 3


@pytest.mark.parametrize(("kind", "container"), [("uint16", "PNG"), ("uint16", "TIFF"), ("float32", "TIFF")])
def test_depth_keeps_its_numbers(kind: str, container: str) -> None:
    depth = (RANDOM.uniform(0.3, 5, (9, 11)) * (1000 if kind == "uint16" else 1)).astype(kind)
    found = decode(written(Image.fromarray(depth), format=container), "here")
    assert found.dtype == np.dtype(kind)
    np.testing.assert_array_equal(found, depth)


def lzw() -> bytes:
    return written(Image.fromarray(COLOUR[..., 0].astype(np.uint16)), format="TIFF", compression="tiff_lzw")


def plain() -> bytes:
    return written(Image.fromarray(COLOUR[..., 0].astype(np.float32)), format="TIFF")


BROKEN = {
    "nothing": b"",
    "another format": b"GIF89a",
    "a cut PNG": encode_png(COLOUR)[:60],
    "an empty PNG": b"\x89PNG" + bytes(40),
    "an empty JPEG": b"\xff\xd8\xff" + bytes(40),
    "a TIFF without pixels": plain()[:80],
    "a cut TIFF": plain()[:-4],
    "a compressed TIFF": lzw(),
    "an empty TIFF": b"II*\0" + bytes(40),
}


@pytest.mark.parametrize("name", BROKEN)
def test_anything_else_is_an_error_that_names_it(name: str) -> None:
    with pytest.raises(StoreError, match="row 7"):
        decode(BROKEN[name], "row 7")


@given(st.integers(0, len(plain()) - 1), st.integers(0, 255))
def test_a_damaged_tiff_is_a_picture_or_an_error(place: int, value: int) -> None:
    data = bytearray(plain())
    data[place] = value
    with contextlib.suppress(StoreError):
        assert decode(bytes(data), "row 7").size <= 1 << 26
