"""Relevance of rankings by judgments, and how much of it a variant retains."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from nestvec.auditing.types import DEPTH, CheckResult, K, RelevanceJudgments
from nestvec.errors import InputError
from nestvec.metrics import Id, Qrels, mrr_at_k, ndcg_at_k, relevance_recall_at_k
from nestvec.shapes import Float64, Int64
from nestvec.statistics import Estimate, bootstrap_mean, bootstrap_ratio, proportion

_log = logging.getLogger("nestvec.auditing")

NDCG = f"ndcg@{K}"
LARGE_LOSS = 0.2
"""A query that loses more nDCG than this is hurt, whatever the mean says."""
_TAIL = 0.05
_RESAMPLES = 500

PerQuery = Mapping[str, Float64[np.ndarray, " _"]]
"""Measures by name, one value per query that has one."""


def judgments_by_row(
    qrels: Qrels, query_ids: Sequence[Id], ids: Sequence[Id]
) -> RelevanceJudgments:
    """Translate judgments above grade 0 to rows, for the queries of the audit.

    Queries without any are left out: they have no relevance to retain. So are judgments of
    documents that are missing, which no variant could find; a log message counts them.
    `InputError` where no judgment remains.
    """
    documents = {id_: row for row, id_ in enumerate(ids)}
    entries, missing = [], []
    for query, id_ in enumerate(query_ids):
        for document, grade in qrels.get(id_, {}).items():
            if grade > 0 and document in documents:
                entries.append((query, documents[document], float(grade)))
            elif grade > 0:
                missing.append(document)
    if missing and entries:
        _log.warning(
            "%d judgments name documents that are not among the vectors, such as %r; they were "
            "left out",
            len(missing),
            missing[0],
        )
    if not entries:
        raise InputError(
            "the judgments name no relevant document (grade above 0) for any of the queries; pass "
            "query_ids and ids as the judgments spell them"
        )
    queries, rows, grades = zip(*entries, strict=True)
    return RelevanceJudgments(np.array(queries), np.array(rows), np.array(grades))


def queries_with_judgments(judgments: RelevanceJudgments) -> Int64[np.ndarray, " judged"]:
    """List the rows of the queries with judgments, rising, in the order of `relevance_values`."""
    return np.unique(judgments.queries)


def relevance_values(rows: Int64[np.ndarray, "q k"], judgments: RelevanceJudgments) -> PerQuery:
    """Compute nDCG@10, recall@10 and @100 (or as deep as rankings are) and MRR@10, per query."""
    queries, qrels = queries_with_judgments(judgments), _by_query(judgments)
    ids, ranked = queries.tolist(), rows[queries]
    deep = min(DEPTH, rows.shape[1])
    return {
        NDCG: ndcg_at_k(ranked, ids, qrels, K),
        f"recall@{K}": relevance_recall_at_k(ranked, ids, qrels, K),
        f"recall@{deep}": relevance_recall_at_k(ranked, ids, qrels, deep),
        f"mrr@{K}": mrr_at_k(ranked, ids, qrels, K),
    }


def ndcg_values(
    rows: Int64[np.ndarray, "m k"],
    queries: Int64[np.ndarray, " m"],
    judgments: RelevanceJudgments,
) -> Float64[np.ndarray, " m"]:
    """Compute nDCG@10 of rankings of the queries in rows `queries`, which have judgments."""
    return ndcg_at_k(rows, queries.tolist(), _by_query(judgments), K)


def relevance(
    full: PerQuery,
    variant: PerQuery,
    rng: np.random.Generator,
    groups: Int64[np.ndarray, " q"] | None = None,
) -> CheckResult:
    """Each measure, its retention variant / full by paired bootstrap, and losses of single queries.

    Retention is left out of measures that are 0 by full vectors: there is nothing to retain.
    `loss_p5` is the change of nDCG@10 that one query in twenty falls below; `large_losses` is the
    share of queries that lose more than 0.2 of it.
    """
    metrics = {}
    for name, values in variant.items():
        metrics[name] = bootstrap_mean(values, rng, groups=groups)
        if full[name].any():
            metrics[f"{name}_retention"] = bootstrap_ratio(values, full[name], rng, groups=groups)
    change = variant[NDCG] - full[NDCG]
    metrics["loss_p5"] = _tail(change, rng)
    metrics["large_losses"] = proportion(int((change < -LARGE_LOSS).sum()), len(change))
    return CheckResult(metrics)


def _by_query(judgments: RelevanceJudgments) -> dict[Id, dict[Id, float | int]]:
    qrels: dict[Id, dict[Id, float | int]] = {}
    columns = (part.tolist() for part in (judgments.queries, judgments.documents, judgments.grades))
    for query, document, grade in zip(*columns, strict=True):
        qrels.setdefault(query, {})[document] = grade
    return qrels


def _tail(change: Float64[np.ndarray, " q"], rng: np.random.Generator) -> Estimate:
    """The 5 % quantile with its percentile bootstrap interval."""
    resamples = rng.integers(len(change), size=(_RESAMPLES, len(change)))
    low, high = np.quantile(np.quantile(change[resamples], _TAIL, axis=1), [0.025, 0.975])
    return Estimate(float(np.quantile(change, _TAIL)), float(low), float(high), len(change))
