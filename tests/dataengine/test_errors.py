"""Messages are one line of bounded length, whatever a file or a library has put into them."""

from __future__ import annotations

import pickle

import pytest

from dataengine.errors import EpisodeError, SourceError, UnsafeSource


@pytest.mark.parametrize(
    "error",
    [
        SourceError("a\nb.mp4", "is\x1b[31m red\r\n", hint="look\u202e up"),
        UnsafeSource("x", "y" * 10**6),
        EpisodeError("demo_1", "first\nsecond", feature="ac\ntion", frame=3),
    ],
    ids=["controls", "long", "lines"],
)
def test_what_comes_from_a_file_stays_on_one_line(error: Exception) -> None:
    assert str(error).isprintable() and len(str(error)) < 5000
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_an_ordinary_message_is_left_as_it_is() -> None:
    assert str(SourceError("a.mp4", "is  odd – ü", hint="see b")) == "a.mp4: is  odd – ü – see b"
