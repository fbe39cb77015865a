"""What an encoder gave, noted on the way into the file: when the file is finished, only its header is read.

An encoder gives h264 and HEVC with start codes, an mp4 holds the same units with their length before them. What is
noted counts where the finished header names packets of exactly these sizes; else the file is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av.error
import numpy as np
from av import CodecContext, Packet, VideoFrame
from av.video.codeccontext import VideoCodecContext

from dataengine.video import nal
from dataengine.video.index import Coding, PacketIndex, Parameters, keep
from dataengine.video.probe import VideoInfo, info_of
from dataengine.video.samples import samples_of


def digest_of(codec: str, extradata: bytes, packets: Iterable[bytes]) -> str:
    """sha256 of what a camera shows. codec: the decoder's name. packets: the sha256 of each, in order of showing."""
    return hashlib.sha256(f"{codec}\0".encode() + extradata + b"".join(packets)).hexdigest()


class Noted:
    """The packets of one encoder, without B-frames, as they will stand in an mp4; the first is decoded."""

    def __init__(self, encoder: VideoCodecContext, rate: Fraction) -> None:
        self._codec, self._encoder, self._rate = encoder.codec.canonical_name, encoder, rate
        self._first: VideoFrame | None = None
        self._digests: list[bytes] = []
        self._sizes: list[int] = []
        self._sets: set[bytes] = set()

    def add(self, packet: Packet) -> None:
        if not nal.has_units(self._codec):
            return
        if not self._digests:
            self._first = self._decoded(packet)
        units = nal.split(bytes(packet), None)
        held = nal.join(units, 4)
        self._digests.append(hashlib.sha256(held).digest())
        self._sizes.append(len(held))
        if packet.is_keyframe:
            self._sets.update(unit for unit in units if nal.is_parameter_set(self._codec, unit))

    def info(self, path: Path) -> VideoInfo | None:
        """What the finished file is, which is indexed from now on; None where its header says anything else."""
        samples = samples_of(path)
        if samples is None or self._first is None or not np.array_equal(samples.size, self._sizes):
            return None
        picture = self._first
        coding = Coding(
            self._codec, picture.format.name, picture.width, picture.height, samples.extradata(), "mp4", self._rate
        )
        keys, parameters = np.flatnonzero(samples.key), Parameters(coding)
        parameters.add(nal.join(self._sets, 4))
        index = PacketIndex(
            times=samples.time,
            order=np.arange(len(samples.time)),
            keys=keys,
            key_seek=samples.time[keys],
            hidden=np.empty(0, np.int64),
            time_base=Fraction(1, samples.timescale),
            size=int(samples.size.sum()),
            extradata_sha=parameters.digest(),
            coding=coding,
        )
        keep(path, index)
        return replace(info_of(index), digest=digest_of(self._codec, coding.extradata, self._digests))

    def _decoded(self, packet: Packet) -> VideoFrame | None:
        decoder = CodecContext.create(self._codec, "r")
        assert isinstance(decoder, VideoCodecContext)
        decoder.extradata, decoder.thread_count = self._encoder.extradata, 1
        try:
            pictures = [*decoder.decode(packet), *decoder.decode(None)]
        except av.error.FFmpegError:
            return None
        return pictures[0] if pictures else None
