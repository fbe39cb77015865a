"""What is noted while a video is encoded is what reading the finished file finds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from video_foreign import moving

from dataengine.store.packets import packet_digest
from dataengine.video import Codec, Encoder, index, nal, probe

CODECS = {
    "h264": Codec(gop=10),
    "hevc": Codec("hevc", gop=10),
    "lossless": Codec(lossless=True),
    "odd": Codec(pix_fmt="yuv444p"),
    "av1": Codec("av1", gop=8),
}


@pytest.mark.parametrize("frames", [1, 45])
@pytest.mark.parametrize("name", CODECS)
def test_noted_is_what_reading_finds(tmp_path: Path, name: str, frames: int) -> None:
    path = tmp_path / "x.mp4"
    with Encoder(path, 48, 64, 30, CODECS[name]) as encoder:
        for picture in moving(frames):
            encoder.add(picture)
        noted = encoder.close()
    own = index._indices.pop(index.file_key(path), None)
    assert replace(probe(path), tags={}, reencoded=frames) == replace(noted, tags={})
    if name == "av1":  # an mp4 leaves out units that its encoder gives
        assert not noted.digest
        return
    assert noted.digest == packet_digest(path, 0.0, frames, 30.0)[0]
    found = index.index_of(path)
    for field, value in vars(found).items():
        np.testing.assert_array_equal(getattr(own, field), value, err_msg=field)


def test_a_note_that_the_header_contradicts_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    join = nal.join
    monkeypatch.setattr(nal, "join", lambda units, prefix: join(units, prefix) + b"\0")
    with Encoder(tmp_path / "x.mp4", 48, 64, 30) as encoder:
        for picture in moving(5):
            encoder.add(picture)
        info = encoder.close()
    assert not info.digest and info.frames == 5 and info.tags
