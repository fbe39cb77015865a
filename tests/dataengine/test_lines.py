"""Whatever a file says stays on one line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataengine.lines import one_line


@given(st.text())
def test_one_line_is_printable_and_says_the_same_words(text: str) -> None:
    line = one_line(text)
    assert line.isprintable() and line == " ".join(line.split()) and one_line(line) == line
    assert [c for c in text if c.isprintable() and not c.isspace()] == [c for c in line if not c.isspace()]


def test_what_a_terminal_would_obey_goes() -> None:
    assert one_line("a\x1b[31m\n  b\u202e c\t") == "a [31m b c"
