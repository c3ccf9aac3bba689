"""Texts, stress options and hard negatives of an audit, checked and brought to rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nestvec.auditing.audit_inputs import AuditInputs, HardNegativeSource, StressInputs
from nestvec.auditing.measures.few_shot import rows_by_class
from nestvec.auditing.measures.stress import COSINES
from nestvec.auditing.options import AuditTexts, StressOptions
from nestvec.auditing.perturbations.mining import (
    mine_from_bm25,
    mine_from_external,
    most_relevant,
)
from nestvec.auditing.perturbations.reencoding import (
    TYPOS,
    make_counterfactuals,
    reencode_with_typos,
)
from nestvec.auditing.types import EmbeddingPair, Triplets
from nestvec.deprecation import warn_renamed
from nestvec.errors import InputError
from nestvec.progress import Progress
from nestvec.shapes import Bool, Float32, Int64
from nestvec.vectors import as_float32, check_magnitude

MIN_SLICE = 20
"""Queries in a slice and beside it; slices with fewer are left out, their intervals are useless."""
_RESERVED_NAMES = {
    TYPOS,
    "slice",
    "farthest_quarter",
    "rarest_tenth",
    *(f"noise_{cosine}" for cosine in COSINES),
}
"""Names of the perturbations and slices that audits add themselves."""


def validate_stress(
    inputs: AuditInputs,
    texts: AuditTexts | None,
    stress: StressOptions | None,
    progress: Progress,
) -> StressInputs:
    """Check texts and stress options; edited texts are encoded here, once.

    `InputError` for what does not fit the inputs.
    """
    texts, options = _validate_texts(texts or AuditTexts(), inputs), stress or StressOptions()
    sample, full = inputs.stress_sample, inputs.full
    _check_names([*options.perturbed, *options.out_of_distribution])
    perturbed = {
        name: _validate_perturbed(vectors, name, full)[sample]
        for name, vectors in options.perturbed.items()
    }
    mistyped = reencode_with_typos(texts, full, sample, inputs.seed, progress)
    labels = _validate_labels(options.labels, len(full.documents))
    counterfactuals = None
    if inputs.judgments is not None:
        counterfactuals = make_counterfactuals(texts, full, inputs.judgments, inputs.seed, progress)
    return StressInputs(
        texts=texts,
        counterfactuals=counterfactuals,
        perturbed_queries=perturbed if mistyped is None else {TYPOS: mistyped, **perturbed},
        out_of_distribution_queries={
            name: _finite(vectors, name, full.documents.shape[1])
            for name, vectors in options.out_of_distribution.items()
        },
        slices=_validate_slices(options.slices, inputs),
        frequencies=_validate_frequencies(options.frequencies, labels, inputs),
        labels=labels,
    )


def hard_negatives_from(
    inputs: AuditInputs, method: str | Sequence[ArrayLike] | None, texts: AuditTexts | None
) -> tuple[Triplets | None, HardNegativeSource | None]:
    """Find the hard negatives that are the same for all variants, and their source.

    Those of the caller; else mined by `method`, the option `mine_hard_negatives`. "union" leaves
    the mining to each variant.
    """
    if method == "words":
        warn_renamed('mine_hard_negatives="words"', '"bm25"')
        method = "bm25"
    if inputs.triplets is not None:
        if method is not None and method != "union":
            raise InputError(
                "with hard_negatives, mine_hard_negatives does nothing; pass one of the two"
            )
        return inputs.triplets, "user"
    if isinstance(method, str) and method not in ("union", "bm25"):
        raise InputError(
            f'mine_hard_negatives={method!r} is not known; use "union", "bm25", vectors or None'
        )
    if inputs.judgments is None:
        if method is None or method == "union":
            return None, None
        raise InputError(
            "hard negatives are mined from judgments; pass qrels, or leave mine_hard_negatives out"
        )
    if method is None:
        return None, None
    if method == "union":
        return None, "union"
    if isinstance(method, str):
        return _mine_by_bm25(inputs, texts), "bm25"
    external = _validate_external(method, inputs.full)
    return mine_from_external(external, inputs.judgments, inputs.self_match), "external"


def _mine_by_bm25(inputs: AuditInputs, texts: AuditTexts | None) -> Triplets:
    assert inputs.judgments is not None
    if texts is None or texts.documents is None or texts.queries is None:
        raise InputError(
            'mine_hard_negatives="bm25" reads the texts of documents and queries; pass texts'
        )
    _validate_texts(texts, inputs)
    return mine_from_bm25(texts.queries, texts.documents, inputs.judgments, inputs.self_match)


def _validate_external(value: Sequence[ArrayLike], full: EmbeddingPair) -> EmbeddingPair:
    if len(value) != 2:
        raise InputError(
            f"mine_hard_negatives holds {len(value)} arrays; pass two, documents and queries by "
            "another encoder"
        )
    documents = as_float32(value[0], "documents to mine by")
    queries = as_float32(value[1], "queries to mine by", documents.shape[1])
    if (len(documents), len(queries)) != (len(full.documents), len(full.queries)):
        raise InputError(
            f"mine_hard_negatives holds {len(documents)} documents and {len(queries)} queries; the "
            f"audit has {len(full.documents)} and {len(full.queries)}: pass the same rows"
        )
    return EmbeddingPair(queries, documents)


def _validate_texts(texts: AuditTexts, inputs: AuditInputs) -> AuditTexts:
    sides = ((texts.documents, inputs.full.documents), (texts.queries, inputs.full.queries))
    for side, vectors in sides:
        if side is not None and len(side) != len(vectors):
            raise InputError(f"{len(side)} texts for {len(vectors)} vectors; pass one per row")
    return texts


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if name in _RESERVED_NAMES or names.count(name) > 1 or ":" in name:
            raise InputError(
                f"{name!r} is the name of another stress, or contains a colon; choose another name"
            )


def _finite(vectors: ArrayLike, name: str, width: int) -> Float32[np.ndarray, "m dim"]:
    array = as_float32(vectors, name, width)
    check_magnitude(array, name)
    return array


def _validate_perturbed(
    vectors: ArrayLike, name: str, full: EmbeddingPair
) -> Float32[np.ndarray, "q dim"]:
    array = _finite(vectors, name, full.queries.shape[1])
    if len(array) != len(full.queries):
        raise InputError(
            f"{name} are {len(array)} vectors for {len(full.queries)} queries; pass every query "
            "once, perturbed"
        )
    return array


def _validate_slices(
    slices: Mapping[str, Sequence[Any] | np.ndarray], inputs: AuditInputs
) -> dict[str, Bool[np.ndarray, " q"]]:
    """Make a mask per slice, by "name" where values are true or false, else by "name=value"."""
    masks: dict[str, Bool[np.ndarray, " q"]] = {}
    for name, values in slices.items():
        column = np.asarray(values)
        if column.shape != (len(inputs.full.queries),):
            raise InputError(
                f"slice {name!r} has {column.size} values for {len(inputs.full.queries)} queries; "
                "pass one for each query"
            )
        if column.dtype == bool:
            masks[name] = column
        else:
            masks |= {f"{name}={value}": column == value for value in np.unique(column)}
    evaluated = inputs.evaluated_queries
    return {name: mask for name, mask in masks.items() if _is_large_enough(mask[evaluated])}


def _is_large_enough(mask: Bool[np.ndarray, " evaluated"]) -> bool:
    return MIN_SLICE <= int(mask.sum()) <= len(mask) - MIN_SLICE


def _validate_labels(
    value: Sequence[Any] | np.ndarray | None, n: int
) -> Int64[np.ndarray, " n"] | None:
    if value is None:
        return None
    if len(value) != n:
        raise InputError(f"{len(value)} labels for {n} documents; pass one for each document")
    _, numbers = np.unique(np.asarray(value), return_inverse=True)
    labels = numbers.reshape(-1).astype(np.int64)
    rows_by_class(labels)  # raises for too few classes, before anything is ranked
    return labels


def _validate_frequencies(
    value: Sequence[int] | np.ndarray | None,
    labels: Int64[np.ndarray, " n"] | None,
    inputs: AuditInputs,
) -> Int64[np.ndarray, " q"] | None:
    """Return the caller's frequencies, else the class size of each query's best document."""
    n_queries = len(inputs.full.queries)
    if value is not None:
        frequencies = np.asarray(value)
        if frequencies.shape != (n_queries,) or frequencies.dtype.kind not in "iu":
            raise InputError(
                f"frequencies are not one whole number for each of {n_queries} queries"
            )
        return _unless_even(frequencies.astype(np.int64), inputs)
    if labels is None or inputs.judgments is None:
        return None
    queries, documents = most_relevant(inputs.judgments)
    frequencies = np.zeros(n_queries, np.int64)
    frequencies[queries] = np.bincount(labels)[labels[documents]]
    return _unless_even(frequencies, inputs)


def _unless_even(
    frequencies: Int64[np.ndarray, " q"], inputs: AuditInputs
) -> Int64[np.ndarray, " q"] | None:
    """None where all queries are as rare as the rarest tenth."""
    evaluated = frequencies[inputs.evaluated_queries]
    edge = np.quantile(evaluated, 0.1, method="lower")
    return None if (evaluated <= edge).all() else frequencies
