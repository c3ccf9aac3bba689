"""`nestvec.audit`: one call from vectors and queries to a report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from nestvec.auditing.options import AuditTexts, StressOptions
from nestvec.deprecation import renamed_arguments
from nestvec.index import Index
from nestvec.metrics import Id, Qrels
from nestvec.progress import Progress, silent

if TYPE_CHECKING:
    from nestvec.auditing.reporting.report import AuditReport

# Checks and statistics are imported by the call: `import nestvec` is fast, these imports are not.


@renamed_arguments(
    {"own_rows": "self_match", "mine": "mine_hard_negatives", "resume": "checkpoint"}
)
def audit(  # noqa: PLR0913  one call says all about an audit
    vectors: ArrayLike | Index,
    queries: ArrayLike,
    qrels: Qrels | None = None,
    hard_negatives: Sequence[Sequence[Any]] | None = None,
    variants: Sequence[Mapping[str, Any]] | None = None,
    *,
    ids: Sequence[Id] | np.ndarray | None = None,
    query_ids: Sequence[Id] | np.ndarray | None = None,
    groups: Sequence[Any] | np.ndarray | None = None,
    self_match: ArrayLike | None = None,
    mine_hard_negatives: str | Sequence[ArrayLike] | None = "union",
    texts: AuditTexts | None = None,
    stress: StressOptions | None = None,
    thresholds: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: Progress = silent,
    checkpoint: str | Path | None = None,
) -> "AuditReport":
    """Measure by how much `vectors` [n, dim], or those of an index, can be compressed.

    Scores are inner products. `variants` are dicts such as {"dims": 64, "bits": 1}; None: halvings
    of the width at 32 (full precision), 8 and 1 bits, with controls. Vectors that were compressed
    elsewhere are passed as "documents" and "queries" of a variant and audited as they are.

    `qrels` are relevance judgments, {query id: {document id: grade}}; without them the full
    vectors' own ranking is the target. `hard_negatives` are (query id, positive id, negative id,
    kind). `ids` and `query_ids` default to row numbers. `groups` names queries that were drawn
    together, such as those of one user: intervals then are of groups. `self_match` is the row that
    each query was drawn from (−1: none), which is never one of its answers; None: the first row
    with the same vector.

    `mine_hard_negatives` says how hard negatives are mined where there are judgments and no
    `hard_negatives`: "union", wrong documents that the full vectors or the variant rank high;
    "bm25", BM25 on `texts`; (documents, queries), embeddings of another encoder; None: not at all.
    With `texts` and their encoder, documents are edited and queries are mistyped; `stress` holds
    slices, perturbed and out-of-distribution queries, and labels.

    `thresholds` replace those of `Thresholds`. Equal input and seed give an equal report.
    `checkpoint` names a folder that keeps the results so far: the same audit, started again after
    it was stopped, continues from there and gives the same report.
    `InputError` for arguments that are wrong or do not fit together.
    """
    from dataclasses import replace

    from nestvec.auditing.audit_inputs import AuditInputs
    from nestvec.auditing.inputs import stress as stress_inputs
    from nestvec.auditing.inputs import validate
    from nestvec.auditing.runner import run_audit
    from nestvec.auditing.verdict import Thresholds

    if isinstance(vectors, Index):
        vectors, queries, ids = validate.read_index(vectors, queries, ids)
    full = validate.validate_vectors(vectors, queries)
    document_ids = validate.validate_ids(ids, len(full.documents), "ids")
    ids_of_queries = validate.validate_ids(query_ids, len(full.queries), "query_ids")
    inputs = AuditInputs(
        full=full,
        ids=document_ids,
        query_ids=ids_of_queries,
        self_match=validate.validate_self_match(self_match, full),
        judgments=validate.validate_judgments(qrels, ids_of_queries, document_ids),
        triplets=validate.validate_triplets(hard_negatives, ids_of_queries, document_ids),
        groups=validate.validate_groups(groups, len(full.queries)),
        variants=validate.validate_variants(variants, full),
        thresholds=Thresholds.read(thresholds),
        seed=validate.validate_seed(seed),
    )
    triplets, source = stress_inputs.hard_negatives_from(inputs, mine_hard_negatives, texts)
    inputs = replace(
        inputs,
        triplets=triplets,
        hard_negative_source=source,
        stress=stress_inputs.validate_stress(inputs, texts, stress, progress),
    )
    command = f"nestvec.audit(vectors, queries, ..., seed={seed})"
    return run_audit(inputs, command, progress, checkpoint)
