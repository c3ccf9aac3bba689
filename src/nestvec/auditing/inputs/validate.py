"""What a caller gives, checked and brought to rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nestvec.auditing.compression.variants import default_grid, read_variant
from nestvec.auditing.measures.relevance import judgements
from nestvec.auditing.preflight import fingerprints
from nestvec.auditing.task import Candidate
from nestvec.auditing.types import FULL_BITS, Encoded, Judged, K, Triplets
from nestvec.errors import IdsError, InputError
from nestvec.index import Index
from nestvec.metrics import Id, Qrels
from nestvec.shapes import Int64
from nestvec.vectors import as_float32, check_magnitude, normalize

_LEAST_DOCUMENTS = 2 * K


def read_index(
    index: Index, queries: ArrayLike, ids: Sequence[Id] | np.ndarray | None
) -> tuple[ArrayLike, ArrayLike, Sequence[Id] | np.ndarray]:
    """Vectors and queries whose inner products rank as the index does, and the rows' ids."""
    if index.metric == "euclidean":
        raise InputError(f"{index.path} ranks by distance; an audit is of inner products or cosine")
    asked = index.adapt(queries)
    sides = index.vectors, asked
    if index.metric == "cosine":
        sides = normalize(sides[0]), normalize(sides[1])
    return *sides, index.ids if ids is None else ids


def read_sides(vectors: ArrayLike, queries: ArrayLike) -> Encoded:
    """Both sides as finite float32 of one width; `InputError` where there is too little to rank."""
    documents = as_float32(vectors, "vectors")
    asked = as_float32(queries, "queries", documents.shape[1])
    for array, name in ((documents, "vectors"), (asked, "queries")):
        check_magnitude(array, name)
    if len(documents) < _LEAST_DOCUMENTS or not len(asked):
        raise InputError(
            f"{len(asked)} queries over {len(documents)} vectors cannot be audited; "
            f"give at least 1 and {_LEAST_DOCUMENTS}"
        )
    return Encoded(asked, documents)


def read_ids(given: Sequence[Id] | np.ndarray | None, n: int, name: str) -> Sequence[Id]:
    """One unique id per row; the row numbers where none are given."""
    if given is None:
        return range(n)
    ids: list[Id] = given.tolist() if isinstance(given, np.ndarray) else list(given)
    if len(ids) != n or len(set(ids)) != n:
        raise IdsError(
            f"{len(ids)} {name}, {len(set(ids))} of them distinct, do not name {n} rows; "
            "give one to each"
        )
    return ids


def read_candidates(
    given: Sequence[Mapping[str, Any]] | None, full: Encoded
) -> tuple[Candidate, ...]:
    """Variants as the caller writes them; the default grid where none are.

    Vectors made elsewhere come as "documents" and "queries" of a variant, one float per dimension,
    codes decoded; they are audited as they are. `InputError` for two of one name.
    """
    width = full.documents.shape[1]
    if given is None:
        return tuple(Candidate(variant) for variant in default_grid(width))
    candidates = tuple(_candidate(one, full) for one in given)
    names = [candidate.variant.name for candidate in candidates]
    if len(set(names)) < len(names) or not names:
        raise InputError(f"variants are {names}; give at least one, and none twice")
    return candidates


def _candidate(given: Mapping[str, Any], full: Encoded) -> Candidate:
    width = full.documents.shape[1]
    if "documents" not in given and "queries" not in given:
        return Candidate(read_variant(given, width))
    fields = {"label": "given", "bits": FULL_BITS, **given}
    try:
        documents, queries = fields.pop("documents"), fields.pop("queries")
    except KeyError as e:
        raise InputError(f"a variant has vectors but no {e}; give both sides") from None
    coded = as_float32(documents, "documents of a variant")
    asked = as_float32(queries, "queries of a variant", coded.shape[1])
    if (len(coded), len(asked)) != (len(full.documents), len(full.queries)):
        raise InputError(
            f"a variant has {len(coded)} documents and {len(asked)} queries; "
            f"the audit has {len(full.documents)} and {len(full.queries)}: give the same rows"
        )
    return Candidate(read_variant(fields, width), Encoded(asked, coded))


def read_own(given: ArrayLike | None, full: Encoded) -> Int64[np.ndarray, " q"]:
    """The row each query was taken from; where it is not said, the first with the same vector."""
    if given is None:
        return _same_rows(full)
    own = np.asarray(given)
    n = len(full.documents)
    fits = own.shape == (len(full.queries),) and own.dtype.kind == "i"
    if not fits or ((own < -1) | (own >= n)).any():
        raise InputError(f"own_rows are not one row from 0 to {n - 1}, or −1, for each query")
    return own.astype(np.int64)


def read_triplets(
    given: Sequence[Sequence[Any]] | None,
    query_ids: Sequence[Id],
    ids: Sequence[Id],
) -> Triplets | None:
    """Hard negatives, (query, positive, negative) or also a kind, by the ids that rows have."""
    if given is None:
        return None
    if not len(given):
        raise InputError("hard negatives are given but there are none; give some, or None")
    for one in given:
        if isinstance(one, str) or len(one) not in (3, 4):
            raise InputError(
                f"a hard negative is {one!r}; each is (query id, positive id, negative id[, kind])"
            )
    asked = {id_: row for row, id_ in enumerate(query_ids)}
    rows = {id_: row for row, id_ in enumerate(ids)}
    try:
        read = [(asked[t[0]], rows[t[1]], rows[t[2]], *t[3:]) for t in given]
    except KeyError as e:
        raise InputError(
            f"a hard negative names {e}, which is neither query nor document"
        ) from None
    kinds = tuple(str(t[3]) if len(t) > 3 else "given" for t in read)
    queries, positives, negatives = (np.array([t[i] for t in read], np.int64) for i in range(3))
    return Triplets(queries, positives, negatives, kinds)


def read_groups(given: Sequence[Any] | np.ndarray | None, n: int) -> Int64[np.ndarray, " q"] | None:
    """A number for each group of queries, such as those of one user."""
    if given is None:
        return None
    if len(given) != n:
        raise InputError(f"{len(given)} groups for {n} queries; give each query its group")
    _, numbers = np.unique(np.asarray(given), return_inverse=True)
    return numbers.reshape(-1).astype(np.int64)


def read_judgements(
    qrels: Qrels | None, query_ids: Sequence[Id], ids: Sequence[Id]
) -> Judged | None:
    """The judgements by row, if there are any."""
    return None if qrels is None else judgements(qrels, query_ids, ids)


def read_seed(seed: int) -> int:
    """A whole number of at least 0."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"seed={seed!r} is not a whole number of at least 0")
    return int(seed)


def _same_rows(full: Encoded) -> Int64[np.ndarray, " q"]:
    rows = {mark: row for row, mark in reversed(list(enumerate(fingerprints(full.documents))))}
    own = np.full(len(full.queries), -1, np.int64)
    for query, mark in enumerate(fingerprints(full.queries)):
        row = rows.get(mark, -1)
        if row >= 0 and np.array_equal(full.queries[query], full.documents[row]):
            own[query] = row
    return own
