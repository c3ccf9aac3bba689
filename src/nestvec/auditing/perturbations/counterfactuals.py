"""Contrasts: documents with one detail made wrong, so that they almost, but no longer, answer.

What is wrong is known by construction, where a mined negative may be an answer that nobody judged.
Rules for English; a text that a rule does not fit has no edit of that kind, and none is forced.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nestvec.auditing.perturbations.mining import best_judged
from nestvec.auditing.types import Judged, Triplets
from nestvec.shapes import Int64

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

# "can't" and "cannot" are left alone: without their "not" they are other words.
_VERB = re.compile(
    r"\b(?:is|are|was|were|can|could|will|would|should|must|may|might)"
    r"(?: not\b|n['’]t\b|\b(?!['’]))"
)
_NUMBER = re.compile(r"(?<!\w)\d+")
_DAY_OR_MONTH = rf"(?:{'|'.join(MONTHS + WEEKDAYS)})\b"
_DATE = re.compile(rf"\b{_DAY_OR_MONTH}")
# The first word of a sentence is capitalised whatever it is.
_NAME = re.compile(
    r"(?<!^)(?<![.!?:]\s)(?<![\w'’-])"
    rf"(?!I\b|{_DAY_OR_MONTH})[A-Z][\w-]*(?: [A-Z][\w-]*)*"
)

Swap = Callable[[str, np.random.Generator], str | None]
"""From what was matched to what takes its place; None where nothing can."""


class Contrasts(NamedTuple):
    """Edited texts, what was edited, and the row of the text that each was made of, rising."""

    texts: tuple[str, ...]
    kinds: tuple[str, ...]
    sources: Int64[np.ndarray, " edits"]


def contrasts(
    texts: Sequence[str], rows: Int64[np.ndarray, " m"], rng: np.random.Generator
) -> Contrasts:
    """Up to four edits of each text in `rows` (rising), one detail each, by kind:

    - "negation": a "not" put behind one of is, are, was, were, can, could, will, would, should,
      must, may, might, or taken away from there;
    - "number": another digit among the last two of a number;
    - "date": another month or weekday;
    - "entity": capitalised words within a sentence become as many others from the same corpus,
      which is all of `texts`.

    The place is drawn among all that fit. No edit leaves a text as it was.
    """
    names = _names(texts)
    edited = [
        (edit, kind, row)
        for row in rows.tolist()
        for kind, pattern, swap in _rules(names, texts[row])
        if (edit := _edit(texts[row], pattern, swap, rng)) is not None
    ]
    sources = np.array([row for _, _, row in edited], dtype=np.int64)
    return Contrasts(tuple(e[0] for e in edited), tuple(e[1] for e in edited), sources)


def contrast_triplets(edits: Contrasts, judged: Judged, n: int) -> Triplets:
    """Every judged query with its best document and the edits of that as negatives.

    Negatives are the rows from `n` on: append the encoded edits, in their order, to the `n`
    documents. Queries whose best document has no edit have no triplet.
    """
    queries, positives = best_judged(judged)
    first = np.searchsorted(edits.sources, positives)
    counts = np.searchsorted(edits.sources, positives, side="right") - first
    within = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
    edit = np.repeat(first, counts) + within
    kinds = tuple(edits.kinds[row] for row in edit)
    return Triplets(np.repeat(queries, counts), np.repeat(positives, counts), n + edit, kinds)


def _rules(names: "Names", text: str) -> tuple[tuple[str, re.Pattern[str], Swap], ...]:
    return (
        ("negation", _VERB, _negated),
        ("number", _NUMBER, _other_number),
        ("date", _DATE, _other_date),
        ("entity", _NAME, lambda name, rng: _other_name(name, names, text, rng)),
    )


def _edit(text: str, pattern: re.Pattern[str], swap: Swap, rng: np.random.Generator) -> str | None:
    """The text with one match, drawn at random, swapped."""
    matches = list(pattern.finditer(text))
    if not matches:
        return None
    match = matches[rng.integers(len(matches))]
    swapped = swap(match.group(), rng)
    return None if swapped is None else text[: match.start()] + swapped + text[match.end() :]


def _negated(verb: str, rng: np.random.Generator) -> str:
    positive = re.sub(r" not$|n['’]t$", "", verb)
    return f"{verb} not" if positive == verb else positive


def _other_number(number: str, rng: np.random.Generator) -> str:
    # Of the last two digits, so that a year stays a year of our time.
    at = int(rng.integers(max(0, len(number) - 2), len(number)))
    digits = "123456789" if at == 0 else "0123456789"
    others = digits.replace(number[at], "")
    return number[:at] + others[rng.integers(len(others))] + number[at + 1 :]


def _other_date(name: str, rng: np.random.Generator) -> str:
    others = [other for other in (MONTHS if name in MONTHS else WEEKDAYS) if other != name]
    return others[rng.integers(len(others))]


Names = Mapping[int, Sequence[str]]
"""Capitalised spans of a corpus by their number of words."""


def _names(texts: Sequence[str]) -> Names:
    found = {name for text in texts for name in _NAME.findall(text)}
    by_words: dict[int, list[str]] = {}
    for name in sorted(found):
        by_words.setdefault(name.count(" "), []).append(name)
    return by_words


def _other_name(name: str, names: Names, text: str, rng: np.random.Generator) -> str | None:
    """A name of as many words that the text does not hold yet."""
    others = names.get(name.count(" "), ())
    start = int(rng.integers(len(others))) if others else 0
    return next((other for other in (*others[start:], *others[:start]) if other not in text), None)
