"""Typing errors, as people make them: one wrong key, one key too many, too few or out of order."""

from collections.abc import Callable, Sequence

import numpy as np

LETTERS = "abcdefghijklmnopqrstuvwxyz"
KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
"""Rows of a keyboard; a key's neighbours are those beside it, above and below."""


def with_typos(texts: Sequence[str], rng: np.random.Generator, edits: int = 1) -> tuple[str, ...]:
    """Each text with `edits` random typing errors, one after the other.

    Each is drawn among five kinds: a letter inserted, deleted, replaced by any other, swapped with
    the next, or replaced by a neighbour on the keyboard. Only letters are hit: a text without
    letters stays as it is.
    """
    typed = list(texts)
    for _ in range(edits):
        typed = [_with_typo(text, rng) for text in typed]
    return tuple(typed)


def _with_typo(text: str, rng: np.random.Generator) -> str:
    places = [place for place, letter in enumerate(text) if letter.isalpha()]
    if not places:
        return text
    place = int(rng.choice(places))
    kinds = [_KINDS[int(kind)] for kind in rng.permutation(len(_KINDS))]
    tries = (text[:place] + kind(text[place:], rng) for kind in kinds)
    # An insertion always changes the text.
    return next(typed for typed in tries if typed != text)


def _insert(rest: str, rng: np.random.Generator) -> str:
    return LETTERS[rng.integers(len(LETTERS))] + rest


def _delete(rest: str, rng: np.random.Generator) -> str:
    return rest[1:]


def _substitute(rest: str, rng: np.random.Generator) -> str:
    return LETTERS[rng.integers(len(LETTERS))] + rest[1:]


def _swap(rest: str, rng: np.random.Generator) -> str:
    return rest[1] + rest[0] + rest[2:] if rest[1:2].isalpha() else rest


def _slip(rest: str, rng: np.random.Generator) -> str:
    near = _neighbours(rest[0].lower())
    return near[rng.integers(len(near))] + rest[1:] if near else rest


def _neighbours(letter: str) -> str:
    for row, keys in enumerate(KEYS):
        if letter in keys:
            at = keys.index(letter)
            beside = keys[max(0, at - 1) : at] + keys[at + 1 : at + 2]
            rows = KEYS[max(0, row - 1) : row] + KEYS[row + 1 : row + 2]
            return beside + "".join(other[at] for other in rows if at < len(other))
    return ""


_KINDS: tuple[Callable[[str, np.random.Generator], str], ...] = (
    _insert, _delete, _substitute, _swap, _slip,
)  # fmt: skip
