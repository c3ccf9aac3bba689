"""Typing errors as people make them: a wrong key, one too many, one too few, or two swapped."""

from collections.abc import Callable, Sequence

import numpy as np

LETTERS = "abcdefghijklmnopqrstuvwxyz"
KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
"""Rows of a keyboard; a key's neighbours are to its sides, above and below."""


def add_typos(texts: Sequence[str], rng: np.random.Generator, edits: int = 1) -> tuple[str, ...]:
    """Add `edits` random typing errors to each text, one after the other.

    Each is drawn among five kinds: a letter inserted, deleted, replaced by any other, swapped with
    the next, or replaced by a neighbour on the keyboard. Only letters are changed: a text without
    letters stays as it is.
    """
    mistyped = list(texts)
    for _ in range(edits):
        mistyped = [_add_typo(text, rng) for text in mistyped]
    return tuple(mistyped)


def _add_typo(text: str, rng: np.random.Generator) -> str:
    places = [place for place, letter in enumerate(text) if letter.isalpha()]
    if not places:
        return text
    place = int(rng.choice(places))
    kinds = [_KINDS[int(kind)] for kind in rng.permutation(len(_KINDS))]
    tries = (text[:place] + kind(text[place:], rng) for kind in kinds)
    # An insertion always changes the text.
    return next(mistyped for mistyped in tries if mistyped != text)


def _insert(tail: str, rng: np.random.Generator) -> str:
    return LETTERS[rng.integers(len(LETTERS))] + tail


def _delete(tail: str, rng: np.random.Generator) -> str:
    return tail[1:]


def _substitute(tail: str, rng: np.random.Generator) -> str:
    return LETTERS[rng.integers(len(LETTERS))] + tail[1:]


def _swap(tail: str, rng: np.random.Generator) -> str:
    return tail[1] + tail[0] + tail[2:] if tail[1:2].isalpha() else tail


def _neighbouring_key(tail: str, rng: np.random.Generator) -> str:
    keys = _neighbours(tail[0].lower())
    return keys[rng.integers(len(keys))] + tail[1:] if keys else tail


def _neighbours(letter: str) -> str:
    for row, keys in enumerate(KEYS):
        if letter in keys:
            column = keys.index(letter)
            same_row = keys[max(0, column - 1) : column] + keys[column + 1 : column + 2]
            rows = KEYS[max(0, row - 1) : row] + KEYS[row + 1 : row + 2]
            return same_row + "".join(near[column] for near in rows if column < len(near))
    return ""


_KINDS: tuple[Callable[[str, np.random.Generator], str], ...] = (
    _insert, _delete, _substitute, _swap, _neighbouring_key,
)  # fmt: skip
