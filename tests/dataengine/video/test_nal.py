"""Units of packets: splitting and joining are inverse, and agree with FFmpeg's own Annex B filter."""

from __future__ import annotations

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st
from video_foreign import Write, moving

from dataengine.video import nal


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.sampled_from([1, 2, 4]))
def test_length_prefixes_go_both_ways(units: list[bytes], prefix: int) -> None:
    units = [unit[:255] for unit in units]
    assert nal.split(nal.join(units, prefix), prefix) == units


@given(st.binary(max_size=200), st.sampled_from([1, 2, 4, None]), st.sampled_from(["h264", "hevc"]))
def test_any_bytes_are_borne(data: bytes, prefix: int | None, codec: str) -> None:
    nal.split(data, prefix)
    nal.length_size(codec, data)
    nal.header_sets(codec, data)
    nal.header_sets(codec, b"\1" + data)


@pytest.mark.parametrize(("encoder", "codec"), [("libx264", "h264"), ("libx265", "hevc")])
def test_agrees_with_ffmpeg(write: Write, encoder: str, codec: str) -> None:
    path = write(moving(12), encoder, options={"x265-params": "log-level=none"} if codec == "hevc" else {"bf": "0"})
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        extradata = stream.codec_context.extradata or b""
        prefix = nal.length_size(codec, extradata)
        assert prefix == 4
        ours = [nal.split(bytes(packet), prefix) for packet in container.demux(stream) if packet.size]
    with av.open(str(path)) as container:
        annexb = av.BitStreamFilterContext(f"{codec}_mp4toannexb", container.streams.video[0])
        theirs = [nal.split(bytes(p), None) for packet in container.demux(video=0) for p in annexb.filter(packet)]
    sets = nal.header_sets(codec, extradata)
    assert len(sets) == (2 if codec == "h264" else 3)
    for units, filtered in zip(ours, theirs, strict=False):
        # The filter adds what the header holds to a keyframe that has no sets of its own.
        assert [unit for unit in filtered if unit in units] == units
        added = [unit for unit in filtered if unit not in units]
        assert not added or set(sets) <= set(added)
