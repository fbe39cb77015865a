"""A hash of what a camera shows that survives repacking: over compressed packets, not over the file.

Joining and cutting by packet copy changes an mp4's bytes but not its packets, so two stores with the same
pictures have the same digest however their files are laid out. Nothing is decoded.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import av
import numpy as np

from dataengine.errors import VideoError
from dataengine.remote import is_remote, openable
from dataengine.video.samples import packets_at, samples_of
from dataengine.video.written import digest_of

_MANY = 200  # packets; fewer are demuxed as soon as the header is understood


def packet_digest(path: Path, begin: float, length: int, fps: float) -> tuple[str, int]:
    """sha256 over the decoder's parameters and the packets shown from `begin` [s] for `length` frames.

    Gives the number of packets found too; a whole clip has `length` of them. Raises `VideoError`.
    """
    found: list[tuple[int, bytes]] = []
    try:
        with av.open(openable(str(path))) as container:
            stream = next((s for s in container.streams.video if s.codec_context is not None), None)
            if stream is None or stream.time_base is None:
                raise VideoError(path, "holds no video stream that can be decoded")
            codec, extradata = stream.codec_context.name, bytes(stream.codec_context.extradata or b"")
            low = float((begin - 0.5 / fps) / stream.time_base)
            high = low + float(length / fps / stream.time_base)
            if (samples := samples_of(path) if length > _MANY and not is_remote(path) else None) is not None:
                wanted = np.flatnonzero((samples.time > low) & (samples.time < high))
                digests = [hashlib.sha256(packet).digest() for packet in packets_at(path, samples, wanted)]
                return digest_of(codec, extradata, digests), len(digests)
            if begin > 1.0:
                container.seek(int(low), stream=stream)
            for packet in container.demux(stream):
                if packet.pts is None:
                    continue
                if low < packet.pts < high:
                    found.append((packet.pts, hashlib.sha256(bytes(packet)).digest()))
                elif packet.dts is not None and packet.dts > high:
                    break
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(path, f"cannot be read: {error}") from error
    found.sort()
    return digest_of(codec, extradata, (digest for _, digest in found)), len(found)
