"""Worst queries of a variant: those that lose most, with both rankings and texts."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from nestvec.auditing.audit_inputs import AuditInputs
from nestvec.auditing.baseline import Baseline
from nestvec.auditing.evaluated import EvaluatedVariant
from nestvec.auditing.types import K
from nestvec.shapes import Float64, Int64

MAX_QUERIES = 20
"""A variant's report lists up to so many queries: enough to read, and a report stays small."""
_QUOTED_HITS = 3
"""Hits of each ranking whose texts a report quotes."""
_MAX_CHARACTERS = 160
"""Characters quoted of a text."""


def largest_losses(
    baseline_scores: Float64[np.ndarray, " q"], variant_scores: Float64[np.ndarray, " q"]
) -> Int64[np.ndarray, " worst"]:
    """Find up to `MAX_QUERIES` queries that lose, largest loss first; ties by query row."""
    losses = baseline_scores - variant_scores
    order = np.argsort(-losses, kind="stable")[:MAX_QUERIES]
    return np.asarray(order[losses[order] > 0])


def worst_queries(baseline: Baseline, variant: EvaluatedVariant) -> list[dict[str, Any]]:
    """Describe the queries of `largest_losses` as JSON values.

    Each has its id (and text, if known), both scores, both rankings, and the relevant documents,
    the best first (none without judgments).
    """
    inputs, metric = baseline.inputs, variant.primary_metric
    texts = inputs.stress.texts.queries
    entries = []
    for place in largest_losses(metric.baseline_scores, metric.variant_scores).tolist():
        row = int(inputs.evaluated_queries[place])
        text = {} if texts is None else {"text": texts[row]}
        entries.append(
            {
                "query": inputs.query_ids[row],
                **text,
                "baseline_score": float(metric.baseline_scores[place]),
                "variant_score": float(metric.variant_scores[place]),
                "baseline_top": _ids(inputs, baseline.ranking.rows[row, :K]),
                "variant_top": _ids(inputs, variant.ranking.rows[row, :K]),
                "relevant": _ids(inputs, _relevant_rows(inputs, row)),
            }
        )
    return entries


def quoted_texts(inputs: AuditInputs, queries: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Quote, by id, the documents that worst queries name first.

    These are three of each ranking, and the most relevant one. Empty where texts are unknown.
    """
    texts = inputs.stress.texts.documents
    if texts is None:
        return {}
    ids = {
        id_
        for query in queries
        for id_ in (
            *query["baseline_top"][:_QUOTED_HITS],
            *query["variant_top"][:_QUOTED_HITS],
            *query["relevant"][:1],
        )
    }
    return {str(id_): _beginning(texts[row]) for row, id_ in enumerate(inputs.ids) if id_ in ids}


def _ids(inputs: AuditInputs, rows: Int64[np.ndarray, " k"]) -> list[Any]:
    return [inputs.ids[row] for row in rows]


def _relevant_rows(inputs: AuditInputs, query_row: int) -> Int64[np.ndarray, " relevant"]:
    if inputs.judgments is None:
        return np.empty(0, np.int64)
    entries = np.flatnonzero(inputs.judgments.queries == query_row)
    order = np.argsort(-inputs.judgments.grades[entries], kind="stable")
    return inputs.judgments.documents[entries[order[:K]]]


def _beginning(text: str) -> str:
    line = " ".join(text.split())
    is_short = len(line) <= _MAX_CHARACTERS
    return line if is_short else f"{line[: _MAX_CHARACTERS - 1].rstrip()}…"
