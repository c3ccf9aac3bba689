"""What a variant keeps of relevance, by people's judgements."""

from collections.abc import Mapping, Sequence

import numpy as np

from nestvec.auditing.types import DEPTH, Findings, Judged, K
from nestvec.errors import InputError
from nestvec.metrics import Id, Qrels, mrr_at_k, ndcg_at_k, relevance_recall_at_k
from nestvec.shapes import Float64, Int64
from nestvec.statistics import Estimate, bootstrap_mean, bootstrap_ratio, proportion

NDCG = f"ndcg@{K}"
LARGE_LOSS = 0.2
"""A query that loses more nDCG than this is hurt, whatever the mean says."""
_TAIL = 0.05
_RESAMPLES = 500

PerQuery = Mapping[str, Float64[np.ndarray, " _"]]
"""Measures by name, one value per query that has one."""


def judgements(qrels: Qrels, query_ids: Sequence[Id], ids: Sequence[Id]) -> Judged:
    """The judgements above grade 0 as rows, of the queries that are here.

    Queries without any are left out: they have no relevance to keep. `InputError` for a document
    that is not there, which no variant could find, and where nothing is left.
    """
    documents = {id_: row for row, id_ in enumerate(ids)}
    found = []
    for query, id_ in enumerate(query_ids):
        for document, grade in qrels.get(id_, {}).items():
            if grade > 0 and document not in documents:
                raise InputError(
                    f"query {id_!r} is judged against document {document!r}, which is not among "
                    "the vectors; remove the judgement or add the document"
                )
            if grade > 0:
                found.append((query, documents[document], float(grade)))
    if not found:
        raise InputError(
            "the judgements name no relevant document (grade above 0) for any of the queries; give "
            "query_ids and ids as they are there"
        )
    queries, rows, grades = zip(*found, strict=True)
    return Judged(np.array(queries), np.array(rows), np.array(grades))


def judged_queries(judged: Judged) -> Int64[np.ndarray, " judged"]:
    """The rows of the queries that have judgements, rising: `relevance_values` are of these."""
    return np.unique(judged.queries)


def relevance_values(rows: Int64[np.ndarray, "q k"], judged: Judged) -> PerQuery:
    """nDCG@10, recall@10, recall@100 (or as deep as rankings are) and MRR@10 of judged queries."""
    queries, qrels = judged_queries(judged), _by_query(judged)
    ids, ranked = queries.tolist(), rows[queries]
    deep = min(DEPTH, rows.shape[1])
    return {
        NDCG: ndcg_at_k(ranked, ids, qrels, K),
        f"recall@{K}": relevance_recall_at_k(ranked, ids, qrels, K),
        f"recall@{deep}": relevance_recall_at_k(ranked, ids, qrels, deep),
        f"mrr@{K}": mrr_at_k(ranked, ids, qrels, K),
    }


def ndcg_values(
    rows: Int64[np.ndarray, "some k"], queries: Int64[np.ndarray, " some"], judged: Judged
) -> Float64[np.ndarray, " some"]:
    """nDCG@10 of answers to some of the judged queries, given by their rows."""
    return ndcg_at_k(rows, queries.tolist(), _by_query(judged), K)


def relevance(
    full: PerQuery,
    found: PerQuery,
    rng: np.random.Generator,
    groups: Int64[np.ndarray, " q"] | None = None,
) -> Findings:
    """Each measure, its retention found / full by paired bootstrap, and what single queries lose.

    `retention` is left out of measures that are 0 by full vectors: there is nothing to retain.
    `loss_p5` is the change of nDCG@10 that one query in twenty falls below; `large_losses` the
    share of queries that lose more than 0.2 of it.
    """
    metrics = {}
    for name, values in found.items():
        metrics[name] = bootstrap_mean(values, rng, groups=groups)
        if full[name].any():
            retained = bootstrap_ratio(values, full[name], rng, groups=groups)
            metrics[f"{name}_retention"] = retained
    change = found[NDCG] - full[NDCG]
    metrics["loss_p5"] = _tail(change, rng)
    metrics["large_losses"] = proportion(int((change < -LARGE_LOSS).sum()), len(change))
    return Findings(metrics)


def _by_query(judged: Judged) -> dict[Id, dict[Id, float | int]]:
    qrels: dict[Id, dict[Id, float | int]] = {}
    columns = (judged.queries.tolist(), judged.documents.tolist(), judged.grades.tolist())
    for query, document, grade in zip(*columns, strict=True):
        qrels.setdefault(query, {})[document] = grade
    return qrels


def _tail(change: Float64[np.ndarray, " q"], rng: np.random.Generator) -> Estimate:
    """The 5 % quantile with its percentile bootstrap interval."""
    drawn = rng.integers(len(change), size=(_RESAMPLES, len(change)))
    low, high = np.quantile(np.quantile(change[drawn], _TAIL, axis=1), [0.025, 0.975])
    return Estimate(float(np.quantile(change, _TAIL)), float(low), float(high), len(change))
