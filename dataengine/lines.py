"""Text of strangers as a part of one line: of a terminal, a comment, an order."""

from __future__ import annotations


def one_line(text: str) -> str:
    """Without line breaks and anything that a terminal obeys; spaces are single."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
