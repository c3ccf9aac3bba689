"""The measures of relevance say what TREC's own program says."""

import numpy as np
import pytest

from nestvec.metrics import mrr_at_k, ndcg_at_k, relevance_recall_at_k

pytrec_eval = pytest.importorskip("pytrec_eval")

QUERIES, DOCUMENTS, DEEP = 60, 200, 100


@pytest.fixture(scope="module")
def judged():
    """Queries with one to thirty relevant documents of grades 1 to 3, and some judged wrong."""
    rng = np.random.default_rng(5)
    return {
        f"q{query}": {
            f"d{document}": int(grade)
            for document, grade in zip(
                rng.permutation(DOCUMENTS)[: rng.integers(2, 31)], [1, *rng.integers(0, 4, 30)],
                strict=False,
            )
        }
        for query in range(QUERIES)
    }  # fmt: skip


@pytest.fixture(scope="module")
def ranked():
    rng = np.random.default_rng(6)
    rows = np.stack([rng.permutation(DOCUMENTS)[:DEEP] for _ in range(QUERIES)])
    return np.array([[f"d{row}" for row in of_query] for of_query in rows])


def trec(judged, ranked, measure, depth):
    """One value per query; what stands behind `depth` is cut off."""
    run = {
        f"q{query}": {document: float(-place) for place, document in enumerate(answers[:depth])}
        for query, answers in enumerate(ranked.tolist())
    }
    found = pytrec_eval.RelevanceEvaluator(judged, {measure}).evaluate(run)
    key = measure.replace(".", "_")
    return np.array([found[f"q{query}"][key] for query in range(QUERIES)])


@pytest.mark.parametrize("k", [1, 10, 100])
def test_ndcg(judged, ranked, k):
    ids = [f"q{query}" for query in range(QUERIES)]
    ours = ndcg_at_k(ranked, ids, judged, k)
    np.testing.assert_allclose(ours, trec(judged, ranked, f"ndcg_cut.{k}", DEEP), atol=1e-9)


@pytest.mark.parametrize("k", [10, 100])
def test_mrr(judged, ranked, k):
    ids = [f"q{query}" for query in range(QUERIES)]
    ours = mrr_at_k(ranked, ids, judged, k)
    np.testing.assert_allclose(ours, trec(judged, ranked, "recip_rank", k), atol=1e-9)


@pytest.mark.parametrize("k", [10, 100])
def test_recall_but_for_its_ceiling(judged, ranked, k):
    """TREC divides by all relevant documents, though only k of them can be found among k."""
    ids = [f"q{query}" for query in range(QUERIES)]
    relevant = np.array([sum(grade > 0 for grade in judged[id_].values()) for id_ in ids])
    theirs = trec(judged, ranked, f"recall.{k}", DEEP) * relevant / np.minimum(relevant, k)
    np.testing.assert_allclose(relevance_recall_at_k(ranked, ids, judged, k), theirs, atol=1e-9)
