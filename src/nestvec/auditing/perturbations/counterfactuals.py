"""Counterfactual texts: documents with one wrong detail, so that they no longer answer.

Such a document is wrong by construction, whereas a mined negative may be an answer without a
judgment. The rules are for English; a text that a rule does not fit has no edit of that kind.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nestvec.auditing.perturbations.mining import most_relevant
from nestvec.auditing.types import RelevanceJudgments, Triplets
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
"""Replacement of a matched span; None where there is none."""


class CounterfactualTexts(NamedTuple):
    """Edited texts, their kinds, and the row of the original of each, rising."""

    texts: tuple[str, ...]
    kinds: tuple[str, ...]
    sources: Int64[np.ndarray, " edits"]


def make_counterfactual_texts(
    texts: Sequence[str], rows: Int64[np.ndarray, " m"], rng: np.random.Generator
) -> CounterfactualTexts:
    """Make up to four edits of each text in `rows` (rising), one detail each, by kind:

    - "negation": a "not" inserted behind one of is, are, was, were, can, could, will, would,
      should, must, may, might, or removed from there;
    - "number": another digit among the last two of a number;
    - "date": another month or weekday;
    - "entity": capitalised words within a sentence become as many others from the same corpus,
      which is all of `texts`.

    The place is drawn among all that fit. Every edit changes its text.
    """
    names = _names(texts)
    edited = [
        (edit, kind, row)
        for row in rows.tolist()
        for kind, pattern, swap in _rules(names, texts[row])
        if (edit := _edit(texts[row], pattern, swap, rng)) is not None
    ]
    sources = np.array([row for _, _, row in edited], dtype=np.int64)
    return CounterfactualTexts(tuple(e[0] for e in edited), tuple(e[1] for e in edited), sources)


def counterfactual_triplets(
    edits: CounterfactualTexts, judgments: RelevanceJudgments, n: int
) -> Triplets:
    """Pair every query with judgments and its best document with edits of that as negatives.

    Negatives are the rows from `n` on: append the encoded edits, in their order, to the `n`
    documents. Queries whose best document has no edit have no triplet.
    """
    queries, positives = most_relevant(judgments)
    starts = np.searchsorted(edits.sources, positives)
    counts = np.searchsorted(edits.sources, positives, side="right") - starts
    offsets = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
    edit_rows = np.repeat(starts, counts) + offsets
    kinds = tuple(edits.kinds[row] for row in edit_rows)
    return Triplets(np.repeat(queries, counts), np.repeat(positives, counts), n + edit_rows, kinds)


def _rules(names: "Names", text: str) -> tuple[tuple[str, re.Pattern[str], Swap], ...]:
    return (
        ("negation", _VERB, _negate),
        ("number", _NUMBER, _other_number),
        ("date", _DATE, _other_date),
        ("entity", _NAME, lambda name, rng: _other_name(name, names, text, rng)),
    )


def _edit(text: str, pattern: re.Pattern[str], swap: Swap, rng: np.random.Generator) -> str | None:
    """Swap one match, drawn at random; None where there is no match or no replacement."""
    matches = list(pattern.finditer(text))
    if not matches:
        return None
    match = matches[rng.integers(len(matches))]
    swapped = swap(match.group(), rng)
    return None if swapped is None else text[: match.start()] + swapped + text[match.end() :]


def _negate(verb: str, rng: np.random.Generator) -> str:
    positive = re.sub(r" not$|n['’]t$", "", verb)
    return f"{verb} not" if positive == verb else positive


def _other_number(number: str, rng: np.random.Generator) -> str:
    # Of the last two digits, so that a year stays a year of our time.
    position = int(rng.integers(max(0, len(number) - 2), len(number)))
    digits = "123456789" if position == 0 else "0123456789"
    choices = digits.replace(number[position], "")
    digit = choices[rng.integers(len(choices))]
    return number[:position] + digit + number[position + 1 :]


def _other_date(name: str, rng: np.random.Generator) -> str:
    choices = [choice for choice in (MONTHS if name in MONTHS else WEEKDAYS) if choice != name]
    return choices[rng.integers(len(choices))]


Names = Mapping[int, Sequence[str]]
"""Capitalised spans of a corpus by their number of words."""


def _names(texts: Sequence[str]) -> Names:
    spans = {name for text in texts for name in _NAME.findall(text)}
    by_words: dict[int, list[str]] = {}
    for name in sorted(spans):
        by_words.setdefault(name.count(" "), []).append(name)
    return by_words


def _other_name(name: str, names: Names, text: str, rng: np.random.Generator) -> str | None:
    """A name of as many words that the text does not contain."""
    choices = names.get(name.count(" "), ())
    start = int(rng.integers(len(choices))) if choices else 0
    rotated = (*choices[start:], *choices[:start])
    return next((choice for choice in rotated if choice not in text), None)
