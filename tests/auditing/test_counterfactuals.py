"""Counterfactual texts: one detail is wrong, its kind is known, and other texts are left out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.auditing.perturbations.counterfactuals import (
    MONTHS,
    WEEKDAYS,
    counterfactual_triplets,
    make_counterfactual_texts,
)
from nestvec.auditing.types import RelevanceJudgments

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
    return make_counterfactual_texts(corpus, rows, np.random.default_rng(seed))


def only(corpus, kind, seed=0):
    """The edits of this kind by the row of their source."""
    edits = edits_of(corpus, seed)
    rows = zip(edits.sources.tolist(), edits.kinds, edits.texts, strict=True)
    return {row: text for row, row_kind, text in rows if row_kind == kind}


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        ("the drug is safe", "the drug is not safe"),
        ("the drug is not safe", "the drug is safe"),
        ("the drug isn't safe", "the drug is safe"),
        ("the drug wasn’t safe", "the drug was safe"),
    ],
)
def test_a_not_is_inserted_or_removed(text, edited):
    assert only([text], "negation") == {0: edited}


@pytest.mark.parametrize("text", ["we can't say", "we cannot say", "that's what this isle has"])
def test_words_that_a_negation_would_break_are_left_alone(text):
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
    edits = only(CORPUS, "entity", seed)
    # "Danish" is the only single name; sentences begin with "In", "On" and "The", no names.
    assert set(edits) == {1, 3}
    pairs = {"Marie Curie", "Lise Meitner", "Langley Field"}
    assert sum(name in edits[1] for name in pairs) == 2
    assert sum(name in edits[3] for name in pairs - {"Langley Field"}) == 1


@law
@given(st.lists(texts, min_size=1, max_size=5), seeds)
def test_every_edit_changes_its_source_and_no_kind_comes_twice(corpus, seed):
    edits = edits_of(corpus, seed)
    for text, row in zip(edits.texts, edits.sources, strict=True):
        assert text != corpus[row]
    assert (np.diff(edits.sources) >= 0).all()
    pairs = list(zip(edits.sources.tolist(), edits.kinds, strict=True))
    assert len(set(pairs)) == len(pairs)


def test_the_same_seed_makes_the_same_edits():
    a, b, c = (edits_of(CORPUS * 5, seed) for seed in (1, 1, 2))
    assert a.texts == b.texts
    assert a.texts != c.texts


def test_a_text_without_anything_to_change_has_no_edit():
    assert 2 not in edits_of(CORPUS).sources


def test_only_the_requested_rows_are_edited_but_names_come_from_all():
    edits = make_counterfactual_texts(CORPUS, np.array([3]), np.random.default_rng(0))
    assert set(edits.sources.tolist()) == {3}
    assert "entity" in edits.kinds


def test_triplets_name_the_edits_behind_the_documents():
    edits = edits_of(CORPUS)
    # Query 0 is answered best by row 3, query 1 by row 2, which has no edit.
    judgments = RelevanceJudgments(
        np.array([0, 0, 1]), np.array([0, 3, 2]), np.array([1.0, 2.0, 1.0])
    )
    triplets = counterfactual_triplets(edits, judgments, len(CORPUS))
    edit_rows = np.flatnonzero(edits.sources == 3)
    assert triplets.queries.tolist() == [0] * len(edit_rows)
    assert triplets.positives.tolist() == [3] * len(edit_rows)
    assert triplets.negatives.tolist() == (len(CORPUS) + edit_rows).tolist()
    assert triplets.kinds == tuple(edits.kinds[row] for row in edit_rows)
