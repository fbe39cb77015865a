"""Data that a camera hides in its stream, put there by FFmpeg's own bitstream filters."""

from __future__ import annotations

from pathlib import Path

import pytest
from video_foreign import moving, with_message, write_video

from dataengine.video.user_data import messages, user_data

TEXT = "+48.1173+011.5167 Fictional Drones"
FRAMES = moving(12)


@pytest.mark.parametrize("name", ["told.mp4", "told.mkv", "told.avi"])
def test_a_message_is_found_in_every_container(tmp_path: Path, name: str) -> None:
    plain = write_video(tmp_path, FRAMES, options={"bf": "0"})
    told = with_message(plain, TEXT, name)
    assert TEXT.encode() in told.read_bytes()
    assert user_data(told) == 1 and user_data(plain) == 0


@pytest.mark.parametrize("encoder", ["libx264", "libx265", "libvpx-vp9", "mpeg4"])
def test_what_encoders_say_of_themselves_is_nobodys_secret(tmp_path: Path, encoder: str) -> None:
    assert user_data(write_video(tmp_path, FRAMES, encoder, name="x.mkv")) == 0


def test_messages_are_read_as_the_standard_writes_them() -> None:
    long = bytes(range(1, 200)) * 2
    unit = bytes([6, 1, 2, 9, 9, 5, 255, len(long) - 255]) + long + bytes([0x80])
    assert list(messages("h264", unit)) == [(1, b"\x09\x09"), (5, long)]
    assert list(messages("hevc", bytes([78, 1]) + unit[1:])) == [(1, b"\x09\x09"), (5, long)]
    assert list(messages("h264", bytes([6, 5, 4, 0, 0, 3, 1, 7, 0x80]))) == [(5, b"\0\0\1\7")]
    for cut in range(len(unit)):
        list(messages("h264", unit[:cut]))
