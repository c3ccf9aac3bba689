"""Scores of a plan, query by query: recall with ties, shortlists, nDCG."""

import numpy as np
import pytest

import nestvec as nv
from nestvec import Index, Plan
from nestvec.errors import IdsError, InputError, PlanError
from nestvec.metrics import ndcg_at_k
from nestvec.progress import silent
from nestvec.tuning import check_drift
from nestvec.tuning.guarantee import Guarantee
from nestvec.tuning.plan_scores import measure_plan
from nestvec.tuning.queries import EvaluationQueries

K = 5
FULL = Plan(None)
POOR = Plan(1)


def ground_truth_of(index, queries, guarantee, **judgments):
    return EvaluationQueries(queries, **judgments).with_ground_truth(index, guarantee, silent)


def scores_of(index, queries, guarantee, plan, **judgments):
    return measure_plan(ground_truth_of(index, queries, guarantee, **judgments), guarantee, plan)


@pytest.fixture(scope="module")
def qrels(index, queries):
    """Of every query but the first: its second neighbour is relevant, its fourth a little."""
    exact = index.search(queries, K, exact=True).ids.tolist()
    return {q: {row[1]: 3, row[3]: 1, 10**6: 1} for q, row in enumerate(exact) if q}


# --- ties -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """Every row twice, rows 2i and 2i + 1."""
    rows = np.repeat(np.eye(8, dtype=np.float32) + 0.1, 2, axis=0)
    return Index.build(rows, tmp_path_factory.mktemp("twins") / "twins.nv")


def test_a_row_that_ties_with_the_k_th_is_as_good(twins):
    query = np.eye(8, dtype=np.float32)[:1] + 0.01
    truth = ground_truth_of(twins, query, Guarantee(1))
    assert truth.top_k.tolist() == [[0]]
    assert truth.recall(np.array([[1]])).tolist() == [1]
    assert truth.recall(np.array([[2]])).tolist() == [0]


def test_ties_never_make_up_for_a_better_row_that_is_missed(twins):
    # Rows 0 and 1 alone score best; all others tie for the third place.
    query = np.eye(8, dtype=np.float32)[:1] + 0.01
    truth = ground_truth_of(twins, query, Guarantee(3))
    assert truth.top_k.tolist() == [[0, 1, 2]]
    assert truth.recall(np.array([[2, 3, 4]])).tolist() == pytest.approx([1 / 3])
    assert truth.recall(np.array([[0, 1, 5]])).tolist() == [1]
    assert truth.recall(np.array([[0, 5, -1]])).tolist() == pytest.approx([2 / 3])


def test_a_self_match_is_not_among_the_ties(twins):
    truth = ground_truth_of(twins, twins.vectors[:1], Guarantee(1))
    assert truth.top_k.tolist() == [[1]]
    assert truth.recall(np.array([[1]])).tolist() == [1]


# --- shortlists -----------------------------------------------------------------------------------


def test_a_shortlist_is_all_rows_that_the_last_stage_keeps(index, queries):
    plan = Plan.parse("probe=4; 48x1:40 > 48x2:12")
    attained = scores_of(
        index, queries[:50], Guarantee(K, measure="shortlist_recall"), plan
    ).attained
    rows = index.search(queries[:50], 12, plan=plan).rows
    exact = index.search(queries[:50], K, exact=True).rows
    shares = [np.isin(e, r).mean() for e, r in zip(exact, rows, strict=True)]
    assert attained.tolist() == pytest.approx(shares)


def test_a_shortlist_that_holds_the_exact_top_k_has_perfect_recall_when_reranked(index, queries):
    shortlist, reranked = Plan.parse("probe=9; 48x1:30"), Plan.parse("probe=9; 48x1:30 > full")
    shortlist_scores = scores_of(
        index, queries, Guarantee(K, measure="shortlist_recall"), shortlist
    )
    reranked_scores = scores_of(index, queries, Guarantee(K, measure="perfect_recall"), reranked)
    assert ((shortlist_scores.attained == 1) == (reranked_scores.attained == 1)).all()
    assert 0 < (shortlist_scores.attained == 1).mean() < 1
    assert shortlist_scores.bytes_per_query == pytest.approx(
        reranked_scores.bytes_per_query, rel=1e-3
    )


def test_a_tuned_shortlist_is_saved_and_checked_under_its_length(changing, queries):
    tuned = nv.tune(changing, queries[:700], shortlist_recall=0.9, k=K)
    assert tuned.verdict == "GUARANTEED"
    assert not tuned.plan.full
    assert tuned.rows == tuned.plan.stages[-1].keep > K
    tuned.save(changing)
    assert changing.default_plan(tuned.rows) == tuned.plan
    drift = check_drift(changing, queries[700:], tuned.rows)
    assert (drift.guarantee, drift.verdict != "BROKEN") == (tuned.guarantee, True)


def test_plans_that_read_no_codes_leave_no_shortlist(index, queries):
    with pytest.raises(PlanError, match="leaves no shortlist"):
        nv.tune(index, queries[:9], shortlist_recall=0.9, k=K, plans=[FULL])


def test_a_shortlist_is_never_longer_than_the_index(tmp_path, dataset):
    small = Index.build(dataset[0][:40], tmp_path / "small.nv")
    tuned = nv.tune(small, dataset[1], shortlist_recall=0.99, k=K, plans=["probe=all; 48x1:4000"])
    assert (tuned.verdict, tuned.rows, tuned.attained.value) == ("GUARANTEED", 40, 1)


# --- relevance ------------------------------------------------------------------------------------


def test_a_gain_of_ndcg_on_one_query_does_not_make_up_for_a_loss_on_another(index, queries, qrels):
    attained = scores_of(index, queries, Guarantee(K, measure="ndcg"), POOR, qrels=qrels).attained
    query_ids = list(range(1, len(queries)))
    exact, poor = (
        ndcg_at_k(index.search(queries[1:], K, **options).ids, query_ids, qrels, K)
        for options in ({"exact": True}, {"plan": POOR})
    )
    assert attained.tolist() == pytest.approx((1 - np.maximum(exact - poor, 0)).tolist())
    assert (poor > exact).any()
    assert attained.mean() < 1


def test_a_full_scan_loses_no_ndcg(index, queries, qrels):
    assert (
        scores_of(index, queries, Guarantee(K, measure="ndcg"), FULL, qrels=qrels).attained == 1
    ).all()


def test_a_guarantee_of_ndcg_is_saved_and_checked(changing, queries, qrels):
    tuned = nv.tune(changing, queries, ndcg=0.95, k=K, qrels=qrels, plans=[POOR, Plan(9), FULL])
    assert tuned.verdict == "GUARANTEED"
    assert tuned.queries == len(queries) - 1  # the first has no relevant document
    assert "mean loss of nDCG@5 <= 0.05" in str(tuned)
    tuned.save(changing)
    others = 1.5 * queries  # not the vectors that tuned the plan, and relevant are the same
    drift = check_drift(changing, others, K, qrels=qrels)
    assert drift.verdict == "HOLDS"
    with pytest.raises(InputError, match="pass qrels"):
        check_drift(changing, others, K)


def test_judgments_are_keyed_by_the_ids_of_queries_and_documents(tmp_path, dataset):
    vectors, queries = dataset[0][:500], dataset[1][:40]
    names = [f"d{row}" for row in range(500)]
    index = Index.build(vectors, tmp_path / "named.nv", ids=names)
    plain = Index.build(vectors, tmp_path / "plain.nv")
    best = plain.search(queries, 3, exact=True).rows.tolist()
    by_row = {q: {row[0]: 1, row[2]: 2} for q, row in enumerate(best)}
    by_name = {f"q{q}": {f"d{doc}": g for doc, g in grades.items()} for q, grades in by_row.items()}
    ndcg = Guarantee(K, measure="ndcg")
    expected = scores_of(plain, queries, ndcg, POOR, qrels=by_row).attained
    reverse = np.arange(len(queries))[::-1]
    ids = [f"q{q}" for q in reverse]
    by_id = scores_of(index, queries[reverse], ndcg, POOR, qrels=by_name, query_ids=ids).attained
    assert by_id.tolist() == expected[::-1].tolist()


def test_judgments_that_do_not_fit_are_an_error(index, queries, qrels):
    def tune(**options):
        return nv.tune(index, queries[:20], k=K, plans=[FULL], **options)

    with pytest.raises(InputError, match="pass qrels"):
        tune(ndcg=0.9)
    with pytest.raises(InputError, match="leave them out"):
        tune(recall=0.9, qrels=qrels)
    with pytest.raises(InputError, match="no relevant document"):
        tune(ndcg=0.9, qrels={0: {1: 0}})
    with pytest.raises(IdsError, match="by str"):
        tune(ndcg=0.9, qrels={0: {"1": 1}})
    with pytest.raises(IdsError, match="one id per"):
        tune(ndcg=0.9, qrels=qrels, query_ids=[1, 2])
