"""`nestvec.audit`: the one function that a caller needs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from nestvec.auditing.options import Stress, Texts
from nestvec.index import Index
from nestvec.metrics import Id, Qrels
from nestvec.progress import Progress, silent

if TYPE_CHECKING:
    from nestvec.auditing.reporting.report import Report

# What measures is imported where it is used: `import nestvec` is fast, statistics are not.


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
    own_rows: ArrayLike | None = None,
    mine: str | Sequence[ArrayLike] | None = "union",
    texts: Texts | None = None,
    stress: Stress | None = None,
    thresholds: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: Progress = silent,
    resume: str | Path | None = None,
) -> "Report":
    """How small `vectors` [n, dim], or those of an index, may be made before `queries` suffer.

    `variants` are dicts such as {"dims": 64, "bits": 1}; None: halvings of the width at 32
    (full precision), 8 and 1 bits, with controls. Vectors that were made smaller elsewhere are
    audited as they are, as "documents" and "queries" of a variant. Scores are inner products.

    `qrels` names relevant documents, {query id: {document id: grade}}; without it the full vectors'
    own answers are the measure. `hard_negatives` are (query id, positive id, negative id, kind).
    `ids` and `query_ids` are row numbers unless given. `groups` names what was drawn together (the
    queries of one user): intervals then are of groups. `own_rows` is the document that each query
    was taken from (−1: none), never its answer; None: the first one of equal vector.

    `mine` says where hard negatives come from if judgements are given and they are not: "union",
    wrong answers that the full vectors or the variant rank high; "words", BM25 on `texts`;
    (documents, queries), vectors by a model that is not under audit; None: nowhere. `texts` (with
    the model that encodes them) lets answers be edited and queries be mistyped; `stress` holds
    slices, disturbed and strange queries, and labels.

    `thresholds` replace those of `Thresholds`. Equal input and seed give an equal report.
    `resume` names a folder that keeps what is done until all is: the same audit, begun again after
    it was stopped, goes on there and gives the same report.
    `InputError` for what does not fit together.
    """
    from dataclasses import replace

    from nestvec.auditing.inputs import stress as reading_extras
    from nestvec.auditing.inputs import validate
    from nestvec.auditing.runner import run
    from nestvec.auditing.task import Task
    from nestvec.auditing.verdict import Thresholds

    if isinstance(vectors, Index):
        vectors, queries, ids = validate.read_index(vectors, queries, ids)
    full = validate.read_sides(vectors, queries)
    row_ids = validate.read_ids(ids, len(full.documents), "ids")
    asked = validate.read_ids(query_ids, len(full.queries), "query_ids")
    task = Task(
        full=full,
        ids=row_ids,
        query_ids=asked,
        own=validate.read_own(own_rows, full),
        judged=validate.read_judgements(qrels, asked, row_ids),
        triplets=validate.read_triplets(hard_negatives, asked, row_ids),
        groups=validate.read_groups(groups, len(full.queries)),
        candidates=validate.read_candidates(variants, full),
        thresholds=Thresholds.read(thresholds),
        seed=validate.read_seed(seed),
    )
    triplets, negatives = reading_extras.read_negatives(task, mine, texts)
    extras = reading_extras.read_extras(task, texts, stress, progress)
    task = replace(task, triplets=triplets, negatives=negatives, extras=extras)
    return run(task, f"nestvec.audit(vectors, queries, ..., seed={seed})", progress, resume)
