"""Typing errors: one edit each, seeded, of five kinds."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.auditing.perturbations.typos import add_typos

law = settings(deadline=None, max_examples=80)
seeds = st.integers(0, 2**32 - 1)
texts = st.text("abz QM1.é", max_size=12)


def distance(a, b):
    """Damerau and Levenshtein's, by its definition (adjacent letters swap once)."""
    if not a or not b:
        return len(a) + len(b)
    steps = [
        distance(a[1:], b) + 1,
        distance(a, b[1:]) + 1,
        distance(a[1:], b[1:]) + (a[0] != b[0]),
    ]
    if len(a) > 1 and len(b) > 1 and a[:2] == b[1::-1]:
        steps.append(distance(a[2:], b[2:]) + 1)
    return min(steps)


@law
@given(st.text("abz1 ", max_size=6), seeds)
def test_one_typo_is_one_edit(text, seed):
    (mistyped,) = add_typos([text], np.random.default_rng(seed))
    has_letters = any(letter.isalpha() for letter in text)
    assert distance(text, mistyped) == int(has_letters)


@law
@given(st.lists(texts, max_size=4), seeds, st.integers(0, 3))
def test_the_same_seed_makes_the_same_typos(many, seed, edits):
    a_typos, b_typos = (add_typos(many, np.random.default_rng(seed), edits) for _ in range(2))
    assert a_typos == b_typos
    assert len(a_typos) == len(many)


@law
@given(texts, seeds)
def test_no_typos_change_nothing(text, seed):
    assert add_typos([text], np.random.default_rng(seed), 0) == (text,)


def test_all_five_kinds_occur(rng):
    mistyped = set(add_typos(["ab"] * 3000, rng))
    assert "ba" in mistyped
    assert {"a", "b"} <= mistyped
    assert any(len(text) == 3 for text in mistyped)
    assert {"sb", "qb", "zb"} <= mistyped
    assert "xb" in mistyped
