"""What a camera hides between the pictures of an h264 or HEVC stream: SEI messages with data of its own.

Dashcams and drones write places and times there; players do not show it, and copied packets carry it along. ITU-T H.264
§7.3.2.3 and D.1.7, H.265 §7.3.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dataengine.video import nal
from dataengine.video.container import open_video, reading

UNREGISTERED = 5  # payload type: a UUID, then anything
ENCODERS = (  # write how they were set, and nothing else
    bytes.fromhex("dc45e9bde6d948b7962cd820d923eeef"),  # x264
    bytes.fromhex("2ca2de09b51747dbbb55a4fe7fc2fc4e"),  # x265
)


def user_data(path: str | Path) -> int:
    """How many packets of a video carry data that is neither pictures nor an encoder's settings. For files that `probe`
    has passed. Raises `VideoError`."""
    container, stream = open_video(path)
    found = 0
    with container, reading(path):
        context = stream.codec_context
        codec, extradata = context.codec.canonical_name, context.extradata or b""
        if nal.has_units(codec):
            prefix = nal.length_size(codec, extradata)
            packets = (bytes(packet) for packet in container.demux(stream) if packet.size)
            found = sum(any(_foreign(codec, unit) for unit in nal.split(packet, prefix)) for packet in packets)
    return found


def _foreign(codec: str, unit: bytes) -> bool:
    return any(
        kind == UNREGISTERED and payload[:16] not in ENCODERS
        for kind, payload in (messages(codec, unit) if nal.is_message(codec, unit) else ())
    )


def messages(codec: str, unit: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and payload of every message in an SEI unit; what is cut short ends them."""
    data = unit[1 if codec == "h264" else 2 :].replace(b"\0\0\3", b"\0\0")
    at = 0
    while len(data) - at > 2:  # the last byte is the stop bit
        numbers = []
        for _ in range(2):
            number = 0
            while at < len(data) and data[at] == 255:
                number, at = number + 255, at + 1
            if at >= len(data):
                return
            numbers.append(number + data[at])
            at += 1
        yield numbers[0], data[at : at + numbers[1]]
        at += numbers[1]
