"""Contrasts: one detail is wrong, its kind is known, and what cannot be edited is left out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.auditing.perturbations.counterfactuals import (
    MONTHS,
    WEEKDAYS,
    contrast_triplets,
    contrasts,
)
from nestvec.auditing.types import Judged

law = settings(deadline=None, max_examples=60)
seeds = st.integers(0, 2**32 - 1)
CORPUS = (
    "In 2015 the drug was safe for Danish mice.",
    "On Monday the team of Marie Curie could not meet Lise Meitner in March.",
    "nothing to change here",
    "The wing isn't swept; 37 tests at Langley Field show it.",
)
WORDS = ("is", "not", "Paris", "Marie Curie", "1999", "May", "the", "can't", "3.5", ".", "I")
texts = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)


def edits_of(corpus, seed=0):
    rows = np.arange(len(corpus))
    return contrasts(corpus, rows, np.random.default_rng(seed))


def only(corpus, kind, seed=0):
    """The edits of this kind by the row of their source."""
    found = edits_of(corpus, seed)
    rows = zip(found.sources.tolist(), found.kinds, found.texts, strict=True)
    return {row: text for row, of_kind, text in rows if of_kind == kind}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("the drug is safe", "the drug is not safe"),
        ("the drug is not safe", "the drug is safe"),
        ("the drug isn't safe", "the drug is safe"),
        ("the drug wasn’t safe", "the drug was safe"),
    ],
)
def test_a_not_comes_and_goes(before, after):
    assert only([before], "negation") == {0: after}


@pytest.mark.parametrize("text", ["we can't say", "we cannot say", "that's what this isle has"])
def test_words_that_would_not_stay_words_are_left_alone(text):
    assert only([text], "negation") == {}


@law
@given(seeds)
def test_one_digit_of_a_number_changes(seed):
    for row, text in only(CORPUS, "number", seed).items():
        assert len(text) == len(CORPUS[row])
        changed = [(a, b) for a, b in zip(CORPUS[row], text, strict=True) if a != b]
        assert len(changed) == 1
        assert all(letter.isdigit() for letter in changed[0])


@law
@given(seeds)
def test_a_month_becomes_a_month_and_a_weekday_a_weekday(seed):
    text = only(CORPUS, "date", seed)[1]
    months = [month for month in MONTHS if month in text]
    weekdays = [day for day in WEEKDAYS if day in text]
    assert len(months) == len(weekdays) == 1
    assert (months == ["March"]) != (weekdays == ["Monday"])


@law
@given(seeds)
def test_a_name_becomes_another_of_the_corpus_with_as_many_words(seed):
    found = only(CORPUS, "entity", seed)
    # "Danish" is the only single name; sentences begin with "In", "On" and "The", no names.
    assert set(found) == {1, 3}
    pairs = {"Marie Curie", "Lise Meitner", "Langley Field"}
    assert sum(name in found[1] for name in pairs) == 2
    assert sum(name in found[3] for name in pairs - {"Langley Field"}) == 1


@law
@given(st.lists(texts, min_size=1, max_size=5), seeds)
def test_every_edit_changes_its_source_and_no_kind_comes_twice(corpus, seed):
    found = edits_of(corpus, seed)
    for text, row in zip(found.texts, found.sources, strict=True):
        assert text != corpus[row]
    assert (np.diff(found.sources) >= 0).all()
    pairs = list(zip(found.sources.tolist(), found.kinds, strict=True))
    assert len(set(pairs)) == len(pairs)


def test_the_same_seed_makes_the_same_edits():
    one, again, other = (edits_of(CORPUS * 5, seed) for seed in (1, 1, 2))
    assert one.texts == again.texts
    assert one.texts != other.texts


def test_a_text_without_anything_to_change_has_no_edit():
    assert 2 not in edits_of(CORPUS).sources


def test_only_the_rows_asked_for_are_edited_but_names_come_from_all():
    found = contrasts(CORPUS, np.array([3]), np.random.default_rng(0))
    assert set(found.sources.tolist()) == {3}
    assert "entity" in found.kinds


def test_triplets_name_the_edits_behind_the_documents():
    edits = edits_of(CORPUS)
    # Query 0 is answered best by row 3, query 1 by row 2, which has no edit.
    judged = Judged(np.array([0, 0, 1]), np.array([0, 3, 2]), np.array([1.0, 2.0, 1.0]))
    triplets = contrast_triplets(edits, judged, len(CORPUS))
    mine = np.flatnonzero(edits.sources == 3)
    assert triplets.queries.tolist() == [0] * len(mine)
    assert triplets.positives.tolist() == [3] * len(mine)
    assert triplets.negatives.tolist() == (len(CORPUS) + mine).tolist()
    assert triplets.kinds == tuple(edits.kinds[row] for row in mine)
