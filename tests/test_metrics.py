"""Measures of rankings: equal to slow twins that define them, and lawful."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from nestvec.errors import IdsError, InputError
from nestvec.metrics import (
    mrr_at_k,
    ndcg_at_k,
    overlap,
    recall_at_k,
    recall_with_ties,
    relevance_recall_at_k,
)

law = settings(deadline=None)
RELEVANCE = (relevance_recall_at_k, ndcg_at_k, mrr_at_k)
DOCS = tuple(range(8))

rankings = st.permutations(DOCS)
ks = st.integers(1, len(DOCS))
judgments = st.dictionaries(st.sampled_from(DOCS), st.integers(-1, 3)).filter(
    lambda grades: any(grade > 0 for grade in grades.values())
)


def one(ranking):
    return np.array([ranking])


def with_gaps(ids):
    """Some ids replaced by -1, "no answer"."""
    return st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)).map(
        lambda keep: [id_ if keeps else -1 for id_, keeps in zip(ids, keep, strict=True)]
    )


# Slow twins: the definitions, as plain loops.


def slow_recall(found, true, k):
    wanted = [t for t in true[:k] if t != -1]
    return sum(t in found[:k] for t in wanted) / len(wanted)


def slow_ndcg(ranking, grades, k):
    dcg = ideal = 0.0
    for place, doc in enumerate(ranking[:k], start=1):
        dcg += max(grades.get(doc, 0), 0) / math.log2(1 + place)
    for place, grade in enumerate(sorted(grades.values(), reverse=True)[:k], start=1):
        ideal += max(grade, 0) / math.log2(1 + place)
    return dcg / ideal


def slow_mrr(ranking, grades, k):
    for place, doc in enumerate(ranking[:k], start=1):
        if grades.get(doc, 0) > 0:
            return 1 / place
    return 0.0


def slow_relevance_recall(ranking, grades, k):
    relevant = [doc for doc, grade in grades.items() if grade > 0]
    return sum(doc in ranking[:k] for doc in relevant) / min(k, len(relevant))


# Against exact search.


@law
@given(rankings.flatmap(with_gaps), rankings, ks)
def test_recall_equals_its_slow_twin(found, true, k):
    assert recall_at_k(one(found), one(true), k) == pytest.approx([slow_recall(found, true, k)])


@law
@given(rankings, ks)
def test_recall_of_the_true_answers_in_any_order_is_one(true, k):
    assert recall_at_k(one(sorted(true[:k])), one(true), k) == [1.0]


def test_answers_beyond_k_do_not_count():
    assert recall_at_k(one([1, 2, 3]), one([1, 3, 9]), 2) == [0.5]


def test_recall_divides_by_the_true_answers_there_are():
    assert recall_at_k(one([4, 5, -1]), one([4, 6, -1]), 3) == [0.5]


def test_a_repeated_answer_counts_once():
    assert recall_at_k(one([7, 7, 7]), one([7, 8, 9]), 3) == pytest.approx([1 / 3])


def test_one_value_comes_back_per_query():
    found, true = np.array([[1, 2], [3, 4], [5, 6]]), np.array([[1, 2], [3, 9], [8, 9]])
    np.testing.assert_array_equal(recall_at_k(found, true, 2), [1.0, 0.5, 0.0])


def test_recall_without_true_answers_is_refused_and_not_zero():
    with pytest.raises(InputError, match=r"true_ids\[1\] names no document"):
        recall_at_k(np.array([[1], [2]]), np.array([[1], [-1]]), 1)


@law
@given(rankings.flatmap(with_gaps), rankings, ks)
def test_overlap_is_symmetric(a, b, k):
    np.testing.assert_array_equal(overlap(one(a), one(b), k), overlap(one(b), one(a), k))


@law
@given(rankings, rankings, ks)
def test_overlap_of_full_rankings_is_their_recall(a, b, k):
    np.testing.assert_array_equal(overlap(one(a), one(b), k), recall_at_k(one(a), one(b), k))


def test_a_short_ranking_overlaps_a_full_one_only_in_part():
    assert overlap(one([1, 2, -1, -1]), one([1, 2, 3, 4]), 4) == [0.5]


def test_two_equal_short_rankings_overlap_fully():
    assert overlap(one([1, -1]), one([1, -1]), 2) == [1.0]


def test_two_empty_rankings_have_no_overlap_to_speak_of():
    with pytest.raises(InputError, match="nothing to compare"):
        overlap(one([-1]), one([-1]), 1)


@law
@given(st.lists(st.integers(0, 3), min_size=8, max_size=8), st.integers(1, 8), st.randoms())
def test_any_choice_among_equal_rows_has_full_recall_with_ties(scores, k, random):
    """Sort by score, break ties by chance: always exact search, so always 1."""
    order = sorted(DOCS, key=lambda row: (-scores[row], random.random()))
    exact = np.array([[float(scores[row]) for row in order]])
    kth = np.sort(exact)[:, ::-1][:, k - 1]
    assert recall_with_ties(one(order), exact, kth, k) == [1.0]


@law
@given(rankings, st.permutations(range(8)), ks)
def test_without_ties_recall_with_ties_is_plain_recall(found, scores, k):
    true = sorted(DOCS, key=lambda row: -scores[row])
    exact = np.array([[float(scores[row]) for row in found]])
    kth = np.array([float(scores[true[k - 1]])])
    np.testing.assert_array_equal(
        recall_with_ties(one(found), exact, kth, k), recall_at_k(one(found), one(true), k)
    )


@law
@given(st.lists(st.integers(0, 9), min_size=8, max_size=8), st.integers(0, 9), ks)
def test_a_wider_tolerance_never_lowers_recall(scores, kth, k):
    exact, kth_scores = np.array([scores], float), np.array([kth], float)
    values = [
        recall_with_ties(one(DOCS), exact, kth_scores, k, tolerance=float(t)) for t in range(10)
    ]
    assert values == sorted(values)
    assert values[9] == [1.0]


def test_copies_of_one_good_answer_are_one_answer_with_ties_too():
    assert recall_with_ties(one([5, 5]), np.ones((1, 2)), np.ones(1), 2) == [0.5]


def test_the_score_of_an_answer_that_is_not_there_is_not_read():
    exact = np.array([[1.0, np.inf]])
    assert recall_with_ties(one([5, -1]), exact, np.ones(1), 2) == [0.5]


def test_a_score_that_is_not_a_number_earns_nothing():
    assert recall_with_ties(one([5]), np.array([[np.nan]]), np.zeros(1), 1) == [0.0]


@pytest.mark.parametrize("kth", [np.nan, -np.inf])
def test_a_kth_score_that_does_not_exist_is_refused(kth):
    with pytest.raises(InputError, match=r"kth_scores\[0\] .*finite"):
        recall_with_ties(one([5]), np.ones((1, 1)), np.array([kth]), 1)


@pytest.mark.parametrize("tolerance", [-0.1, math.nan, math.inf])
def test_a_senseless_tolerance_is_refused(tolerance):
    with pytest.raises(InputError, match="tolerance"):
        recall_with_ties(one([5]), np.ones((1, 1)), np.ones(1), 1, tolerance=tolerance)


def test_scores_that_do_not_fit_the_answers_are_refused():
    with pytest.raises(InputError, match=r"exact_scores \(1, 2\).*retrieved_ids \(1, 1\)"):
        recall_with_ties(one([5]), np.ones((1, 2)), np.ones(1), 1)


# Against judgments.


@law
@given(rankings.flatmap(with_gaps), judgments, ks)
def test_relevance_measures_equal_their_slow_twins(ranking, grades, k):
    args = (one(ranking), ["q"], {"q": grades}, k)
    assert ndcg_at_k(*args) == pytest.approx([slow_ndcg(ranking, grades, k)])
    assert mrr_at_k(*args) == pytest.approx([slow_mrr(ranking, grades, k)])
    assert relevance_recall_at_k(*args) == pytest.approx(
        [slow_relevance_recall(ranking, grades, k)]
    )


@law
@given(rankings, judgments, ks)
def test_ndcg_is_that_of_scikit_learn(ranking, grades, k):
    gains = [[max(grades.get(doc, 0), 0) for doc in DOCS]]
    scores = [[-ranking.index(doc) for doc in DOCS]]
    got = ndcg_at_k(one(ranking), ["q"], {"q": grades}, k)
    assert got == pytest.approx([ndcg_score(gains, scores, k=k)])


@law
@given(judgments, ks)
def test_the_best_ranking_scores_one(grades, k):
    best = sorted(DOCS, key=lambda doc: -max(grades.get(doc, 0), 0))
    for measure in RELEVANCE:
        assert measure(one(best), ["q"], {"q": grades}, k) == [1.0]


@law
@given(rankings, judgments, ks, st.data())
def test_the_order_of_the_tail_beyond_k_does_not_matter(ranking, grades, k, data):
    shuffled = [*ranking[:k], *data.draw(st.permutations(ranking[k:]))]
    for measure in RELEVANCE:
        before = measure(one(ranking), ["q"], {"q": grades}, k)
        assert measure(one(shuffled), ["q"], {"q": grades}, k) == before


@law
@given(rankings, judgments, ks, st.data())
def test_irrelevant_documents_may_change_places(ranking, grades, k, data):
    idle = [doc for doc in ranking if grades.get(doc, 0) <= 0]
    moved = iter(data.draw(st.permutations(idle)))
    shuffled = [doc if grades.get(doc, 0) > 0 else next(moved) for doc in ranking]
    for measure in RELEVANCE:
        before = measure(one(ranking), ["q"], {"q": grades}, k)
        assert measure(one(shuffled), ["q"], {"q": grades}, k) == before


@law
@given(rankings, judgments, ks, st.integers(0, 6))
def test_moving_a_better_document_up_never_lowers_a_value(ranking, grades, k, place):
    swapped = list(ranking)
    swapped[place], swapped[place + 1] = swapped[place + 1], swapped[place]
    if grades.get(swapped[place], 0) < grades.get(swapped[place + 1], 0):
        swapped, ranking = ranking, swapped
    for measure in RELEVANCE:
        better = measure(one(swapped), ["q"], {"q": grades}, k)
        assert better >= measure(one(ranking), ["q"], {"q": grades}, k) - 1e-12


@law
@given(rankings, judgments, ks)
def test_strings_and_integers_name_documents_alike(ranking, grades, k):
    named = {f"d{doc}": grade for doc, grade in grades.items()}
    strings = np.array([[f"d{doc}" for doc in ranking]])
    for measure in RELEVANCE:
        numbers = measure(one(ranking), [1], {1: grades}, k)
        for ids in (strings, strings.astype(object)):
            np.testing.assert_array_equal(measure(ids, ["q"], {"q": named}, k), numbers)


@pytest.mark.parametrize("measure", RELEVANCE)
def test_queries_are_scored_in_the_order_given(measure):
    qrels = {"a": {1: 1}, "b": {2: 1}}
    ranked = np.array([[2, 3], [2, 3]])
    np.testing.assert_array_equal(measure(ranked, ["b", "a"], qrels, 2), [1.0, 0.0])


@pytest.mark.parametrize("measure", RELEVANCE)
def test_nothing_found_scores_zero(measure):
    ranked = np.array([[-1, -1], [1, -1]])
    np.testing.assert_array_equal(measure(ranked, [0, 1], {0: {1: 1}, 1: {1: 1}}, 2), [0.0, 1.0])


def test_none_stands_for_no_answer_among_strings():
    ranked = np.array([["a", None]], dtype=object)
    assert relevance_recall_at_k(ranked, ["q"], {"q": {"a": 1, "b": 1}}, 2) == [0.5]


@pytest.mark.parametrize("measure", [relevance_recall_at_k, ndcg_at_k])
def test_a_repeated_document_earns_its_grade_once(measure):
    qrels = {"q": {1: 1, 2: 1}}
    assert measure(one([1, 1]), ["q"], qrels, 2) == measure(one([1, 5]), ["q"], qrels, 2)


def test_more_relevant_documents_than_k_do_not_cap_recall_below_one():
    assert relevance_recall_at_k(one([1, 2]), ["q"], {"q": {1: 1, 2: 1, 3: 1}}, 2) == [1.0]


@pytest.mark.parametrize("measure", RELEVANCE)
@pytest.mark.parametrize("qrels", [{}, {"q7": {}}, {"q7": {1: 0, 2: -1}}])
def test_a_query_without_relevant_documents_is_refused_by_name(measure, qrels):
    with pytest.raises(InputError, match="'q7' has no relevant document"):
        measure(one([1, 2]), ["q7"], qrels, 2)


@pytest.mark.parametrize("measure", RELEVANCE)
@pytest.mark.parametrize("grade", [math.nan, math.inf])
def test_a_grade_that_is_not_finite_is_refused(measure, grade):
    with pytest.raises(InputError, match=r"qrels\['q'\]\[1\]"):
        measure(one([1]), ["q"], {"q": {1: grade}}, 1)


@pytest.mark.parametrize("measure", RELEVANCE)
def test_a_ranking_without_its_query_is_refused(measure):
    with pytest.raises(InputError, match="2 rows but query_ids name 1"):
        measure(np.array([[1], [1]]), ["q"], {"q": {1: 1}}, 1)


@pytest.mark.parametrize("measure", RELEVANCE)
def test_integers_that_are_judged_as_strings_are_refused_rather_than_never_found(measure):
    with pytest.raises(IdsError, match=r"ranked_ids are integers .* documents are strings"):
        measure(one([1]), ["q"], {"q": {"1": 1}}, 1)


# Rules that all measures share.


def every_measure(ids, k):
    """Each measure called with these ranked ids, whatever they are."""
    qrels = {"q": {1: 1}}
    yield lambda: recall_at_k(ids, one([1, 2]), k)
    yield lambda: recall_at_k(one([1, 2]), ids, k)
    yield lambda: recall_with_ties(ids, np.ones((1, 2)), np.ones(1), k)
    yield lambda: overlap(ids, one([1, 2]), k)
    yield lambda: overlap(one([1, 2]), ids, k)
    for measure in RELEVANCE:
        yield lambda measure=measure: measure(ids, ["q"], qrels, k)


@pytest.mark.parametrize("k", [0, -1, True])
def test_k_below_one_is_refused(k):
    for call in every_measure(one([1, 2]), k):
        with pytest.raises(InputError, match=f"k={k}"):
            call()


def test_fewer_answers_than_k_are_refused():
    for call in every_measure(one([1, 2]), 3):
        with pytest.raises(InputError, match="2 columns, fewer than k=3"):
            call()


@pytest.mark.parametrize(
    "ids", [np.array([1, 2]), np.ones((1, 2)), np.ones((1, 2, 1), int), np.array([[True, False]])]
)
def test_ids_that_are_not_rows_of_ids_are_refused(ids):
    for call in every_measure(ids, 1):
        with pytest.raises(IdsError, match="2-D array"):
            call()


@pytest.mark.parametrize("measure", [recall_at_k, overlap])
def test_rankings_of_different_queries_are_refused(measure):
    with pytest.raises(InputError, match="one row per query"):
        measure(np.array([[1], [2]]), one([1]), 1)


@pytest.mark.parametrize("measure", [recall_at_k, overlap])
def test_strings_against_integers_are_refused_rather_than_never_equal(measure):
    with pytest.raises(IdsError, match=r"strings .* integers"):
        measure(np.array([["1"]]), one([1]), 1)


def test_no_queries_give_no_values():
    none = np.empty((0, 3), int)
    assert recall_at_k(none, none, 2).shape == (0,)
    assert ndcg_at_k(none, [], {}, 2).shape == (0,)


@pytest.mark.parametrize(
    ("measure", "arguments"),
    [
        (recall_at_k, {"true_ids": one([1, 3]), "k": 2}),
        (
            recall_with_ties,
            {"exact_scores": np.array([[2.0, 1.0]]), "kth_scores": np.array([2.0]), "k": 2},
        ),
    ],
)
def test_the_old_name_of_retrieved_ids_works(measure, arguments):
    with pytest.warns(DeprecationWarning, match="found_ids= is now called retrieved_ids="):
        values = measure(found_ids=one([1, 2]), **arguments)
    assert values.tolist() == [0.5]
