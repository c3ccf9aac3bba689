"""Typing errors: small, seeded, and never of the mind."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.auditing.perturbations.typos import with_typos

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
    (typed,) = with_typos([text], np.random.default_rng(seed))
    has_letters = any(letter.isalpha() for letter in text)
    assert distance(text, typed) == int(has_letters)


@law
@given(st.lists(texts, max_size=4), seeds, st.integers(0, 3))
def test_the_same_seed_makes_the_same_typos(many, seed, edits):
    one, again = (with_typos(many, np.random.default_rng(seed), edits) for _ in range(2))
    assert one == again
    assert len(one) == len(many)


@law
@given(texts, seeds)
def test_no_typos_change_nothing(text, seed):
    assert with_typos([text], np.random.default_rng(seed), 0) == (text,)


def test_all_five_kinds_occur(rng):
    typed = set(with_typos(["ab"] * 3000, rng))
    assert "ba" in typed
    assert {"a", "b"} <= typed
    assert any(len(text) == 3 for text in typed)
    assert {"sb", "qb", "zb"} <= typed
    assert "xb" in typed
