"""Instructions as word numbers: the words, pairs and triples of neighbouring words that training has seen."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

_WORD = re.compile(r"\w+", re.UNICODE)
LONGEST = 96  # pieces of one instruction that count


def pieces(instruction: str) -> list[str]:
    """Words in lower case, then pairs and triples of neighbours: a mean over words alone could not tell "red on blue"
    from "blue on red", nor one over pairs "the red cube on the blue cube" from the other way round."""
    words = _WORD.findall(instruction.lower())
    return [" ".join(words[at : at + n]) for n in (1, 2, 3) for at in range(len(words) - n + 1)][:LONGEST]


@dataclass(frozen=True)
class Vocabulary:
    """known: every piece of the training instructions, sorted; its number is its place + 1, 0 is padding."""

    known: tuple[str, ...]

    @classmethod
    def of(cls, instructions: Iterable[str]) -> Vocabulary:
        return cls(tuple(sorted({piece for text in instructions for piece in pieces(text)})))

    def encode(self, instructions: Iterable[str]) -> np.ndarray:
        """`(N, L)` int64, padded with 0. Pieces never seen in training say nothing and are left out."""
        number = {piece: i + 1 for i, piece in enumerate(self.known)}
        rows = [[number[p] for p in pieces(text) if p in number] for text in instructions]
        found = np.zeros((len(rows), max([1, *map(len, rows)])), np.int64)
        for row, numbers in zip(found, rows, strict=True):
            row[: len(numbers)] = numbers
        return found

    def unknown(self, instruction: str) -> list[str]:
        """Words of an instruction the policy has never seen."""
        return [word for word in _WORD.findall(instruction.lower()) if word not in self.known]
