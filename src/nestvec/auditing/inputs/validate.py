"""Arguments of an audit, checked and brought to arrays and row numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nestvec.auditing.audit_inputs import AuditedVariant
from nestvec.auditing.compression.variants import default_grid, plan_variant, read_variant
from nestvec.auditing.measures.relevance import judgments_by_row
from nestvec.auditing.ranking.plan_search import PlanSearch, plan_in_use
from nestvec.auditing.types import (
    EXTERNAL,
    FULL_BITS,
    EmbeddingPair,
    K,
    RelevanceJudgments,
    Triplets,
)
from nestvec.data import UNLABELLED
from nestvec.errors import IdsError, InputError
from nestvec.metrics import Id, Qrels
from nestvec.plan import Plan
from nestvec.self_match import find_self_matches, row_blocks
from nestvec.shapes import Int64
from nestvec.vector_store import VectorStore
from nestvec.vectors import as_float32, check_magnitude

DEFAULT_PLAN = "default"
"""Names the plan by which a store searches when it is passed none."""

_MIN_DOCUMENTS = 2 * K
"""Fewer documents are half in every first 10: their ranking says nothing."""


def validate_vectors(vectors: ArrayLike, queries: ArrayLike) -> EmbeddingPair:
    """Convert both sides to finite float32 of one width; `InputError` for too few to rank."""
    documents = as_float32(vectors, "vectors")
    query_vectors = as_float32(queries, "queries", documents.shape[1])
    for array, name in ((documents, "vectors"), (query_vectors, "queries")):
        check_magnitude(array, name)
    if len(documents) < _MIN_DOCUMENTS or not len(query_vectors):
        raise InputError(
            f"{len(query_vectors)} queries over {len(documents)} vectors cannot be audited; "
            f"pass at least 1 and {_MIN_DOCUMENTS}"
        )
    return EmbeddingPair(query_vectors, documents)


def validate_ids(value: Sequence[Id] | np.ndarray | None, n: int, name: str) -> Sequence[Id]:
    """Return one unique id per row: `value`, or row numbers for None."""
    if value is None:
        return range(n)
    ids: list[Id] = value.tolist() if isinstance(value, np.ndarray) else list(value)
    if len(ids) != n or len(set(ids)) != n:
        raise IdsError(
            f"{len(ids)} {name}, {len(set(ids))} of them distinct, do not name {n} rows; "
            "pass one for each"
        )
    return ids


def validate_variants(
    value: Sequence[Mapping[str, Any] | Plan] | None,
    full: EmbeddingPair,
    store: VectorStore | None = None,
    store_ids: Sequence[Id] = (),
) -> tuple[AuditedVariant, ...]:
    """Read variants, or make the default grid for None.

    A plan is run by `store`, whose ids are `store_ids`, row by row of the audit. Vectors that were
    compressed elsewhere come as "documents" and "queries" of a variant, one float per dimension,
    codes decoded; they are audited as they are. `InputError` for two variants of one name.
    """
    width = full.documents.shape[1]
    if value is None:
        return tuple(AuditedVariant(variant) for variant in default_grid(width))
    plans = _PlanReader(full, store, store_ids)
    variants = tuple(_read_variant(options, plans, full) for options in value)
    names = [audited.variant.name for audited in variants]
    if len(set(names)) < len(names) or not names:
        raise InputError(f"variants are {names}; pass at least one, and none twice")
    return variants


def _read_variant(
    options: Mapping[str, Any] | Plan, plans: "_PlanReader", full: EmbeddingPair
) -> AuditedVariant:
    if isinstance(options, Plan):
        return plans.read(options)
    if not isinstance(options, Mapping):
        raise InputError(
            f"the variant {options!r} is neither a mapping nor a plan; pass one such as "
            '{"dims": 64, "bits": 1} or {"plan": "default"}'
        )
    return plans.read(options) if "plan" in options else _audited_variant(options, full)


@dataclass(frozen=True, eq=False)
class _PlanReader:
    """Plans as variants, which share one table of the store's rows."""

    full: EmbeddingPair
    store: VectorStore | None
    store_ids: Sequence[Id]

    def read(self, options: Mapping[str, Any] | Plan) -> AuditedVariant:
        """Read a plan, or {"plan": a plan, its text, or "default"}."""
        plan = options if isinstance(options, Plan) else _only_plan(options)
        if self.store is None:
            raise InputError(
                f"the plan '{plan}' needs an index that runs it; pass the index instead of vectors"
            )
        if plan == DEFAULT_PLAN:
            plan = plan_in_use(self.store, self.full.queries, K)
        if isinstance(plan, str):
            plan = Plan.parse(plan)
        variant = plan_variant(plan, self.store.dim)
        return AuditedVariant(variant, plan_search=PlanSearch(plan, self.store, self._rows))

    @cached_property
    def _rows(self) -> dict[Id, int]:
        return {id_: row for row, id_ in enumerate(self.store_ids)}


def _only_plan(options: Mapping[str, Any]) -> str | Plan:
    plan = options["plan"]
    if len(options) > 1:
        others = ", ".join(name for name in options if name != "plan")
        raise InputError(
            f"a plan says everything about a search, so {others} has no effect; leave it out"
        )
    if not isinstance(plan, str | Plan):
        raise InputError(f"plan={plan!r} is neither a plan nor its text, nor {DEFAULT_PLAN!r}")
    return plan


def _audited_variant(options: Mapping[str, Any], full: EmbeddingPair) -> AuditedVariant:
    width = full.documents.shape[1]
    if "documents" not in options and "queries" not in options:
        return AuditedVariant(read_variant(options, width))
    fields = {"label": EXTERNAL, "bits": FULL_BITS, **options}
    try:
        documents, queries = fields.pop("documents"), fields.pop("queries")
    except KeyError as e:
        raise InputError(f"a variant has vectors but no {e}; pass both sides") from None
    compressed = as_float32(documents, "documents of a variant")
    query_vectors = as_float32(queries, "queries of a variant", compressed.shape[1])
    if (len(compressed), len(query_vectors)) != (len(full.documents), len(full.queries)):
        raise InputError(
            f"a variant has {len(compressed)} documents and {len(query_vectors)} queries; "
            f"the audit has {len(full.documents)} and {len(full.queries)}: pass the same rows"
        )
    return AuditedVariant(read_variant(fields, width), EmbeddingPair(query_vectors, compressed))


def validate_self_match(value: ArrayLike | None, full: EmbeddingPair) -> Int64[np.ndarray, " q"]:
    """Return the row that each query was drawn from, −1: none; None: the first equal vector."""
    if value is None:
        return find_self_matches(full.queries, row_blocks(full.documents))
    rows = np.asarray(value)
    n = len(full.documents)
    fits = rows.shape == (len(full.queries),) and rows.dtype.kind == "i"
    if not fits or ((rows < -1) | (rows >= n)).any():
        raise InputError(
            f"self_match does not hold one row from 0 to {n - 1}, or −1, for each query"
        )
    return rows.astype(np.int64)


def validate_triplets(
    value: Sequence[Sequence[Any]] | None,
    query_ids: Sequence[Id],
    ids: Sequence[Id],
) -> Triplets | None:
    """Translate hard negatives (query id, positive id, negative id[, kind]) to rows."""
    if value is None:
        return None
    if not len(value):
        raise InputError("hard_negatives is empty; pass some, or None")
    for entry in value:
        if isinstance(entry, str) or len(entry) not in (3, 4):
            raise InputError(
                f"a hard negative is {entry!r}; each is "
                "(query id, positive id, negative id[, kind])"
            )
    query_rows = {id_: row for row, id_ in enumerate(query_ids)}
    rows = {id_: row for row, id_ in enumerate(ids)}
    try:
        triplets = [(query_rows[t[0]], rows[t[1]], rows[t[2]]) for t in value]
    except KeyError as e:
        raise InputError(
            f"a hard negative names {e}, which is neither query nor document; use the audit's ids"
        ) from None
    kinds = tuple(str(t[3]) if len(t) > 3 else UNLABELLED for t in value)
    columns = np.array(triplets, np.int64)
    return Triplets(columns[:, 0], columns[:, 1], columns[:, 2], kinds)


def validate_groups(
    value: Sequence[Any] | np.ndarray | None, n: int
) -> Int64[np.ndarray, " q"] | None:
    """Number the groups of queries, such as those of one user."""
    if value is None:
        return None
    if len(value) != n:
        raise InputError(f"{len(value)} groups for {n} queries; pass the group of each query")
    _, numbers = np.unique(np.asarray(value), return_inverse=True)
    return numbers.reshape(-1).astype(np.int64)


def validate_judgments(
    qrels: Qrels | None, query_ids: Sequence[Id], ids: Sequence[Id]
) -> RelevanceJudgments | None:
    """Translate relevance judgments to rows; None for None."""
    return None if qrels is None else judgments_by_row(qrels, query_ids, ids)
